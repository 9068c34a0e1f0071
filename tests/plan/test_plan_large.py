"""Large pools: within the gap that is claimed of what HiGHS and the interior point find, and never beyond a device."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from large_pools import large, reference
from pool_programs import Problem, optimum, random_pool

from sampled import some
from tieline.bench.kernel import reference_price, reference_stores
from tieline.errors import ConfigError
from tieline.plan.pool import Course, PoolPlan, Stores, Terms, plan_pool
from tieline.plan.pool_pass import noise
from tieline.plan.pool_sample import drawn
from tieline.plan.storage import plan_stores

SEEDS = st.integers(0, 2**32 - 1)


def size_of(problem: Problem, plan: PoolPlan) -> float:
    """Return the money that passes hands: what errors are measured by."""
    dear = max(float(np.abs(problem.terms.buy_per_wh).max()), float(problem.stores.wear_per_wh.max()))
    moved = float(np.abs(plan.power_w).sum()) + float(np.abs(plan.net_w).sum())
    return max(
        abs(plan.cost), moved * problem.hours * dear, 1e-3 * dear * problem.hours * float(problem.stores.charge_w.sum())
    )


@pytest.mark.parametrize("is_harsh", some([True, False]))
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_the_optimum_that_highs_finds_lies_between_bound_and_cost(seed: int, is_harsh: bool) -> None:
    problem = random_pool(seed, is_harsh, has_negative=seed % 4 == 0)
    plan = large(problem, 2, 4)
    best = optimum(problem)
    assume(best is not None)
    tiny = 1e-7 * size_of(problem, plan)
    assert plan.bound - tiny <= best <= plan.cost + tiny
    assert plan.cost - best <= plan.gap + tiny
    assert plan.gap == pytest.approx(max(plan.cost - plan.bound, 0.0), abs=tiny)


@pytest.mark.parametrize("is_harsh", some([True, False]))
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_every_storage_of_a_large_pool_can_follow_its_schedule(seed: int, is_harsh: bool) -> None:
    problem = random_pool(seed, is_harsh, has_negative=seed % 2 == 0)
    plan, stores, course = large(problem, 2, 3), problem.stores, problem.course or Course()
    n, steps = plan.power_w.shape
    keep = np.ones(n) if course.keep_frac is None else course.keep_frac
    most = {name: getattr(course, name) for name in ("charge_w", "discharge_w")}
    rated = {name: getattr(stores, name)[:, None] if at is None else at for name, at in most.items()}
    assert (plan.power_w <= rated["discharge_w"] * (1 + 1e-9)).all()
    assert (-plan.power_w <= rated["charge_w"] * (1 + 1e-9)).all()
    now, tiny = stores.start_wh, 1e-8 * stores.most_wh
    relaxed = {gave.store: gave for gave in plan.gave_way if gave.store is not None}
    for t in range(steps):
        power = plan.power_w[:, t]
        moved = np.where(power < 0, -power * stores.charge_frac, -power / stores.discharge_frac) * problem.hours
        now = keep * now + moved + (0.0 if course.inflow_wh is None else course.inflow_wh[:, t])
        assert now == pytest.approx(plan.stored_wh[:, t], abs=1e-8 * float(stores.most_wh.max()))
        low = stores.least_wh if t < steps - 1 else np.maximum(stores.least_wh, stores.end_wh)
        room = np.array([relaxed[i].most * (1 + 1e-9) if i in relaxed else 0.0 for i in range(n)])
        assert (plan.stored_wh[:, t] >= low - room - tiny).all()
        assert (plan.stored_wh[:, t] <= stores.most_wh + room + tiny).all()
    assert plan.net_w == pytest.approx(
        plan.power_w.sum(axis=0) + problem.terms.base_w, abs=1e-6 * float(stores.most_wh.max())
    )


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_what_gave_way_is_said_by_a_large_pool_where_no_schedule_keeps_it(seed: int) -> None:
    problem = random_pool(seed, True)
    plan = large(problem, 2, 3)
    assert (optimum(problem) is None) == any(gave.store is not None for gave in plan.gave_way)
    beyond = float((plan.over_w + plan.under_w).max(initial=0.0))
    if beyond > 1e-5 * max(1.0, float(np.abs(plan.net_w).max())):
        assert any(gave.store is None for gave in plan.gave_way)


@pytest.mark.parametrize("kind", some(["all different", "all alike", "five kinds", "sold for less", "one giant"], 3))
def test_a_thousand_storages_planned_by_a_few_are_within_a_percent_of_the_interior_point(kind: str) -> None:
    problem = reference(1_000)
    stores = problem.stores
    rows = {"all alike": np.zeros(1_000, int), "five kinds": np.arange(1_000) % 5}.get(kind, np.arange(1_000))
    stores = Stores(**{name: getattr(stores, name)[rows] for name in Stores.__slots__})
    if kind == "one giant":
        by = np.where(np.arange(1_000) == 7, 300.0, 1.0)
        sizes = ("start_wh", "least_wh", "most_wh", "end_wh", "charge_w", "discharge_w")
        stores = replace(stores, **{name: by * getattr(stores, name) for name in sizes})
    cap = 0.25 * float(stores.charge_w.sum())
    sell = 0.8 * reference_price() if kind == "sold for less" else None
    problem = Problem(stores, Terms(reference_price(), sell, -cap, cap, slack_per_wh=2.0), 0.25, None)
    plan, exact = large(problem, 128, 500), plan_pool(stores, problem.terms, 0.25)
    assert plan.cost >= exact.cost - 1e-6 * abs(exact.cost)
    assert plan.bound <= exact.cost + 1e-6 * abs(exact.cost)
    assert plan.gap_frac <= 0.01
    assert float(np.maximum(plan.over_w, plan.under_w).max()) <= 1e-3 * cap


def test_the_bound_of_reference_problem_r3_lies_below_its_known_optimum_and_the_cost_above() -> None:
    """Origin: 8-planning.md section 8, R3 coupled, N = 1,000: -959.239572 by a linear program."""
    plan = large(reference(1_000), 128, 500)
    assert plan.bound <= -959.239572 + 1e-4
    assert -959.239572 - 1e-4 <= plan.cost <= -959.239572 * 0.99


def test_a_band_that_no_schedule_holds_gives_way_by_no_more_than_the_interior_point_lets_it() -> None:
    problem = reference(600)
    hour, rated = np.arange(96) * 0.25, float(problem.stores.charge_w.sum())
    sold = Terms(reference_price(), low_w=np.where((hour >= 18) & (hour < 22), 0.9 * rated, -rated))
    plan = large(Problem(problem.stores, sold, 0.25, None), 64, 256)
    exact = plan_pool(problem.stores, sold, 0.25)
    assert float(plan.under_w.sum()) == pytest.approx(float(exact.under_w.sum()), rel=1e-3)
    assert plan.gap_frac <= 1e-3
    assert "below the lowest allowed" in plan.gave_way[0].says


@pytest.mark.long
def test_a_day_of_negative_prices_is_planned_by_a_few_without_burning() -> None:
    problem = reference(2_000)
    terms = replace(problem.terms, buy_per_wh=reference_price() - 0.12)
    plan = large(Problem(problem.stores, terms, 0.25, None), 400, 1_500)
    exact = plan_pool(problem.stores, terms, 0.25)
    assert plan.bound <= exact.cost
    assert plan.cost <= exact.cost + 0.02 * abs(exact.cost)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_schedule() -> None:
    problem = reference(600)
    one, two, other = (large(problem, 64, 256, seed) for seed in (1, 1, 2))
    assert (one.power_w == two.power_w).all()
    assert (one.cost, one.bound) == (two.cost, two.bound)
    assert (one.power_w != other.power_w).any()


def test_draws_are_spread_over_minus_one_to_one_and_differ_by_seed_row_and_step() -> None:
    draws = np.array([[noise(3, row, step) for step in range(40)] for row in range(200)])
    assert abs(draws.mean()) < 0.03
    assert draws.var() == pytest.approx(1 / 3, rel=0.05)
    assert -1.0 <= draws.min() < -0.98 < 0.98 < draws.max() <= 1.0
    assert len(np.unique(draws)) == draws.size
    assert noise(4, 0, 0) != noise(3, 0, 0)
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 0.05


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 300), few=st.integers(1, 60))
def test_a_sample_stands_for_all_ratings_and_has_everyone_who_is_large(seed: int, count: int, few: int) -> None:
    rng = np.random.default_rng(seed)
    stores = reference_stores(count)
    by = np.exp(rng.normal(0, 1.5, count))
    stores = replace(stores, charge_w=by * stores.charge_w, discharge_w=by * stores.discharge_w)
    sample = drawn(stores, few, seed)
    rating = np.maximum(stores.charge_w, stores.discharge_w)
    assert len(sample.rows) == len(sample.weight)
    assert (sample.weight * rating[sample.rows]).sum() == pytest.approx(rating.sum())
    assert np.isin(np.flatnonzero(rating > rating.sum() / few), sample.rows).all()
    assert len(sample.like) == count
    assert ((sample.like >= 0) & (sample.like < len(sample.rows))).all()
    assert len(np.unique(sample.rows)) == len(sample.rows)
    assert (sample.rows[sample.like[sample.rows]] == sample.rows).all()


@pytest.mark.long
def test_a_pool_of_more_than_are_planned_at_once_goes_the_large_way() -> None:
    problem = reference(3_000)
    plan = plan_pool(problem.stores, problem.terms, 0.25, seed=1, at_once=2_999)
    alone = float(plan_stores(problem.stores, reference_price(), reference_price(), 0.25).cost.sum())
    assert alone < plan.cost < 0
    assert 1e-7 < plan.gap_frac <= 2e-3  # the interior point would have come to 1e-8
    assert float(np.maximum(plan.over_w, plan.under_w).max()) <= 1e-3 * problem.terms.high_w


def test_what_makes_no_sense_in_a_large_pool_is_refused_as_in_a_small_one() -> None:
    problem = reference(50)
    broken = replace(problem.stores, charge_frac=np.where(np.arange(50) == 7, np.nan, 0.9))
    with pytest.raises(ConfigError, match=r"stores.charge_frac\[7\] = nan: give above 0 to 1"):
        plan_pool(broken, problem.terms, 0.25, at_once=10)


def test_a_large_pool_in_which_nobody_can_move_is_its_base_alone() -> None:
    stores = replace(reference_stores(200), charge_w=np.zeros(200), discharge_w=np.zeros(200))
    plan = plan_pool(stores, Terms(np.ones(4), low_w=-10.0, base_w=-50.0), 1.0, at_once=20)
    assert plan.net_w.tolist() == [-50.0] * 4
    assert plan.under_w.tolist() == [40.0] * 4
    assert plan.gap_frac <= 1e-7
