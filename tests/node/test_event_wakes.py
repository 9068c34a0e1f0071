"""A program event begins and ends at its own second, not at the next mark of the minute."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.facts import EventChanged, from_record
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.stage import raise_stage, scenario
from tieline.node.stage_web import stage_sources
from tieline.node.timing import living
from tieline.resource.claim import Refusal
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, run_virtual
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS


@pytest.mark.parametrize("second", [1, 13, 30, 44])
def test_an_event_begins_and_ends_within_a_second_of_its_time_wherever_in_the_minute_that_lies(
    tmp_path: Path, second: int
) -> None:
    what = scenario("cloud")
    when = living(date.fromisoformat(what.day), 2 * HOUR_NS)
    late_ns: dict[str, int] = {}
    told: list[int] = []

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(what, 40, 1, clock, supervisor, tmp_path)
            operator = NodeOperator(stage.node, NodeReader(stage.node, stage_sources(stage)))
            stage.node.start()
            await asyncio.sleep(300)
            start_ns = clock.now_ns() // MINUTE_NS * MINUTE_NS + 3 * MINUTE_NS + second * SECOND_NS
            end_ns = start_ns + 5 * MINUTE_NS
            pool = stage.node.state.fleet.groups[0].id
            made = await operator.compose(ComposeEvent("summer", pool, start_ns, end_ns, 2e4), "ann")
            assert not isinstance(made, Refusal), str(made)
            for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
                assert not isinstance(await operator.advance(made.id, to.value, by), Refusal)
            await asyncio.sleep((start_ns - clock.now_ns()) / SECOND_NS + 1)
            for record in stage.node.journal.of_kind("CommandsIssued"):
                if start_ns <= record.recorded_at_ns <= start_ns + SECOND_NS:
                    told.append(record.recorded_at_ns)
            await asyncio.sleep((end_ns - clock.now_ns()) / SECOND_NS + 90)
            await stage.node.group.drained()
            for record in stage.node.journal.of_kind("EventChanged"):
                fact = from_record(record)
                assert isinstance(fact, EventChanged)
                due_ns = {EventState.IN_PROGRESS.value: start_ns, EventState.COMPLETED.value: end_ns}.get(fact.state)
                if due_ns is not None:
                    late_ns[fact.state] = record.recorded_at_ns - due_ns

    run_virtual(main)
    assert set(late_ns) == {EventState.IN_PROGRESS.value, EventState.COMPLETED.value}
    assert all(0 <= late <= SECOND_NS for late in late_ns.values()), late_ns
    assert told, "nobody was told anything in the second in which it began"
