"""Offers as curves: a curve that is made is one that its market takes, and no other power would have earned more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from offers_made import MODELS, good

from tieline.market.curve import MOST_BLOCKS, Cases, Normal, Risk, fit_steps, marginal_price, offer_curve, stack_cost
from tieline.market.offer_rules import check_with
from tieline.market.participation import versions_of

GIVEN = [(market, model) for market, model in MODELS]
members = st.lists(st.tuples(st.integers(1, 4_000), st.integers(-50, 900)), min_size=1, max_size=30)
risks = st.builds(
    Risk, buy_back=st.floats(0, 3_000), penalty=st.floats(0, 500), aversion=st.floats(0, 1),
    tail_frac=st.floats(0.05, 1), most_short_frac=st.floats(0, 1),
)  # fmt: skip


def columns(rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array([kw * 1e3 for kw, _ in rows]), np.array([float(price) for _, price in rows])


def dearest_of_least(model, power_w, price, available, risk, sold_w: float) -> float:
    """Return what the blocks up to the least that a market takes must earn; inf where there is not so much."""
    unit_w, least_w = model.watts("step_mw") or 1.0, model.watts("min_mw") or 0.0
    most_w = min(float(power_w.sum()) - sold_w, model.watts("max_mw") or np.inf)
    count = int((most_w + 1e-3) // unit_w)
    if count < 1 or count * unit_w < least_w - 1e-3:
        return np.inf
    block = -(-count // MOST_BLOCKS)
    need = max(int(np.ceil((least_w - 1e-3) / unit_w)), 1)
    end_w = min(-(-need // block) * block, count) * unit_w
    at_w = sold_w + np.array([end_w])
    return float(marginal_price(stack_cost(power_w, price, at_w), available.short_frac(at_w), risk)[0])


@settings(max_examples=200, deadline=None)
@given(
    at=st.integers(0, len(MODELS) - 1), rows=members, risk=risks, sold_kw=st.integers(0, 3_000),
    cases=st.lists(st.integers(0, 60_000), min_size=1, max_size=40),
)  # fmt: skip
def test_a_curve_that_is_made_for_a_market_is_taken_by_its_validator(at, rows, risk, sold_kw, cases) -> None:
    market, model = MODELS[at]
    power_w, price = columns(rows)
    available = Cases(np.array(cases) * 1e3)
    steps = offer_curve(model, power_w, price, available, risk, sold_kw * 1e3)
    if not steps:
        cap = model.number("price_cap")
        dearest = dearest_of_least(model, power_w, price, available, risk, sold_kw * 1e3)
        assert np.isposinf(dearest) or (cap is not None and dearest > cap), (
            "an empty curve where something would be taken"
        )
        return
    offer, now_ns = good(market, model)
    offer = replace(offer, steps=steps, curve="steps" if len(steps) > 1 else offer.curve)
    offer = replace(offer, behind=replace(offer.behind, energy_wh=1e12, telemetry_s=1.0))
    if offer.direction == "down" and model.sells == "energy":
        return
    assert check_with(market, model, offer, now_ns).refusals == ()
    assert offer.power_w <= power_w.sum() - sold_kw * 1e3 + 1e-3


@settings(max_examples=100, deadline=None)
@given(rows=members, risk=risks, cases=st.lists(st.integers(0, 60_000), min_size=1, max_size=40))
def test_no_step_is_sold_below_what_any_watt_of_it_must_earn(rows, risk, cases) -> None:
    _, (model,) = versions_of("caiso-pdr")
    power_w, price = columns(rows)
    available = Cases(np.array(cases) * 1e3)
    sold_w = 0.0
    for step in offer_curve(model, power_w, price, available, risk):
        sold_w += step.power_w
        at = np.arange(10_000.0, sold_w + 1.0, 10_000.0)  # the market's grain: 0.01 MW
        must = marginal_price(stack_cost(power_w, price, at), available.short_frac(at), risk)
        assert step.price >= must[-1] - 1e-6


def objective(units, case_units, clears, cost, lack, aversion, tail_n) -> float:
    """Return the mean profit and that of the worst cases, weighed; by counting cases, as one would by hand."""
    profits = []
    for case in case_units:
        given_units = min(units, case)
        profits.append(clears * units - sum(cost[:given_units]) - lack * (units - given_units))
    worst = sorted(profits)[:tail_n]
    return (1 - aversion) * sum(profits) / len(profits) + aversion * sum(worst) / len(worst)


@settings(max_examples=150, deadline=None)
@given(
    cost=st.lists(st.integers(0, 60), min_size=3, max_size=12), cases=st.lists(st.integers(0, 12), min_size=4, max_size=4),
    clears=st.integers(0, 160), lack=st.integers(60, 200), aversion=st.sampled_from([0.0, 0.25, 1.0]),
    tail_n=st.sampled_from([1, 2, 4]),
)  # fmt: skip
def test_whatever_clears_no_other_power_would_have_earned_more(cost, cases, clears, lack, aversion, tail_n) -> None:
    """The independent reckoning: every power is tried, its profit counted case by case."""
    cost = sorted(cost)
    unit_w = 1e6
    at = unit_w * np.arange(1, len(cost) + 1)
    power_w, price = np.full(len(cost), unit_w), np.array(cost, float)
    risk = Risk(float(lack), 0.0, aversion, tail_n / len(cases))
    asked = marginal_price(stack_cost(power_w, price, at), Cases(np.array(cases) * unit_w).short_frac(at), risk)
    taken = int((asked <= clears + 1e-9).sum())
    tried = [objective(units, cases, clears, cost, lack, aversion, tail_n) for units in range(len(cost) + 1)]
    assert tried[taken] == pytest.approx(max(tried), abs=1e-6)


@given(
    rows=members,
    risk=risks,
    cases=st.lists(st.integers(0, 60_000), min_size=1, max_size=20),
    twice=st.sampled_from([2.0, 3.0]),
)
def test_a_pool_of_twice_the_size_asks_the_same_at_twice_the_power(rows, risk, cases, twice) -> None:
    power_w, price = columns(rows)
    at = np.linspace(0.1, 1.0, 10) * power_w.sum()
    alone = marginal_price(stack_cost(power_w, price, at), Cases(np.array(cases) * 1e3).short_frac(at), risk)
    scaled = marginal_price(
        stack_cost(power_w * twice, price, at * twice),
        Cases(np.array(cases) * 1e3 * twice).short_frac(at * twice),
        risk,
    )
    assert np.array_equal(alone, scaled)


@given(
    rows=members,
    cases=st.lists(st.integers(0, 60_000), min_size=1, max_size=20),
    penalty=st.floats(0, 500),
    aversion=st.floats(0, 1),
)
def test_a_dearer_lack_or_more_aversion_never_asks_less(rows, cases, penalty, aversion) -> None:
    power_w, price = columns(rows)
    at = np.linspace(0.1, 1.0, 10) * power_w.sum()
    cost, short = stack_cost(power_w, price, at), Cases(np.array(cases) * 1e3).short_frac(at)
    plain = marginal_price(cost, short, Risk(1_000.0))
    assert (marginal_price(cost, short, Risk(1_000.0, penalty, aversion)) >= plain - 1e-9).all()


def test_what_is_sold_already_comes_first_so_that_an_intraday_offer_asks_more() -> None:
    _, (model,) = versions_of("caiso-pdr")
    power_w, price = np.full(10, 1e6), np.full(10, 40.0)
    available, risk = Normal(8e6, 1e6), Risk(buy_back=200.0, penalty=50.0)
    day_ahead = offer_curve(model, power_w, price, available, risk)
    intraday = offer_curve(model, power_w, price, available, risk, sold_w=6e6)
    assert sum(step.power_w for step in day_ahead) == 10e6
    assert sum(step.power_w for step in intraday) == 4e6
    # 6 MW lack in 2.28 % of cases (two deviations): 40 + 0.0228 x (200 + 50 - 40) = 44.78 at least.
    assert day_ahead[0].price < 44.78 <= intraday[0].price
    assert max(step.price for step in intraday) == max(step.price for step in day_ahead)


def test_the_sum_of_members_is_normal_by_their_chance_to_be_reached() -> None:
    """10,000 members of 5 kW, each reached 98 times of 100: mean 49 MW, deviation sqrt(10,000 x 0.98 x 0.02) x 5 kW."""
    pool = Normal.of_members(np.full(10_000, 5e3), np.full(10_000, 0.98))
    assert pool.mean_w == pytest.approx(49e6) and pool.deviation_w == pytest.approx(70_000.0)
    short = pool.short_frac(
        np.array([49e6, 49e6 - 1.6448536269514722 * 70_000.0, 49e6 + 1.6448536269514722 * 70_000.0])
    )
    assert short.tolist() == pytest.approx([0.5, 0.05, 0.95])
    assert Normal(1e6, 0.0).short_frac(np.array([1e6, 1e6 + 1.0])).tolist() == [0.0, 1.0]


def test_a_market_that_takes_one_price_is_offered_what_rarely_lacks_at_the_price_of_its_last_watt() -> None:
    _, (model,) = versions_of("eu-fcr")
    power_w, price = np.full(20, 1e6), np.arange(20.0)
    steps = offer_curve(model, power_w, price, Normal(12e6, 1e6), Risk(buy_back=0.0, most_short_frac=0.05))
    (one,) = steps
    assert (one.power_w, one.price) == (10e6, 9.0)  # 10 MW lack in 2.3 % of cases, 11 MW in 16 %


def test_what_is_too_small_beyond_the_cap_or_of_no_whole_grain_is_not_offered() -> None:
    _, (model,) = versions_of("caiso-pdr")
    one = np.array([1e6])
    assert fit_steps(model, np.array([95_000.0]), np.array([40.0])) == ()
    assert fit_steps(model, one, np.array([1000.01])) == ()
    assert fit_steps(model, one, np.array([np.inf])) == ()
    assert [(s.power_w, s.price) for s in fit_steps(model, np.array([1_009_999.0]), np.array([-200.0]))] == [
        (1e6, -150.0)
    ]


@pytest.mark.parametrize(
    "spoiled", [{"aversion": -0.1}, {"aversion": 1.1}, {"tail_frac": 0.0}, {"most_short_frac": 2.0}]
)
def test_a_risk_outside_its_bounds_is_refused_by_name(spoiled) -> None:
    with pytest.raises(ValueError, match=next(iter(spoiled))):
        Risk(100.0, **spoiled)
