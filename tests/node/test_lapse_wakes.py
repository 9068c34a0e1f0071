"""A lease that ends between two marks of the minute is acted on at its end, not at the mark (R18: within 5 s)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from living_stage import live

from tieline.desk.facts import AskLapsed, from_record
from tieline.desk.screens import AskLimit
from tieline.node.operator import NodeOperator
from tieline.node.stage import Stage
from tieline.resource.claim import Refusal
from tieline.simulate.loop import VirtualClock
from tieline.times import SECOND_NS


@pytest.mark.parametrize("second", [1, 13, 30, 44])
def test_a_lapse_is_told_within_seconds_of_its_lease_wherever_in_the_minute_that_ends(
    tmp_path: Path, second: int
) -> None:
    lapsed: list[tuple[int, AskLapsed]] = []

    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        await asyncio.sleep(60 + second)
        feeder = next(group.id for group in stage.node.state.fleet.groups if group.id.startswith("feeder"))
        granted = await operator.limit(feeder, AskLimit(-1e5, 1e5, 1, "works"), "ann")
        assert not isinstance(granted, Refusal)
        await asyncio.sleep(180)
        await stage.node.group.drained()
        for record in stage.node.journal.of_kind("AskLapsed"):
            fact = from_record(record)
            assert isinstance(fact, AskLapsed)
            lapsed.append((record.recorded_at_ns, fact))

    live(tmp_path, scene)
    ((at_ns, fact),) = [each for each in lapsed if each[1].source == "console"]
    assert 0 <= at_ns - fact.end_ns <= 5 * SECOND_NS
