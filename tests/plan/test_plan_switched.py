"""What is on or off: every schedule of a short day is tried by hand, and the dynamic program is held against them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.plan.switched import SPANS, Switched, least_switched, switched, viable

SEEDS = st.integers(0, 10**6)


def device(seed: int, steps: int, is_even: bool = False) -> Switched:
    rng = np.random.default_rng(seed)
    gain = np.full(steps, 1.0) if is_even else rng.uniform(0.6, 1.4, steps)
    flow = np.full(steps, -0.5) if is_even else -rng.uniform(0, 1.1, steps)
    least_on, least_off = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    high = float(rng.uniform(1.0, 3.0))
    return Switched(
        gain, flow, np.zeros(steps), np.full(steps, high), 1.0 if is_even else float(rng.choice([1.0, 0.95])),
        float(rng.uniform(0, high)), least_on, least_off, int(rng.integers(0, least_on + least_off)),
        float(rng.choice([0.0, 0.3])),
    )  # fmt: skip


def by_trial(d: Switched, price: np.ndarray) -> float:
    """Return the least cost over all schedules, infinity where none keeps levels and least times."""
    best = np.inf
    was = d.mode < d.least_on
    lasted = d.mode + 1 if was else d.mode - d.least_on + 1
    for plan in itertools.product((False, True), repeat=len(price)):
        level, is_on, since, cost, keeps = d.start, was, lasted, 0.0, True
        for t, turns_on in enumerate(plan):
            if turns_on != is_on:
                keeps = keeps and since >= (d.least_on if is_on else d.least_off)
                cost += d.start_cost if turns_on else 0.0
                is_on, since = turns_on, 0
            since += 1
            level = d.keep * level + d.flow[t] + (d.gain[t] if turns_on else 0.0)
            cost += price[t] if turns_on else 0.0
            keeps = keeps and d.low[t] - 1e-9 <= level <= d.high[t] + 1e-9
        best = min(best, cost) if keeps else best
    return best


def by_program(d: Switched, price: np.ndarray, bins: int = 4_000) -> tuple[float, float, np.ndarray]:
    steps, modes = len(price), d.least_on + d.least_off
    spans, counts = np.zeros((steps + 1, modes, SPANS, 2)), np.zeros((steps + 1, modes), np.int64)
    columns = (d.gain, d.flow, d.low, d.high, d.keep)
    viable(*columns, d.least_on, d.least_off, spans, counts)
    on = np.zeros(steps)
    rest = (d.start, d.least_on, d.least_off, d.mode, d.start_cost)
    cost = switched(*columns, *rest, spans, counts, price, on)
    return cost, least_switched(*columns, *rest, price, bins), on


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 9))
def test_there_is_a_schedule_where_trial_finds_one_and_none_costs_less_than_the_bound(seed: int, steps: int) -> None:
    d, price = device(seed, steps), np.random.default_rng(seed + 1).normal(0.2, 0.2, steps)
    best = by_trial(d, price)
    cost, least, on = by_program(d, price)
    assert np.isinf(cost) == np.isinf(best)
    if np.isinf(best):
        return
    assert least <= best + 1e-9
    assert best - 1e-9 <= cost
    only = Switched(**{name: getattr(d, name) for name in Switched.__slots__})
    assert by_trial(only, np.where(on > 0.5, -100.0, 100.0)) == pytest.approx(
        -100.0 * on.sum() + starts(d, on) * d.start_cost
    ), "the schedule itself keeps every level and least time"


def starts(d: Switched, on: np.ndarray) -> float:
    return float((np.diff(np.concatenate([[float(d.mode < d.least_on)], on])) > 0).sum())


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(1, 9))
def test_where_levels_are_few_the_schedule_is_the_cheapest(seed: int, steps: int) -> None:
    d, price = device(seed, steps, is_even=True), np.random.default_rng(seed + 1).normal(0.2, 0.2, steps)
    cost, least, _ = by_program(d, price)
    assert cost == pytest.approx(by_trial(d, price), abs=1e-9)
    assert least == pytest.approx(cost, abs=1e-9)


def test_the_bound_comes_near_with_more_bins() -> None:
    off = []
    for seed in range(40):
        d, price = device(seed, 9), np.random.default_rng(seed + 1).normal(0.2, 0.2, 9)
        best = by_trial(d, price)
        if np.isfinite(best):
            off.append([best - by_program(d, price, bins)[1] for bins in (20, 4_000)])
    few, many = np.mean(off, axis=0)
    assert -1e-12 <= many <= 0.002
    assert many < few
