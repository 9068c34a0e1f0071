"""A program event begins and ends at its own second, not at the next mark of the minute."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from living_stage import live

from tieline.desk.facts import EventChanged, from_record
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.node.operator import NodeOperator
from tieline.node.stage import Stage
from tieline.resource.claim import Refusal
from tieline.simulate.loop import VirtualClock
from tieline.times import MINUTE_NS, SECOND_NS


@pytest.mark.parametrize("second", [1, 13, 30, 44])
def test_an_event_begins_and_ends_within_a_second_of_its_time_wherever_in_the_minute_that_lies(
    tmp_path: Path, second: int
) -> None:
    late_ns: dict[str, int] = {}
    told: list[int] = []

    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        await asyncio.sleep(300)
        start_ns = clock.now_ns() // MINUTE_NS * MINUTE_NS + 3 * MINUTE_NS + second * SECOND_NS
        end_ns = start_ns + 5 * MINUTE_NS
        pool = stage.node.state.fleet.groups[0].id
        made = await operator.compose(ComposeEvent("demand_response", pool, start_ns, end_ns, 2e4), "ann")
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

    live(tmp_path, scene)
    assert set(late_ns) == {EventState.IN_PROGRESS.value, EventState.COMPLETED.value}
    assert all(0 <= late <= SECOND_NS for late in late_ns.values()), late_ns
    assert told, "nobody was told anything in the second in which it began"
