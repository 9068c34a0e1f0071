"""Devices with limits of their own beneath a group's limit: shares are made within what those leave, at once.

What all devices of a group may do by arbitration, after all limits, is within the group's end in every beat, however
loads stop: so far as it can be at all, as who may not be pushed below an end of his own counts there. And no store is
made to charge for what the roofs' own limits forbid them to give.
"""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from nest_stage import FEEDER, HOME, SUB
from own_stage import Owned
from strays_stage import OBEYS, One

from sampled import some
from tieline.resource.identity import Kind
from tieline.resource.level import Level

STORY_BEATS, SETTLES_BEATS = 16, 10
GROUPS = ((FEEDER,), (SUB,), (FEEDER, SUB))
CASES = [(groups, seed) for seed in range(40) for groups in GROUPS]


async def beat_within(nest: Owned, drawn: random.Random, groups: tuple[str, ...]) -> None:
    """Play a beat, before which a load may begin or stop; all may give no more than what each group is limited to."""
    if drawn.random() < 0.4:
        nest.toggled(drawn)
    await nest.play(1)
    for group in groups:
        may_w, least_w = nest.may_give_w(group)
        assert may_w <= max(nest.ends[group][1], least_w) + 1.0, (group, nest.own, nest.ends)


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 60))
def test_what_all_may_give_is_within_the_groups_end_in_every_beat_whatever_limits_of_their_own_they_have(
    groups: tuple[str, ...], seed: int
) -> None:
    async def play() -> None:
        drawn, nest = Owned.drawn_with_stores(seed)
        is_first = drawn.random() < 0.5
        if is_first:
            await nest.own_drawn(drawn, 0.5)
        gives_w = {g: float(np.maximum(nest.wish_w[nest.state.fleet.leaves(g)], 0.0).sum()) for g in groups}
        await nest.limits({g: (-np.inf, 100.0 * drawn.randint(-10, int(w / 100.0))) for g, w in gives_w.items()})
        for beat in range(STORY_BEATS):
            if beat == 4:
                await nest.own_drawn(drawn, 0.3 if is_first else 0.6)
            await beat_within(nest, drawn, groups)

    asyncio.run(play())


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 45))
def test_what_all_may_draw_is_within_the_groups_lower_end_in_every_beat_likewise(
    groups: tuple[str, ...], seed: int
) -> None:
    async def play() -> None:
        drawn, nest = Owned.drawn_with_stores(seed)
        await nest.own_drawn(drawn, 0.5)
        await nest.limits({group: (-100.0 * drawn.randint(0, 80), np.inf) for group in groups})
        for beat in range(STORY_BEATS):
            if beat == 4:
                await nest.own_drawn(drawn, 0.3)
            await nest.play(1)
            if beat >= 1:
                for group in groups:
                    may_w, most_w = nest.may_draw_w(group)
                    assert may_w >= min(nest.ends[group][0], most_w) - 1.0, (beat, group, nest.own, nest.ends)

    asyncio.run(play())


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 45))
def test_no_store_is_made_to_charge_for_what_the_roofs_own_limits_forbid(groups: tuple[str, ...], seed: int) -> None:
    async def play() -> None:
        drawn, nest = Owned.drawn_with_stores(seed)
        high_w = 100.0 * drawn.choice([0, 1, 3])
        for row in np.flatnonzero(nest.is_sun).tolist():
            await nest.owns(row, drawn.choice([Level.ENVELOPE, Level.OWNER_NEED]), -np.inf, high_w)
        rests = ~nest.is_sun & ~nest.is_load
        nest.wish_w[rests] = np.minimum(nest.wish_w[rests], 0.0)  # none gives what others might be told to take
        suns = {g: float(nest.is_sun[nest.state.fleet.leaves(g)].sum()) for g in groups}
        await nest.limits({g: (-np.inf, 1.02 * high_w * n + 100.0 * drawn.randint(0, 10)) for g, n in suns.items()})
        for _ in range(SETTLES_BEATS):
            await nest.play(1)
        assert (nest.allowed_w()[1] >= nest.wish_w - 1.0)[rests].all(), (nest.own, nest.ends, nest.allowed_w()[1])

    asyncio.run(play())


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 30))
def test_a_site_with_a_limit_in_the_group_changes_nothing_of_that(groups: tuple[str, ...], seed: int) -> None:
    async def play() -> None:
        drawn, nest = Owned.drawn_with_stores(seed)
        await nest.own_drawn(drawn, 0.4)
        gives_w = {g: float(np.maximum(nest.wish_w[nest.state.fleet.leaves(g)], 0.0).sum()) for g in (HOME, *groups)}
        await nest.limits({g: (-np.inf, 100.0 * drawn.randint(0, int(w / 100.0))) for g, w in gives_w.items()})
        for beat in range(STORY_BEATS):
            if beat == 4:
                await nest.own_drawn(drawn, 0.4)
            await beat_within(nest, drawn, groups)

    asyncio.run(play())


@pytest.mark.parametrize("seed", some(range(60), 30))
def test_a_feeder_with_both_ends_stays_within_both_beside_limits_that_its_devices_have_of_their_own(seed: int) -> None:
    async def play() -> None:
        drawn, nest = Owned.drawn_with_stores(seed)
        await nest.own_drawn(drawn, 0.5, (Level.ENVELOPE,))
        low_w = -100.0 * drawn.randint(10, 80)
        await nest.limits({FEEDER: (low_w, low_w + 100.0 * drawn.randint(80, 140))})
        await nest.play(SETTLES_BEATS)
        rows = nest.state.fleet.leaves(FEEDER)
        for _ in range(STORY_BEATS):
            if drawn.random() < 0.4:
                nest.toggled(drawn)
            await nest.play(1)
            least_w = float(nest.ranges_w(Level.ENVELOPE)[0][rows[~nest.is_load[rows]]].sum())
            assert nest.net_of_w(FEEDER) <= max(nest.ends[FEEDER][1], least_w) + 4.0, (nest.own, nest.ends)

    asyncio.run(play())


@pytest.mark.parametrize("seed", some(range(30), 8))
def test_a_limit_of_a_device_on_another_feeder_moves_nobody_here(seed: int) -> None:
    async def play() -> None:
        found = []
        for owns in (False, True):
            drawn, nest = Owned.drawn_with_stores(seed)
            rows, feeder = np.arange(len(nest.state.fleet)), nest.state.fleet.leaves(FEEDER)
            other = rows[~np.isin(rows, feeder) & (nest.state.fleet.max_inject_w > 0.0)]
            if owns:
                await nest.owns(int(other[0]), Level.ENVELOPE, -np.inf, 300.0)
            gives_w = float(np.maximum(nest.wish_w[feeder], 0.0).sum())
            await nest.limits({FEEDER: (-np.inf, 100.0 * drawn.randint(0, int(gives_w / 100.0)))})
            await nest.play(6)
            found.append(nest.allowed_w()[1][feeder])
        assert (found[0] == found[1]).all()

    asyncio.run(play())


def test_a_feeder_two_of_whose_stores_may_not_charge_exports_no_more_than_it_may_as_all_loads_stop() -> None:
    """It gave 3.4 kW of 3 kW for as long as that lasted: both stores had a part to draw that their limits forbade."""

    async def play() -> None:
        roofs = [One(Kind.PV, OBEYS, watts) for watts in (2_000.0, 1_500.0, 2_000.0)]
        stores, loads = [One(Kind.BATTERY, OBEYS, 0.0)] * 3, [One(Kind.INTERRUPTIBLE_LOAD, OBEYS, -800.0)] * 5
        nest = Owned([], stores + roofs + loads, [], ())
        nest.own = {}
        await nest.limits({FEEDER: (-np.inf, 3_000.0)})
        await nest.play(2)
        for row in (0, 1):
            await nest.owns(row, Level.ENVELOPE, 0.0, 10_000.0)
        for beat in range(6):
            nest.wish_w[nest.is_load] = 0.0 if beat >= 2 else -800.0
            await nest.play(1)
            assert nest.may_give_w(FEEDER)[0] <= 3_000.0 and nest.net_of_w(FEEDER) <= 3_000.0

    asyncio.run(play())
