"""A mixed pool: every device keeps its rules, HiGHS finds nothing below the bound, and what gave way is said."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_physics import broken, called, cost_of
from random_mixes import MixedProblem, random_mix

from tieline.bench._mixed_program import MixedProgram
from tieline.bench.kernel import reference_price, reference_stores
from tieline.errors import ConfigError
from tieline.plan.mixed import Feeders, Mix, MixedPlan, Stores, Terms, fair_adders, plan_mixed
from tieline.rim.executors import Threads

SEEDS = st.integers(0, 10**6)
SETTINGS = settings(max_examples=25, deadline=None)
SELF = ("fuel", "steps_left", "heaters", "least_wh", "most_wh")


def planned(problem: MixedProblem, **more: Any) -> MixedPlan:
    return plan_mixed(problem.mix, problem.terms, problem.hours, problem.feeders, **more)


@SETTINGS
@given(seed=SEEDS)
def test_no_schedule_that_highs_finds_costs_less_than_the_bound_and_the_plan_none_less_than_its_optimum(
    seed: int,
) -> None:
    problem = random_mix(seed)
    plan = planned(problem)
    cost, bound, is_found = MixedProgram(problem.mix, problem.terms, problem.hours, problem.feeders).solved(1e-7, 20.0)
    gave = [gave for gave in plan.gave_way if gave.what in SELF]
    assert is_found == (not gave)
    tiny = 1e-6 * max(abs(plan.cost), abs(plan.bound), 1.0)
    assert plan.bound <= plan.cost + tiny
    if is_found:
        assert plan.bound <= cost + tiny
        assert bound <= plan.cost + tiny
        assert plan.gap == pytest.approx(plan.cost - plan.bound, abs=tiny)


@SETTINGS
@given(seed=SEEDS)
def test_every_device_can_do_what_the_plan_says_and_it_costs_what_is_said(seed: int) -> None:
    problem = random_mix(seed)
    if problem.mix.contracts is not None:  # a call whose every step gives: so whether it is called shows in its power
        c = problem.mix.contracts
        powers = np.broadcast_to(np.maximum(c.power_w.max(axis=1), 0.1)[:, None], c.power_w.shape).copy()
        problem = replace(problem, mix=replace(problem.mix, contracts=replace(c, power_w=powers)))
    if problem.mix.gensets is not None:
        g = problem.mix.gensets
        problem = replace(
            problem, mix=replace(problem.mix, gensets=replace(g, least_w=np.maximum(g.least_w, 0.01 * g.most_w)))
        )
    plan = planned(problem)
    assert broken(problem, plan) == []
    assert cost_of(problem, plan) == pytest.approx(plan.cost, abs=1e-6 * max(abs(plan.cost), 10.0))
    if problem.mix.contracts is None:
        return
    c = problem.mix.contracts
    for n in range(len(c.calls)):
        firsts, lengths = called(problem, plan, n)
        is_on = c.lasted[n] > 0 and firsts[:1] == [0]  # the call that was under way goes on
        assert len(firsts) - is_on <= c.calls[n]
        assert sum(lengths) <= max(c.steps_left[n], c.shortest[n] - c.lasted[n])
        for at, (first, length) in enumerate(zip(firsts, lengths, strict=True)):
            past = int(c.lasted[n]) if is_on and at == 0 else 0
            assert length + past <= c.longest[n] or (past >= c.longest[n] and length == 0)
            assert length + past >= c.shortest[n] or first + length == plan.contracts_w.shape[1]
            assert first >= c.notice[n] or (is_on and at == 0)
        for end, begin in zip([f + n for f, n in zip(firsts, lengths, strict=True)], firsts[1:], strict=False):
            assert begin - end >= c.rest[n]


@SETTINGS
@given(seed=SEEDS)
def test_stores_alone_under_nested_feeders_are_planned_to_the_optimum(seed: int) -> None:
    problem = random_mix(seed, sizes=(4, 0, 0, 0))
    plan = planned(problem)
    cost, _, is_found = MixedProgram(problem.mix, problem.terms, problem.hours, problem.feeders).solved(0.0, 20.0)
    assert is_found
    moved = float(np.abs(plan.stores_w).sum()) * problem.hours * 0.4
    assert plan.cost == pytest.approx(cost, abs=2e-6 * max(abs(cost), moved, 1.0))
    assert plan.bound == pytest.approx(cost, abs=2e-6 * max(abs(cost), moved, 1.0))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_negative_prices_are_planned_without_burning_energy_and_the_gap_says_what_that_leaves(seed: int) -> None:
    problem = random_mix(seed)
    terms = replace(
        problem.terms, buy_per_wh=problem.terms.buy_per_wh - 0.2, sell_per_wh=problem.terms.buy_per_wh - 0.25
    )
    problem = replace(problem, terms=terms)
    plan = planned(problem)
    assert plan.bound <= plan.cost + 1e-6 * max(abs(plan.cost), 1.0)
    assert not [says for says in broken(problem, plan) if "store" in says or "stores" in says]
    cost, bound, is_found = MixedProgram(problem.mix, terms, problem.hours, problem.feeders).solved(1e-7, 20.0)
    if is_found:  # a program that may burn energy costs less than any device can do
        assert plan.bound <= cost + 1e-6 * max(abs(cost), 1.0)
        assert plan.cost >= bound - 1e-6 * max(abs(bound), 1.0)


@pytest.mark.parametrize("is_nested", [False, True])
def test_reference_problem_r3_is_the_same_where_the_cap_is_a_feeders(is_nested: bool) -> None:
    """Origin: 8-planning.md section 8, R3 coupled, N = 100; the cap is that of one feeder, or of one above two others."""
    stores = reference_stores(100)
    cap = 0.25 * float(stores.charge_w.sum())
    bands = np.array([np.inf, cap, np.inf]) if is_nested else np.array([cap])
    parent = np.array([1, -1, 1]) if is_nested else None
    feeders = Feeders(-bands, bands, parent=parent, slack_per_wh=2.0)
    at = np.where(np.arange(100) % 2 == 0, 0, 2) if is_nested else np.zeros(100, np.int64)
    plan = plan_mixed(Mix(stores, feeder_of={"stores": at}), Terms(reference_price()), 0.25, feeders)
    assert plan.cost == pytest.approx(-99.680201, rel=1e-7)
    assert plan.bound == pytest.approx(-99.680201, rel=1e-7)
    assert np.abs(plan.feeder_w[1 if is_nested else 0]).max() <= cap * (1 + 1e-7)
    assert not plan.gave_way


def test_threads_change_no_bit_and_a_second_time_brings_the_same() -> None:
    problem = random_mix(2, (40, 12, 12, 4), 24)
    alone, again = planned(problem), planned(problem)
    with Threads(2) as threads:
        together = planned(problem, executor=threads)
    for name in MixedPlan.__slots__:
        for other in (again, together):
            assert np.array_equal(getattr(alone, name), getattr(other, name))


def test_a_hundred_mixed_devices_on_feeders_are_proven_to_within_a_few_percent() -> None:
    problem = random_mix(4, (60, 15, 15, 10), 24)
    plan = planned(problem)
    assert plan.gap_frac <= 0.02
    assert broken(problem, plan) == []


def test_gensets_that_are_all_alike_do_not_move_as_one() -> None:
    problem = random_mix(2, (0, 1, 0, 0), 8)
    assert problem.mix.gensets is not None
    columns = type(problem.mix.gensets).__slots__
    alike = type(problem.mix.gensets)(**{name: getattr(problem.mix.gensets, name).repeat(200) for name in columns})
    alike = replace(alike, fuel=np.full(200, np.inf), least_w=0.8 * alike.most_w, lasted=np.full(200, -9))
    need = np.where(np.arange(8) < 3, -np.inf, 0.45 * float(alike.most_w.sum()))
    plan = plan_mixed(Mix(gensets=alike), Terms(0.01 * np.ones(8), low_w=need), 1.0)
    runs = (plan.gensets_w > 0).sum(axis=0)
    assert (runs[3:] >= 90).all() and (runs[3:] <= 115).all()
    assert not plan.gave_way
    assert plan.gap_frac <= 0.02


def test_a_contract_of_next_to_no_power_does_not_rule_the_scale_of_prices() -> None:
    problem = random_mix(8, (4, 0, 3, 0), 12)
    assert problem.mix.contracts is not None
    power = problem.mix.contracts.power_w.copy()
    power[0] *= 1e-9
    tiny = replace(problem, mix=replace(problem.mix, contracts=replace(problem.mix.contracts, power_w=power)))
    cost, _, is_found = MixedProgram(tiny.mix, tiny.terms, tiny.hours, tiny.feeders).solved(1e-7, 20.0)
    plan = planned(tiny)
    assert is_found
    assert plan.bound <= cost + 1e-6 * abs(cost)
    assert plan.cost == pytest.approx(cost, rel=0.02)


def test_a_pool_of_nobody_pays_for_its_base() -> None:
    plan = plan_mixed(Mix(), Terms(np.array([0.5, 0.25]), base_w=-2.0), 1.0)
    assert plan.cost == pytest.approx(1.5)
    assert plan.gap == pytest.approx(0.0, abs=1e-9)


def test_a_feeder_that_must_give_more_than_its_devices_can_gives_way_and_says_where_and_by_how_much() -> None:
    zero, one = np.zeros(1), np.ones(1)
    battery = Stores(one, zero, one, zero, one, one, one, one, zero)
    feeders = Feeders(np.array([[0.0, 3.0]]), np.array([9.0]))
    plan = plan_mixed(Mix(battery, feeder_of={"stores": np.zeros(1, np.int64)}), Terms(np.ones(2)), 1.0, feeders)
    assert plan.feeder_w == pytest.approx(np.array([[0.0, 1.0]]), abs=1e-6)
    (gave,) = plan.gave_way
    assert (gave.feeder, gave.what, gave.first, gave.last) == (0, "low_w", 1, 1)
    assert gave.most == pytest.approx(2.0, abs=1e-6)
    assert gave.says.startswith("feeder 0: step 1: net power of 1 W")
    assert gave.cost == pytest.approx(plan.slack_cost)
    assert plan.feeder_price_per_wh[0, 1] > 0.9 * gave.cost / gave.energy_wh


def test_an_adder_moves_calls_from_who_was_called_most_to_who_was_called_least() -> None:
    problem = random_mix(12, (0, 0, 2, 0), 6)
    assert problem.mix.contracts is not None
    each = {
        name: getattr(problem.mix.contracts, name)[:1].repeat(2, axis=0)
        for name in type(problem.mix.contracts).__slots__
    }
    few = np.ones(2, np.int64)
    each |= {"power_w": np.ones(2), "calls": few, "longest": 2 * few, "shortest": few, "steps_left": 2 * few,
             "lasted": 0 * few, "notice": 0 * few, "rest": few}  # fmt: skip
    need = np.where(np.arange(6) == 3, 1.0, -5.0)
    for used in ([100.0, 0.0], [0.0, 100.0]):
        adders = fair_adders(np.array(used), np.ones(2), 0.05)
        contracts = type(problem.mix.contracts)(**(each | {"adder_per_wh": adders}))
        plan = plan_mixed(Mix(contracts=contracts), Terms(0.01 * np.ones(6), low_w=need), 1.0)
        assert int(plan.contracts_w.sum(axis=1).argmin()) == int(np.argmax(used))
        assert plan.contracts_w[:, 3].sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "field", "value", "says"),
    [
        ("gensets", "least_w", np.nan, "gensets.least_w[0] = nan"),
        ("gensets", "fuel", -1.0, "gensets.fuel[0] = -1: give 0 or more"),
        ("gensets", "lasted", 0, "gensets.lasted[0] = 0: give steps on above 0"),
        ("contracts", "calls", 100_000, "contracts.calls[0] = 100000"),
        ("contracts", "shortest", 999, "contracts.shortest[0] = 999: give at most longest"),
        ("heaters", "keep_frac", 0.0, "heaters.keep_frac[0] = 0"),
        ("heaters", "least_wh", 1e9, "heaters.least_wh[0] = 1e+09: give at most most_wh"),
    ],
)
def test_what_makes_no_sense_is_refused_with_kind_field_device_and_limit(
    kind: str, field: str, value: float, says: str
) -> None:
    problem = random_mix(2, (1, 1, 1, 1), 4)
    columns = getattr(problem.mix, kind)
    column = getattr(columns, field).copy()
    column[0] = value
    with pytest.raises(ConfigError) as refused:
        planned(replace(problem, mix=replace(problem.mix, **{kind: replace(columns, **{field: column})})))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("feeders", "says"),
    [
        (Feeders(np.zeros(2), np.ones(2), parent=np.array([1, 0])), "feeders.parent[0] = 1: feeders hang in a ring"),
        (Feeders(np.ones(1), np.zeros(1)), "feeders.low_w[0, 0] = 1: give at most high_w"),
        (Feeders(np.zeros((1, 3)), np.ones(1)), "feeders.low_w has shape (1, 3): give (1,) or (1, 2)"),
    ],
)
def test_feeders_that_make_no_sense_are_refused(feeders: Feeders, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_mixed(Mix(), Terms(np.ones(2)), 1.0, feeders)
    assert says in str(refused.value)
    with pytest.raises(ConfigError, match=r"feeder_of\['stores'\]\[0\] = 5: give from -1 to 0"):
        plan_mixed(
            Mix(reference_stores(1), feeder_of={"stores": np.array([5])}), Terms(np.ones(2)), 1.0,
            Feeders(np.zeros(1), np.ones(1)),
        )  # fmt: skip
