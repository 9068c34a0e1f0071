"""Offers as curves: never more for more opt-outs, rising, within what there is, the same for the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline.desk.hedging import OPEN, Gives, OfferRisk, hedged_offers, reason_of
from tieline.desk.ports import Offer
from tieline.desk.price_cases import DayCases
from tieline.market.participation import Model, Number, versions_of
from tieline.times import HOUR_NS, Interval

DAY = Interval(0, 24 * HOUR_NS)
PRICE = 30.0 + 90.0 * np.exp(-(((np.arange(24) - 18.0) / 3.0) ** 2))
CASES = DayCases(
    PRICE, np.array([0.7, 1.0, 1.3])[:, None] * PRICE, np.array([0.6, 1.0, 2.0])[:, None] * PRICE, np.full(3, 1 / 3)
)
HOURS, RISK = 4, OfferRisk()


def gives(loads_w: np.ndarray, stores_w: np.ndarray, out_frac: float, error: float = 0.1) -> Gives:
    """Loads whose owners are out so often, and stores of two hours."""
    power_w = np.concatenate([loads_w, stores_w])
    is_load = np.arange(len(power_w)) < len(loads_w)
    energy_wh = np.where(is_load, np.inf, 2.0 * power_w)
    cost = np.where(is_load, 60.0, 35.0)
    error_frac = np.where(is_load, error, 0.0)
    there = 0.98 * np.where(is_load, 1.0 - out_frac, 1.0)
    return Gives(power_w, energy_wh, cost, lambda hour: there, None, lambda hour: error_frac)


def made(given: Gives, model: Model = OPEN, risk: OfferRisk = RISK) -> list[Offer]:
    return hedged_offers("p", "ENERGY", DAY, CASES, PRICE, given, HOURS, lambda _: model, risk)[0]


def whole_w(offers: list[Offer]) -> dict[int, float]:
    return {offer.start_ns: sum(step.power_w for step in offer.segments) for offer in offers}


fleets = st.tuples(
    st.lists(st.integers(1, 400), min_size=1, max_size=40), st.lists(st.integers(0, 400), max_size=8),
    st.floats(0.0, 0.3),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(fleet=fleets, outs=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)))
def test_more_opt_outs_never_raise_what_is_offered(fleet, outs) -> None:
    loads_w, stores_w = (np.array(kw, np.float64) * 1e3 for kw in fleet[:2])
    few, many = (whole_w(made(gives(loads_w, stores_w, out, fleet[2]))) for out in sorted(outs))
    assert all(watts <= few.get(at, 0.0) + 1.0 for at, watts in many.items())


@settings(max_examples=60, deadline=None)
@given(fleet=fleets, out=st.floats(0.0, 1.0), aversion=st.floats(0.0, 1.0))
def test_segments_rise_from_what_the_cheapest_device_asks_within_what_there_is(fleet, out, aversion) -> None:
    loads_w, stores_w = (np.array(kw, np.float64) * 1e3 for kw in fleet[:2])
    given = gives(loads_w, stores_w, out, fleet[2])
    for offer in made(given, risk=OfferRisk(aversion=aversion)):
        asked = [step.price_per_mwh for step in offer.segments]
        assert asked == sorted(asked) and asked[0] >= given.cost.min() and len(asked) <= 8
        assert sum(step.power_w for step in offer.segments) <= np.minimum(given.power_w, given.energy_wh / HOURS).sum()


def test_the_last_watts_ask_for_the_risk_that_they_lack_and_the_same_inputs_make_the_same_offer() -> None:
    given = gives(np.full(60, 20e3), np.zeros(0), 0.03)
    (first, *_) = offers = made(given)
    asked = [step.price_per_mwh for step in first.segments]
    assert 60.0 <= asked[0] < 61.0 < 100.0 < asked[-1], "loads all ask 60: the rest is for the risk"
    assert made(given) == offers
    neutral = made(given, risk=OfferRisk(aversion=0.0))[0]
    at_w = sum(step.power_w for step in neutral.segments if step.price_per_mwh <= 65.0)
    assert at_w > sum(step.power_w for step in first.segments if step.price_per_mwh <= 65.0)


def test_a_store_asks_no_less_than_what_its_energy_would_earn_elsewhere() -> None:
    """Two hours of energy and four dear hours: an hour's sale is one less in the others."""
    (first, *_) = made(gives(np.zeros(0), np.full(40, 50e3), 0.0))
    assert first.segments[0].price_per_mwh >= 0.8 * np.sort(PRICE)[-HOURS] > 35.0


def test_a_market_that_takes_one_segment_gets_the_one_that_is_expected_to_bring_most() -> None:
    single = replace(OPEN, points_most=Number(1, "K", "own"))
    given = gives(np.full(60, 20e3), np.full(40, 5e3), 0.03)
    curves, singles = made(given), made(given, single)
    assert all(len(offer.segments) == 1 for offer in singles) and len(singles) == len(curves)
    assert all(one_w <= whole_w(curves)[at] + 1.0 for at, one_w in whole_w(singles).items())
    assert any(one_w < whole_w(curves)[at] for at, one_w in whole_w(singles).items()), "dear ends that rarely clear"


def test_an_offer_is_in_its_markets_grain_and_power_that_lacks_too_often_is_not_offered() -> None:
    model = versions_of("ercot-ader")[1][0]
    given = gives(np.full(60, 20e3), np.full(40, 50e3), 0.03)
    assert all(step.power_w % 100_000 == 0 for offer in made(given, model) for step in offer.segments)
    careful, bold = (whole_w(made(given, risk=OfferRisk(most_short_frac=frac))) for frac in (0.05, 0.5))
    assert all(watts < bold[at] for at, watts in careful.items())


def test_why_an_offer_is_as_it_is_is_told_of_what_is_left_of_it() -> None:
    given = gives(np.full(60, 20e3), np.zeros(0), 0.03)
    (offer, *_), hedges = hedged_offers("p", "ENERGY", DAY, CASES, PRICE, given, HOURS, lambda _: OPEN, RISK)
    told = reason_of(offer, hedges[offer.id], RISK, 5e6)
    less = reason_of(replace(offer, segments=offer.segments[:1]), hedges[offer.id], RISK, 5e6)
    assert told.expected_price == pytest.approx(PRICE[offer.start_ns // HOUR_NS])
    assert told.marginal_cost == 60.0 and told.room_w == 5e6
    assert less.there_frac > told.there_frac and less.penalty < told.penalty and less.revenue < told.revenue
