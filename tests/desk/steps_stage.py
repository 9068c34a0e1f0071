"""A pool of houses, loads, cars and stores whose award is called in steps; what it gives is read at its devices."""

from __future__ import annotations

import numpy as np
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of

from tieline.desk.award_plan import asked, follow, planned
from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, DispatchBatch, Instruction, Offer, Segment
from tieline.fleet.columns import KIND_CODE
from tieline.plan.executor import Here
from tieline.pool.merit import merit_price
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

BEGINS_NS = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
KINDS = [
    *[Kind.THERMOSTAT] * 70, *[Kind.WATER_HEATER] * 40, *[Kind.EV_CHARGER] * 2, *[Kind.INTERRUPTIBLE_LOAD] * 2,
    *[Kind.BATTERY] * 16,
]  # fmt: skip
COUNT, FEEDERS = len(KINDS), 4
AWARD_W = 60_000.0
"""All that runs and is stored could give three times as much."""
SIZE_W = {
    Kind.THERMOSTAT: 1_500.0, Kind.WATER_HEATER: 1_000.0, Kind.EV_CHARGER: 4_000.0, Kind.INTERRUPTIBLE_LOAD: 5_000.0,
    Kind.BATTERY: 0.0,
}  # fmt: skip
STORED_WH, HOURS = 5_000.0, 4
"""Stores alone could not give what is awarded to the end: others are called beside them."""
BEAT_S, TICK_S = 60, 10


class Steps:
    """Hours of awards, in ticks of ten seconds; every load would run all the time if nobody called it."""

    def __init__(self, seed: int, *, by_schedule: bool) -> None:
        self.rng, self.by_schedule = np.random.default_rng([seed, 61]), by_schedule
        kinds = [KINDS[at] for at in self.rng.permutation(COUNT)]
        fleet = fleet_of(kinds, -(-COUNT // FEEDERS))
        self.stores = np.array([kind is Kind.BATTERY for kind in kinds])
        part = self.rng.uniform(0.7, 1.3, COUNT)
        self.free_w = -np.array([SIZE_W[kind] for kind in kinds]) * part
        fleet.max_absorb_w[:] = np.where(self.stores, 5_000.0, -self.free_w)
        fleet.energy_wh[:] = np.where(self.stores, 13_500.0, 0.0)
        self.stage = Stage1(fleet)
        self.state, self.devices, self.clock = self.stage.state, self.stage.devices, self.stage.clock
        slow = [KIND_CODE[Kind.THERMOSTAT], KIND_CODE[Kind.WATER_HEATER]]
        self.switched = np.isin(fleet.kinds, slow)
        self.state.is_switched |= self.switched
        self.pool = PoolDesk(
            "pool-1", np.arange(COUNT, dtype=np.int32), merit_price(fleet.kinds), np.ones(COUNT, np.bool_),
            np.zeros(COUNT), is_scheduled=by_schedule,
        )  # fmt: skip
        self.desk = Desk(self.state, self.stage.journal, self.clock, PEOPLE, on_change=self._changed)
        self.devices.desk = self.desk
        self.desk.bind(self.devices, "test", {row: self.state.fleet.id_of(row) for row in range(COUNT)})
        self.cycle, self.wakes, self.batch = Cycle(self.desk, {"pool-1": self.pool}), False, 0
        self.power_w, self.energy_wh = self.free_w.copy(), np.where(self.stores, STORED_WH, 0.0)
        self.gave: list[tuple[int, float]] = []
        """When, and what devices gave then above what they do uncalled (W)."""
        self.shares: dict[int, np.ndarray] = {}
        """What each was asked for from each tick on (W)."""
        for hour in range(HOURS):
            start_ns, end_ns = BEGINS_NS + hour * HOUR_NS, BEGINS_NS + (hour + 1) * HOUR_NS
            offer = Offer(f"o{hour}", "pool-1", "ENERGY", start_ns, end_ns, (Segment(AWARD_W, 50.0),))
            watts = float(self.rng.uniform(0.5, 1.0)) * AWARD_W
            self.state.offers[offer.id] = offer
            self.state.awards[f"a{hour}"] = Award(
                f"a{hour}", offer.id, "pool-1", "ENERGY", start_ns, end_ns, watts, 50.0
            )
        self.state.base_w[:] = self.free_w
        self.clock.ns = BEGINS_NS
        self._read()

    def _changed(self, cause: str) -> None:
        self.cycle.because(cause)
        self.wakes = True

    def _obey(self) -> None:
        told = self.devices
        alive = told.until_ns > self.clock.ns
        wish_w = np.where(alive & np.isfinite(told.target_w), told.target_w, self.free_w)
        is_off = self.switched & (wish_w > 0.5 * self.free_w)
        wish_w = np.where(self.switched, np.where(is_off, 0.0, self.free_w), wish_w)
        loads = ~self.stores
        wish_w[loads] = np.clip(wish_w[loads], self.free_w[loads], 0.0)
        self.power_w = np.where(self.stores & (self.energy_wh <= 0.0), 0.0, wish_w)

    def _read(self) -> None:
        fleet = self.state.fleet
        fleet.power_w[:], fleet.taken_at_ns[:] = self.power_w, self.clock.ns
        fleet.energy_available_wh[:] = np.where(self.stores, self.energy_wh, np.nan)
        cars = fleet.kinds == KIND_CODE[Kind.EV_CHARGER]
        fleet.column("available_up_w")[cars] = -fleet.power_w[cars]
        fleet.column("available_down_w")[cars] = (fleet.max_absorb_w + fleet.power_w)[cars]

    async def until(self, minute: float) -> None:
        """Let time pass until so many minutes after the first award began."""
        while self.clock.ns < BEGINS_NS + minute * MINUTE_NS:
            if self.wakes or self.clock.ns % (BEAT_S * SECOND_NS) == 0:
                self.wakes = False
                await self.cycle.beat(self.clock.ns)
                await self.desk.flush()
                if self.by_schedule and (of := asked(self.state, self.pool, self.clock.ns)) is not None:
                    self.wakes |= follow(self.pool, planned(of, Here())[0], self.clock.ns)
            self.shares[self.clock.ns] = self.pool.share_w.copy()
            self._obey()
            self.gave.append((self.clock.ns, float((self.power_w - self.free_w).sum())))
            self.energy_wh -= np.where(self.stores, self.power_w, 0.0) * TICK_S / 3_600.0
            self.clock.ns += TICK_S * SECOND_NS
            self._read()

    async def instruct(self, power_w: float) -> None:
        """Have the market ask so much from now on until the awards are over."""
        self.batch += 1
        name, now_ns, end_ns = str(self.batch), self.clock.ns, BEGINS_NS + HOURS * HOUR_NS
        one = Instruction(f"i{name}", name, "pool-1", "ENERGY", now_ns, end_ns, power_w, 60.0, self.batch)
        answer = await self.desk.dispatch(DispatchBatch(name, now_ns, now_ns, end_ns, (one,), "f"))
        assert answer.accepted == (one.id,), answer

    def asked_w(self, at_ns: int) -> np.ndarray:
        """What each was asked for at a tick (W)."""
        return self.shares[at_ns]

    def mean_w(self, start_ns: int, end_ns: int) -> float:
        """What devices gave on the mean of an interval (W)."""
        return float(np.mean([watts for at_ns, watts in self.gave if start_ns <= at_ns < end_ns]))

    def intervals(self) -> list[IntervalTracked]:
        """What was recorded of each interval."""
        facts = [from_record(record) for record in self.stage.journal.records]
        return [fact for fact in facts if isinstance(fact, IntervalTracked)]
