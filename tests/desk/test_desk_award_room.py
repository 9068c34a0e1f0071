"""Under an upper limit an award gets the room beside what the sun gives there, and the rest from elsewhere."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.event_split import shares
from tieline.desk.facts import IntervalTracked, PositionChanged, from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.desk.tracking import counted_w as counted
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
BATTERIES, PV = np.array([0, 1, 2, 4, 5, 6]), 3


class Feeders:
    """Three batteries and a plant on feeder-1, three batteries and a load at rest on feeder-2, one award on all."""

    def __init__(self, award_w: float, sun_w: float, tells_sun: bool = False, batteries: int = 6) -> None:
        kinds = [Kind.BATTERY] * 3 + [Kind.PV] + [Kind.BATTERY] * (batteries - 3) + [Kind.INTERRUPTIBLE_LOAD]
        self.stage, self.sun_w, self.tells_sun = Stage1(fleet_of(kinds, 4)), sun_w, tells_sun
        count, state = len(kinds), self.stage.state
        self.pool = PoolDesk(
            "pool-1", np.arange(count, dtype=np.int32), np.zeros(count), np.ones(count, np.bool_), np.zeros(count)
        )
        self.desk = Desk(state, self.stage.journal, self.stage.clock, PEOPLE, on_change=self._changed)
        self.stage.desk = self.stage.devices.desk = self.desk
        self.desk.bind(self.stage.devices, "test", {row: state.fleet.id_of(row) for row in range(count)})
        self.cycle = Cycle(self.desk, {"pool-1": self.pool})
        if award_w:
            state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, award_w, 50.0)
        state.base_w[PV] = sun_w
        state.fleet.energy_available_wh[:] = np.where(state.fleet.energy_wh > 0, 10_000.0, np.nan)
        self.stage.clock.ns = HOUR
        self.obey()

    def _changed(self, cause: str) -> None:
        self.cycle.because(cause)

    def obey(self) -> None:
        """Have all devices do as they were told, and tell it."""
        fleet, devices = self.stage.state.fleet, self.stage.devices
        by_itself_w = np.zeros(len(fleet))
        by_itself_w[PV] = self.sun_w
        wish_w = np.where(np.isnan(devices.target_w), by_itself_w, devices.target_w)
        fleet.power_w[:] = np.clip(wish_w, devices.low_w, devices.high_w)
        rises_w = np.where(fleet.energy_wh > 0, fleet.max_inject_w - fleet.power_w, 0.0)
        rises_w[PV] = self.sun_w - fleet.power_w[PV] if self.tells_sun else 0.0
        fleet.column("available_up_w")[:] = np.maximum(rises_w, 0.0)
        fleet.column("available_down_w")[:] = fleet.power_w + fleet.max_absorb_w
        fleet.taken_at_ns[:] = self.stage.clock.ns

    async def beat(self, minutes: float) -> None:
        """Let so many minutes pass, by a beat."""
        self.stage.clock.ns += round(minutes * MINUTE_NS)
        self.obey()
        await self.cycle.beat(self.stage.clock.ns)
        await self.desk.flush()
        self.obey()

    async def limit(self, high_w: float, low_w: float = -1e6) -> str:
        """Have the network's operator limit what feeder-1 gives, and what it draws."""
        ask = self.stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, high=high_w,
                             end_ns=HOUR + HOUR_NS)  # fmt: skip
        claim = (await self.desk.ask(ask)).claim
        await self.desk.settle()
        return str(claim)

    @property
    def gained_w(self) -> float:
        """What the pool gives above what it would uncalled."""
        return float(self.stage.state.fleet.power_w.sum()) - self.sun_w

    def facts(self, kind: type) -> list[object]:
        """The facts of a kind in the journal."""
        return [fact for r in self.stage.journal.records if isinstance(fact := from_record(r), kind)]


@pytest.mark.parametrize("tells_sun", [False, True])
@pytest.mark.parametrize("low_w", [-1e6, -8_000.0])
def test_what_a_limit_leaves_beside_the_sun_is_given_there_and_the_rest_elsewhere_at_once(
    tells_sun: bool, low_w: float
) -> None:
    """12 kW by six batteries, till feeder-1, whose plant gives 3 kW, may give 3.5: feeder-2 has 3 kW each to spare."""

    async def play() -> None:
        it = Feeders(12_000.0, 3_000.0, tells_sun)
        await it.beat(1 / 60)
        await it.beat(1.0)
        assert it.gained_w == pytest.approx(12_000.0)
        before_w = it.pool.available[0]
        claim = await it.limit(3_500.0, low_w)
        await it.beat(1 / 60)
        for _ in range(9):
            power_w = it.stage.state.fleet.power_w
            assert power_w[:4].sum() <= 3_500.0
            assert power_w[PV] >= 0.99 * 3_000.0, "nobody that is called takes the sun's room"
            assert (power_w[BATTERIES] >= -1.0).all(), "nor is pressed to charge beside others that give"
            assert it.gained_w == pytest.approx(12_000.0, rel=0.01)
            await it.beat(1.0)
        moved = it.facts(PositionChanged)
        assert moved[0].cause == claim
        assert set(moved[0].substitutes) == {"r4", "r5", "r6"}
        assert it.pool.available[0] < before_w - 14_000.0, "the market is told what is left of feeder-1"

    asyncio.run(play())


def test_what_is_counted_is_what_the_pool_gains_and_what_lacks_by_a_limit_is_put_to_it() -> None:
    """30 kW are asked, which six batteries can give until feeder-1 may give 500 W more than its plant."""

    async def play() -> None:
        it = Feeders(30_000.0, 3_000.0)
        await it.beat(1 / 60)
        await it.limit(3_500.0)
        await it.beat(1 / 60)
        gained_w = []
        for _ in range(11):
            await it.beat(1.0)
            gained_w.append(it.gained_w)
        tracked = it.facts(IntervalTracked)
        assert tracked[1].delivered_w == pytest.approx(float(np.mean(gained_w[4:9])), abs=30.0)
        assert 15_000.0 < tracked[1].delivered_w <= 15_500.0
        lacking_w = 30_000.0 - tracked[1].delivered_w
        assert tracked[1].causes == pytest.approx({"dno_limit": lacking_w}, abs=1.0)

    asyncio.run(play())


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 5_000.0), st.floats(0.0, 12_000.0), st.floats(500.0, 30_000.0), st.booleans())
def test_whatever_the_sun_the_limit_and_the_award_no_more_is_counted_than_the_pool_gains(
    sun_w: float, limit_w: float, award_w: float, tells_sun: bool
) -> None:
    """By what all devices give above what they would uncalled under the same limit, but for what moves no caps."""

    async def play() -> None:
        it = Feeders(award_w, sun_w, tells_sun)
        fleet, pool = it.stage.state.fleet, it.pool
        await it.beat(1 / 60)
        await it.beat(1.0)
        await it.limit(limit_w)
        await it.beat(1 / 60)
        for _ in range(5):
            await it.beat(1.0)
            assert fleet.power_w[:4].sum() <= limit_w + 1.0
        counted_w = float(counted(it.stage.state, pool.rows, pool.share_w, 1.0, it.stage.clock.ns).sum())
        uncalled_w = min(sun_w, 0.99 * limit_w)
        assert counted_w <= float(fleet.power_w.sum()) - uncalled_w + 0.05 * limit_w + 176.0
        takes_w = float(np.minimum(fleet.power_w[:3], 0.0).sum())  # what the limit has stores take counts against it
        asked_w = min(award_w, 15_000.0 + max(0.99 * limit_w - sun_w, 0.0))
        assert asked_w + takes_w - 200.0 <= counted_w <= asked_w + 200.0

    asyncio.run(play())


def test_an_event_calls_no_store_for_more_than_a_limit_leaves_beside_the_sun() -> None:
    """Feeder-1 may give 500 W more than its plant, then less than that: nobody there can give an event anything."""

    async def play() -> None:
        it = Feeders(0.0, 3_000.0)
        await it.limit(3_500.0)
        await it.beat(1 / 60)
        found = shares(it.stage.state, "feeder-1", 9_000.0, it.stage.clock.ns)
        assert 100.0 < found.most_w <= 500.0
        await it.limit(2_000.0)
        for _ in range(12):
            await it.beat(1.0)
        found = shares(it.stage.state, "feeder-1", 9_000.0, it.stage.clock.ns)
        assert (len(found.rows), found.most_w) == (0, 0.0)
        assert found.limited >= 3

    asyncio.run(play())


def test_a_plant_that_gets_more_sun_has_its_room_back_from_those_that_are_called() -> None:
    """It gives 1 kW as the limit comes, and 3 kW later; its meter tells no more than it gives."""

    async def play() -> None:
        it = Feeders(30_000.0, 3_000.0)
        it.sun_w = 1_000.0
        await it.beat(1 / 60)
        await it.limit(3_500.0)
        for _ in range(6):
            await it.beat(1.0)
        assert 1_900.0 <= it.stage.state.fleet.power_w[:3].sum() <= 2_500.0
        it.sun_w = 3_000.0
        for _ in range(6):
            await it.beat(1.0)
            assert it.stage.state.fleet.power_w[:4].sum() <= 3_500.0 + 1.0
        assert it.stage.state.fleet.power_w[PV] > 0.95 * 3_000.0, "but for what is too little to move caps"

    asyncio.run(play())
