"""SunSpec devices as a link: commands written and read back, measurements polled, timers watched.

Theory of operation. Rows are addressed `host:port/unit`; each host and port is one connection that many units share.
A command is written with the device's own reversion timer, enabling last, then read back: ACCEPTED when the writes were
answered, DONE when the read-back shows them, REJECTED on an exception with its code, UNCONFIRMED when no answer came
(it is read back once, never sent again). A newer command of a row displaces one that waits. A connection that breaks
marks all its points COMM_LOST with their last source time, and is made afresh with growing delays.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct

from tieline.desk.ports import Intake, LinkHealth, Session
from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.links.device.modbus.client import Client
from tieline.links.device.modbus.unit import Rejected, Unit
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import RejectWord, Stage
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.rim.supervise import Backoff, Supervisor
from tieline.times import SECOND_NS, Clock

_WORDS = {1: RejectWord.NOT_SUPPORTED, 2: RejectWord.NOT_SUPPORTED, 3: RejectWord.RANGE, 4: RejectWord.HARDWARE}
_WORDS |= {5: RejectWord.BUSY, 6: RejectWord.BUSY, 10: RejectWord.TIMEOUT, 11: RejectWord.TIMEOUT}


class ModbusSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How devices are reached and how often they are read."""

    addresses: dict[int, str]
    max_inject_w: dict[int, float]
    poll_s: float = 60.0
    timeout_s: float = 3.0


@dataclass
class _Endpoint:
    """One host and port with the rows behind it."""

    host: str
    port: int
    units: dict[int, int]
    client: Client | None = None
    found: dict[int, Unit] = field(default_factory=dict)
    pending: dict[int, CommandBatch] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    last: dict[int, dict[str, float]] = field(default_factory=dict)
    taken_ns: dict[int, int] = field(default_factory=dict)
    session: Session = Session.DOWN


def parse_address(text: str) -> tuple[str, int, int]:
    """Return (host, port, unit) of an address such as `10.0.0.5:502/1`. Raises ConfigError naming what is wrong."""
    where, _, unit = text.partition("/")
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit() or not unit.isdigit():
        raise ConfigError(f"modbus address {text!r}: give host:port/unit, such as 10.0.0.5:502/1")
    if not 0 < int(port) < 65_536 or not 1 <= int(unit) <= 247:
        raise ConfigError(f"modbus address {text!r}: give port 1 to 65535 and unit 1 to 247")
    return host, int(port), int(unit)


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
    ) -> None:
        self.name = name
        self._settings, self._intake, self._clock, self._rng = settings, intake, clock, rng
        self._supervisor = supervisor
        self._endpoints: dict[tuple[str, int], _Endpoint] = {}
        self._of_row: dict[int, _Endpoint] = {}
        self._seen: dict[int, tuple[int, int]] = {}
        for row, text in settings.addresses.items():
            host, port, unit = parse_address(text)
            endpoint = self._endpoints.setdefault((host, port), _Endpoint(host, port, {}))
            endpoint.units[row] = unit
            self._of_row[row] = endpoint
        self.sent = self.acknowledged = self.observed = self.rejected = self.unconfirmed = self.displaced = 0
        self.delays_s: list[float] = []
        self.last_error = ""

    def start(self) -> None:
        """Keep every connection, and serve its rows."""
        for endpoint in self._endpoints.values():
            where = f"{self.name} {endpoint.host}:{endpoint.port}"
            self._supervisor.keep(where, lambda e=endpoint: self._serve(e), Backoff(1.0, 60.0))  # type: ignore[misc]

    async def send(self, batch: CommandBatch) -> None:
        """Hand rows over; an expired batch is reported, an older one than the last of a row is passed over."""
        if batch.valid_until_ns <= self._clock.now_ns():
            for row in batch.rows.tolist():
                self._tell(batch, row, Stage.EXPIRED)
            return
        for row in batch.rows.tolist():
            stamp = (batch.epoch, batch.seq)
            if self._seen.get(row, (0, 0)) >= stamp:
                continue
            self._seen[row] = stamp
            endpoint = self._of_row[row]
            older = endpoint.pending.get(row)
            if older is not None:
                self.displaced += 1
                self._tell(older, row, Stage.CANCELLED)
            endpoint.pending[row] = batch
            endpoint.wake.set()

    def health(self) -> LinkHealth:
        """Return how the link is: as good as its worst connection, DEGRADED where only some live."""
        sessions = [endpoint.session for endpoint in self._endpoints.values()]
        live = sum(session is Session.LIVE for session in sessions)
        session = Session.LIVE if live == len(sessions) else Session.DEGRADED if live else Session.DOWN
        return LinkHealth(
            self.name, "modbus", session, self._clock.now_ns(), live, self.sent, self.acknowledged, self.rejected,
            self.unconfirmed, self.last_error,
        )  # fmt: skip

    # --- one connection --------------------------------------------------------------------------------------------

    async def _serve(self, endpoint: _Endpoint) -> None:
        client = Client(self._settings.timeout_s, endpoint.wake.set)
        endpoint.client, endpoint.found = client, {}
        try:
            await client.open(endpoint.host, endpoint.port)
            self._become(endpoint, Session.LINK)
            for row, number in endpoint.units.items():
                unit = Unit(client, number)
                await unit.find()
                endpoint.found[row] = unit
            self._become(endpoint, Session.LIVE)
            await self._work(endpoint)
        except (LinkDown, PeerError) as error:
            self.last_error = f"{endpoint.host}:{endpoint.port}: {error}"
            raise
        finally:
            client.close()
            self._lose(endpoint)

    async def _work(self, endpoint: _Endpoint) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            pending, endpoint.pending = endpoint.pending, {}
            endpoint.wake.clear()
            if pending:
                await asyncio.gather(*(self._carry_out(endpoint, row, batch) for row, batch in pending.items()))
            if loop.time() >= due_s:
                await self._poll(endpoint)
                due_s = loop.time() + self._settings.poll_s * (0.95 + 0.1 * float(self._rng.random()))
            if endpoint.client is None or not endpoint.client.is_open:
                raise LinkDown("the connection was closed")
            try:
                async with asyncio.timeout(max(due_s - loop.time(), 0.001)):
                    await endpoint.wake.wait()
            except TimeoutError:
                pass

    async def _carry_out(self, endpoint: _Endpoint, row: int, batch: CommandBatch) -> None:
        """Write one command and read it back."""
        now_ns = self._clock.now_ns()
        if batch.valid_until_ns <= now_ns:
            self._tell(batch, row, Stage.EXPIRED)
            return
        unit = endpoint.found[row]
        at = int(np.flatnonzero(batch.rows == row)[0])
        target_w, high_w = float(batch.target_w[at]), float(batch.high_w[at])
        rating_w = self._settings.max_inject_w.get(row, 0.0)
        limit_frac = high_w / rating_w if rating_w > 0 and high_w < rating_w else 1.0
        self.sent += 1
        try:
            await unit.tell(target_w, limit_frac, (batch.valid_until_ns - now_ns) / SECOND_NS)
        except Rejected as error:
            self.rejected += 1
            self._tell(
                batch, row, Stage.REJECTED, _WORDS.get(error.code, RejectWord.HARDWARE), f"exception {error.code}"
            )
            return
        except (LinkDown, PeerError) as error:
            self.last_error = str(error)
        else:
            self.acknowledged += 1
            self.delays_s.append((self._clock.now_ns() - batch.issued_at_ns) / SECOND_NS)
            self._tell(batch, row, Stage.ACCEPTED, frame=endpoint.client.last_frame if endpoint.client else "")
        await self._confirm(unit, batch, row, target_w)

    async def _confirm(self, unit: Unit, batch: CommandBatch, row: int, target_w: float) -> None:
        try:
            held_w, _ = await unit.read_back()
        except (LinkDown, PeerError) as error:
            self.unconfirmed += 1
            self._tell(batch, row, Stage.UNCONFIRMED, RejectWord.TIMEOUT, str(error))
            return
        same = (math.isnan(held_w) and math.isnan(target_w)) or abs(held_w - target_w) <= max(
            10.0, 0.01 * abs(target_w)
        )
        if same:
            self.observed += 1
            self._tell(batch, row, Stage.DONE, observed_w=held_w)
        else:
            self.unconfirmed += 1
            self._tell(batch, row, Stage.UNCONFIRMED, RejectWord.NONE, f"holds {held_w:g} W", held_w)

    async def _poll(self, endpoint: _Endpoint) -> None:
        for row, unit in endpoint.found.items():
            values = await unit.measure()
            values |= _capability(values, self._settings.max_inject_w.get(row, 0.0))
            endpoint.last[row], endpoint.taken_ns[row] = values, self._clock.now_ns()
            self._bring(row, values, Quality.GOOD, endpoint.taken_ns[row])

    # --- telling the desk ------------------------------------------------------------------------------------------

    def _become(self, endpoint: _Endpoint, session: Session) -> None:
        endpoint.session = session
        self._intake.health(self.health())

    def _lose(self, endpoint: _Endpoint) -> None:
        """Mark all points of a broken connection, and end what waited for it."""
        self._become(endpoint, Session.DOWN)
        for row, values in endpoint.last.items():
            self._bring(row, values, Quality.COMM_LOST, endpoint.taken_ns[row])

    def _bring(self, row: int, values: Mapping[str, float], quality: Quality, taken_ns: int) -> None:
        count = len(values)
        self._intake.readings(
            Readings(
                np.full(count, row, np.int32), np.array([code(key) for key in values], np.uint16),
                np.array(list(values.values())), np.full(count, int(quality), np.uint32),
                np.full(count, taken_ns, np.int64), np.full(count, self._clock.now_ns(), np.int64), self.name,
            )
        )  # fmt: skip

    def _tell(
        self,
        batch: CommandBatch,
        row: int,
        stage: Stage,
        reject: RejectWord = RejectWord.NONE,
        native: str = "",
        observed_w: float = math.nan,
        frame: str = "",
    ) -> None:
        self._intake.reports(
            CommandReports(
                batch.id, self.name, np.array([row], np.int32), np.array([stage], np.uint8),
                np.array([self._clock.now_ns()], np.int64), np.array([reject], np.uint8), np.array([observed_w]),
                (native,) if native else (), (frame,) if frame else (),
            )
        )  # fmt: skip


def _capability(values: Mapping[str, float], rating_w: float) -> dict[str, float]:
    """Return how far a device can move now (W): its rating, and what its store can give or take for five minutes."""
    power_w = values.get("power_w")
    if power_w is None or rating_w <= 0:
        return {}
    stored_wh, soc_frac = values.get("energy_available_wh"), values.get("soc_frac")
    if stored_wh is None or soc_frac is None:
        return {"available_up_w": 0.0, "available_down_w": max(power_w, 0.0)}
    most_w = min(rating_w, 12.0 * stored_wh)
    least_w = -rating_w if soc_frac < 0.995 else 0.0
    return {"available_up_w": max(most_w - power_w, 0.0), "available_down_w": max(power_w - least_w, 0.0)}
