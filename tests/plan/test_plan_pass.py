"""Passes over a large pool and the climb up its dual: exact costs, true slopes, and the top of the model."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pool_programs import random_pool

from tieline.bench.kernel import reference_stores
from tieline.plan import reach
from tieline.plan.pool_pass import Ask, Sums, answered, columns_of, scheduled
from tieline.plan.pool_price import _top, corrected, off_by
from tieline.plan.pool_scaled import Segments, scaled_stores, units_of

SEEDS = st.integers(0, 2**32 - 1)


def asked(seed: int, width: float, stay: float, taking: float | None = None) -> tuple:
    """Return a random pool's columns, and how to ask it at a price."""
    rng = np.random.default_rng(seed)
    problem = random_pool(seed, bool(seed % 2))
    stores, steps, n = problem.stores, len(problem.terms.buy_per_wh), len(problem.stores.start_wh)
    units = units_of(stores, problem.terms.buy_per_wh, problem.terms.buy_per_wh, problem.hours)
    like, plan = rng.integers(0, 3, n), rng.uniform(-1, 1, (3, steps))
    columns = columns_of(stores, problem.course, rng.uniform(1, 5, n)) | {"like": like, "plan": plan}
    sides = np.full(steps, np.nan if taking is None else taking)

    def ask(price: np.ndarray) -> Ask:
        return Ask(price, width, stay, seed % 1_000, units, sides)

    return problem, units, columns, ask, rng


@pytest.mark.parametrize(("width", "stay", "taking"), [(0, 0, None), (0.1, 0, None), (0.1, 0.2, None), (0.1, 0.2, 0.5)])
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_what_is_taken_is_the_slope_of_what_it_costs(
    seed: int, width: float, stay: float, taking: float | None
) -> None:
    """The cost is concave in the price: no price costs more than the slope at another says."""
    _, _, columns, ask, rng = asked(seed, width, stay, taking)
    n, steps = len(columns["start_wh"]), columns["plan"].shape[1]
    one, two = rng.uniform(-0.5, 1.0, (2, steps))
    here, there = (answered(columns, (0, n, ask(price))) for price in (one, two))
    size = 1.0 + abs(here.value) + float((here.takes + here.gives).sum())
    assert there.value <= here.value + (here.takes - here.gives) @ (two - one) + 1e-9 * size


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_without_draw_or_habit_a_pass_is_the_cheapest_of_each_storage(seed: int) -> None:
    problem, units, columns, ask, rng = asked(seed, 0.0, 0.0)
    n, steps = columns["start_wh"].shape[0], columns["plan"].shape[1]
    price = rng.uniform(-0.2, 1.0, steps)
    columns["weight"] = np.ones(n)
    s = scaled_stores(problem.stores, problem.course, steps, units)
    exact = reach.cheapest(s.gain, s.loss, s.keep, s.charge, s.discharge, s.drift, s.low, s.high, s.wear, price)
    found = answered(columns, (0, n, ask(price)))
    assert found.value == pytest.approx(exact, rel=1e-12, abs=1e-12)
    cost = price @ (found.takes - found.gives)
    if (s.wear == s.wear[0]).all():
        cost += s.wear[0] * found.gives.sum()
        assert cost == pytest.approx(exact, rel=1e-9, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_a_draw_costs_each_storage_at_most_its_width_for_what_it_moves(seed: int) -> None:
    problem, units, columns, ask, rng = asked(seed, 0.05, 0.0)
    n, steps = columns["start_wh"].shape[0], columns["plan"].shape[1]
    price = rng.uniform(0.1, 1.0, steps)
    columns["weight"] = np.ones(n)
    rows = scheduled(columns, (0, n, ask(price)))
    s = scaled_stores(problem.stores, problem.course, steps, units)
    least = reach.cheapest(s.gain, s.loss, s.keep, s.charge, s.discharge, s.drift, s.low, s.high, s.wear, price)
    cost = float(-price @ rows.net) + rows.worn
    assert least - 1e-9 <= cost <= least + 0.05 * 2 * float((s.charge + s.discharge).sum()) + 1e-9


@pytest.mark.parametrize("taking", [0.0, 0.3, 1.0])
def test_storages_of_one_direction_keep_it_and_as_many_take_as_is_asked(taking: float) -> None:
    stores = replace(reference_stores(500), end_wh=np.zeros(500))
    units = units_of(stores, np.ones(24), np.ones(24), 1.0)
    price = np.random.default_rng(1).uniform(-1, 1, 24)
    ask = Ask(price, 0.0, 0.0, 0, units, np.where(price < 0, taking, np.nan))
    power = scheduled(columns_of(stores, None), (0, 500, ask)).power[:, price < 0]
    side = (
        np.arange(500)[:, None] * 0.7548776662466927 + np.flatnonzero(price < 0) * 0.5698402909980532
    ) % 1.0 < taking
    assert (power[side] <= 0).all()
    assert (power[~side] >= 0).all()
    assert side.mean() == pytest.approx(taking, abs=0.01)


def test_a_storage_that_must_be_full_takes_although_it_was_to_give_alone() -> None:
    stores = reference_stores(20)
    stores = replace(stores, end_wh=stores.start_wh + 0.5 * (stores.most_wh - stores.start_wh))
    units = units_of(stores, np.ones(24), np.ones(24), 1.0)
    rows = scheduled(columns_of(stores, None), (0, 20, Ask(np.full(24, 0.1), 0.0, 0.0, 0, units, np.zeros(24))))
    assert (rows.stored[:, -1] >= stores.end_wh * (1 - 1e-9)).all()
    assert (rows.off == 0).all()


def random_model(seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(1, 7))
    half = rng.normal(size=(steps, steps))
    lengths, rates = rng.uniform(0.5, 2, (4, steps)), np.sort(rng.uniform(-2, 2, (4, steps)), axis=0)
    pool = Segments(rng.uniform(-4, 0, steps), lengths, rates, 0.0)
    power = rng.uniform(-1, 1, steps)
    sums = Sums(0.0, np.maximum(-power, 0), np.maximum(power, 0))
    return rng, pool, rng.uniform(-1, 1, steps), sums, half @ half.T + 0.1 * np.eye(steps)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, trust=st.sampled_from([0.05, 1.0, 100.0]))
def test_a_step_goes_to_the_top_of_the_model_within_its_region_of_trust(seed: int, trust: float) -> None:
    rng, pool, price, sums, curve = random_model(seed)
    power, room = sums.gives - sums.takes, trust * np.maximum(1.0, np.abs(price))

    def model(at: np.ndarray) -> float:
        step = at - price
        return pool.dual(at) - float(power @ step + 0.5 * step @ curve @ step)

    top = _top(price, sums, curve, pool, trust)
    assert (np.abs(top - price) <= room * (1 + 1e-12)).all()
    for _ in range(200):
        near = top + rng.normal(size=len(price)) * rng.choice([1e-3, 0.1, 1.0])
        assert model(np.clip(near, price - room, price + room)) <= model(top) + 1e-5


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_the_curvature_agrees_with_the_last_step_and_bends_no_other_way(seed: int) -> None:
    rng, _, _, _, curve = random_model(seed)
    step = rng.normal(size=len(curve))
    half = rng.normal(size=(len(curve), len(curve)))
    change = (half @ half.T + 0.1 * np.eye(len(curve))) @ step
    learnt = corrected(curve, step, change)
    assert learnt @ step == pytest.approx(change, rel=1e-6, abs=1e-8)
    assert np.linalg.eigvalsh(learnt).min() > -1e-9 * np.linalg.norm(learnt)
    assert (corrected(curve, step, 0.0 * step) == curve).all()


def test_powers_are_off_by_what_the_pool_would_not_take_at_these_prices() -> None:
    """Two segments from -1 on: to 0 at 2 a unit earned, to 3 at 1 earned."""
    pool = Segments(np.array([-1.0]), np.array([[1.0], [3.0]]), np.array([[-2.0], [-1.0]]), 0.0)
    for price, power, off in [
        (1.5, 0.0, 0.0),
        (1.5, -0.4, 0.4),
        (1.5, 0.3, 0.3),
        (1.0, 2.0, 0.0),
        (1.0, 3.5, 0.5),
        (2.0, -1.0, 0.0),
    ]:
        assert off_by(pool, np.array([price]), np.array([power])) == pytest.approx(off)
