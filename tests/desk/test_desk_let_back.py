"""A store that nobody calls is let back to rest by the limit of its feeder, whatever it did as that came."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk import groups
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

COUNT, FORCED_W = 20, 4_000.0
GIVES, DRAWS_LITTLE = (FORCED_W, 5_000.0), (-10_000.0, 60_000.0)


async def step(stage: Stage1) -> float:
    """Move the caps, tell the devices, let them follow, and return what the first gives."""
    await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
    await stage.desk.settle()
    told = stage.devices
    stage.state.fleet.power_w[:] = np.clip(np.nan_to_num(told.target_w), told.low_w, told.high_w)
    stage.clock.ns += 15 * SECOND_NS
    stage.state.fleet.taken_at_ns[:] = stage.clock.ns
    return float(stage.state.fleet.power_w[0])


async def limit(stage: Stage1, level: Level, resource: str, ends: tuple[float, float]) -> None:
    end_ns = stage.clock.ns + 2 * HOUR_NS
    who = "operator" if level is Level.GRID_EMERGENCY else "dso"
    ask = stage.ask(
        who, level, resource, ClaimKind.LIMIT, low=ends[0], high=ends[1], people=("ada", "bo"), end_ns=end_ns
    )
    await stage.desk.ask(ask)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_battery_that_was_forced_and_let_go_rests_while_its_feeder_has_room(
    is_first: bool,
) -> None:
    """Twenty of 5 kW on a feeder that may draw little; one is forced before that, or under it.

    What it does by itself was learnt while it was forced once before, as its meter lagged behind its release.
    """

    async def play() -> tuple[float, float]:
        stage = Stage1(fleet_of([Kind.BATTERY] * COUNT))
        stage.state.limiter.system_w = stage.state.limiter.feeder_w[:] = np.inf
        stage.state.fleet.energy_available_wh[:] = 5_000.0
        stage.state.base_w[0] = 0.75 * FORCED_W
        limits = [(Level.GRID_EMERGENCY, "r0", GIVES), (Level.ENVELOPE, "feeder-1", DRAWS_LITTLE)]
        for each in limits if is_first else limits[::-1]:
            await limit(stage, *each)
            for _ in range(4):
                forced_w = await step(stage)
        await stage.desk.withdraw("test:operator", "p", "r0", Quantity.P, "f")
        for _ in range(8):
            left_w = await step(stage)
        return forced_w, left_w

    forced_w, left_w = asyncio.run(play())
    assert forced_w >= FORCED_W
    assert left_w == pytest.approx(0.0, abs=1.0)
