"""Who opted out and does not answer is told again after 25 seconds; for one that answered nobody wakes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from living_stage import live

from tieline.desk.dispatch import OUT_AGAIN_NS
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.node.operator import NodeOperator
from tieline.node.stage import Stage as Territory
from tieline.resource.claim import Refusal
from tieline.resource.command import Stage
from tieline.simulate.loop import VirtualClock
from tieline.times import MINUTE_NS, SECOND_NS


@pytest.mark.parametrize("answers", [True, False])
def test_a_beat_comes_for_a_device_that_opted_out_where_it_has_not_answered_alone(
    tmp_path: Path, answers: bool
) -> None:
    beats: list[int] = []
    asked: list[int] = []

    async def scene(stage: Territory, operator: NodeOperator, clock: VirtualClock) -> None:
        async def note() -> None:
            beats.append(clock.now_ns())

        await asyncio.sleep(300)
        state, link = stage.node.state, stage.link
        start_ns = clock.now_ns() // MINUTE_NS * MINUTE_NS + 3 * MINUTE_NS
        made = await operator.compose(
            ComposeEvent("demand_response", state.fleet.groups[0].id, start_ns, start_ns + 10 * MINUTE_NS, 2e4), "ann"
        )
        assert not isinstance(made, Refusal), str(made)
        for to, by in ((EventState.SUBMITTED, "ann"), (EventState.APPROVED, "bob")):
            assert not isinstance(await operator.advance(made.id, to.value, by), Refusal)
        await asyncio.sleep((start_ns - clock.now_ns()) / SECOND_NS + 125)
        reached = np.isfinite(state.commands.target_w) & (state.commands.stage >= Stage.ACCEPTED) & ~link.is_lost
        reached[[int(row) for row in np.flatnonzero(link.ignores)]] = False
        row = int(np.intersect1d(np.flatnonzero(reached), link.rows)[0])
        link.is_lost[row] = not answers
        stage.node.after_beat.append(note)
        assert not isinstance(await operator.opt(state.fleet.id_of(row), True, "ann"), Refusal)
        asked.append(clock.now_ns())
        await asyncio.sleep(40)

    live(tmp_path, scene)
    (at_ns,) = asked
    after = np.array(beats) - at_ns
    again = (after > 2 * SECOND_NS) & (after < 2 * SECOND_NS + OUT_AGAIN_NS)
    assert again.any() != answers, (after / SECOND_NS).tolist()
