"""What a limit switches off gives all that it drew for the award, from the beat on that tells it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_desk_declares import HOUR

from tieline.desk.cycle import Cycle
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

RATED_W = 5_000.0


class Home(Stage1):
    """A battery that is called and a tank that draws `base_w` uncalled, and was called within the hour."""

    def __init__(self, owed_w: float, base_w: float) -> None:
        super().__init__(fleet_of([Kind.BATTERY, Kind.WATER_HEATER]))
        state = self.state
        state.limiter.system_w = state.limiter.feeder_w[:] = np.inf
        state.base_w[:] = [0.0, base_w]
        state.fleet.energy_available_wh[:] = 20_000.0
        rows = state.fleet.leaves("pool-1")
        self.pool = PoolDesk("pool-1", rows, np.array([1.0, 50.0]), np.ones(2, np.bool_), np.zeros(2))
        self.cycle = Cycle(self.desk, {"pool-1": self.pool})
        state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, owed_w, 50.0)
        state.rebounds_until_ns[1] = HOUR + HOUR_NS
        self.clock.ns = HOUR

    async def beat(self, is_off: bool = False) -> None:
        fleet, told = self.state.fleet, self.devices
        fleet.power_w[:] = [np.nan_to_num(told.target_w[0]), 0.0 if is_off else self.state.base_w[1]]
        fleet.quality[:], fleet.taken_at_ns[:] = 0, self.clock.ns
        await self.cycle.beat(self.clock.ns)
        self.clock.ns += 30 * SECOND_NS


@settings(max_examples=40, deadline=None)
@given(
    base_w=st.floats(1_500.0, 4_900.0), low_w=st.floats(0.0, 4_990.0), owed_w=st.floats(500.0, 4_900.0),
)  # fmt: skip
def test_a_battery_gives_what_is_owed_beside_a_tank_that_a_limit_switches_off_from_that_beat_on(
    base_w: float, low_w: float, owed_w: float
) -> None:
    async def play() -> None:
        stage = Home(owed_w, -base_w)
        for _ in range(2):
            await stage.beat()
        assert stage.pool.share_w.tolist() == pytest.approx([owed_w, 0.0], abs=1.0)
        limit = stage.ask("dso", Level.ENVELOPE, "r1", ClaimKind.LIMIT, low=-low_w, high=9e9, end_ns=HOUR + HOUR_NS)
        stage.cycle.because((await stage.desk.ask(limit)).claim)
        for is_off in (False, True, True):
            await stage.beat(is_off)
            gives_w = float(stage.pool.share_w[0]) + base_w
            assert gives_w <= max(owed_w, base_w) * 1.01 + 51.0, "it is counted a poll before its meter tells"
            assert gives_w >= owed_w * 0.99 - 51.0

    asyncio.run(play())
