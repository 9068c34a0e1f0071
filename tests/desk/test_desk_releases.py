"""When limits end together an award is met again at once, no further, and nobody is blamed for what held him back."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from test_desk_declares import HOUR, Pool

from tieline.desk.cycle import Cycle
from tieline.desk.dispatch import next_room_ns
from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS

COUNT, RATED_W, OWED_W = 40, 5_000.0, 180_000.0
FEEDERS = ("feeder-1", "feeder-2", "feeder-3")


class Feeders(Stage1):
    """Forty devices of one kind on four feeders, that do as they are told within the minute, and owe 180 of 200 kW."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(fleet_of([kind] * COUNT, per_feeder=COUNT // 4))
        self.is_store = kind is Kind.BATTERY
        self.state.base_w[:] = 0.0 if self.is_store else -RATED_W
        self.state.fleet.energy_available_wh[:] = 1e6
        rows = self.state.fleet.leaves("pool-1")
        self.pool = PoolDesk("pool-1", rows, np.zeros(COUNT), np.ones(COUNT, np.bool_), np.zeros(COUNT))
        self.cycle = Cycle(self.desk, {"pool-1": self.pool})
        self.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, OWED_W, 50.0)
        self.clock.ns = HOUR

    async def beat(self, then_ns: int = MINUTE_NS) -> float:
        """Let devices follow, beat, and return what they gave above their base."""
        fleet, told = self.state.fleet, self.devices
        goal_w = np.where(np.isnan(told.target_w), self.state.base_w, told.target_w)
        lives = told.until_ns > self.clock.ns
        fleet.power_w[:] = np.where(lives, np.clip(goal_w, told.low_w, told.high_w), self.state.base_w)
        fleet.quality[:], fleet.taken_at_ns[:] = 0, self.clock.ns
        await self.cycle.beat(self.clock.ns)
        self.clock.ns += then_ns
        return float((fleet.power_w - self.state.base_w).sum())

    async def limit(self) -> None:
        ends = {"low": -1e6, "high": 0.0} if self.is_store else {"low": -1e6, "high": -COUNT / 4 * RATED_W}
        for feeder in FEEDERS:
            ask = self.ask("dso", Level.ENVELOPE, feeder, ClaimKind.LIMIT, end_ns=self.clock.ns + HOUR_NS, **ends)
            self.cycle.because((await self.desk.ask(ask)).claim)

    async def release(self) -> None:
        for feeder in FEEDERS:
            await self.desk.withdraw("test:dso", "p", feeder, Quantity.P, "f")
        self.cycle.because("released")


@pytest.mark.parametrize("kind", [Kind.BATTERY, Kind.INTERRUPTIBLE_LOAD])
def test_when_three_limits_end_together_the_award_is_met_again_within_two_minutes_and_not_exceeded(kind: Kind) -> None:
    async def play() -> tuple[float, list[float]]:
        stage = Feeders(kind)
        for _ in range(4):
            await stage.beat()
        await stage.limit()
        for _ in range(9):
            limited_w = await stage.beat()
        await stage.release()
        await stage.beat()
        await stage.beat()
        return limited_w, [await stage.beat() for _ in range(16)]

    limited_w, after_w = asyncio.run(play())
    assert limited_w <= 0.3 * OWED_W
    assert min(after_w) >= 0.98 * OWED_W
    assert max(after_w) <= 1.02 * OWED_W, "what lacked as nobody could give it is not asked of anybody later"


def test_who_is_held_back_by_the_fleet_limiter_was_not_told_and_misses_nothing() -> None:
    """Loads that stop move all of their rating, and half of all ratings may move in a minute."""

    async def play() -> None:
        stage = Feeders(Kind.INTERRUPTIBLE_LOAD)
        stage.state.commands.at_ns[:] = HOUR - HOUR_NS  # as they answered their last command an hour ago
        await stage.beat()
        waits = stage.state.held_ns > 0
        assert 0 < waits.sum() < COUNT
        assert next_room_ns(stage.state, stage.clock.ns - 1) == HOUR + MINUTE_NS, "and nobody waits for longer"
        await stage.beat()
        assert not (stage.state.missed_until_ns > 0).any()
        await stage.beat()
        assert stage.pool.share_w.sum() == pytest.approx(OWED_W)
        facts = [from_record(record) for record in stage.journal.records]
        assert not [fact for fact in facts if isinstance(fact, IntervalTracked) and "unresponsive" in fact.causes]
        stage.clock.ns += 5 * MINUTE_NS
        assert next_room_ns(stage.state, stage.clock.ns) == FOREVER_NS

    asyncio.run(play())


def test_what_devices_give_that_wait_for_their_turn_to_come_back_is_not_asked_of_others_as_well() -> None:
    """Two of ten gave 4 kW each for the award, were let go, and keep that until their turn; 20 kW are owed."""

    async def play() -> tuple[list[float], list[float]]:
        stage, asked, waits = Pool(), [], []
        stage.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 20_000.0, 50.0)
        stage.pool.price[8:] = 1.0
        for staged in (False, True, True, False):
            stage.heard()
            stage.state.rebounds_until_ns[8:] = stage.clock.ns + HOUR_NS
            stage.state.release_at_ns[8:] = stage.clock.ns + MINUTE_NS if staged else 0
            stage.state.fleet.power_w[8:] = 4_000.0 if staged else 0.0
            await stage.cycle.beat(stage.clock.ns)
            asked.append(float(stage.pool.share_w[:8].sum()))
            waits.append(float(stage.pool.share_w[8:].sum()))
            stage.clock.ns += 30 * SECOND_NS
        return asked, waits

    asked, waits = asyncio.run(play())
    assert asked == pytest.approx([20e3, 12e3, 12e3, 20e3])
    assert waits == [0.0] * 4


def test_where_others_can_not_give_it_those_that_wait_are_called_again() -> None:
    async def play() -> float:
        stage = Pool()
        stage.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 48_000.0, 50.0)
        stage.pool.price[8:] = 1.0
        stage.heard()
        stage.state.rebounds_until_ns[8:] = stage.clock.ns + HOUR_NS
        stage.state.release_at_ns[8:] = stage.clock.ns + MINUTE_NS
        stage.state.fleet.power_w[8:] = 1_000.0
        await stage.cycle.beat(stage.clock.ns)
        return float(stage.pool.share_w[8:].sum())

    assert asyncio.run(play()) == pytest.approx(8_000.0)


def test_loads_that_are_called_are_not_let_go_for_what_others_give_that_wait() -> None:
    """Let go they would wait for their turn as well, and give on: batteries make room, that go back at once."""

    async def play() -> tuple[list[float], list[float], list[float]]:
        stage = Stage1(fleet_of([Kind.BATTERY] * 4 + [Kind.WATER_HEATER] * 8))
        state, rows = stage.state, stage.state.fleet.leaves("pool-1")
        state.base_w[4:], state.fleet.energy_available_wh[:] = -RATED_W, 1e6
        price = np.array([0.0] * 4 + [1.0] * 6 + [9.0] * 2)
        pool = PoolDesk("pool-1", rows, price, np.ones(12, np.bool_), np.zeros(12))
        cycle = Cycle(stage.desk, {"pool-1": pool})
        state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 40_000.0, 50.0)
        stage.clock.ns = HOUR
        state.fleet.power_w[:] = state.base_w
        state.fleet.power_w[10:] = 0.0
        state.fleet.quality[:], state.fleet.taken_at_ns[:] = 0, HOUR
        state.rebounds_until_ns[10:], state.release_at_ns[10:] = HOUR + HOUR_NS, HOUR + 10 * MINUTE_NS
        await cycle.beat(HOUR)
        return pool.share_w[:4].tolist(), pool.share_w[4:10].tolist(), pool.share_w[10:].tolist()

    stores, called, waits = asyncio.run(play())
    assert sum(called) == pytest.approx(20_000.0), "the dearer part of what is owed, as without those that wait"
    assert sum(stores) == pytest.approx(10_000.0), "10 kW of the 40 owed are given by the two that wait"
    assert waits == [0.0, 0.0]
