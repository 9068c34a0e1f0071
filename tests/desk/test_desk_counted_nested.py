"""Loads that count at what they draw beneath limits of groups that share devices, where some count and others don't.

A load stops by itself, or begins, at any beat. The next beat is the first that has read of it and can tell others to
make room: until then a group may stand above its end, by no more than loads drew less since the beat before. So a load
that stops is made up for `BACK_BEATS` after, whatever others do by then.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import numpy as np
import pytest
from nest_stage import FEEDER, HOME, MAKES, NESTS, SUB, Nest

from sampled import some
from tieline.desk.authority import decide_kill
from tieline.desk.both_ends import SLACK_W

BACK_BEATS = 1
"""So many beats after the one that a load stopped after a group is within its upper end again: all obey within one."""
STORY_BEATS, SETTLES_BEATS, NARROWEST_W = 24, 8, 6_000.0
CASES = [(nest, seed) for seed in range(20) for nest in NESTS]


def drawn_ends(
    nest: Nest, drawn: random.Random, groups: tuple[str, ...], lower: Iterable[str]
) -> dict[str, tuple[float, float]]:
    """Ends that all can keep, whatever loads do: nothing given and drawn at all is within both."""
    found = {}
    for group in groups:
        give_w = float(np.maximum(nest.wish_w[nest.state.fleet.leaves(group)], 0.0).sum())
        high_w, low_w = 100.0 * drawn.randint(0, 1 + int(give_w / 100.0)), -np.inf
        if group in lower and group != MAKES:
            low_w = -100.0 * drawn.randint(10, 80)
            high_w = max(high_w, low_w + NARROWEST_W)  # else what is on or off fits into no band
        found[group] = low_w, high_w
    return found


async def held(nest: Nest, drawn: random.Random, off_w: float = 1.0) -> None:
    """Let loads stop and begin at random beats, and hold all groups against their upper ends at each, to a watt or so."""
    for _ in range(STORY_BEATS):
        if drawn.random() < 0.4:
            nest.toggled(drawn)
        before_w = nest.does_w[nest.is_load]
        await nest.play(BACK_BEATS)
        less_w = float(np.maximum(nest.does_w[nest.is_load] - before_w, 0.0).sum())
        assert nest.above_w() <= less_w + off_w, (nest.ends, sorted(nest.state.counted))


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 36))
def test_no_group_is_above_its_upper_end_but_for_the_beat_in_which_a_load_stops(
    groups: tuple[str, ...], seed: int
) -> None:
    async def play() -> None:
        drawn, nest = Nest.drawn(seed)
        await nest.limits(drawn_ends(nest, drawn, groups, ()))
        await nest.play(SETTLES_BEATS)
        assert nest.above_w() <= 1.0
        await held(nest, drawn)

    asyncio.run(play())


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 36))
def test_nor_where_limits_have_lower_ends_too_and_none_of_those_is_broken(groups: tuple[str, ...], seed: int) -> None:
    async def play() -> None:
        drawn, nest = Nest.drawn(seed)
        await nest.limits(drawn_ends(nest, drawn, groups, groups))
        await nest.play(SETTLES_BEATS)
        assert nest.above_w() <= 1.0 and nest.below_w() <= 1.0
        await held(nest, drawn, 1.0 + SLACK_W)
        assert nest.below_w() <= 1.0

    asyncio.run(play())


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 36))
def test_nor_where_only_those_limits_have_lower_ends_whose_loads_do_not_count(
    groups: tuple[str, ...], seed: int
) -> None:
    async def play() -> None:
        drawn, nest = Nest.drawn(seed)
        await nest.limits(drawn_ends(nest, drawn, groups, set(groups) - nest.state.counted))
        await nest.play(SETTLES_BEATS)
        assert nest.above_w() <= 1.0
        await held(nest, drawn, 1.0 + SLACK_W)

    asyncio.run(play())


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 30))
def test_nor_behind_the_kill_switch_that_is_pressed_and_released_meanwhile(groups: tuple[str, ...], seed: int) -> None:
    async def play() -> None:
        drawn, nest = Nest.drawn(seed)
        await nest.limits(drawn_ends(nest, drawn, groups, ()))
        await nest.play(SETTLES_BEATS)
        for pressed in (True, False):
            entries, _ = decide_kill(nest.state, pressed, "ann", ("ann", "ben"), nest.stage.clock.ns)
            await nest.desk.commit(entries)
            assert nest.state.is_killed == pressed
            await held(nest, drawn)

    asyncio.run(play())


@pytest.mark.parametrize("seed", some(range(40), 20))
def test_a_feeder_whose_loads_count_makes_no_room_beneath_a_substation_whose_do_not(
    seed: int,
) -> None:

    async def play() -> None:
        _, nest = Nest.drawn(seed)
        nest.state.counted = frozenset({FEEDER})
        gives_w = float(np.maximum(nest.wish_w, 0.0).sum())
        await nest.limits({FEEDER: (-np.inf, max(0.0, nest.net_of_w(FEEDER))), SUB: (-np.inf, 0.5 * gives_w)})
        await nest.play(12)
        assert float(np.maximum(nest.does_w, 0.0).sum() + nest.does_w[~nest.is_load].clip(max=0.0).sum()) <= (
            0.5 * gives_w + 1.0
        )

    asyncio.run(play())


@pytest.mark.parametrize("seed", some(range(40), 20))
def test_what_is_behind_a_home_counts_there_as_ever_whatever_its_feeder_counts(seed: int) -> None:
    async def play() -> None:
        found = []
        for counted in ((), (FEEDER,), (FEEDER, SUB)):
            drawn, nest = Nest.drawn(seed)
            nest.state.counted = frozenset(counted)
            await nest.limits({HOME: (-np.inf, 100.0 * drawn.randint(0, 30))})
            await nest.play(12)
            found.append(nest.does_w.copy())
        assert (found[0] == found[1]).all() and (found[0] == found[2]).all()

    asyncio.run(play())
