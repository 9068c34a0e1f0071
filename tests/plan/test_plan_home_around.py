"""What lies around a home's schedule: cuts lie below every cost, and what a change adds to them is what it adds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_homes import random_home

from tieline.bench._home_set import home_set
from tieline.errors import Infeasible
from tieline.plan.home import Appliance, Heater, Home, plan_home
from tieline.plan.home_around import around, beside, lower_bound
from tieline.plan.home_cars import with_cars
from tieline.plan.home_changes import changed, changes_of, own_of
from tieline.plan.home_reach import reachable
from tieline.plan.home_search import (
    Choice,
    Costed,
    Search,
    answer,
    costed,
    first_prices,
    patterned,
    search_of,
    start_cost,
)
from tieline.plan.switched import keeps

SEEDS = st.integers(0, 10**6)


def met(home: Home, seed: int, count: int = 4) -> tuple[Search, list[Costed]] | None:
    """Return some whole schedules of a home, answers to prices that chance moves, or None where it has none."""
    try:
        reachable(home)
        s = search_of(home)
    except Infeasible:
        return None
    rng, first = np.random.default_rng(seed), first_prices(s)[:, 0]
    prices = [first * (1 + 0.3 * rng.standard_normal(len(first))) for _ in range(count)]
    return s, [with_cars(s, costed(s, answer(s, price)[0]), (0.5,)) for price in prices]


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_no_schedule_costs_less_than_the_cut_of_any_other(seed: int, is_harsh: bool) -> None:
    found = met(random_home(seed, is_harsh), seed)
    if found is None:
        return
    s, schedules = found
    for one in [*schedules, *s.seen.values()]:
        least = own_of(s, one, s.cuts) + start_cost(s, one.choice)
        assert least.max() <= one.cost + 1e-5 * (abs(one.cost) + 1.0)
        own = own_of(s, one, [one.cut])[0] + start_cost(s, one.choice)
        assert own == pytest.approx(one.cost, abs=1e-4 * (abs(one.cost) + 1.0)), "its own cut is its cost"


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_what_two_changes_add_to_a_cut_is_what_the_changed_schedule_has_more(seed: int) -> None:
    found = met(random_home(seed, steps=24), seed, 2)
    if found is None:
        return
    s, (one, _) = found
    changes = changes_of(s, one, s.cuts)
    before = own_of(s, one, s.cuts) + start_cost(s, one.choice)
    rng = np.random.default_rng(seed)
    for m in rng.integers(0, len(changes.device), 12):
        choice, charges = changed(s, one, changes, np.array([0, m]))
        other = Costed(choice, one.x, one.price, 0.0, one.cut, charges)
        after = own_of(s, other, s.cuts) + start_cost(s, choice)
        np.testing.assert_allclose(after - before, changes.share[m] + changes.begun[m], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_what_lies_beside_a_schedule_keeps_every_heater_and_costs_no_less_than_its_bound(seed: int) -> None:
    found = met(random_home(seed, steps=24), seed, 1)
    if found is None:
        return
    s, (one,) = found
    for each in beside(s, one, 8, one.cost + 0.2 * abs(one.cost)):
        assert all(keeps(d, on) for d, on in zip(s.heaters, each.choice.on, strict=True))
        assert each.charges is not None
        again = patterned(s, each.choice, each.charges)
        assert again.cost == pytest.approx(each.cost, abs=1e-9)
        assert lower_bound(s, each, each.choice) <= each.cost + 1e-5 * (abs(each.cost) + 1.0)
    best = around(s, one, 8)
    assert best.cost <= one.cost


def test_what_one_run_gives_up_another_makes_where_the_last_level_binds() -> None:
    """Six steps must be on; those at the dear hours are given up and made at the cheap ones, in one change."""
    price = np.full(24, 3e-4)
    price[14:23] = 1e-4
    heater = Heater(2_000.0, 1_000.0, 0.0, 10_000.0, 0.0, end_wh=4_000.0)
    home = Home(0.25, price, 0.5 * price, 500.0, heaters=(heater,), appliances=(Appliance(np.array([1e3]), 0, 1),))
    on = np.zeros((1, 24))
    on[0, 4:8] = on[0, 16:18] = 1.0
    s = search_of(home)
    dear = costed(s, Choice(on, (0,)))
    best = around(s, dear, 12)
    assert best.choice.on[0, 14:23].sum() == best.choice.on.sum() == 6
    assert best.cost == pytest.approx(dear.cost - 4 * 500 * 2e-4, abs=1e-6)


@pytest.mark.parametrize(("seed", "at", "known"), [(1, 0, 1.8991053), (1, 6, 0.8481494), (3, 5, 0.0594696)])
def test_a_home_that_highs_cannot_close_costs_no_more_than_the_best_known(seed: int, at: int, known: float) -> None:
    """Origin: HiGHS 1.15.1 after 60 s for the second; ours with more time for the others, below its best by 0.1 and 20 %."""
    assert plan_home(home_set(9, seed)[at]).cost <= known + 1e-3 * abs(known)
