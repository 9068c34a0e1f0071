"""A territory that is played many times as fast as the clock is raised early, and its first day is offered all the same."""

import asyncio
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from tieline.node.stage import raise_stage, scenario
from tieline.node.timing import RAISING_S, clock_starts_ns, living
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, run_virtual
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS


@pytest.mark.parametrize("speed", [1.0, 60.0, 200.0, 600.0])
def test_the_clock_starts_so_early_that_what_raising_takes_on_the_wall_ends_before_the_story(speed: float) -> None:
    early_ns = -clock_starts_ns(0, speed)
    assert early_ns >= 0
    assert early_ns + 24 * MINUTE_NS >= RAISING_S * speed * SECOND_NS, "with the time until its gate as it was"


@pytest.mark.parametrize("early_min", [0, 47, 180])
def test_the_gate_of_the_first_day_follows_the_storys_opening_however_early_the_clock_starts(
    tmp_path: Path, early_min: int
) -> None:
    what = scenario("cloud")
    when = living(date.fromisoformat(what.day), 11 * HOUR_NS)
    gates = []

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        clock = VirtualClock(loop, when.opens_ns - early_min * MINUTE_NS)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(what, 60, 1, clock, supervisor, tmp_path, story_ns=when.opens_ns)
            gates.append(stage.iso.gate_ns(stage.day))

    run_virtual(main)
    assert gates == [when.opens_ns + 4 * MINUTE_NS]
    assert gates[0] > when.offer_ns
