"""On a disk that is full the kill switch can be pressed, and lets go whom events had called; nothing else is begun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from test_event_stretches import POWER_W, Desk, played

from tieline.desk.screens import AskLimit
from tieline.errors import LinkDown
from tieline.flow.begun import act


def called(desk: Desk) -> list[int]:
    """Who was told a power that still holds."""
    last = desk.stage.node.state.commands
    return np.flatnonzero((last.valid_until_ns > desk.clock.now_ns()) & np.isfinite(last.target_w)).tolist()


def test_a_press_lets_go_whom_an_event_called_as_it_does_with_room_and_nothing_else_is_begun(tmp_path: Path) -> None:
    """Loads that were switched off stay so until their command ends, on whatever disk: that they start is not safe."""
    seen: dict[str, tuple[list[int], list[int]]] = {}

    def pressed_at(lacks: str) -> Callable[[Desk], Awaitable[None]]:
        async def play(desk: Desk) -> None:
            node, group = desk.stage.node, desk.stage.node.group
            await desk.approved(0.0, 1_800.0, power_w=POWER_W)
            await desk.until(200.0)
            before = called(desk)
            group._lacks_room = lambda: lacks
            if lacks:
                with pytest.raises(LinkDown), act():
                    await desk.operator.limit(desk.pool, AskLimit(-1e5, 1e5, 10, "a test"), "ann")
            with act():
                assert await desk.operator.kill(True, "ann") is None
            await desk.until(215.0)
            seen[lacks] = before, called(desk)
            assert node.state.is_killed and sum(1 for _ in node.journal.of_kind("AuthorityChanged")) == 1
            if lacks:
                with pytest.raises(LinkDown), act():
                    await desk.operator.kill(False, "ann with bob")  # a release has the time to wait
            group._lacks_room = lambda: ""

        return play

    for lacks in ("", "the disk is full"):
        folder = tmp_path / (lacks or "room")
        folder.mkdir()
        played(folder, pressed_at(lacks))
    assert seen["the disk is full"] == seen[""]
    before, after = seen[""]
    assert set(after) < set(before), seen
