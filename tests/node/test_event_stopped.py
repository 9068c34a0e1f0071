"""The kill switch ends what a program event calls when it is pressed, wherever in a minute that is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from living_stage import live

from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.node.operator import NodeOperator
from tieline.node.stage import Stage
from tieline.resource.claim import Refusal
from tieline.simulate.loop import VirtualClock
from tieline.times import MINUTE_NS, SECOND_NS


@pytest.mark.parametrize("second", [1, 27, 58])
def test_an_events_stores_are_let_go_within_a_second_of_the_press_and_called_within_one_of_the_release(
    tmp_path: Path, second: int
) -> None:
    counts: list[int] = []
    states: list[str] = []

    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        state = stage.node.state

        async def until(at_ns: int) -> None:
            await asyncio.sleep((at_ns - clock.now_ns()) / SECOND_NS)
            stores = np.flatnonzero(state.fleet.energy_wh > 0)
            last = state.commands
            told = np.isfinite(last.target_w[stores]) & (last.valid_until_ns[stores] > clock.now_ns())
            counts.append(int(told.sum()))
            states.append(state.events[made.id].state.value)

        await asyncio.sleep(300)
        mark_ns = clock.now_ns() // MINUTE_NS * MINUTE_NS + MINUTE_NS
        pool = state.fleet.groups[0].id
        wish = ComposeEvent("summer", pool, mark_ns + SECOND_NS, mark_ns + 15 * MINUTE_NS, 2e4)
        made = await operator.compose(wish, "ann")
        assert not isinstance(made, Refusal), str(made)
        for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
            assert not isinstance(await operator.advance(made.id, to.value, by), Refusal)
        press_ns = mark_ns + 4 * MINUTE_NS + second * SECOND_NS
        await until(press_ns)
        assert await operator.kill(True, "ann") is None
        await until(press_ns + SECOND_NS)
        assert await operator.kill(False, "ann with ben") is None
        await until(press_ns + 2 * SECOND_NS)

    live(tmp_path, scene)
    before, pressed, released = counts
    assert before > 0
    assert pressed == 0
    assert released > 0
    assert set(states) == {EventState.IN_PROGRESS.value}
