"""A device that must give, or charge, so much at least by a limit of its own does so, whatever the group needs.

Where its group has room for that once the others move, they are told to at once, and it follows in one step as soon as
they have answered. Where they can't make that room nobody is waited for.
"""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from nest_stage import FEEDER, HOME, MAKES, SUB, Nest, drawn_ones
from own_stage import Owned
from strays_stage import OBEYS, One

from sampled import some
from tieline.desk import groups as groups_of
from tieline.resource.claim import ClaimKind
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

SETTLES_BEATS, ANSWERED_BEATS, AFTER_BEATS = 4, 2, 6
GROUPS = ((FEEDER,), (SUB,), (FEEDER, SUB), (HOME, FEEDER, SUB), (MAKES, FEEDER))
CASES = [(groups, seed) for seed in range(60) for groups in GROUPS]
STRONG = (Level.ENVELOPE, Level.GRID_EMERGENCY)


def opted_out(drawn: random.Random, nest: Nest, part: float) -> None:
    """Let the owners of some devices opt out."""
    nest.state.opted_out[:] = [drawn.random() < part for _ in nest.ones]


def must_give(drawn: random.Random, nest: Owned) -> tuple[int, float]:
    """Return a device that can give, and how much it is to (W)."""
    row = int(drawn.choice(np.flatnonzero(nest.state.fleet.max_inject_w > 0.0).tolist()))
    return row, 100.0 * drawn.choice([1, 3, 10, 30])


@pytest.mark.parametrize(("groups", "seed"), some(CASES, 60))
def test_who_must_give_by_a_limit_of_its_own_may_as_soon_as_the_others_answered(
    groups: tuple[str, ...], seed: int
) -> None:
    async def play() -> None:
        drawn, nest = Owned.drawn_with_stores(seed)
        opted_out(drawn, nest, drawn.choice([0.0, 0.0, 0.3]))
        if drawn.random() < 0.5:
            await nest.own_drawn(drawn, 0.3)
        gives_w = {g: float(np.maximum(nest.wish_w[nest.state.fleet.leaves(g)], 0.0).sum()) for g in groups}
        ends = {g: 100.0 * drawn.randint(0 if g == MAKES else -40, int(w / 100.0)) for g, w in gives_w.items()}
        await nest.limits({g: (-np.inf, high_w) for g, high_w in ends.items()})
        await nest.play(SETTLES_BEATS)
        row, least_w = must_give(drawn, nest)
        await nest.owns(row, drawn.choice(STRONG), least_w, drawn.choice([np.inf, 2.0 * least_w]))
        for beat in range(AFTER_BEATS):
            await nest.play(1)
            fits = False  # where none does nobody is waited for
            for group in groups:
                may_w, lowest_w = nest.may_give_w(group)
                if group == HOME:  # what loads draw counts there
                    may_w = min(may_w, nest.net_of_w(HOME))
                fits |= group == HOME or lowest_w <= nest.ends[group][1]
                assert may_w <= max(nest.ends[group][1], lowest_w) + 1.0, (beat, group, nest.own, nest.ends)
            if beat >= (ANSWERED_BEATS - 1 if fits else 0):
                assert nest.allowed_w()[1][row] >= least_w - 1.0, (beat, fits, row, nest.own, nest.ends)
                assert nest.allowed_w()[0][row] >= least_w - 1.0, (beat, fits, row, nest.own, nest.ends)

    asyncio.run(play())


@pytest.mark.parametrize(("groups", "seed"), some([case for case in CASES if MAKES not in case[0]][:160], 40))
def test_who_must_charge_by_a_limit_of_its_own_may_likewise(groups: tuple[str, ...], seed: int) -> None:
    async def play() -> None:
        drawn, nest = Owned.drawn_with_stores(seed)
        opted_out(drawn, nest, drawn.choice([0.0, 0.0, 0.3]))
        if drawn.random() < 0.5:
            await nest.own_drawn(drawn, 0.3)
        await nest.limits({group: (100.0 * drawn.randint(-80, 10), np.inf) for group in groups})
        await nest.play(SETTLES_BEATS)
        rows = np.flatnonzero((nest.state.fleet.max_inject_w > 0.0) & (nest.state.fleet.max_absorb_w > 0.0))
        row, least_w = int(drawn.choice(rows.tolist())), 100.0 * drawn.choice([1, 3, 10, 30])
        await nest.owns(row, drawn.choice(STRONG), -np.inf, -least_w)
        for beat in range(AFTER_BEATS):
            await nest.play(1)
            may_w = [(group, *nest.may_draw_w(group)) for group in groups]
            fits = any(most_w >= nest.ends[group][0] for group, _, most_w in may_w)
            if beat >= 1:
                for group, low_w, most_w in may_w:
                    assert low_w >= min(nest.ends[group][0], most_w) - 1.0, (beat, group, nest.own, nest.ends)
            if beat >= (ANSWERED_BEATS if fits else 0):
                assert nest.allowed_w()[0][row] <= -least_w + 1.0, (beat, fits, row, nest.own, nest.ends)
                assert nest.allowed_w()[1][row] <= -least_w + 1.0, (beat, fits, row, nest.own, nest.ends)

    asyncio.run(play())


@pytest.mark.parametrize(("groups", "seed"), some(CASES[:200], 40))
def test_who_must_give_may_where_what_loads_draw_counts_and_the_groups_stay_within_their_ends(
    groups: tuple[str, ...], seed: int
) -> None:
    async def play() -> None:
        drawn = random.Random(seed)
        stores = [One(Kind.BATTERY, OBEYS, 100.0 * drawn.randint(-40, 20)) for _ in range(drawn.randint(1, 3))]
        counted = drawn.choice([(FEEDER,), (SUB,), (FEEDER, SUB)])
        nest = Owned(drawn_ones(drawn), drawn_ones(drawn) + stores, drawn_ones(drawn, 0), counted)
        nest.own = {}
        opted_out(drawn, nest, drawn.choice([0.0, 0.0, 0.3]))
        if drawn.random() < 0.5:
            await nest.own_drawn(drawn, 0.3)
        await nest.limits({g: (-np.inf, 100.0 * drawn.randint(0 if g == MAKES else -80, 20)) for g in groups})
        await nest.play(SETTLES_BEATS)
        row, least_w = must_give(drawn, nest)
        await nest.owns(row, drawn.choice(STRONG), least_w, np.inf)
        for beat in range(AFTER_BEATS):
            await nest.play(1)
            if beat >= ANSWERED_BEATS - 1:
                shines_w = nest.wish_w[row] if nest.is_sun[row] and MAKES in groups else np.inf
                assert nest.allowed_w()[1][row] >= min(least_w, shines_w) - 1.0, (beat, row, nest.own, nest.ends)
                for group in (group for group in groups if group != MAKES):
                    mine = nest.state.fleet.leaves(group)
                    least = nest.ranges_w(Level.ENVELOPE)[0][mine[~nest.is_load[mine]]].sum()
                    draws = np.minimum(nest.does_w[mine[nest.is_load[mine]]], 0.0).sum()
                    assert nest.net_of_w(group) <= max(nest.ends[group][1], least + draws) + 10.0, (beat, group)

    asyncio.run(play())


def test_a_store_under_a_feeders_limit_gives_its_least_while_another_charges_for_it() -> None:
    """It stood at 69 W of 100 W for as long as that lasted."""

    async def play() -> None:
        nest = Owned([], [One(Kind.BATTERY, OBEYS, 0.0)] * 2 + [One(Kind.PV, OBEYS, 3_000.0)], [], ())
        nest.own = {}
        await nest.limits({FEEDER: (-np.inf, -3_000.0)})
        await nest.play(SETTLES_BEATS)
        await nest.owns(0, Level.ENVELOPE, 100.0, 2_000.0)
        await nest.play(ANSWERED_BEATS + 1)
        assert nest.does_w[0] >= 100.0 and nest.net_of_w(FEEDER) <= -3_000.0

    asyncio.run(play())


def test_an_old_limit_looks_again_as_soon_as_those_answered_who_make_room_for_what_another_must_give() -> None:
    """It looked at the next minute alone: after two minutes no growth of a limit waited for answers any more."""

    async def play() -> None:
        stage, told = Stage1(fleet_of([Kind.BATTERY] * 3)), list[bool]()
        devices = stage.devices
        stage.desk.on_answers = told.append
        end_ns = stage.clock.ns + HOUR_NS
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, high=-3_000.0, end_ns=end_ns)
        await stage.desk.ask(limit)
        for _ in range(3):
            await beat(stage)
        devices.answers = lambda n: np.zeros(n, np.bool_)
        own = stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, source="own", low=500.0, end_ns=end_ns)
        await stage.desk.ask(own)
        await beat(stage)
        assert devices.high_w[0] <= 0.0 and not told, "R16: it waits for those that are to charge more"
        for row in (1, 2):
            batch = next(one for one in reversed(devices.batches) if row in one.rows)
            devices.report(batch.take(batch.rows == row), Stage.ACCEPTED)
        assert told == [False, True] or told == [True]
        devices.answers = lambda n: np.ones(n, np.bool_)
        await beat(stage, 0)
        assert devices.low_w[0] >= 500.0 and devices.high_w.sum() <= -3_000.0

    async def beat(stage: Stage1, seconds: int = 60) -> None:
        stage.clock.ns += seconds * SECOND_NS
        await stage.desk.flush()
        await stage.desk.commit(groups_of.decide_regulation(stage.state, stage.clock.ns))
        await stage.desk.settle()
        fleet = stage.state.fleet
        fleet.power_w[:] = np.clip(0.0, stage.devices.low_w, stage.devices.high_w)
        fleet.taken_at_ns[:] = stage.clock.ns

    asyncio.run(play())
