"""A pool of plants under a sun that rises and clouds, with stores and a load, beside what the sun alone gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of

from tieline.desk import events
from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.event_stack import newest
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, Granted, Offer, Segment
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.fleet.columns import Fleet
from tieline.pool.merit import merit_price
from tieline.resource.batch import Readings
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + 2 * HOUR_NS
"""When calls may begin: devices were read for an hour by then."""
STEP_S = 10
RATED_W = 5_000.0


def suns(feeder_of: np.ndarray, seed: int, minutes: int) -> np.ndarray:
    """What each plant could give every ten seconds (W): a morning's rise, clouds of its feeder, and its own roof.

    A seed without clouds is every third. Clouds come and go within a minute or two, and leave a fifth to two thirds.
    """
    rng = np.random.default_rng([seed, 3])
    plants, feeders = len(feeder_of), int(feeder_of.max()) + 1
    steps = minutes * 60 // STEP_S
    at = np.arange(steps)
    clear = rng.uniform(0.1, 0.3) + rng.uniform(0.2, 0.6) * at / steps
    cloud = np.ones((feeders, steps))
    if seed % 3:
        for feeder in range(feeders):
            begins = 0
            while (begins := begins + int(rng.exponential(90))) < steps:
                lasts, edge = int(rng.uniform(12, 90)), int(rng.uniform(6, 18))
                shape = np.interp(at, [begins, begins + edge, begins + edge + lasts, begins + 2 * edge + lasts],
                                  [1.0, rng.uniform(0.2, 0.65), rng.uniform(0.2, 0.65), 1.0])  # fmt: skip
                cloud[feeder] = np.minimum(cloud[feeder], shape)
                begins += 2 * edge + lasts
    roof = rng.uniform(0.8, 1.1, plants)[:, None] * (1.0 + 0.03 * np.sin(at / rng.uniform(40, 120, plants)[:, None]))
    return np.clip(RATED_W * clear * cloud[feeder_of] * roof, 0.0, RATED_W)


class Sun:
    """Plants, then stores, then loads; each is read at a second of its own within `poll_s`, and obeys at once.

    `tells`: plants' meters say what the sun would let them give beside what they do; else they say that they can't be
    lifted, whatever holds them, as SunSpec's have it. `laid`: lays devices of some kinds out; None: on so many feeders.
    """

    def __init__(
        self, plants: int = 6, stores: int = 2, loads: int = 1, *, seed: int = 1, tells: bool = True, poll_s: int = 30,
        feeders: int = 2, laid: Callable[[list[Kind]], Fleet] | None = None,
    ) -> None:  # fmt: skip
        kinds = [*[Kind.PV] * plants, *[Kind.BATTERY] * stores, *[Kind.INTERRUPTIBLE_LOAD] * loads]
        count = len(kinds)
        per_feeder = -(-count // feeders)
        fleet = laid(kinds) if laid is not None else fleet_of(kinds, per_feeder)
        self.own_w = np.zeros(count)
        self.own_w[plants + stores :] = -2_000.0
        self.plants, self.stores = slice(0, plants), slice(plants, plants + stores)
        self.tells, self.seed = tells, seed
        self.sun_w = suns(np.arange(plants) // per_feeder, seed, 60 + 120)
        self.stage = Stage1(fleet)
        self.state, self.devices, self.clock = self.stage.state, self.stage.devices, self.stage.clock
        fleet.taken_at_ns[:] = 0
        self.second_of = np.random.default_rng([seed, 7]).integers(0, poll_s // STEP_S, count)
        self.poll_steps = poll_s // STEP_S
        self.pool = PoolDesk(
            "pool-1", np.arange(count, dtype=np.int32), merit_price(fleet.kinds), np.ones(count, np.bool_),
            np.zeros(count),
        )  # fmt: skip
        self.desk = Desk(self.state, self.stage.journal, self.clock, PEOPLE, on_change=self._changed)
        self.devices.desk = self.desk
        self.desk.bind(self.devices, "test", {row: fleet.id_of(row) for row in range(count)})
        self.cycle, self.tallies, self.wakes = Cycle(self.desk, {"pool-1": self.pool}), EventTallies(), False
        self.began_ns = HOUR - HOUR_NS
        self.looks: Callable[[], None] = lambda: None
        """Called after each beat."""
        self.clock.ns = self.began_ns
        self.powers_w: list[np.ndarray] = []
        self.read_w, self.seen_w, self.seens_w = np.zeros(plants), np.zeros(plants), list[np.ndarray]()
        self.read_sun_w, self.seen_sun_w, self.risen_w = np.zeros(plants), np.zeros(plants), list[float]()
        self.ceilings_w: list[np.ndarray] = []
        self.bases_w: list[np.ndarray] = []
        self.declared_w: list[tuple[float, float]] = []
        self._obey()

    def _changed(self, cause: str) -> None:
        self.cycle.because(cause)
        self.wakes = True

    @property
    def _at(self) -> int:
        return (self.clock.ns - self.began_ns) // (STEP_S * SECOND_NS)

    def _obey(self) -> None:
        """Have devices do as they are told: a plant gives what the sun lets it, under its ceiling."""
        alive = self.devices.until_ns > self.clock.ns
        target_w = np.where(alive, self.devices.target_w, np.nan)
        low_w, high_w = (
            np.where(alive, told, free) for told, free in ((self.devices.low_w, -np.inf), (self.devices.high_w, np.inf))
        )
        fleet = self.state.fleet
        self.ceiling_w = np.fmin(target_w, high_w)
        power_w = np.clip(np.where(np.isnan(target_w), self.own_w, target_w), low_w, high_w)
        self.power_w = np.clip(power_w, -fleet.max_absorb_w, fleet.max_inject_w)
        sun_w = self.sun_w[:, self._at]
        self.power_w[self.plants] = np.clip(np.minimum(sun_w, self.ceiling_w[self.plants]), 0.0, None)

    def _hold(self) -> None:
        """Tell what stores hold: these are never empty."""
        self.state.fleet.energy_available_wh[self.stores] = 9_000.0

    def _read(self) -> None:
        fleet = self.state.fleet
        due = np.flatnonzero(self.second_of == self._at % self.poll_steps).astype(np.int32)
        if not len(due):
            return
        self._hold()
        plants = due[due < self.plants.stop]
        self.read_w[plants] = self.power_w[plants] - self.sun_w[plants, self._at]
        self.read_sun_w[plants] = self.sun_w[plants, self._at]
        up_w = self.sun_w[plants, self._at] - self.power_w[plants] if self.tells else np.zeros(len(plants))
        rows = np.concatenate([due, plants]).astype(np.int32)
        codes = np.concatenate(
            [np.full(len(due), fleet.power_code), np.full(len(plants), code("available_up_w"))]
        ).astype(np.uint16)
        at_ns = np.full(len(rows), self.clock.ns)
        values = np.concatenate([self.power_w[due], up_w])
        self.desk.readings(Readings(rows, codes, values, np.zeros(len(rows), np.uint32), at_ns, at_ns, "t"))

    async def beat(self) -> None:
        """Do as the server does at a beat: pools first, then program events."""
        self.seen_w, self.seen_sun_w = self.read_w.copy(), self.read_sun_w.copy()
        await self.cycle.beat(self.clock.ns)
        await self.desk.flush()
        counted = self.tallies.count(self.state, self.clock.ns)
        entries = events.due(self.state, self.clock.ns, self.tallies.shown)
        await self.desk.commit([*counted, *entries])
        if entries:
            self.tallies.note(self.state, self.clock.ns)
            await self.cycle.hand_over(self.clock.ns)
            await self.desk.settle()
        self.looks()

    async def until(self, minute: float) -> None:
        """Let time pass until so many minutes after `HOUR`."""
        while self.clock.ns < HOUR + minute * MINUTE_NS:
            if self.wakes or self.clock.ns % MINUTE_NS == 0:
                self.wakes = False
                await self.beat()
                await self.desk.flush()
            self._obey()
            self.powers_w.append(self.power_w)
            self.seens_w.append(self.seen_w)
            self.risen_w.append(float(np.maximum(self.sun_w[:, self._at] - self.seen_sun_w, 0.0).sum()))
            self.ceilings_w.append(self.ceiling_w)
            self.bases_w.append(self.state.base_w.copy())
            self.declared_w.append(self.pool.available)
            self.clock.ns += STEP_S * SECOND_NS
            self._obey()
            self._read()
        await self.desk.flush()

    def award(self, power_w: float, start: float = 0, minutes: float = 60, name: str = "a") -> None:
        """Owe so much from a minute on."""
        start_ns, end_ns = HOUR + int(start * MINUTE_NS), HOUR + int((start + minutes) * MINUTE_NS)
        segments = (Segment(power_w, 50.0),)
        self.state.offers["o" + name] = Offer("o" + name, "pool-1", "ENERGY", start_ns, end_ns, segments)
        self.state.awards[name] = Award(name, "o" + name, "pool-1", "ENERGY", start_ns, end_ns, power_w, 50.0)

    async def limit(self, group: str, high_w: float, low_w: float = -1e6, minutes: float = 30) -> None:
        """Have the network's operator limit what a group gives."""
        ask = self.stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=low_w, high=high_w,
                             end_ns=self.clock.ns + int(minutes * MINUTE_NS))  # fmt: skip
        assert isinstance(await self.desk.ask(ask), Granted)

    async def release(self, group: str) -> None:
        await self.desk.withdraw("test:dso", "p", group, Quantity.P, "f")

    # --- what came of it -----------------------------------------------------------------------------------------

    def _steps(self, since: float, until: float) -> slice:
        return slice(int((60 + since) * 60 / STEP_S), int((60 + until) * 60 / STEP_S))

    def true_wh(self, since: float = 0, until: float = 60) -> float:
        """What plants gave above what the sun alone would have had them give in minutes after `HOUR` (Wh)."""
        over = self._steps(since, until)
        gave_w = np.array(self.powers_w[over])[:, self.plants] - self.sun_w[:, over].T
        return float(gave_w.sum()) * STEP_S / 3_600.0

    def seen_wh(self, since: float = 0, until: float = 60) -> float:
        """What plants gave above their sun by the readings that each beat saw, until the next (Wh)."""
        return float(np.array(self.seens_w[self._steps(since, until)]).sum()) * STEP_S / 3_600.0

    def risen_wh(self, since: float = 0, until: float = 60) -> float:
        """By how much the sun was above what the beat before saw of it: a ceiling stands until the next (Wh)."""
        return float(np.sum(self.risen_w[self._steps(since, until)])) * STEP_S / 3_600.0

    def counted_wh(self, since: float = 0, until: float = 60) -> float:
        """What was counted of plants in intervals that begin in minutes after `HOUR` (Wh)."""
        first, last = HOUR + int(since * MINUTE_NS), HOUR + int(until * MINUTE_NS)
        found = 0.0
        for fact in self.tracked():
            if first <= fact.start_ns < last:
                mine = fact.rows.array() < self.plants.stop
                found += float(fact.row_w.array()[mine].sum()) * (fact.end_ns - fact.start_ns) / HOUR_NS
        return found

    def tracked(self) -> list[IntervalTracked]:
        """The intervals that were counted."""
        return [f for r in self.stage.journal.records if isinstance(f := from_record(r), IntervalTracked)]

    def pinned_w(self, since: float = 0, until: float = 60) -> float:
        """The most that any plant's ceiling lay under its sun, or its rating where one was told (W; 0: none was)."""
        over = self._steps(since, until)
        ceilings_w = np.array(self.ceilings_w[over])[:, self.plants]
        return float(np.where(np.isfinite(ceilings_w), RATED_W - ceilings_w, 0.0).max())

    def base_error(self, since: float = 0, until: float = 60) -> float:
        """How far plants' bases were off what the sun gave, as a share of it."""
        over = self._steps(since, until)
        off_w = np.abs(np.array(self.bases_w[over])[:, self.plants] - self.sun_w[:, over].T)
        return float(off_w.sum() / self.sun_w[:, over].sum())

    # --- program events ------------------------------------------------------------------------------------------

    async def event(self, power_w: float, minutes: float = 60) -> str:
        """Have two people decide an event of the whole pool that begins with `HOUR`; returns its name."""
        wish = ComposeEvent("peak", "pool-1", HOUR, HOUR + int(minutes * MINUTE_NS), power_w)
        entries, event = events.decide_compose(self.state, wish, "ada", self.clock.ns)
        assert isinstance(event, ProgramEvent), event
        await self.desk.commit(entries)
        for to, by in ((EventState.SUBMITTED, "ada"), (EventState.APPROVED, "bo")):
            entries, _ = events.decide_step(self.state, event.id, to, by, self.clock.ns)
            await self.desk.commit(entries)
        return event.id

    def asked_w(self, event: str) -> np.ndarray:
        """The target of each row by an event's claims (W; NaN: it calls it for none)."""
        held, found = newest(self.state, event), np.full(len(self.state.fleet), np.nan)
        if held is not None:
            found[held.rows] = held.value
        return found

    def moved_w(self) -> float:
        """What plants and stores do above what they would uncalled, at this moment (W)."""
        return float((self.power_w[self.plants] - self.sun_w[:, self._at]).sum() + self.power_w[self.stores].sum())
