"""A small territory that lives on virtual time, with a person at its desk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

import numpy as np

from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.stage import Stage, raise_stage, scenario
from tieline.node.stage_web import stage_sources
from tieline.node.timing import living
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, run_virtual
from tieline.times import HOUR_NS


def live(
    folder: Path,
    scene: Callable[[Stage, NodeOperator, VirtualClock], Awaitable[None]],
    name: str = "cloud",
    devices: int = 40,
) -> None:
    """Play a scene on a cloudy day of forty devices, or another scenario and size, whose node runs."""
    what = scenario(name)
    when = living(date.fromisoformat(what.day), 2 * HOUR_NS)

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = await raise_stage(what, devices, 1, clock, supervisor, folder)
            operator = NodeOperator(stage.node, NodeReader(stage.node, stage_sources(stage)))
            stage.node.start()
            await scene(stage, operator, clock)

    run_virtual(main)
