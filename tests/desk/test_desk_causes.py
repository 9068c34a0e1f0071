"""A claim that comes while a beat runs is split by with its cause, whichever of the two is first."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of

from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.facts import IntervalTracked, PositionChanged, from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS


@pytest.mark.parametrize("turns", range(24))
def test_who_steps_in_for_what_a_limit_takes_is_told_however_far_a_beat_has_come(turns: int) -> None:
    """Two on feeder-1 give what is owed until it is held to 0; the record of the limit names the two that step in."""
    stage = Stage1(fleet_of([Kind.BATTERY] * 10, 5))
    pool = PoolDesk("pool-1", np.arange(10, dtype=np.int32), np.zeros(10), np.ones(10, np.bool_), np.zeros(10))
    stage.desk = Desk(stage.state, stage.journal, stage.clock, PEOPLE, on_change=lambda cause: cycle.because(cause))
    stage.desk.bind(stage.devices, "test", {row: stage.state.fleet.id_of(row) for row in range(10)})
    cycle = Cycle(stage.desk, {"pool-1": pool})
    stage.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 6_000.0, 50.0)

    stage.state.fleet.column("available_up_w")[:] = 5_000.0
    stage.state.fleet.energy_available_wh[:] = 10_000.0

    async def step(seconds: float) -> None:
        stage.clock.ns += round(seconds * SECOND_NS)
        stage.state.fleet.taken_at_ns[:] = stage.clock.ns
        await cycle.beat(stage.clock.ns)

    async def limit() -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        ask = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-1e6, high=0.0)
        return (await stage.desk.ask(ask)).claim

    async def play() -> str:
        stage.clock.ns = HOUR
        await step(1.0)
        _, claim = await asyncio.gather(step(1.0), limit())
        await step(1.0)
        return claim

    claim = asyncio.run(play())
    facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), PositionChanged)]
    assert [fact.cause for fact in facts] == [claim]
    assert set(facts[0].substitutes) == {"r5", "r6"}


def test_a_limit_that_its_authority_renews_as_an_interval_ends_is_named_for_what_it_took_in_it() -> None:
    """Ten of 5 kW, all on one feeder that is held to 20 kW; asked for 40, the limit alone is in the way."""
    stage = Stage1(fleet_of([Kind.BATTERY] * 10, 10))
    pool = PoolDesk("pool-1", np.arange(10, dtype=np.int32), np.zeros(10), np.ones(10, np.bool_), np.zeros(10))
    stage.desk = Desk(stage.state, stage.journal, stage.clock, PEOPLE)
    stage.desk.bind(stage.devices, "test", {row: stage.state.fleet.id_of(row) for row in range(10)})
    cycle = Cycle(stage.desk, {"pool-1": pool})
    stage.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 40_000.0, 50.0)
    stage.state.fleet.column("available_up_w")[:] = 5_000.0
    stage.state.fleet.energy_available_wh[:] = 10_000.0

    async def renew() -> None:
        ask = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-1e6, high=20_000.0)
        assert (await stage.desk.ask(ask)).claim

    async def play() -> None:
        stage.clock.ns = HOUR - MINUTE_NS
        for minute in range(13):
            if minute % 5 == 1:  # at each mark of five minutes, before the beat that closes the interval
                await renew()
            stage.state.fleet.power_w[:] = np.nan_to_num(stage.state.commands.target_w)
            stage.state.fleet.taken_at_ns[:] = stage.clock.ns
            await cycle.beat(stage.clock.ns)
            stage.clock.ns += MINUTE_NS

    asyncio.run(play())
    facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked)]
    assert len(facts) == 2
    for fact in facts:
        assert fact.causes.get("dno_limit", 0.0) >= 0.9 * sum(fact.causes.values()) > 10_000.0, fact.causes
    # What the ISO takes back because less was declared is put to these, ten minutes later.
    assert [lost["dno_limit"] for lost in pool.lost] == pytest.approx([30_000.0] * 2, abs=300.0)
