"""What is known to have taken a watt is named; `unavailable` is left for what devices did not have."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from programs_stage import START, Programs
from test_desk_declares import HOUR, Pool
from test_desk_releases import OWED_W, Feeders

from tieline.desk import events
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import EventTracked, IntervalTracked, from_record
from tieline.desk.ports import Award, Instruction
from tieline.desk.redispatch import lost_headroom
from tieline.market.settlement import shortfall_causes
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS


def test_what_the_fleet_limiter_held_back_is_put_to_it_and_not_to_the_devices() -> None:
    """Half of 200 kW may move in the first minute; 180 are owed."""

    async def play() -> IntervalTracked:
        stage = Feeders(Kind.INTERRUPTIBLE_LOAD)
        for _ in range(7):
            await stage.beat()
        return next(fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked))

    fact = asyncio.run(play())
    assert fact.causes["paced"] == pytest.approx((OWED_W - 100_000.0) / 5.0, rel=0.01)
    assert "unavailable" not in fact.causes
    assert "underperformed" not in fact.causes
    assert not shortfall_causes()["paced"].excused


def test_what_an_owner_keeps_in_a_store_is_the_owners_limit() -> None:
    async def play() -> dict[str, float]:
        stage = Pool()
        stage.heard(energy_wh=5_000.0)
        keeps = stage.ask("owner", Level.OWNER_NEED, "r0", ClaimKind.LIMIT, quantity=Quantity.SOC_RESERVE, low=0.5)
        await stage.desk.ask(keeps)
        rows = stage.pool.rows
        return lost_headroom(stage.state, rows, np.ones(len(rows), np.bool_), 1.0, 1 / 12, stage.clock.ns)

    assert asyncio.run(play()) == pytest.approx(
        {"dno_limit": 0.0, "own_limit": 5_000.0, "opt_out": 0.0, "offline": 0.0, "unresponsive": 0.0}
    )


def test_what_an_event_lacks_as_the_market_had_its_devices_before_is_outranked() -> None:
    async def play() -> EventTracked:
        stage, tallies = Programs(), EventTallies()
        await stage.approved(20_000.0)
        stage.clock.ns = START
        await stage.desk.ask(stage.ask("market", Level.MARKET, "pool-1", value=50_000.0, end_ns=START + HOUR_NS))
        for _ in range(7):
            await stage.desk.commit(tallies.count(stage.state, stage.clock.ns))
            await stage.desk.commit(events.due(stage.state, stage.clock.ns))
            await stage.desk.settle()
            stage.clock.ns += MINUTE_NS
        return next(fact for r in stage.journal.records if isinstance(fact := from_record(r), EventTracked))

    fact = asyncio.run(play())
    assert fact.causes == pytest.approx({"outranked": 20_000.0})


async def paid_back(stage: Pool, each_w: float) -> list[IntervalTracked]:
    """Play twelve minutes in which the last two rows pay back a call, and return what was tracked."""
    state = stage.state
    stage.pool.eligible[8:] = False
    for _ in range(12):
        stage.heard()
        state.rebounds_until_ns[8:] = stage.clock.ns + HOUR_NS
        state.base_w[8:], state.fleet.power_w[8:] = 0.0, -each_w
        await stage.cycle.beat(stage.clock.ns)
        stage.clock.ns += MINUTE_NS
    return [fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked)]


def test_what_was_declared_less_as_loads_paid_back_is_withheld_by_the_rebound() -> None:
    """Eight can give 40 kW; two pay back 4 kW together: 36 are declared, and the ISO calls those of 40."""

    async def play() -> dict[str, float]:
        stage = Pool()
        state = stage.state
        state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 40_000.0, 50.0)
        call = Instruction("i", "b", "pool-1", "ENERGY", HOUR, HOUR + 10 * MINUTE_NS, 36_000.0, 50.0, 1)
        state.instructions["pool-1", "ENERGY"] = {HOUR: call}
        state.declared["pool-1"] = ((HOUR - HOUR_NS, (36_000.0, 0.0)),)
        return (await paid_back(stage, 2_000.0))[1].withheld

    assert asyncio.run(play()) == pytest.approx({"rebound": 4_000.0})


def test_what_rows_gave_adds_up_to_what_was_delivered_however_little_each_gave() -> None:
    """Two rows that pay back a call take 0.9 W each, which makes 1.8 W together."""

    async def play() -> list[IntervalTracked]:
        stage = Pool()
        stage.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 20_000.0, 50.0)
        return await paid_back(stage, 0.9)

    facts = asyncio.run(play())
    assert facts
    for fact in facts:
        assert float(fact.row_w.array().sum()) == pytest.approx(fact.delivered_w, abs=1e-3)
