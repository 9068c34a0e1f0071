"""A pool of cycling thermostats, plugs and stores beside its twin that nobody calls: what it gave is known exactly."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of

from tieline.desk import events, tracking
from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import EventTracked, IntervalTracked, from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, Granted, Offer, Segment
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.pool.merit import merit_price
from tieline.resource.batch import Readings
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.simulate import making
from tieline.simulate.physics.thermal import Thermal
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + 4 * HOUR_NS
"""When calls may begin: devices were read for three hours by then."""
STEP_S = 10
OUTDOOR_C = 34.0
POLL_S = 60


@dataclass
class Rig:
    """Devices as machines are: thermostats with a compressor's least times, plugs that draw all the time, batteries."""

    thermostats: int
    plugs: int
    stores: int
    seed: int
    hvac: Thermal = field(init=False)
    plug_w: np.ndarray = field(init=False)
    stored_wh: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.hvac = making.make_hvac(rng.uniform(2_000.0, 4_000.0, self.thermostats), rng)
        self.plug_w = rng.uniform(800.0, 2_000.0, self.plugs)
        self.stored_wh = np.full(self.stores, 9_000.0)

    @property
    def count(self) -> int:
        return self.thermostats + self.plugs + self.stores

    def step(self, target_w: np.ndarray, low_w: np.ndarray, high_w: np.ndarray) -> np.ndarray:
        """Move all by a step under what they are told (NaN: nothing), and return their power (W)."""
        heat, plugs = slice(0, self.thermostats), slice(self.thermostats, self.thermostats + self.plugs)
        heat_w = self.hvac.step(target_w[heat], low_w[heat], high_w[heat], OUTDOOR_C, 0.0, STEP_S)
        off = (target_w[plugs] > -0.5 * self.plug_w) | (low_w[plugs] > -0.99 * self.plug_w)
        rest = slice(self.thermostats + self.plugs, None)
        store_w = np.clip(np.nan_to_num(target_w[rest]), low_w[rest], high_w[rest])
        store_w = np.clip(store_w, -5_000.0, np.minimum(5_000.0, self.stored_wh / (STEP_S / 3_600.0)))
        self.stored_wh = np.clip(self.stored_wh - store_w * STEP_S / 3_600.0, 0.0, 13_500.0)
        return np.concatenate([heat_w, np.where(off, 0.0, -self.plug_w), store_w])


class Cycling:
    """The rig at a desk whose readings are up to a minute old, each device read at a second of its own."""

    def __init__(self, thermostats: int = 16, plugs: int = 5, stores: int = 4, seed: int = 1) -> None:
        self.rig = Rig(thermostats, plugs, stores, seed)
        self.twin = copy.deepcopy(self.rig)
        count = self.rig.count
        kinds = [*[Kind.THERMOSTAT] * thermostats, *[Kind.SHIFTABLE_LOAD] * plugs, *[Kind.BATTERY] * stores]
        fleet = fleet_of(kinds, per_feeder=-(-count // 2))
        sizes_w = np.concatenate([self.rig.hvac.rated_w, self.rig.plug_w, np.full(stores, 5_000.0)])
        fleet.max_absorb_w[:] = sizes_w
        fleet.energy_wh[:] = np.where(fleet.max_inject_w > 0, 13_500.0, 0.0)
        self.stage = Stage1(fleet)
        self.state, self.devices, self.clock = self.stage.state, self.stage.devices, self.stage.clock
        self.state.is_switched[: thermostats + plugs] = True
        fleet.taken_at_ns[:] = 0
        rng = np.random.default_rng([seed, 7])
        self.second_of = rng.integers(0, POLL_S // STEP_S, count)
        self.pool = PoolDesk(
            "pool-1", np.arange(count, dtype=np.int32), merit_price(fleet.kinds), np.ones(count, np.bool_),
            np.zeros(count),
        )  # fmt: skip
        self.desk = Desk(self.state, self.stage.journal, self.clock, PEOPLE, on_change=self._changed)
        self.devices.desk = self.desk
        self.desk.bind(self.devices, "test", {row: fleet.id_of(row) for row in range(count)})
        self.cycle, self.tallies, self.wakes = Cycle(self.desk, {"pool-1": self.pool}), EventTallies(), False
        self.power_w = self.rig.step(*self._free())
        self.own_w = self.twin.step(*self._free())
        self.powers_w: list[np.ndarray] = []
        self.owns_w: list[np.ndarray] = []
        self.told: list[np.ndarray] = []
        self.held_off: list[np.ndarray] = []
        self.counts = np.zeros(count, np.bool_)
        self.counting: list[np.ndarray] = []
        self.clock.ns = HOUR - 3 * HOUR_NS

    @property
    def least_s(self) -> float:
        """For how long a thermostat is told one thing at least (s)."""
        return float(self.state.fleet.min_hold_s[0])

    def _changed(self, cause: str) -> None:
        self.cycle.because(cause)
        self.wakes = True

    def _free(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = self.rig.count
        return np.full(count, np.nan), np.full(count, -np.inf), np.full(count, np.inf)

    def _orders(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        alive = self.devices.until_ns > self.clock.ns
        free = self._free()
        told = self.devices.target_w, self.devices.low_w, self.devices.high_w
        return tuple(np.where(alive, mine, other) for mine, other in zip(told, free, strict=True))

    def _read(self) -> None:
        due = np.flatnonzero(self.second_of == self.clock.ns // (STEP_S * SECOND_NS) % (POLL_S // STEP_S))
        due = due.astype(np.int32)
        if not len(due):
            return
        fleet, stores = self.state.fleet, due[self.state.fleet.energy_wh[due] > 0]
        fleet.energy_available_wh[stores] = self.rig.stored_wh[stores - self.rig.thermostats - self.rig.plugs]
        at_ns = np.full(len(due), self.clock.ns)
        codes, good = np.full(len(due), fleet.power_code, np.uint16), np.zeros(len(due), np.uint32)
        self.desk.readings(Readings(due, codes, self.power_w[due], good, at_ns, at_ns, "t"))

    async def beat(self) -> None:
        """Do as the server does at a beat: pools first, then program events."""
        await self.cycle.beat(self.clock.ns)
        await self.events()
        rows, pool = self.pool.rows, self.pool
        by_event = tracking.moved_by_program(self.state, rows, self.clock.ns)
        self.counts = by_event | tracking.counted_rows(self.state, rows, pool.share_w, self.clock.ns)

    async def events(self) -> None:
        await self.desk.flush()
        counted = self.tallies.count(self.state, self.clock.ns)
        entries = events.due(self.state, self.clock.ns, self.tallies.shown)
        await self.desk.commit([*counted, *entries])
        if entries:
            self.tallies.note(self.state, self.clock.ns)
            await self.cycle.hand_over(self.clock.ns)
            await self.desk.settle()

    async def until(self, minute: float) -> None:
        """Let time pass until so many minutes after `HOUR`."""
        edges = {e for event in self.state.events.values() for e in (event.start_ns, event.end_ns)}
        while self.clock.ns < HOUR + minute * MINUTE_NS:
            if self.wakes or self.clock.ns % MINUTE_NS == 0 or self.clock.ns in edges:
                self.wakes = False
                await self.beat()
                await self.desk.flush()
            target_w, low_w, _ = self._orders()
            half_w = -0.5 * self.state.fleet.max_absorb_w
            self.told.append(np.isfinite(target_w))
            self.counting.append(self.counts)
            self.held_off.append(np.where(np.isfinite(target_w), target_w > half_w, low_w > half_w))
            self.power_w, self.own_w = self.rig.step(*self._orders()), self.twin.step(*self._free())
            self.powers_w.append(self.power_w)
            self.owns_w.append(self.own_w)
            self.clock.ns += STEP_S * SECOND_NS
            self._read()
        await self.desk.flush()

    def award(self, power_w: float, start: float = 0, minutes: float = 60, name: str = "a") -> None:
        """Owe so much from a minute on."""
        start_ns, end_ns = HOUR + int(start * MINUTE_NS), HOUR + int((start + minutes) * MINUTE_NS)
        self.state.offers["o" + name] = Offer(
            "o" + name, "pool-1", "ENERGY", start_ns, end_ns, (Segment(power_w, 50.0),)
        )
        self.state.awards[name] = Award(name, "o" + name, "pool-1", "ENERGY", start_ns, end_ns, power_w, 50.0)

    async def event(self, power_w: float, start: float = 0, minutes: float = 60, group: str = "pool-1") -> str:
        """Have two people call an event from a minute on."""
        wish = ComposeEvent(
            "peak", group, HOUR + int(start * MINUTE_NS), HOUR + int((start + minutes) * MINUTE_NS), float(power_w)
        )
        entries, event = events.decide_compose(self.state, wish, "ada", self.clock.ns)
        await self.desk.commit(entries)
        for to, by in ((EventState.SUBMITTED, "ada"), (EventState.APPROVED, "bo")):
            entries, answer = events.decide_step(self.state, event.id, to, by, self.clock.ns)
            assert entries, answer
            await self.desk.commit(entries)
        return event.id

    async def limit(self, group: str, low_w: float, high_w: float = 1e6, minutes: float = 30) -> None:
        """Have the network's operator limit what a group draws."""
        ask = self.stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=low_w, high=high_w,
                             end_ns=self.clock.ns + int(minutes * MINUTE_NS))  # fmt: skip
        assert isinstance(await self.desk.ask(ask), Granted)

    async def release(self, group: str) -> None:
        await self.desk.withdraw("test:dso", "p", group, Quantity.P, "f")

    # --- what came of it -----------------------------------------------------------------------------------------

    def true_wh(self, rows: slice | np.ndarray = slice(None), since: float = 0, until: float = 60) -> float:
        """What rows gave above what the twin did in minutes after `HOUR` (Wh)."""
        first = (3 * HOUR_NS + int(since * MINUTE_NS)) // (STEP_S * SECOND_NS)
        last = (3 * HOUR_NS + int(until * MINUTE_NS)) // (STEP_S * SECOND_NS)
        gave_w = np.array(self.powers_w[first:last]) - np.array(self.owns_w[first:last])
        return float(gave_w[:, rows].sum()) * STEP_S / 3_600.0

    def true_counted_wh(self) -> float:
        """What rows gave above what the twin did, each while it counts for a pool or an event, in the hour (Wh)."""
        first = 3 * HOUR_NS // (STEP_S * SECOND_NS)
        gave_w = np.array(self.powers_w[first:]) - np.array(self.owns_w[first:])
        counts = np.array(self.counting[first:])
        return float(gave_w[:360][counts[:360]].sum()) * STEP_S / 3_600.0

    def _facts(self, kind: type) -> list:
        return [fact for r in self.stage.journal.records if isinstance(fact := from_record(r), kind)]

    def counted_wh(self, since: float = 0, until: float = 60) -> float:
        """What the pool counts as its own in minutes after `HOUR` (Wh)."""
        first, last = HOUR + int(since * MINUTE_NS), HOUR + int(until * MINUTE_NS)
        mine = [f for f in self._facts(IntervalTracked) if first <= f.start_ns < last]
        return sum(f.delivered_w * (f.end_ns - f.start_ns) / HOUR_NS for f in mine)

    def event_wh(self) -> float:
        """What all events count as theirs (Wh)."""
        return sum(f.delivered_w * (f.end_ns - f.start_ns) / HOUR_NS for f in self._facts(EventTracked))

    def changes(self, *, with_limits: bool = False) -> list[tuple[int, float]]:
        """Each time that a thermostat was called, or let go: its row and after how many seconds in the state before."""
        off = np.array(self.held_off if with_limits else self.told)[:, : self.rig.thermostats]
        found = []
        for row in range(self.rig.thermostats):
            at = np.flatnonzero(np.diff(off[:, row].astype(np.int8))) + 1
            since = 0
            for k in at.tolist():
                found.append((row, (k - since) * float(STEP_S)))
                since = k
        return found
