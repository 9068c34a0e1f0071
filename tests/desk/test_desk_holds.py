"""An assumed hold timer that the meter contradicts holds no more; who never kept it, or is not seen, is held on."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk.cycle import Cycle
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.batch import Readings
from tieline.resource.claim import Quantity
from tieline.resource.hold import HOLD_TIMER
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.times import SECOND_NS

GOOD = Quality(0)


async def seen(stage: Stage1, cycle: Cycle, power_w: float, quality: Quality = GOOD, age_s: int = 0) -> None:
    """Let twenty seconds pass, and the engine tell what it gives."""
    stage.clock.ns += 20 * SECOND_NS
    at = np.array([stage.clock.ns - age_s * SECOND_NS])
    point, bits = np.array([code("power_w")], np.uint16), np.array([int(quality)], np.uint32)
    stage.desk.readings(Readings(np.zeros(1, np.int32), point, np.array([power_w]), bits, at, at, "meter"))
    await cycle.beat(stage.clock.ns)


def holder(stage: Stage1) -> tuple[str | None, float, float]:
    """Who holds the engine, and the most that it is allowed: by the readable version and by columns."""
    told = stage.state.claims.explain(0, stage.clock.ns)
    names = [name for _, _, name in told.limits if name == HOLD_TIMER]
    settled = stage.state.claims.arbitrate(stage.clock.ns, np.zeros(1, np.int32))
    return (names or [None])[0], told.setpoint.bounds.high_w, float(settled.high_w[0])


async def stopped(stage: Stage1, cycle: Cycle, *powers_w: float) -> None:
    """Stop an engine of 5 kW that ran, see what it gives meanwhile, and let it go again."""
    stage.state.fleet.power_w[:] = 5_000.0
    await stage.desk.ask(stage.ask("dso", Level.GRID_EMERGENCY, "r0", value=0.0))
    await stage.desk.settle()
    assert stage.devices.target_w[0] == 0.0
    for power_w in powers_w:
        await seen(stage, cycle, power_w)
    assert holder(stage) == (HOLD_TIMER, 0.0, 0.0)
    await stage.desk.withdraw("test:dso", "p", "r0", Quantity.P, "")
    await stage.desk.settle()
    assert holder(stage) == (HOLD_TIMER, 0.0, 0.0)


def test_an_engine_that_stopped_and_is_seen_running_again_is_held_off_by_its_timer_no_more() -> None:
    stage = Stage1(fleet_of([Kind.CHP, Kind.PV]))
    cycle = Cycle(stage.desk, {})

    async def play() -> None:
        await stopped(stage, cycle, 5_000.0, 40.0)
        await seen(stage, cycle, 4_700.0)
        assert holder(stage) == (None, 5_000.0, 5_000.0)
        low_w, high_w = stage.state.claims.bounds_above(np.zeros(1, np.int32), Level.MARKET, stage.clock.ns)
        assert (low_w[0], high_w[0]) == (0.0, 5_000.0)
        await stage.desk.ask(stage.ask("dso", Level.GRID_EMERGENCY, "r0", value=3_000.0))
        await stage.desk.settle()
        assert stage.devices.target_w[0] == 3_000.0, "and follows whoever calls it"

    asyncio.run(play())
    again, live = stage.replayed(_capacity()), stage.state
    assert again.digest() == live.digest(), "no decision hangs on what was measured"
    for name in ("low_w", "high_w", "until_ns"):
        assert (getattr(again.claims.holds, name) == getattr(live.claims.holds, name)).all()


def _capacity() -> Ledger:
    ledger = Ledger()
    ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
    return ledger


@pytest.mark.parametrize(
    ("before_w", "quality", "age_s"),
    [(5_000.0, GOOD, 0), (40.0, Quality.COMM_LOST, 0), (40.0, GOOD, 600)],
    ids=["it never stopped", "its reading is unfit", "its reading is of before"],
)
def test_an_engine_that_was_not_seen_to_stop_and_run_again_is_held_on(
    before_w: float, quality: Quality, age_s: int
) -> None:
    stage = Stage1(fleet_of([Kind.CHP, Kind.PV]))
    cycle = Cycle(stage.desk, {})

    async def play() -> None:
        await stopped(stage, cycle, before_w)
        await seen(stage, cycle, 4_700.0, quality, age_s)
        assert holder(stage) == (HOLD_TIMER, 0.0, 0.0)

    asyncio.run(play())


def test_a_timer_that_starts_anew_holds_again() -> None:
    stage = Stage1(fleet_of([Kind.CHP, Kind.PV]))
    cycle = Cycle(stage.desk, {})

    async def play() -> None:
        await stopped(stage, cycle, 0.0)
        await seen(stage, cycle, 4_700.0)
        assert holder(stage)[0] is None
        await stage.desk.ask(stage.ask("dso", Level.GRID_EMERGENCY, "r0", value=3_000.0))
        await stage.desk.settle()  # it is started: its least time on begins
        told = stage.state.claims.explain(0, stage.clock.ns)
        assert [(bounds.low_w, bounds.high_w) for _, bounds, name in told.limits if name == HOLD_TIMER] == [
            (250.0, 5_000.0)
        ]

    asyncio.run(play())
