"""A program event in a territory with physics gives what was approved, by the meters, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from living_stage import live

from tieline.desk.event_stack import newest
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.node.operator import NodeOperator
from tieline.node.stage import Stage
from tieline.resource.claim import Refusal
from tieline.simulate.loop import VirtualClock
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

DEVICES, ASKED_W = 300, 24_000.0


async def approved(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> str:
    """Compose an event of an hour, ten minutes from now, and have it approved."""
    await asyncio.sleep(600)
    start_ns = clock.now_ns() + 10 * MINUTE_NS
    wish = ComposeEvent("demand_response", "pool-1", start_ns, start_ns + HOUR_NS, ASKED_W)
    made = await operator.compose(wish, "ann")
    assert not isinstance(made, Refusal), str(made)
    for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
        assert not isinstance(await operator.advance(made.id, to.value, by), Refusal)
    await asyncio.sleep((start_ns - clock.now_ns()) / SECOND_NS)
    return made.id


def test_an_event_on_a_hot_day_gives_four_fifths_of_its_energy_and_little_beyond_it(tmp_path: Path) -> None:
    found: list[tuple[float, float, float]] = []

    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        event = await approved(stage, operator, clock)
        await asyncio.sleep(3_700)
        found.append(stage.node.state.event_tracked[event])
        assert stage.node.state.events[event].state is EventState.COMPLETED
        assert newest(stage.node.state, event) is None, "no claim is left behind"

    live(tmp_path, scene, "heatwave", DEVICES)
    ((asked_wh, delivered_wh, over_wh),) = found
    assert abs(asked_wh - ASKED_W) < 0.01 * ASKED_W
    assert delivered_wh >= 0.8 * asked_wh, found
    assert over_wh <= 0.1 * asked_wh, found


def test_an_event_that_is_cancelled_midway_lets_all_go_and_calls_nobody_again(tmp_path: Path) -> None:
    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        event = await approved(stage, operator, clock)
        await asyncio.sleep(1_260)  # others have been called by then
        state = stage.node.state
        called = newest(state, event)
        assert called is not None and called.source_version > 1
        assert not isinstance(await operator.advance(event, EventState.CANCELED.value, "bob"), Refusal)
        for _ in range(10):
            await asyncio.sleep(60)
            assert newest(state, event) is None
        asked_wh, _, _ = state.event_tracked[event]
        assert 0.3 * ASKED_W < asked_wh < 0.4 * ASKED_W, "it was asked for 21 minutes"
        assert not np.isin(called.rows, np.flatnonzero(np.isfinite(state.commands.target_w))).all()

    live(tmp_path, scene, "heatwave", DEVICES)
