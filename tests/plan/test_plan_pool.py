"""The pool: what every storage can follow, the optimum that HiGHS finds, a bound below it, and prices that mean it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pool_programs import Problem, optimum, random_pool

from tieline.bench.kernel import reference_price, reference_stores
from tieline.errors import ConfigError
from tieline.plan.pool import Course, PoolPlan, Terms, plan_pool
from tieline.plan.storage import Stores, plan_stores

SEEDS = st.integers(0, 10**6)


def planned(problem: Problem) -> PoolPlan:
    return plan_pool(problem.stores, problem.terms, problem.hours, problem.course)


def scale(problem: Problem, plan: PoolPlan) -> float:
    """Return a size of money to measure errors by: what moves at the dearest price, or a little where nothing does."""
    dear = float(np.abs(problem.terms.buy_per_wh).max())
    moved = float(np.abs(plan.power_w).sum()) + float(np.abs(plan.net_w).sum())
    return max(
        abs(plan.cost), moved * problem.hours * dear, 1e-3 * dear * problem.hours * float(problem.stores.charge_w.sum())
    )


@pytest.mark.parametrize("is_harsh", [False, True])
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_the_plan_is_the_linear_programs_optimum_and_the_bound_lies_below(seed: int, is_harsh: bool) -> None:
    problem = random_pool(seed, is_harsh)
    plan = planned(problem)
    best = optimum(problem)
    assume(best is not None)
    error = 1e-6 * scale(problem, plan)
    assert plan.bound <= best + 1e-2 * error
    assert plan.bound <= plan.cost + 1e-9 * scale(problem, plan)
    assert plan.cost >= best - 1e-2 * error
    one_way = optimum(problem, is_one_way=True)
    if one_way <= best + 1e-3 * error:  # the linear program burns no energy: its optimum is what devices can do
        assert plan.cost <= best + error


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_negative_prices_are_planned_without_burning_energy_and_the_gap_holds_the_true_optimum(seed: int) -> None:
    problem = random_pool(seed, False, has_negative=True)
    plan, best = planned(problem), optimum(problem, is_one_way=True)
    error = 1e-6 * scale(problem, plan)
    assert plan.bound - error <= best <= plan.cost + error


@pytest.mark.parametrize("is_harsh", [False, True])
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_every_storage_can_follow_the_plan_and_its_sum_is_the_pools_power(seed: int, is_harsh: bool) -> None:
    problem = random_pool(seed, is_harsh, has_negative=seed % 2 == 0)
    plan, stores, course = planned(problem), problem.stores, problem.course or Course()
    n, steps = plan.power_w.shape
    keep = np.ones(n) if course.keep_frac is None else course.keep_frac
    most = {name: getattr(course, name) for name in ("charge_w", "discharge_w")}
    rated = {name: getattr(stores, name)[:, None] if at is None else at for name, at in most.items()}
    assert (plan.power_w <= rated["discharge_w"] * (1 + 1e-12)).all()
    assert (-plan.power_w <= rated["charge_w"] * (1 + 1e-12)).all()
    now, tiny = stores.start_wh, 1e-9 * stores.most_wh
    relaxed = {gave.store: gave for gave in plan.gave_way if gave.store is not None}
    for t in range(steps):
        power = plan.power_w[:, t]
        moved = np.where(power < 0, -power * stores.charge_frac, -power / stores.discharge_frac) * problem.hours
        inflow = 0.0 if course.inflow_wh is None else course.inflow_wh[:, t]
        now = keep * now + moved + inflow
        assert now == pytest.approx(plan.stored_wh[:, t], abs=1e-8 * float(stores.most_wh.max()))
        low = stores.least_wh if t < steps - 1 else np.maximum(stores.least_wh, stores.end_wh)
        for i in range(n):
            room = relaxed[i].most * (1 + 1e-9) if i in relaxed else 0.0
            assert low[i] - room - tiny[i] <= plan.stored_wh[i, t] <= stores.most_wh[i] + room + tiny[i]
    assert plan.net_w == pytest.approx(
        plan.power_w.sum(axis=0) + problem.terms.base_w, abs=1e-6 * float(stores.most_wh.max())
    )


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_what_the_storages_cannot_keep_is_said_where_and_only_where_it_is_so(seed: int) -> None:
    problem = random_pool(seed, True)
    plan = planned(problem)
    assert (optimum(problem) is None) == any(gave.store is not None for gave in plan.gave_way)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, side=st.sampled_from(["low_w", "high_w"]))
def test_the_price_of_the_band_is_what_more_room_saves(seed: int, side: str) -> None:
    """A band that is wider by d saves at most d * price, and one narrower by d costs at least as much (convexity)."""
    problem = random_pool(seed)
    plan = planned(problem)
    price = plan.low_price_per_wh if side == "low_w" else plan.high_price_per_wh
    assert (price >= 0).all()
    t, steps = int(price.argmax()), len(price)
    step_w = 0.05 * float(problem.stores.charge_w.sum())
    for sign in (1.0, -1.0):
        moved = np.full(steps, float(getattr(problem.terms, side)))
        moved[t] += sign * step_w * (1 if side == "high_w" else -1)
        other = optimum(problem, **{side: moved})
        saved = plan.cost - other
        assert saved <= sign * step_w * problem.hours * price[t] + 2e-6 * scale(problem, plan)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_the_price_of_power_is_what_a_little_more_load_costs(seed: int) -> None:
    problem = random_pool(seed)
    plan = planned(problem)
    steps = len(plan.price_per_wh)
    t, step_w = seed % steps, 0.02 * float(problem.stores.charge_w.sum())
    for sign in (1.0, -1.0):
        base = np.broadcast_to(problem.terms.base_w, (steps,)).copy()
        base[t] -= sign * step_w
        more = optimum(replace(problem, terms=replace(problem.terms, base_w=base)))
        assert more - plan.cost >= sign * step_w * problem.hours * plan.price_per_wh[t] - 2e-6 * scale(problem, plan)


@pytest.mark.parametrize(("count", "cost"), [(100, -99.680201), (1_000, -959.239572)])
def test_reference_problem_r3_batteries_that_share_a_quarter_of_their_rating(count: int, cost: float) -> None:
    """Origin: 8-planning.md section 8, R3 coupled: |sum p| at most 25 % of the sum of ratings, slack 2.0 per kWh."""
    stores, cap = reference_stores(count), 0.25 * float(reference_stores(count).charge_w.sum())
    plan = plan_pool(stores, Terms(reference_price(), low_w=-cap, high_w=cap, slack_per_wh=2.0), 0.25)
    assert plan.cost == pytest.approx(cost, rel=2e-8)
    assert plan.bound == pytest.approx(cost, rel=2e-8)
    assert plan.gap_frac <= 1e-7
    assert not plan.gave_way
    assert np.abs(plan.net_w).max() <= cap * (1 + 1e-8)


def test_without_a_band_every_storage_does_what_it_would_alone() -> None:
    stores, price = reference_stores(50), reference_price()
    plan = plan_pool(stores, Terms(price), 0.25)
    assert plan.cost == pytest.approx(float(plan_stores(stores, price, price, 0.25).cost.sum()), rel=1e-8)
    assert plan.price_per_wh == pytest.approx(price, abs=1e-6)


def test_threads_change_no_bit() -> None:
    stores, cap = reference_stores(200), 0.2 * float(reference_stores(200).charge_w.sum())
    terms = Terms(reference_price(), low_w=-cap, high_w=cap)
    alone = plan_pool(stores, terms, 0.25)
    with ThreadPoolExecutor(2) as threads:
        together = plan_pool(stores, terms, 0.25, spread=threads.map)
    assert (alone.power_w == together.power_w).all()
    assert (alone.cost, alone.bound) == (together.cost, together.bound)


def few(**other: list[float]) -> Stores:
    row = {
        "start_wh": [5e3, 2e3], "least_wh": [0.0, 0.0], "most_wh": [1e4, 1e4], "end_wh": [0.0, 0.0],
        "charge_w": [5e3, 5e3], "discharge_w": [5e3, 5e3], "charge_frac": [0.9, 0.9], "discharge_frac": [0.9, 0.9],
        "wear_per_wh": [0.0, 0.0], **other,
    }  # fmt: skip
    return Stores(**{name: np.array(value) for name, value in row.items()})


def test_a_band_that_cannot_be_held_gives_way_by_as_little_as_it_must_and_says_so() -> None:
    price = np.full(4, 1e-4)
    # 6.3 kWh can be given in all; 2.5 kW for four hours are 10 kWh.
    plan = plan_pool(few(), Terms(price, low_w=2_500.0), 1.0)
    assert float(plan.under_w.sum()) == pytest.approx(10_000 - 0.9 * 7_000, rel=1e-6)
    assert plan.gave_way
    for gave in plan.gave_way:
        assert gave.what == "low_w"
        assert f"{gave.most:.6g} W below the lowest allowed, 2500 W" in gave.says
        assert "at 0.1 per Wh" in gave.says
    assert sum(gave.energy_wh for gave in plan.gave_way) == pytest.approx(3_700, rel=1e-5)
    assert plan.slack_cost == pytest.approx(3_700 * 0.1, rel=1e-6)
    assert plan.low_price_per_wh.max() == pytest.approx(0.1, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_no_more_of_a_band_gives_way_than_any_schedule_must_give(seed: int) -> None:
    problem = random_pool(seed)
    steps, rated = len(problem.terms.buy_per_wh), float(problem.stores.charge_w.sum())
    low = np.random.default_rng(seed).uniform(-1, 1, steps) * rated
    tight = replace(problem.terms, low_w=low, high_w=low + 0.2 * rated, slack_per_wh=None)
    plan = plan_pool(problem.stores, tight, problem.hours)
    assume(plan.gap_frac <= 1e-6)
    free = replace(problem.stores, wear_per_wh=0.0 * problem.stores.wear_per_wh)
    nearly_free = np.full(steps, 1e-9)
    least_wh = optimum(
        Problem(free, replace(tight, buy_per_wh=nearly_free, sell_per_wh=None, slack_per_wh=1.0), problem.hours, None)
    )
    gave_wh = float((plan.over_w + plan.under_w).sum()) * problem.hours
    assert gave_wh == pytest.approx(least_wh, rel=1e-5, abs=1e-5 * rated)


def test_a_car_that_cannot_be_full_in_time_charges_all_it_can_and_the_plan_names_it() -> None:
    here = np.array([[5e3, 0.0, 5e3], [5e3, 5e3, 5e3]])
    plan = plan_pool(few(end_wh=[1e4, 1e4]), Terms(np.array([3e-4, 1e-4, 2e-4])), 0.5, Course(charge_w=here))
    assert plan.power_w[0] == pytest.approx([-5e3, 0.0, -5e3])
    [first, second] = plan.gave_way
    assert (first.store, first.what, first.first) == (0, "least_wh", 2)
    assert first.most == pytest.approx(10_000 - 5_000 - 2 * 0.9 * 2_500)
    assert second.store == 1
    assert second.most == pytest.approx(10_000 - 2_000 - 3 * 0.9 * 2_500)
    assert "store 1: 1250 Wh below the least asked for at step 2" in second.says


def test_no_storage_at_all_is_a_plan_of_the_base_alone() -> None:
    nobody = Stores(**{name: np.zeros(0) for name in Stores.__slots__})
    plan = plan_pool(nobody, Terms(np.array([1e-4, 1e-4]), high_w=1_000.0, base_w=np.array([500.0, 3_000.0])), 1.0)
    assert plan.net_w.tolist() == [500.0, 3_000.0]
    assert plan.over_w.tolist() == [0.0, 2_000.0]
    assert "2000 W above the highest allowed, 1000 W" in plan.gave_way[0].says
    assert plan.gap_frac <= 1e-7


def test_storages_all_alike_and_of_very_different_sizes_are_planned_alike_well() -> None:
    price = reference_price()
    for size in (np.ones(64), np.logspace(0, 6, 64)):
        stores = Stores(*(size * part for part in (5e3, 0.0, 1e4, 5e3, 5e3, 5e3)), *(0 * size + 0.9,) * 2, 0 * size)
        cap = 0.1 * float(stores.charge_w.sum())
        plan = plan_pool(stores, Terms(price, low_w=-cap, high_w=cap), 0.25)
        assert plan.gap_frac <= 1e-7
        assert not plan.gave_way


def test_a_pool_that_must_be_silent_is_idle() -> None:
    """Net power of 0 at every step and an end no lower than the start leave one schedule, without any room inside."""
    plan = plan_pool(reference_stores(50), Terms(reference_price(), low_w=0.0, high_w=0.0, slack_per_wh=5.0), 0.25)
    assert plan.power_w == pytest.approx(0.0, abs=1e-4)
    assert plan.cost == pytest.approx(0.0, abs=1e-5)
    assert plan.bound == pytest.approx(0.0, abs=1e-5)
    assert not plan.gave_way


def test_a_day_of_negative_prices_is_taken_from_within_the_cap_without_burning() -> None:
    stores, cap = reference_stores(50), 0.25 * float(reference_stores(50).charge_w.sum())
    plan = plan_pool(stores, Terms(-reference_price(), low_w=-cap, high_w=cap), 0.25)
    alone = -float(reference_price().sum()) * 0.25 * cap  # no more can be earned than by drawing the cap all day
    assert not plan.gave_way
    assert alone <= plan.bound <= plan.cost < 0
    assert plan.gap_frac < 0.15
    moved = np.where(
        plan.power_w < 0, -plan.power_w * stores.charge_frac[:, None], -plan.power_w / stores.discharge_frac[:, None]
    )
    assert stores.start_wh[:, None] + np.cumsum(moved, axis=1) * 0.25 == pytest.approx(plan.stored_wh, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"terms": Terms(np.array([]))}, r"buy_per_wh has shape \(0,\)"),
        ({"terms": Terms(np.array([1.0, np.nan]))}, r"buy_per_wh\[1\] = nan: give a finite number"),
        ({"terms": Terms(np.ones(2), low_w=5.0, high_w=-5.0)}, r"low_w\[0\] = 5: give at most high_w"),
        ({"terms": Terms(np.ones(2), low_w=np.ones(3))}, r"low_w has shape \(3,\): give one value, or 2"),
        ({"terms": Terms(np.ones(2), sell_per_wh=np.array([1.0, 2.0]))}, r"sell_per_wh\[1\] = 2: give at most buy"),
        ({"terms": Terms(np.ones(2), high_w=np.nan)}, r"high_w\[0\] = nan"),
        ({"terms": Terms(np.ones(2), slack_per_wh=0.0)}, r"slack_per_wh\[0\] = 0: give above 0"),
        ({"hours": 0.0}, r"hours\[0\] = 0: give above 0"),
        ({"tolerance": 1e-16}, r"tolerance\[0\] = 1e-16: give from 1e-10 to 0.01"),
        ({"stores": few(charge_frac=[0.9, 1.2])}, r"stores.charge_frac\[1\] = 1.2: give above 0 to 1"),
        ({"stores": few(most_wh=[1e4])}, r"stores.most_wh has shape \(1,\): give \(2,\)"),
        ({"stores": few(least_wh=[0.0, 2e4])}, r"stores.least_wh\[1\] = 20000: give at most most_wh"),
        ({"stores": few(start_wh=[np.nan, 0.0])}, r"stores.start_wh\[0\] = nan: give a finite number"),
        ({"course": Course(charge_w=np.ones((2, 3)))}, r"course.charge_w has shape \(2, 3\): give \(2, 2\)"),
        ({"course": Course(charge_w=-np.ones((2, 2)))}, r"course.charge_w\[0, 0\] = -1: give from 0"),
        ({"course": Course(keep_frac=np.array([1.0, 0.0]))}, r"course.keep_frac\[1\] = 0: give above 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_by_field_value_and_limit(change: dict[str, object], says: str) -> None:
    given = {"stores": few(), "terms": Terms(np.ones(2)), "hours": 1.0} | change
    with pytest.raises(ConfigError, match=says):
        plan_pool(**given)


@pytest.mark.parametrize("times", [1.0, 1e2, 1e6, 1e8])
def test_no_bound_lies_above_its_cost_however_far_ratings_exceed_what_storages_hold(times: float) -> None:
    """Ratings that fill a storage in less than a step say nothing more: the pool's plan is the same by all of them."""
    stores, price = reference_stores(8), reference_price()
    plan = plan_pool(with_ratings(stores, times), Terms(price, low_w=-5.0), 0.25)
    assert plan.bound < plan.cost and plan.gap == plan.cost - plan.bound and 0 < plan.gap_frac < 2e-8
    if times > 1.0:
        same = plan_pool(with_ratings(stores, 2.0 * times), Terms(price, low_w=-5.0), 0.25)
        assert (same.cost, same.bound) == pytest.approx((plan.cost, plan.bound), rel=1e-12)


def with_ratings(stores: Stores, times: float) -> Stores:
    return replace(stores, charge_w=stores.charge_w * times, discharge_w=stores.discharge_w * times)
