"""SunSpec devices as a link: commands written and read back, measurements polled, timers and other controllers watched.

Theory of operation. Rows are addressed `host:port/unit`; each host and port is one connection that many units share,
with as many requests in flight as it was found to answer (`room`), up to `in_flight`; commands go before polls
(`line`). A device is found by its SunSpec marker and chain of models, then polled; each runs by itself (`device`), so
that one in trouble is tried again with growing delays while its neighbours go on. A command is written with the
device's own reversion timer, enabling last, and read back. A newer command of a row displaces one that waits; one that
waits too long ends EXPIRED. A connection that breaks marks all its points COMM_LOST with their last source time, and is
made afresh with growing delays.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import structlog
from msgspec import Struct
from numpy.typing import NDArray

from tieline.desk.inverter_facts import Stood
from tieline.desk.ports import Intake, LastHop, LinkHealth, Session
from tieline.device.profile import profile_over
from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.grid.inverter_settings import InverterSettings
from tieline.links.device.modbus.burst import tell
from tieline.links.device.modbus.client import Client
from tieline.links.device.modbus.curves import KeptCurves
from tieline.links.device.modbus.device import Device
from tieline.links.device.modbus.live import Counts
from tieline.links.device.modbus.owner import Controls
from tieline.links.device.modbus.room import Room
from tieline.links.device.modbus.unit import Unit
from tieline.links.telling import Teller
from tieline.resource.batch import CommandBatch
from tieline.resource.identity import Rating
from tieline.rim import heap
from tieline.rim.supervise import Backoff, Supervisor
from tieline.times import SECOND_NS, Clock

_log = structlog.get_logger("tieline.modbus")
BREATH = 2_000
"""After so many rows of a batch the loop may turn, so that ten thousand hold up neither each other nor SCADA."""


class ModbusSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How devices are reached and how often they are read (s of the loop).

    By row: `max_inject_w`, `max_absorb_w` (as much as injected where left out) and `profiles`. `grace_s` is how long
    after its timer a device may still hold a command. `writes`: a function's registers in one request, or one by one.
    """

    addresses: dict[int, str]
    max_inject_w: dict[int, float]
    poll_s: float = 60.0
    timeout_s: float = 3.0
    max_absorb_w: dict[int, float] = {}
    profiles: dict[int, str] = {}
    in_flight: int = 16
    grace_s: float = 10.0
    writes: Literal["block", "steps"] = "block"


@dataclass
class _Endpoint:
    """One host and port with the devices behind it."""

    host: str
    port: int
    devices: list[Device] = field(default_factory=list)
    session: Session = Session.DOWN
    room: Room | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A SunSpec device that a scan found."""

    unit: int
    maker: str
    type: str
    serial: str
    models: tuple[int, ...]


def parse_address(text: str) -> tuple[str, int, int]:
    """Return (host, port, unit) of an address such as `10.0.0.5:502/1`. Raises ConfigError naming what is wrong."""
    where, _, unit = text.partition("/")
    host, _, port = where.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not (unit.isascii() and unit.isdigit()):
        raise ConfigError(f"modbus address {text!r}: give host:port/unit, such as 10.0.0.5:502/1")
    if not 0 < int(port) < 65_536 or not 1 <= int(unit) <= 247:
        raise ConfigError(f"modbus address {text!r}: give port 1 to 65535 and unit 1 to 247")
    return host, int(port), int(unit)


async def scan(host: str, port: int, units: Iterable[int] = range(1, 248), timeout_s: float = 1.0) -> list[Found]:
    """Return the SunSpec devices behind an address, by unit id. Raises LinkDown where nobody takes the connection."""
    found = []
    client = Client(timeout_s)
    await client.open(host, port)
    try:
        for number in units:
            if not client.is_open:  # silence on many ids looks like a half-open stream
                client = Client(timeout_s)
                await client.open(host, port)
            unit = Unit(client, number)
            try:
                await unit.find()
            except (LinkDown, PeerError):
                continue
            found.append(Found(number, unit.maker, unit.type, unit.serial, tuple(unit.models)))
    finally:
        client.close()
    return found


class ModbusLink:
    """Carries commands to SunSpec devices; a `desk.ports.CommandLink`."""

    def __init__(
        self,
        settings: ModbusSettings,
        intake: Intake,
        clock: Clock,
        supervisor: Supervisor,
        rng: np.random.Generator,
        name: str = "modbus",
        speed: float = 1.0,
        controls: Controls | None = None,
        curves: KeptCurves | None = None,
    ) -> None:
        """Make a link. `speed`: seconds of the clock in one of the loop. Raises ConfigError naming a bad setting.

        `controls` and `curves` keep what owners had set over a restart; None: in memory alone.
        """
        check(settings, speed)
        self.name, self.clock, self.speed = name, clock, speed
        self.poll_s, self.grace_s = settings.poll_s, settings.grace_s
        self.takes_blocks = settings.writes == "block"
        self.controls, self.curves = controls or Controls(), curves or KeptCurves()
        self.last_hop: LastHop | None = None
        self.teller = Teller(name, intake, clock)
        self._settings, self._intake, self._supervisor = settings, intake, supervisor
        self._since_ns, self._session = clock.now_ns(), Session.DOWN
        self.counts = Counts()
        self._live, self._is_settled = 0, False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._endpoints: dict[tuple[str, int], _Endpoint] = {}
        self.devices: dict[int, Device] = {}
        for row, text in settings.addresses.items():
            host, port, number = parse_address(text)
            endpoint = self._endpoints.setdefault((host, port), _Endpoint(host, port))
            inject_w = settings.max_inject_w.get(row, 0.0)
            rating = Rating(max_inject_w=inject_w, max_absorb_w=settings.max_absorb_w.get(row, inject_w))
            profile = profile_over(settings.profiles.get(row, "battery_inverter"), "sunspec")
            device = Device(row, text, number, profile, rating, self, rng)
            endpoint.devices.append(device)
            self.devices[row] = device
        self.switched = frozenset(row for row, device in self.devices.items() if device.profile.is_switched)

    def start(self) -> None:
        """Keep every connection, and serve its rows."""
        for endpoint in self._endpoints.values():
            where = f"{self.name} {endpoint.host}:{endpoint.port}"
            self._supervisor.keep(where, lambda e=endpoint: self._serve(e), Backoff(1.0, 60.0))  # type: ignore[misc]

    def remember(
        self, batch: CommandBatch, held_w: NDArray[np.float64], took: NDArray[np.bool_],
        made_w: NDArray[np.float64] | None = None,
    ) -> None:  # fmt: skip
        """Take up commands that were done before a restart of ours: a device that still holds one is let go.

        `held_w` is what limits alone held each at (W; NaN: none did): there it stays while they last. `took`: who was
        seen to hold its command; who holds another by now was told that by somebody else. `made_w`: what one that can't
        hold it made of it (W; NaN: nothing else), which is let go of as the command would be.
        """
        for at, row in enumerate(batch.rows.tolist()):
            if row in self.devices:
                made = math.nan if made_w is None else float(made_w[at])
                self.devices[row].commanded.remember(batch, at, float(held_w[at]), bool(took[at]), made)

    def doubt(self, rows: Iterable[int]) -> None:
        """Take that these rows were told something before a restart of ours that nobody knows to have been let go."""
        for row in rows:
            if row in self.devices:
                self.devices[row].commanded.owner.doubt()

    def adjust(self, settings: Mapping[int, InverterSettings]) -> None:
        """Have devices follow these settings by themselves, by row, and all others what their owners had."""
        for row, device in self.devices.items():
            if device.adopting.ask(settings.get(row)):
                device.wake()

    def adjusted(self) -> dict[int, tuple[Stood, ...]]:
        """Return how the functions of each device stand, by row; those that nobody asked for are left out."""
        return {row: device.adopting.stood for row, device in self.devices.items() if device.adopting.stood}

    async def send(self, batch: CommandBatch) -> None:
        """Hand rows over. An expired batch is reported EXPIRED; one that was seen before has no second effect."""
        told: list[Device] = []
        rows = list(enumerate(batch.rows.tolist()))
        for first in range(0, len(rows), BREATH):
            if first:
                await asyncio.sleep(0)  # what was taken goes out, before the next are
            told += self._take(batch, rows[first : first + BREATH])
        left_s = max((batch.valid_until_ns - self.clock.now_ns()) / SECOND_NS, 0.0) / self.speed
        if batch.id not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[batch.id] = loop.call_later(left_s, self._expire, batch, told)

    def _take(self, batch: CommandBatch, rows: Sequence[tuple[int, int]]) -> list[Device]:
        """Have each row of a batch told: those at rest together, others by their own tasks. Returns them all."""
        told, at_rest = [], []
        for at, row in rows:
            device = self.devices.get(row)
            if device is None:
                continue
            told.append(device)
            if device.commanded.take(batch, at):
                if device.is_at_rest:
                    at_rest.append((device, at))
                else:
                    device.hurry()
        for device, _ in tell(self, batch, at_rest):
            device.wake()
        return told

    def _expire(self, batch: CommandBatch, told: list[Device]) -> None:
        del self._timers[batch.id]
        for device in told:
            device.expire(batch)

    def health(self) -> LinkHealth:
        """Return how the link is: DEGRADED where only some devices live, DOWN where none behind it can be served.

        Its last error is what stands in the way now; else what happened last.
        """
        live = self._live
        sessions = [endpoint.session for endpoint in self._endpoints.values()]
        session = max(sessions, default=Session.DOWN)
        if live:
            session = Session.LIVE if live == len(self.devices) else Session.DEGRADED
        elif self._is_in_trouble():
            session = Session.DOWN
        if session is not self._session:
            self._session, self._since_ns = session, self.clock.now_ns()
        counts = self.counts
        errors = counts.unconfirmed + counts.contended + counts.lies
        return LinkHealth(
            self.name, "modbus", session, self._since_ns, live, counts.sent, counts.acknowledged, counts.rejected,
            errors, counts.says,
        )  # fmt: skip

    def _is_in_trouble(self) -> bool:
        """Return whether none behind an open connection can be served: refused, or silent."""
        ends, troubles = [end for end in self._endpoints.values() if end.session > Session.DOWN], self.counts.troubles
        return bool(troubles and ends) and all(one.name in troubles for end in ends for one in end.devices)

    def stop(self) -> None:
        """Let all timers go; the connections are their supervisor's to end."""
        for device in self.devices.values():
            device.stop()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # --- one connection ----------------------------------------------------------------------------------------------

    async def _serve(self, endpoint: _Endpoint) -> None:
        def lost() -> None:
            for device in endpoint.devices:
                device.wake()

        def quiet() -> None:
            for device in endpoint.devices:
                device.probe()

        where = f"{endpoint.host}:{endpoint.port}"
        if endpoint.room is None:
            endpoint.room = Room.behind(where, len(endpoint.devices), self._settings.in_flight)
        client = Client(self._settings.timeout_s, lost, endpoint.room, quiet)
        try:
            await client.open(endpoint.host, endpoint.port)
            self.counts.healed(where)
            endpoint.session = Session.SYNCING
            self.changed()
            await asyncio.gather(*(device.run(client) for device in endpoint.devices))
            raise LinkDown("the connection was closed")
        except LinkDown as error:
            self.counts.trouble(where, f"{where}: {error}")
            raise
        finally:
            client.close()
            endpoint.session = Session.DOWN
            for device in endpoint.devices:
                device.is_found = False
                device.lose()
            self.teller.flush()
            self.changed()

    # --- what devices ask of their link ------------------------------------------------------------------------------

    def changed(self, is_live: bool | None = None) -> None:
        """Take that a device was found (True) or lost (False), and tell the desk where the session has changed."""
        if is_live is not None:
            self._live += 1 if is_live else -1
        before = self._session
        health = self.health()
        if health.session is not before:
            self._intake.health(health)
            if health.session is Session.LIVE and not self._is_settled:
                self._is_settled = True
                heap.settle()  # every device is found: from now on there is little that is new

    def alarm(self, text: str) -> None:
        """Tell the operator: in the log, and as the link's last error."""
        self.counts.last_error = text
        _log.warning("device", link=self.name, what=text)
        self._intake.health(self.health())


def check(settings: ModbusSettings, speed: float = 1.0) -> None:
    """Refuse settings that can't be. Raises ConfigError naming the path."""
    for path, value in (("poll_s", settings.poll_s), ("timeout_s", settings.timeout_s)):
        if not 0 < value <= 86_400:
            raise ConfigError(f"$.modbus.{path} = {value:g}: give above 0 to 86400")
    if not 1 <= settings.in_flight <= 1_000:
        raise ConfigError(f"$.modbus.in_flight = {settings.in_flight}: give 1 to 1000")
    if not 0 <= settings.grace_s <= 3_600:
        raise ConfigError(f"$.modbus.grace_s = {settings.grace_s:g}: give 0 to 3600")
    if not 0 < speed < 1e6:
        raise ConfigError(f"$.speed = {speed:g}: give above 0")
    for path, powers in (("max_inject_w", settings.max_inject_w), ("max_absorb_w", settings.max_absorb_w)):
        for row, power_w in powers.items():
            if not 0 <= power_w < 1e12:
                raise ConfigError(f"$.modbus.{path}.{row} = {power_w:g}: give 0 W or more")
