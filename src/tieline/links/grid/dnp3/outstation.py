"""The outstation on a port: which connection is which master's, and when something is sent unasked.

Theory of operation. A connection is nobody's until its first link frame names a master address. The peer's list says
who that may be (address, calling host, certificate); anyone else is closed unheard, and later each time. A second
connection of the same master displaces the first, as the usual cause is a first one that died without a word. One loop
a connection reads, answers frame by frame in order, and between frames sends what the session wants to send unasked.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from py1815 import link
from py1815.application import FunctionCode
from py1815.transport import Reassembler, TransportError

from tieline.desk.ports import Ask, Intake, LinkHealth, Selecting, Session, Snapshot
from tieline.links.grid.dnp3.association import Association
from tieline.links.grid.dnp3.binding import Binding, Peer, check_binding
from tieline.links.grid.dnp3.refusals import MOST_HELD, Refusals
from tieline.rim.supervise import Supervisor
from tieline.times import Clock

_log = structlog.get_logger("tieline.dnp3")
_OPERATES = frozenset({FunctionCode.OPERATE, FunctionCode.DIRECT_OPERATE, FunctionCode.DIRECT_OPERATE_NR})
_KEEP_SELECT = frozenset({FunctionCode.SELECT, FunctionCode.OPERATE, FunctionCode.CONFIRM})
_FIRST_FRAME_S = 1.0
_TRIES = 10
_DRAIN_S = 10.0
_LOOK_S = 2.0
_ASKS = 3
_MOST_UNSENT = 1 << 20


class Dnp3Outstation:
    """Publishes snapshots to DNP3 masters and brings their operates to the desk. A `desk.ports.Publisher`."""

    def __init__(
        self,
        binding: Binding,
        inlet: Selecting,
        clock: Clock,
        supervisor: Supervisor,
        intake: Intake | None = None,
        tls: ssl.SSLContext | None = None,
        name: str = "dnp3",
        pace: float = 1.0,
    ) -> None:
        """Make an outstation; `pace` is how many seconds of the clock pass in one of the loop's."""
        check_binding(binding)
        self._pace = pace
        self.name = name
        self.port = binding.port
        self._binding, self._clock, self._supervisor, self._intake, self._tls = (
            binding,
            clock,
            supervisor,
            intake,
            tls,
        )
        self._inlet = inlet
        self._server: asyncio.Server | None = None
        self._snapshot: Snapshot | None = None
        self._live: dict[str, _Connection] = {}
        self._associations: dict[int, Association] = {}
        self._counts = {"sent": 0, "received": 0, "errors": 0}
        self._last_error = ""
        self._session, self._since_ns = Session.DOWN, clock.now_ns()
        self._refusals, self._held, self._ends = Refusals(), 0, asyncio.Event()

    async def start(self) -> None:
        """Listen, and start to watch the leases. Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        for peer in self._binding.peers:
            made = Association(
                self._binding, peer, self._inlet, self._clock, lambda: loop.time() * self._pace, self._pace
            )
            self._associations[peer.address] = made
        self._server = await asyncio.start_server(
            self._accept, self._binding.host, self._binding.port, ssl=self._tls, **_tls_limits(self._tls)
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._supervisor.keep(f"{self.name} leases", self._tend)
        self._tell()

    def take_up(self, asks: Iterable[Ask]) -> None:
        """Go on with what masters had asked of an earlier run; call it once after `start`, before a beat."""
        known = list(asks)
        for association in self._associations.values():
            association.take_up(known)
            self._show(association)  # a master that was only waiting for our port sees at once what still stands

    async def stop(self) -> None:
        """Close the port and every connection. Claims end by their leases."""
        self._ends.set()
        if self._server is not None:
            self._server.close()
        for connection in list(self._live.values()):
            connection.close()

    async def publish(self, snapshot: Snapshot) -> None:
        """Show this snapshot from now on; changes become class events, sent unasked where a master wants them."""
        self._snapshot = snapshot
        for association in self._associations.values():
            self._show(association)

    def health(self) -> LinkHealth:
        """Return how the link is."""
        session = Session.LIVE if self._live else Session.LINK if self._server else Session.DOWN
        if session is not self._session:
            self._session, self._since_ns = session, self._clock.now_ns()
        refused = sum(association.refused for association in self._associations.values())
        return LinkHealth(
            self.name,
            "dnp3",
            session,
            self._since_ns,
            peers=len(self._live),
            refused=refused,
            last_error=self._last_error,
            awaits=session is Session.LINK and not self._counts["received"],
            **self._counts,
        )

    def lapses(self) -> dict[str, int]:
        """Return how often what a master held lapsed as it was silent for a lease, by master, function and group."""
        return {
            f"{self.name} {association.peer.name} {function} of {resource}": count
            for association in self._associations.values()
            for (resource, function), count in association.lapses.items()
        }

    def _tell(self) -> None:
        health = self.health()
        if self._intake is not None:
            self._intake.health(health)

    def _show(self, association: Association) -> None:
        association.show(self._snapshot)
        connection = self._live.get(association.peer.name)
        # While a request is being answered the news waits its turn: the answer goes first.
        if connection is not None and not connection.busy:
            connection.push(association.session.initiate())
            due_s = association.session.initiate_after()
            connection.wake_within(math.inf if due_s is None else max(due_s / self._pace, 0.05))

    async def _tend(self) -> None:
        while True:
            # At the latest when a lease ends, so that what has lapsed is shown as in force to nobody.
            ends_s = min((each.lapses_after_s for each in self._associations.values()), default=math.inf)
            await asyncio.sleep(max(min(self._binding.lease_s / 6, ends_s + 0.001), 0.5) / self._pace)
            for association in self._associations.values():
                if await association.tend():
                    self._show(association)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer)
        association: Association | None = None
        try:
            first = await self._first(connection)
            association = self._admit(connection, first)
            if association is not None:
                await self._serve(connection, association, first)
            elif first:
                await self._hold(connection.host)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            self._last_error = str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001  supervision: one connection's failure must not end the others
            self._counts["errors"] += 1
            self._last_error = f"{type(error).__name__}: {error}"
            _log.error("connection failed", peer=connection.host, error=self._last_error, exc_info=error)
        finally:
            connection.close()
            if association is not None and self._live.get(association.peer.name) is connection:
                del self._live[association.peer.name]
                association.dropped()
                _log.info("master lost", peer=association.peer.name)
                self._tell()

    async def _first(self, connection: _Connection) -> Sequence[link.LinkFrame]:
        """Return the first frames of a connection; a master that says nothing is asked for its link status.

        A reconnected master may well wait for us to speak. Asking each master that could be calling from there shows
        which it is, as only the one addressed answers (IEEE 1815-2012, 9.2.4.1.3).
        """
        for _ in range(_TRIES):
            if frames := await connection.frames(_FIRST_FRAME_S):
                return frames
            for peer in self._binding.peers:
                if connection.proves(peer, self._tls is not None):
                    await connection.send(_status_request(self._binding.address, peer.address))
        return ()

    def _admit(self, connection: _Connection, first: Sequence[link.LinkFrame]) -> Association | None:
        """Return the association that a connection's first frame belongs to, or None where none may be had."""
        if not first:
            return None
        association = self._associations.get(first[0].source)
        if association is None or not connection.proves(association.peer, self._tls is not None):
            self._counts["errors"] += 1
            self._last_error = f"master {first[0].source} from {connection.host} is on no list"
            _log.warning("master refused", address=first[0].source, host=connection.host)
            self._tell()
            return None
        if before := self._live.get(association.peer.name):
            _log.info("master displaced", peer=association.peer.name)
            before.close()
        association.dropped()
        self._live[association.peer.name] = connection
        _log.info("master connected", peer=association.peer.name, host=connection.host)
        self._tell()
        return association

    async def _hold(self, host: str) -> None:
        """Keep a refused caller waiting; nothing that it says meanwhile is read."""
        hold_s = self._refusals.hold_s(host, asyncio.get_running_loop().time())
        if not hold_s or self._held >= MOST_HELD:
            return
        self._held += 1
        try:
            async with asyncio.timeout(hold_s):
                await self._ends.wait()
        except TimeoutError:
            pass
        finally:
            self._held -= 1

    async def _serve(self, connection: _Connection, association: Association, frames: Sequence[link.LinkFrame]) -> None:
        # Often enough to ask a silent master for a sign of life before its lease is over.
        look_s = min(_LOOK_S, max(self._binding.keep_alive_s / self._pace / 4, 0.05))
        while self._live.get(association.peer.name) is connection:
            for frame in frames:
                if not await self._answer(connection, association, frame):
                    return
            await self._send(connection, association.session.initiate())
            wait_s = self._wait_s(connection, association, look_s)
            connection.busy = False
            frames = await connection.frames(wait_s)
            connection.busy = True
            if not frames and not await self._alive(connection, association):
                return

    def _wait_s(self, connection: _Connection, association: Association, look_s: float) -> float:
        """Return how long a connection may be left alone: till its session or its master's silence asks for more."""
        if connection.unanswered:
            return look_s
        quiet_s = (self._binding.keep_alive_s - association.silent_s) / self._pace
        due_s = association.session.initiate_after()
        # A session that says "now" and then sends nothing must not be asked again at once.
        soon_s = math.inf if due_s is None else max(due_s / self._pace, 0.05)
        return min(soon_s, max(quiet_s + 0.001, look_s))

    async def _alive(self, connection: _Connection, association: Association) -> bool:
        """Ask a master that said nothing for a keep-alive for its link status; False once it is silent for a lease."""
        silent_s = association.silent_s
        if silent_s <= self._binding.keep_alive_s:
            connection.unanswered = 0
            return True
        await connection.send(_status_request(self._binding.address, association.peer.address))
        connection.unanswered += 1
        # A loop that stood still must ask, and hear what came meanwhile, before it calls anyone silent.
        return silent_s <= self._binding.lease_s or connection.unanswered <= _ASKS

    async def _answer(self, connection: _Connection, association: Association, frame: link.LinkFrame) -> bool:
        """Answer one frame; False where the connection turns out to be someone else's."""
        self._counts["received"] += 1
        if frame.source != association.peer.address:
            _log.warning("foreign frame", peer=association.peer.name, source=frame.source)
            return False
        octets = link.build(frame.control, frame.destination, frame.source, frame.payload)
        function, native = connection.follow(frame, octets)
        if function is not None and function not in _KEEP_SELECT:
            association.moved_on()
        operates = function in _OPERATES
        answer = await association.receive(octets, native, operates)
        if operates:
            self._show(association)
        await self._send(connection, answer)
        return True

    async def _send(self, connection: _Connection, octets: bytes) -> None:
        if not octets:
            return
        self._counts["sent"] += 1
        await connection.send(octets)


class _Connection:
    """One stream: frames in, octets out, and whose certificate it showed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.busy, self.unanswered = True, 0
        self._patience: asyncio.Timeout | None = None
        self._reader, self._writer = reader, writer
        self._frames = link.FrameReader()
        self._reassembler = Reassembler()
        self._natives: list[str] = []
        peer = writer.get_extra_info("peername") or ("", 0)
        self.host = str(peer[0])

    def proves(self, peer: Peer, tls: bool) -> bool:
        """Return whether this is the peer: it calls from one of its hosts, with its certificate on TLS."""
        if peer.hosts and self.host not in peer.hosts:
            return False
        if not tls:
            return not peer.certificate
        shown = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        # A CA alone would admit every certificate that it ever signed: without a pinned one nobody comes in.
        return bool(shown and peer.certificate) and f"sha256:{hashlib.sha256(shown).hexdigest()}" == peer.certificate

    async def frames(self, within_s: float) -> list[link.LinkFrame]:
        """Return the link frames that arrive next; none when time ran out.

        Raises:
            ConnectionResetError: The peer closed.
        """
        try:
            async with asyncio.timeout(within_s) as self._patience:
                data = await self._reader.read(4096)
        except TimeoutError:
            return []
        finally:
            self._patience = None
        if not data:
            raise ConnectionResetError("closed by the master")
        return self._frames.feed(data)

    def wake_within(self, seconds: float) -> None:
        """Let who waits for frames wait no longer than that: what was sent meanwhile may need to be sent again."""
        until_s = asyncio.get_running_loop().time() + seconds
        if self._patience is not None and until_s < (self._patience.when() or 0.0) and not self._patience.expired():
            self._patience.reschedule(until_s)

    def follow(self, frame: link.LinkFrame, octets: bytes) -> tuple[int | None, str]:
        """Return the function of the fragment that this frame ends (None: none), and the hex of all its frames."""
        if not frame.payload:
            return None, ""
        self._natives.append(octets.hex())
        try:
            fragment = self._reassembler.add(frame.payload)
        except TransportError:
            self._natives = []
            return None, ""
        if fragment is None:
            return None, ""
        native, self._natives = " ".join(self._natives), []
        return (fragment[1] if len(fragment) > 1 else None), native

    async def send(self, octets: bytes) -> None:
        """Send octets; a master that doesn't take them in time is cut off. Raises TimeoutError or OSError then."""
        self._writer.write(octets)
        async with asyncio.timeout(_DRAIN_S):
            await self._writer.drain()

    def push(self, octets: bytes) -> None:
        """Send octets without waiting; a master that hasn't taken a mebibyte is cut off, one that is gone gets none."""
        if self._writer.transport.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > _MOST_UNSENT:
            self._writer.transport.abort()
        elif octets:
            self._writer.write(octets)

    def close(self) -> None:
        """End the stream."""
        self._writer.close()


def _status_request(outstation: int, master: int) -> bytes:
    control = link.control_byte(from_master=False, primary=True, function=link.PrimaryFunction.REQUEST_LINK_STATUS)
    return link.build(control, master, outstation)


def _tls_limits(tls: ssl.SSLContext | None) -> dict[str, Any]:
    return {"ssl_handshake_timeout": 10.0} if tls is not None else {}
