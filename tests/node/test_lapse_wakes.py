"""A lease that ends between two marks of the minute is acted on at its end, not at the mark (R18: within 5 s)."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tieline.desk.facts import AskLapsed, from_record
from tieline.desk.screens import AskLimit
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.stage import raise_stage, scenario
from tieline.node.stage_web import stage_sources
from tieline.node.timing import living
from tieline.resource.claim import Refusal
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, run_virtual
from tieline.times import HOUR_NS, SECOND_NS


@pytest.mark.parametrize("second", [1, 13, 30, 44])
def test_a_lapse_is_told_within_seconds_of_its_lease_wherever_in_the_minute_that_ends(
    tmp_path: Path, second: int
) -> None:
    what = scenario("cloud")
    when = living(date.fromisoformat(what.day), 2 * HOUR_NS)
    lapsed: list[tuple[int, AskLapsed]] = []

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(what, 40, 1, clock, supervisor, tmp_path)
            operator = NodeOperator(stage.node, NodeReader(stage.node, stage_sources(stage)))
            stage.node.start()
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

    run_virtual(main)
    ((at_ns, fact),) = [each for each in lapsed if each[1].source == "console"]
    assert 0 <= at_ns - fact.end_ns <= 5 * SECOND_NS
