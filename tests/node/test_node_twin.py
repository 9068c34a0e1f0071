"""The twin world: the same where nobody commands, and apart by exactly what was commanded."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tieline.errors import InvariantError
from tieline.node.metering import GENERATOR, LOAD, Meters
from tieline.node.twin import STEP_NS, Twin
from tieline.node.twin_aside import TwinAside
from tieline.node.waiting import Waiting
from tieline.resource.identity import Kind
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import MINUTE_NS, parse_iso

COUNT, NOON_NS = 120, parse_iso("2022-08-17T12:00:00-05:00")


def pair(seed: int = 5) -> tuple[World, Twin]:
    territory = build(COUNT, np.random.default_rng([seed, 0]))
    world = World(territory, np.random.default_rng([seed, 1]))
    for minute in range(-20, 0):
        world.step(NOON_NS + minute * MINUTE_NS, 60.0, *free())
    return world, Twin(world, Meters.of(territory, np.ones(COUNT, np.bool_)))


def free() -> tuple:
    return np.full(COUNT, np.nan), np.full(COUNT, -np.inf), np.full(COUNT, np.inf)


def test_where_nobody_commands_the_twin_is_the_world_bit_for_bit() -> None:
    world, twin = pair()
    for minute in range(1, 121):
        now_ns = NOON_NS + minute * MINUTE_NS
        world.step(now_ns, 60.0, *free())
        twin.step(now_ns, 60.0, world, np.ones(COUNT, np.bool_))
        assert (world.power_w == twin.world.power_w).all()
    assert all((gap.counted_w == 0.0).all() and gap.uncounted_w == 0.0 for gap in twin.gaps().values())


def test_what_a_battery_is_told_to_give_is_the_gap_and_the_meters_agree() -> None:
    world, twin = pair()
    battery = int(world.rows[Kind.BATTERY][0])
    target, low, high = free()
    target[battery] = 1_000.0
    counts, metered = np.zeros(COUNT, np.bool_), np.zeros(3)
    counts[battery] = True
    for minute in range(1, 6):
        now_ns = NOON_NS + minute * MINUTE_NS
        world.step(now_ns, 60.0, target, low, high)
        twin.step(now_ns, 60.0, world, counts)
        metered += Meters.of(world.territory, np.ones(COUNT, np.bool_)).read(world) / 5
    gap = twin.gaps()[NOON_NS // STEP_NS * STEP_NS]
    assert gap.counted_w.sum() == pytest.approx(1_000.0, abs=1.0)
    true_w = (gap.meters_w - metered)[[LOAD, GENERATOR]].sum()
    assert gap.counted_w.sum() + gap.uncounted_w == pytest.approx(true_w, abs=1e-6)


def aside() -> tuple[World, Twin, TwinAside, Waiting]:
    world, twin = pair()
    waiting = Waiting()
    waiting.begin()
    beside = waiting.twin(world, Meters.of(world.territory, np.ones(COUNT, np.bool_)))
    assert isinstance(beside, TwinAside)
    return world, twin, beside, waiting


def test_a_process_of_its_own_leaves_the_world_alone_as_the_twin_in_line_does_bit_for_bit() -> None:
    world, twin, beside, waiting = aside()
    target, low, high = free()
    target[world.rows[Kind.BATTERY]] = 1_000.0
    counts = np.arange(COUNT) % 2 == 0
    for minute in range(1, 61):
        now_ns = NOON_NS + minute * MINUTE_NS
        world.step(now_ns, 60.0, target, low, high)
        for each in (twin, beside):
            each.step(now_ns, 60.0, world, counts)
        if minute % 20 == 0:
            assert (beside.power_w() == twin.power_w()).all()
    there, here = beside.gaps(), twin.gaps()
    assert list(there) == list(here) and len(here) == 12
    for start_ns, gap in here.items():
        assert (there[start_ns].meters_w == gap.meters_w).all() and (there[start_ns].counted_w == gap.counted_w).all()
        assert there[start_ns].uncounted_w == gap.uncounted_w
    asyncio.run(waiting.end())


def test_a_twin_whose_process_is_killed_says_so() -> None:
    _, _, beside, waiting = aside()
    asyncio.run(waiting.end())
    with pytest.raises(InvariantError, match="the twin's process has ended"):
        beside.power_w()
