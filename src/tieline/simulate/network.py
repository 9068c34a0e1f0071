"""A network in memory: streams between listeners and clients, with delays and faults drawn from a seed.

A stream keeps its order, as TCP does; what a fault can do to it is delay, stall, cut, or leave it half open. Loss,
duplicates and reordering of *messages* belong to the peers that send them.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

Loop = asyncio.AbstractEventLoop
Factory = Callable[[], asyncio.BaseProtocol]
HIGH_WATER = 64 * 1024


class Path(Protocol):
    """How one connection behaves."""

    def delay_s(self, now_s: float, size: int) -> float | None:
        """Return how long these bytes take (s); `inf`: they never arrive; None: the connection is cut."""
        ...


class Straight:
    """A path without faults and with one fixed delay."""

    def __init__(self, latency_s: float = 0.0005) -> None:
        self._latency_s = latency_s

    def delay_s(self, now_s: float, size: int) -> float | None:
        """Return the fixed delay."""
        return self._latency_s


class Network:
    """Who listens where, and how each connection behaves."""

    def __init__(self, route: Callable[[str, int], Path] | None = None) -> None:
        self._route = route or (lambda host, port: Straight())
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._next_port = 20_000
        self._next_client = 40_000
        self._streams: list[MemoryTransport] = []

    def listen(self, loop: Loop, factory: Factory, host: str, port: int) -> Listener:
        """Return a listener. Raises OSError where the address is taken."""
        if port == 0:
            self._next_port += 1
            port = self._next_port
        if (host, port) in self._listeners:
            raise OSError(98, f"address {host}:{port} is in use")
        listener = Listener(self, loop, factory, host, port)
        self._listeners[(host, port)] = listener
        return listener

    def forget(self, listener: Listener) -> None:
        """Stop listening there."""
        self._listeners.pop((listener.host, listener.port), None)

    async def connect(self, loop: Loop, factory: Factory, host: str, port: int) -> tuple[Any, Any]:
        """Return (transport, protocol) joined to the listener. Raises ConnectionRefusedError or TimeoutError."""
        path = self._route(host, port)
        delay_s = path.delay_s(loop.time(), 0)
        if delay_s == float("inf"):
            await asyncio.sleep(120.0)
            raise TimeoutError(f"no answer from {host}:{port}")
        await asyncio.sleep(delay_s or 0.0)
        listener = self._listeners.get((host, port)) or self._listeners.get(("0.0.0.0", port))
        if listener is None or delay_s is None:
            raise ConnectionRefusedError(111, f"nobody listens on {host}:{port}")
        self._next_client += 1
        near_name, far_name = ("127.0.0.1", self._next_client), (host, port)
        client, server = factory(), listener.factory()
        near = MemoryTransport(loop, client, near_name, far_name, path)
        far = MemoryTransport(loop, server, far_name, near_name, path)
        near.peer, far.peer = far, near
        self._streams = [s for s in self._streams if not s.is_dead] + [near, far]
        server.connection_made(far)
        client.connection_made(near)
        return near, client

    def cut(self, host: str, port: int) -> int:
        """Cut every stream to or from an address, as a reboot would, and return how many."""
        hit = [s for s in self._streams if (host, port) in (s.name, s.peer_name) and not s.is_dead]
        for stream in hit:
            stream.lose(ConnectionResetError(104, "reset by peer"))
        return len(hit)


class _Name:
    """Looks like a listening socket to those who ask for its name."""

    def __init__(self, name: tuple[str, int]) -> None:
        self._name = name

    def getsockname(self) -> tuple[str, int]:
        """Return (host, port)."""
        return self._name


class _Socket:
    """Looks like a connected socket to libraries that ask it for names, or whether anything waits to be read."""

    family = 2
    _quiet: tuple[int, int] | None = None

    def __init__(self, stream: MemoryTransport) -> None:
        self._stream = stream

    def getsockname(self) -> tuple[str, int]:
        """Return our (host, port)."""
        return self._stream.name

    def getpeername(self) -> tuple[str, int]:
        """Return the peer's (host, port)."""
        return self._stream.peer_name

    def fileno(self) -> int:
        """Return a descriptor on which nothing ever waits while the stream lives, else -1 (closed)."""
        if self._stream.is_dead or self._stream.has_eof:
            return -1
        if _Socket._quiet is None:
            _Socket._quiet = os.pipe()
        return _Socket._quiet[0]

    def setsockopt(self, *option: Any) -> None:
        """Memory needs no options."""


class Listener:
    """What `create_server` returns on virtual time."""

    def __init__(self, network: Network, loop: Loop, factory: Factory, host: str, port: int) -> None:
        self.host, self.port, self.factory = host, port, factory
        self.sockets = [_Name((host, port))]
        self._network, self._loop = network, loop
        self._closed = loop.create_future()

    def close(self) -> None:
        """Take no more connections."""
        self._network.forget(self)
        if not self._closed.done():
            self._closed.set_result(None)

    def is_serving(self) -> bool:
        """Return whether connections are still taken."""
        return not self._closed.done()

    def get_loop(self) -> Loop:
        """Return the loop it belongs to."""
        return self._loop

    async def start_serving(self) -> None:
        """It serves from the start."""

    async def serve_forever(self) -> None:
        """Wait until closed."""
        try:
            await asyncio.shield(self._closed)
        finally:
            self.close()

    async def wait_closed(self) -> None:
        """Return at once: streams that live on are their owners' to close."""

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.close()


class MemoryTransport(asyncio.Transport):
    """One end of a stream in memory."""

    peer: MemoryTransport

    def __init__(
        self,
        loop: Loop,
        protocol: asyncio.BaseProtocol,
        name: tuple[str, int],
        peer_name: tuple[str, int],
        path: Path,
    ):
        super().__init__({"sockname": name, "peername": peer_name, "socket": _Socket(self)})
        self.name, self.peer_name = name, peer_name
        self.is_dead = False
        self.has_eof = False
        self._loop, self._protocol, self._path = loop, protocol, path
        self._arrivals: deque[bytes | None] = deque()
        self._in_flight = 0
        self._last_s = 0.0
        self._reading, self._closing, self._choked = True, False, False

    # writing: towards the peer

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; they arrive in order, after the path's delay."""
        if self.is_dead or self._closing or not data:
            return
        raw, now_s = bytes(data), self._loop.time()
        delay_s = self._path.delay_s(now_s, len(raw))
        if delay_s is None:
            self._loop.call_soon(self.abort)
            return
        self._in_flight += len(raw)
        if self._in_flight > HIGH_WATER and not self._choked:
            self._choked = True
            self._protocol.pause_writing()
        self._send(raw, delay_s, now_s)

    def writelines(self, list_of_data: Any) -> None:
        """Send the parts as one."""
        self.write(b"".join(list_of_data))

    def _send(self, item: bytes | None, delay_s: float, now_s: float) -> None:
        # Strictly later than what went before: timers of one instant have no order of their own. What never arrives
        # has all that follows it never arrive.
        after_s, self._last_s = self._last_s + 1e-7, now_s + delay_s
        if self._last_s < after_s:
            self._last_s = after_s
        if self._last_s != math.inf:
            self._loop.call_at(self._last_s, self.peer._arrive, item)

    def write_eof(self) -> None:
        """Tell the peer that no more comes."""
        if not self.is_dead:
            self._send(None, 0.0, self._loop.time())

    def can_write_eof(self) -> bool:
        """Return True, as TCP can."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not been read by the peer."""
        return self._in_flight

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Keep the one limit of the memory network."""

    # reading: from the peer

    def _arrive(self, item: bytes | None) -> None:
        if self.is_dead:
            return
        if item is not None and self._reading and not self._arrivals:  # nearly always: nothing waits before it
            self.peer._taken(len(item))
            self._protocol.data_received(item)  # type: ignore[attr-defined]
            return
        self.has_eof |= item is None
        self._arrivals.append(item)
        self._deliver()

    def _deliver(self) -> None:
        while self._arrivals and self._reading and not self.is_dead:
            item = self._arrivals.popleft()
            if item is None:
                if not self._protocol.eof_received():  # type: ignore[attr-defined]
                    self.close()
                continue
            self.peer._taken(len(item))
            self._protocol.data_received(item)  # type: ignore[attr-defined]

    def _taken(self, size: int) -> None:
        self._in_flight -= size
        if self._choked and self._in_flight <= HIGH_WATER // 4 and not self.is_dead:
            self._choked = False
            self._protocol.resume_writing()

    def pause_reading(self) -> None:
        """Let what arrives wait."""
        self._reading = False

    def resume_reading(self) -> None:
        """Take what waited."""
        if not self._reading:
            self._reading = True
            self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        """Return whether arrivals are handed on."""
        return self._reading and not self._closing

    # ending

    def close(self) -> None:
        """Send what was written, then end both sides."""
        if self._closing or self.is_dead:
            return
        self._closing = True
        self._send(None, 0.0, self._loop.time())
        self._loop.call_soon(self.lose, None)

    def abort(self) -> None:
        """End both sides at once, as a reset does."""
        if not self.is_dead:
            self.lose(None)
            if not self.peer.is_dead:
                self._loop.call_soon(self.peer.lose, ConnectionResetError(104, "reset by peer"))

    def lose(self, error: Exception | None) -> None:
        """End this side now, for a reason or for none; as on a socket, the protocol hears of it in the next turn."""
        if not self.is_dead:
            self.is_dead = True
            self._loop.call_soon(self._protocol.connection_lost, error)

    def is_closing(self) -> bool:
        """Return whether it is closing or closed."""
        return self._closing or self.is_dead

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what arrives to another protocol from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who takes what arrives."""
        return self._protocol
