"""Where loads count as they draw, one that stops is made up for within seconds of the reading that shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from test_why_parts import play

from tieline.desk.ports import Granted
from tieline.desk.screens import AskLimit
from tieline.node.operator import NodeOperator
from tieline.node.runtime import Node
from tieline.resource.batch import Readings
from tieline.resource.point import code
from tieline.times import MINUTE_NS, SECOND_NS

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
roof,pv,5000,0,0,feeder-1,site-1,pool-1
plug,interruptible_load,0,8000,0,feeder-1,site-1,pool-1
"""
COUNTED = '\n[limits]\nloads = { feeder-1 = "counted" }\n'
ROOF_W, PLUG_W, HIGH_W = 4_000.0, -6_000.0, 2_000.0


def says(node: Node, plug_w: float) -> None:
    """Have the meters of both say what they do now."""
    at_ns = np.full(2, node.clock.now_ns())
    rows = np.array([node.state.fleet.row("roof"), node.state.fleet.row("plug")], np.int32)
    power = np.full(2, code("power_w"), np.uint16)
    node.desk.readings(
        Readings(rows, power, np.array([ROOF_W, plug_w]), np.zeros(2, np.uint32), at_ns, at_ns, "meters")
    )


def told_w(node: Node) -> float:
    """What the roof may give (W)."""
    row = node.state.fleet.row("roof")
    return float(node.state.claims.explain(row, node.clock.now_ns()).setpoint.bounds.high_w)


def made_up_for_s(tmp_path: Path, settings: str, stops_s: float) -> tuple[float, float, int]:
    """What the roof may give (W) until its neighbour stops, so many seconds after a minute's mark; how long after that
    (s) it is held to the limit alone; and how many beats come in the minute after that though nothing changes."""
    found: list[float] = []
    beats: list[int] = []

    async def act(node: Node, operator: NodeOperator) -> None:
        async def note() -> None:
            beats.append(node.clock.now_ns())

        node.start()
        says(node, PLUG_W)
        said = await operator.limit("feeder-1", AskLimit(-1e6, HIGH_W, 60, "a hot day"), "ann")
        assert isinstance(said, Granted), str(said)
        for _ in range(36):
            says(node, PLUG_W)
            await asyncio.sleep(5.0)
        await asyncio.sleep((MINUTE_NS - node.clock.now_ns() % MINUTE_NS) / SECOND_NS + stops_s)
        found.append(told_w(node))
        stopped_ns = node.clock.now_ns()
        says(node, 0.0)
        for _ in range(1_200):
            if told_w(node) <= HIGH_W:
                break
            await asyncio.sleep(0.1)
        found.append((node.clock.now_ns() - stopped_ns) / SECOND_NS)
        node.after_beat.append(note)
        for _ in range(12):  # the roof doesn't follow: the feeder stays above its limit
            await asyncio.sleep(5.0)
            says(node, 0.0)

    play(tmp_path, act, TABLE, settings)
    return found[0], found[1], len(beats)


@pytest.mark.parametrize("stops_s", [3.0, 20.0, 44.0])
def test_a_load_that_stops_is_made_up_for_within_two_seconds_and_who_does_not_obey_brings_no_storm_of_beats(
    tmp_path: Path, stops_s: float
) -> None:
    gave_w, after_s, beats = made_up_for_s(tmp_path, COUNTED, stops_s)
    assert gave_w >= ROOF_W, "it counted on what its neighbour drew"
    assert after_s <= 2.0
    assert beats <= 9


def test_where_loads_count_for_nothing_nobody_counts_on_one_that_may_stop_and_no_beat_comes_early(
    tmp_path: Path,
) -> None:
    gave_w, after_s, beats = made_up_for_s(tmp_path, "", 20.0)
    assert gave_w <= HIGH_W and after_s == 0.0 and beats <= 4
