"""A program event is called when it starts and let go when the kill switch is pressed, wherever in a minute that is."""

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
        wish = ComposeEvent("demand_response", pool, mark_ns + SECOND_NS, mark_ns + 15 * MINUTE_NS, 2e4)
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


def test_an_event_that_starts_while_a_beat_goes_on_is_begun_with_the_next_and_not_at_the_minutes_mark(
    tmp_path: Path,
) -> None:
    states: list[EventState] = []

    async def scene(stage: Stage, operator: NodeOperator, clock: VirtualClock) -> None:
        async def slow() -> None:
            await asyncio.sleep(0.05)  # what follows a beat takes its time: the second event starts within it

        stage.node.after_beat.append(slow)
        await asyncio.sleep(300)
        mark_ns = clock.now_ns() // MINUTE_NS * MINUTE_NS + MINUTE_NS
        pool, made = stage.node.state.fleet.groups[0].id, []
        for at in range(2):
            start_ns = mark_ns + 10 * SECOND_NS + at * SECOND_NS // 50
            event = await operator.compose(
                ComposeEvent("demand_response", pool, start_ns, start_ns + 3 * SECOND_NS, 1_000.0), "ann"
            )
            assert not isinstance(event, Refusal), str(event)
            for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
                assert not isinstance(await operator.advance(event.id, to.value, by), Refusal)
            made.append(event.id)
        for second in (11, 14):
            await asyncio.sleep((mark_ns + second * SECOND_NS - clock.now_ns()) / SECOND_NS)
            states.extend(stage.node.state.events[event].state for event in made)

    live(tmp_path, scene)
    assert states == [EventState.IN_PROGRESS] * 2 + [EventState.COMPLETED] * 2
