"""The rows of nested bands are solved as the whole matrix would be, and walks are the best of all schedules."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.plan.bands import Tree
from tieline.plan.blocks import answer
from tieline.plan.walks import call_mode, call_walk, cheapest_walk, engine_mode, engine_walk

SEEDS = st.integers(0, 10**6)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_the_tree_solves_what_the_whole_matrix_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bands, steps = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    parent = np.array([-1, *(int(rng.integers(0, band)) for band in range(1, bands))])
    halves = rng.normal(size=(bands, steps, steps))
    schur, theta = halves @ halves.transpose(0, 2, 1), rng.uniform(0.01, 10, (bands, steps))
    whole = np.zeros((bands, steps, bands, steps))
    for band in range(bands):
        whole[band, :, band] += schur[band] + np.diag(theta[band])
        if band:
            whole[parent[band], :, parent[band]] += np.diag(theta[band])
            whole[band, :, parent[band]] -= np.diag(theta[band])
            whole[parent[band], :, band] -= np.diag(theta[band])
    right = rng.normal(size=(bands, steps))
    exact = np.linalg.solve(whole.reshape(bands * steps, -1), right.ravel()).reshape(bands, steps)
    tree = Tree(parent)
    assert tree.solver(schur, theta)(right) == pytest.approx(exact, rel=1e-7, abs=1e-9)
    assert tree.summed(tree.across(right)) == pytest.approx(right)


def engine_keeps(runs: tuple[bool, ...], lasted: int, least_on: int, least_off: int) -> bool:
    """Return whether a schedule keeps least times, by the lengths of its runs."""
    past = [lasted > 0] * abs(lasted) + list(runs)
    lengths = [(past[0], 0)]
    for now in past:
        lengths = [*lengths[:-1], (now, lengths[-1][1] + 1)] if now == lengths[-1][0] else [*lengths, (now, 1)]
    return all(length >= (least_on if is_on else least_off) for is_on, length in lengths[:-1])


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_an_engines_walk_is_the_cheapest_of_all_schedules_that_keep_its_least_times(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps, least_on, least_off = int(rng.integers(1, 8)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    lasted, turn = int(rng.choice([-5, -2, -1, 1, 2, 5])), float(rng.uniform(0, 1))
    on_cost, off_cost = rng.normal(size=steps), rng.normal(size=steps)

    def cost(runs: tuple[bool, ...]) -> float:
        starts = sum(now and not was for was, now in zip((lasted > 0, *runs), runs, strict=False))
        return float(sum(np.where(runs, on_cost, off_cost))) + turn * starts

    every = [
        cost(runs) for runs in product((False, True), repeat=steps) if engine_keeps(runs, lasted, least_on, least_off)
    ]
    walk, found = engine_walk(least_on, least_off), np.zeros(steps, np.bool_)
    least = cheapest_walk(
        walk.on, walk.off, walk.starts, engine_mode(lasted, least_on, least_off), 0, turn, on_cost, off_cost,
        np.zeros((2, len(walk.on))), np.zeros((steps, len(walk.on)), np.bool_), found,
    )  # fmt: skip
    assert least == pytest.approx(min(every))
    assert cost(tuple(found.tolist())) == pytest.approx(least)


def call_keeps(runs: tuple[bool, ...], calls: int, longest: int, shortest: int, rest: int, notice: int) -> bool:
    edges = np.flatnonzero(np.diff([0, *map(int, runs), 0]))
    firsts, ends = edges[::2], edges[1::2]
    lengths = ends - firsts
    return bool(
        len(firsts) <= calls and (lengths <= longest).all() and (firsts >= notice).all()
        and ((lengths >= shortest) | (ends == len(runs))).all() and (firsts[1:] - ends[:-1] >= rest).all()
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_a_contracts_walk_is_the_cheapest_of_all_schedules_that_keep_its_rules(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps, calls, longest = int(rng.integers(1, 9)), int(rng.integers(0, 4)), int(rng.integers(1, 5))
    shortest, rest, notice = int(rng.integers(1, longest + 1)), int(rng.integers(1, 4)), int(rng.integers(0, 3))
    on_cost, turn = rng.normal(size=steps), float(rng.uniform(0, 1))
    rules = (calls, longest, shortest, rest, notice)

    def cost(runs: tuple[bool, ...]) -> float:
        return float(sum(np.where(runs, on_cost, 0.0))) + turn * sum(np.diff([0, *map(int, runs)]) > 0)

    every = [cost(runs) for runs in product((False, True), repeat=steps) if call_keeps(runs, *rules)]
    walk, found = call_walk(calls, longest, shortest, rest), np.zeros(steps, np.bool_)
    least = cheapest_walk(
        walk.on, walk.off, walk.starts, call_mode(calls, longest, rest, 0), notice, turn, on_cost, np.zeros(steps),
        np.zeros((2, len(walk.on))), np.zeros((steps, len(walk.on)), np.bool_), found,
    )  # fmt: skip
    assert least == pytest.approx(min(every))
    assert call_keeps(tuple(found.tolist()), *rules)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_a_tank_is_never_overdrawn_and_its_bound_lies_below_every_schedule_that_keeps_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps, walk = int(rng.integers(1, 8)), engine_walk(1, 1)
    most, price, tank = rng.uniform(0.5, 2), rng.normal(size=steps), float(rng.uniform(0, 5))
    full, power, runs = np.full(steps, most), np.zeros(steps), np.zeros(steps, np.bool_)
    bound = answer(
        full, full, 0.1, 0.2, 0.3, 0.5, 1.0, tank, 1, 0, walk.on, walk.off, walk.starts, price, 0.0, np.zeros(steps),
        np.zeros((2, steps)), np.zeros((2, 2)), np.zeros((steps, 2), np.bool_), runs, power,
    )  # fmt: skip
    assert float((0.5 * runs + power).sum()) <= tank * (1 + 1e-8)
    for tried in product((False, True), repeat=steps):
        if sum(tried) * (0.5 + most) <= tank:
            starts = sum(np.diff([0, *map(int, tried)]) > 0)
            assert bound <= sum(0.1 + (0.2 - price[t]) * most for t in range(steps) if tried[t]) + 0.3 * starts + 1e-9
