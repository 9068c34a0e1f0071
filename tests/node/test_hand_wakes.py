"""A hand at a device is answered by a beat of its own, and not at the minute's mark: others stand in by then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from living_stage import live

from tieline.node.operator import NodeOperator
from tieline.node.stage import Stage as Territory
from tieline.resource.batch import Readings
from tieline.resource.point import code
from tieline.simulate.loop import VirtualClock
from tieline.times import MINUTE_NS, SECOND_NS


def says(row: int, is_local: bool, now_ns: int) -> Readings:
    at_ns = np.array([now_ns])
    return Readings(
        np.array([row], np.int32), np.array([code("is_local")], np.uint16), np.array([float(is_local)]),
        np.zeros(1, np.uint32), at_ns, at_ns, "a device",
    )  # fmt: skip


def test_a_beat_comes_within_two_seconds_of_a_hand_and_at_most_one_in_five_seconds_of_one_that_flickers(
    tmp_path: Path,
) -> None:
    beats, hands = list[int](), list[int]()

    async def scene(stage: Territory, operator: NodeOperator, clock: VirtualClock) -> None:
        async def note() -> None:
            beats.append(clock.now_ns())

        async def hand(is_local: bool) -> None:
            stage.node.desk.readings(says(0, is_local, clock.now_ns()))

        await asyncio.sleep(300)
        await asyncio.sleep((MINUTE_NS - clock.now_ns() % MINUTE_NS) / SECOND_NS + 10.0)
        stage.node.after_beat.append(note)
        hands.append(clock.now_ns())
        await hand(True)
        await asyncio.sleep(3.0)
        assert stage.node.state.claims.is_local[0]
        for second in range(40):
            await hand(second % 2 == 0)
            await asyncio.sleep(1.0)

    live(tmp_path, scene)
    after_s = (np.array(beats) - hands[0]) / SECOND_NS
    assert (after_s <= 2.0).sum() == 1, after_s.tolist()
    assert 5 <= (after_s <= 43.0).sum() <= 10, after_s.tolist()
