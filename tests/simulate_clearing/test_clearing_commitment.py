"""A day committed: the cheapest of all days on small cases, and every plant's rules kept on 118 buses."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import triangle

from tieline.errors import ConfigError
from tieline.simulate.clearing import Commitment, Network, Offer, Penalties, case118, commit

ALONE = Network(("1",), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.ones(1))
PENALTIES = Penalties()


def allowed(on: tuple[bool, ...], offer: Offer) -> bool:
    """Return whether a plant may be on in just these hours: each stay, that before the day too, is long enough."""
    was, stayed = offer.was_on, abs(offer.on_h)
    for now in on:
        if now != was:
            if stayed < (offer.least_on_h if was else offer.least_off_h):
                return False
            was, stayed = now, 0
        stayed += 1
    return True


def starts(on: tuple[bool, ...], offer: Offer) -> int:
    return sum(now and not before for before, now in zip((offer.was_on, *on), on, strict=False))


def hour_cost(offers: list[Offer], on: tuple[bool, ...], drawn_mw: float) -> float:
    """Return what one hour costs by merit order, what lacks or is too much at its penalty."""
    running = [offer for offer, is_on in zip(offers, on, strict=True) if is_on]
    cost, left = sum(offer.no_load_per_h for offer in running), drawn_mw - sum(offer.low_mw for offer in running)
    if left < 0:
        return cost - left * PENALTIES.surplus
    for price, mw in sorted((price, mw) for offer in running for mw, price in offer.steps):
        taken = min(mw, left)
        cost, left = cost + taken * price, left - taken
    return cost + left * PENALTIES.shed


def cheapest(offers: list[Offer], drawn_mw: list[float]) -> float:
    """Return the cost of the cheapest day, by trying all of them: the specification without ramps and branches."""
    hours = len(drawn_mw)
    ways = [[on for on in product((False, True), repeat=hours) if allowed(on, offer)] for offer in offers]
    hour = cache(lambda on, t: hour_cost(offers, on, drawn_mw[t]))
    return min(
        sum(offer.start_cost * starts(on, offer) for offer, on in zip(offers, day, strict=True))
        + sum(hour(tuple(on[t] for on in day), t) for t in range(hours))
        for day in product(*ways)
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000))
def test_no_day_is_cheaper_than_the_committed_one(seed: int) -> None:
    """Every way of three plants over five hours is tried."""
    rng = np.random.default_rng(seed)
    offers = [
        Offer(
            f"p{k}", "1", ((float(rng.integers(5, 40)), float(rng.integers(10, 30))), (20.0, float(rng.integers(30, 60)))),
            low_mw=float(rng.integers(0, 25)), no_load_per_h=float(rng.integers(0, 300)),
            start_cost=float(rng.integers(0, 1500)), may_stop=True, least_on_h=int(rng.integers(1, 4)),
            least_off_h=int(rng.integers(1, 4)), on_h=float(rng.choice([-5, -2, -1, 1, 2, 5])),
        )
        for k in range(3)
    ]  # fmt: skip
    drawn = rng.integers(5, 120, 5).astype(float)
    made = commit(ALONE, offers, drawn[:, None], gap=0.0, penalties=PENALTIES)
    assert made.cost == pytest.approx(cheapest(offers, drawn.tolist()), rel=1e-6)
    for k, offer in enumerate(offers):
        assert allowed(tuple(made.is_on[:, k].tolist()), offer)


def test_a_plant_is_started_once_its_start_pays() -> None:
    """The dear one's 30 $/MWh above over 3 hours of 50 MW are 4,500 $."""
    base = Offer("base", "1", ((200.0, 60.0),))
    for start_cost, starts_it in ((4_400.0, True), (4_600.0, False)):
        late = Offer("late", "1", ((50.0, 30.0),), start_cost=start_cost, may_stop=True, on_h=-9.0)
        made = commit(ALONE, (base, late), np.array([[0.0], [50.0], [50.0], [50.0]]), gap=0.0)
        assert made.is_on[1:, 1].tolist() == [starts_it] * 3
        assert made.start_cost == pytest.approx(start_cost * starts_it)


def test_a_ramp_keeps_a_plant_below_what_is_drawn() -> None:
    """It moves by 60 x 0.5 = 30 MW an hour from the 20 MW it gave last; the quick one makes up for it."""
    slow = Offer("slow", "1", ((200.0, 10.0),), ramp_mw_per_min=0.5, start_mw=20.0)
    quick = Offer("quick", "1", ((200.0, 90.0),))
    made = commit(ALONE, (slow, quick), np.full((3, 1), 100.0))
    assert [hour.power_mw.tolist() for hour in made.hours] == [
        pytest.approx([50.0, 50.0]), pytest.approx([80.0, 20.0]), pytest.approx([100.0, 0.0]),
    ]  # fmt: skip


def test_reserve_keeps_a_second_plant_on() -> None:
    """With a reserve of 30 MW the cheap one alone is not enough: 100 of its 120 MW are drawn."""
    cheap = Offer("cheap", "1", ((120.0, 10.0),), reserve_mw=40.0, may_stop=True)
    second = Offer("second", "1", ((80.0, 50.0),), low_mw=20.0, no_load_per_h=900.0, reserve_mw=40.0, may_stop=True)
    drawn = np.full((2, 1), 100.0)
    assert commit(ALONE, (cheap, second), drawn).is_on.tolist() == [[True, False]] * 2
    held = commit(ALONE, (cheap, second), drawn, reserve_mw=np.full(2, 30.0))
    assert held.is_on.tolist() == [[True, True]] * 2
    assert all(hour.reserve_mw.sum() >= 30.0 - 1e-6 for hour in held.hours)
    assert held.uplift[1] > 0.0, "what is on for its reserve alone is made whole"


def test_a_full_branch_brings_in_the_plant_behind_it() -> None:
    plants = (Offer("cheap", "1", ((200.0, 20.0),)), Offer("dear", "2", ((200.0, 50.0),), may_stop=True, on_h=-9.0))
    made = commit(triangle(), plants, np.array([[0.0, 0.0, 100.0], [0.0, 0.0, 150.0]]))
    assert made.is_on[:, 1].tolist() == [False, True]
    assert made.hours[1].power_mw == pytest.approx([120.0, 30.0])
    assert made.hours[1].price == pytest.approx([20.0, 50.0, 80.0])


@cache
def day() -> Commitment:
    case = case118()
    drawn = case.hourly_mw()
    return commit(case.network, case.offers, drawn, reserve_mw=0.06 * drawn.sum(axis=1))


def test_the_118_bus_day_keeps_to_every_rule() -> None:
    case, made = case118(), day()
    drawn = case.hourly_mw()
    assert 0.0 <= made.gap <= 2e-3
    high = np.array([offer.high_mw for offer in case.offers])
    low = np.array([offer.low_mw for offer in case.offers])
    for t, hour in enumerate(made.hours):
        assert hour.power_mw.sum() == pytest.approx(drawn[t].sum(), abs=1e-5)
        assert (np.abs(hour.flow_mw) <= case.network.rating_mw + 1e-4).all()
        assert (hour.power_mw + hour.reserve_mw <= high * made.is_on[t] + 1e-5).all()
        assert (hour.power_mw >= low * made.is_on[t] - 1e-5).all()
        assert hour.reserve_mw.sum() >= 0.06 * drawn[t].sum() - 1e-5
        assert not hour.gave_way()
    for k, offer in enumerate(case.offers):
        assert allowed(tuple(made.is_on[:, k].tolist()), offer)
        for t in range(1, 24):
            if made.is_on[t, k] and made.is_on[t - 1, k]:
                moved = abs(made.hours[t].power_mw[k] - made.hours[t - 1].power_mw[k])
                assert moved <= 60.0 * offer.ramp_mw_per_min + 1e-5


def test_the_118_bus_day_pays_out_no_more_than_it_takes_in() -> None:
    case, made = case118(), day()
    at = [case.network.row(offer.bus) for offer in case.offers]
    for hour in made.hours:
        taken_in = hour.price @ hour.drawn_mw
        paid_out = hour.price[at] @ hour.power_mw
        assert taken_in - paid_out == pytest.approx(hour.congestion_rent, abs=0.01)
        assert hour.congestion_rent >= 0.0
    assert (made.uplift >= 0.0).all()
    bought = math.fsum(hour.cost_per_h for hour in made.hours) + made.start_cost
    assert bought == pytest.approx(made.cost, rel=1e-6), "nothing gave way, so no penalty is in the cost"


@pytest.mark.parametrize(
    ("drawn", "reserve", "said"),
    [
        (np.zeros((2, 3)), None, r"give \(hours, 1\)"),
        (np.zeros((0, 1)), None, r"give \(hours, 1\)"),
        (np.array([[np.nan]]), None, "finite numbers"),
        (np.zeros((2, 1)), np.zeros(3), "2 of reserve"),
        (np.zeros((2, 1)), np.array([1.0, -1.0]), "each 0 or more"),
    ],
)
def test_a_day_that_is_none_is_refused(drawn: np.ndarray, reserve: np.ndarray | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        commit(ALONE, (Offer("a", "1", ((5.0, 1.0),)),), drawn, reserve_mw=reserve)


def test_a_search_cut_short_says_how_far_it_may_be_off() -> None:
    case, drawn = case118(), case118().hourly_mw()
    cut = commit(case.network, case.offers, drawn, reserve_mw=0.06 * drawn.sum(axis=1), gap=0.0, most_s=1e-3)
    assert cut.gap > 0.0, "there was no time to prove that nothing is cheaper"
    assert (1.0 - day().gap) * day().cost <= cut.cost * (1.0 + 1e-9)
    assert (1.0 - cut.gap) * cut.cost <= day().cost * (1.0 + 1e-9)
    with pytest.raises(ConfigError, match=r"most_s = 0\.0"):
        commit(case.network, case.offers, drawn, most_s=0.0)
