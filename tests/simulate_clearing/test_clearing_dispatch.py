"""One interval: balance, limits, and prices that are what one MW more would cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from small_networks import meshed, plants, triangle

from tieline.errors import ConfigError
from tieline.simulate.clearing import Cleared, Dispatcher, Network, Offer, Penalties

SEEDS = st.integers(0, 100_000)
TWO = (Offer("cheap", "1", ((200.0, 20.0),)), Offer("dear", "2", ((200.0, 50.0),)))
DRAWN = np.array([0.0, 0.0, 150.0])


def drawn_case(
    seed: int, rating_mw: float = 25.0, reserve_frac: float = 0.05
) -> tuple[Dispatcher, np.ndarray, Cleared]:
    """Return a random interval as it was cleared, its dispatcher and its loads."""
    rng = np.random.default_rng(seed)
    buses = int(rng.integers(2, 9))
    network = meshed(rng, buses, rating_mw)
    offers = plants(rng, buses, int(rng.integers(2, 9)))
    most = sum(offer.high_mw for offer in offers)
    drawn = network.load_weight * most * rng.uniform(0.2, 0.8)
    dispatcher = Dispatcher(network, offers)
    last = np.array([offer.low_mw + 0.5 * (offer.high_mw - offer.low_mw) for offer in offers])
    return dispatcher, drawn, dispatcher.clear(drawn, last_mw=last, reserve_mw=reserve_frac * float(drawn.sum()))


def test_a_full_branch_parts_the_prices_as_worked_out_by_hand() -> None:
    """Two thirds of what 1 gives and one third of what 2 gives flow over 1-3.

    120 + 30 MW fill it. One MW more at 3 takes 2 MW more of the dear and 1 less of the cheap: 80 $/MWh. One MW more of
    rating lets 3 MW of the dear be cheap: 90 $/MWh.
    """
    cleared = Dispatcher(triangle(), TWO).clear(DRAWN)
    assert cleared.power_mw == pytest.approx([120.0, 30.0])
    assert cleared.price == pytest.approx([20.0, 50.0, 80.0])
    assert cleared.branch_price == pytest.approx([90.0, 0.0, 0.0])
    assert cleared.congestion_rent == pytest.approx(8_100.0)
    assert cleared.energy_price == pytest.approx(80.0), "all load is at 3"
    assert cleared.cost_per_h == pytest.approx(120 * 20 + 30 * 50)


@given(SEEDS)
def test_what_is_given_is_what_is_drawn_and_no_limit_is_passed_unsaid(seed: int) -> None:
    dispatcher, drawn, cleared = drawn_case(seed)
    network, made = dispatcher.network, dispatcher.book
    assert cleared.power_mw.sum() + cleared.shed_mw == pytest.approx(drawn.sum() + cleared.surplus_mw, abs=1e-6)
    net = np.bincount(made.bus, cleared.power_mw, len(drawn)) - drawn
    assert cleared.flow_mw == pytest.approx(network.flow_mw(net), abs=1e-6)
    assert (np.abs(cleared.flow_mw) <= network.rating_mw + cleared.overload_mw + 1e-5).all()
    assert (cleared.power_mw + cleared.reserve_mw <= made.high_mw + 1e-6).all()
    assert (cleared.power_mw >= made.low_mw - 1e-6).all()
    middle = made.low_mw + 0.5 * (made.high_mw - made.low_mw)
    assert (np.abs(cleared.power_mw - middle) <= 5.0 * made.ramp_mw_per_min + 1e-6).all()
    assert cleared.reserve_mw.sum() + cleared.short_mw >= 0.05 * drawn.sum() - 1e-6


@given(SEEDS)
def test_no_branch_earns_less_than_nothing_and_loads_pay_what_plants_and_branches_get(seed: int) -> None:
    dispatcher, drawn, cleared = drawn_case(seed)
    got = cleared.price @ np.bincount(dispatcher.book.bus, cleared.power_mw, len(drawn))
    unmet = cleared.energy_price * (cleared.shed_mw - cleared.surplus_mw)
    assert cleared.price @ drawn == pytest.approx(got + cleared.congestion_rent + unmet, rel=1e-7, abs=1e-3)
    assert cleared.congestion_rent >= 0.0
    is_free = np.abs(cleared.flow_mw) < dispatcher.network.rating_mw - 1e-4
    assert (cleared.branch_price[is_free] < 1e-6).all(), "a branch with room has no price"


@given(SEEDS)
def test_a_step_below_the_price_is_taken_and_one_above_it_is_not(seed: int) -> None:
    """Without ramps or reserve: prices alone let each plant decide as the market did."""
    rng = np.random.default_rng(seed)
    network = meshed(rng, 6, 30.0)
    offers = [replace(offer, reserve_mw=0.0) for offer in plants(rng, 6, 8)]
    drawn = network.load_weight * 0.5 * sum(offer.high_mw for offer in offers)
    cleared = Dispatcher(network, offers).clear(drawn)
    for offer, power in zip(offers, cleared.power_mw, strict=True):
        price, taken = cleared.price[network.row(offer.bus)], power - offer.low_mw
        wanted = sum(mw for mw, asked in offer.steps if asked < price - 1e-6)
        most = sum(mw for mw, asked in offer.steps if asked <= price + 1e-6)
        assert wanted - 1e-5 <= taken <= most + 1e-5


@given(SEEDS, st.integers(0, 8))
def test_a_price_is_what_a_little_more_drawn_there_costs(seed: int, at: int) -> None:
    rng = np.random.default_rng(seed)
    network, penalties = meshed(rng, 5, 30.0), Penalties()
    offers = plants(rng, 5, 7)
    drawn = network.load_weight * 0.5 * sum(offer.high_mw for offer in offers)
    dispatcher = Dispatcher(network, offers, penalties)

    def cost(more_mw: float) -> float:
        loads = drawn.copy()
        loads[at % 5] += more_mw
        cleared = dispatcher.clear(loads, reserve_mw=10.0)
        unmet = penalties.shed * cleared.shed_mw + penalties.surplus * cleared.surplus_mw
        unmet += penalties.overload * float(cleared.overload_mw.sum()) + penalties.reserve * cleared.short_mw
        return cleared.cost_per_h + unmet

    little_mw = 1e-3
    here, price = cost(0.0), dispatcher.clear(drawn, reserve_mw=10.0).price[at % 5]
    below, above = (here - cost(-little_mw)) / little_mw, (cost(little_mw) - here) / little_mw
    assert below - 0.05 <= price <= above + 0.05


@given(SEEDS, st.floats(1.0, 60.0), st.floats(5.0, 95.0))
def test_what_we_offer_never_raises_the_cost_and_never_clears_below_what_it_asked(
    seed: int, ours_mw: float, asked: float
) -> None:
    dispatcher, drawn, without = drawn_case(seed, reserve_frac=0.0)
    assume(not without.gave_way())
    ours = Offer("ours", dispatcher.network.bus_name[0], ((ours_mw, asked),))
    both = Dispatcher(dispatcher.network, [*dispatcher.book.offers, ours])
    last = np.append(dispatcher.book.low_mw + 0.5 * (dispatcher.book.high_mw - dispatcher.book.low_mw), 0.0)
    with_ours = both.clear(drawn, last_mw=last)
    assert with_ours.cost_per_h <= without.cost_per_h + 1e-4
    if with_ours.power_mw[-1] > 1e-6:
        assert with_ours.price[0] >= asked - 1e-6
        assert without.price[0] >= asked - 1e-6, "who is taken was cheaper than the price without it"


def test_a_load_stops_taking_where_the_price_is_above_its_step() -> None:
    network = replace(triangle(), rating_mw=np.full(3, np.inf))
    pool = Offer("pool", "3", ((40.0, 30.0), (10.0, 60.0)), low_mw=-40.0)
    cheap = Dispatcher(network, (TWO[0], pool)).clear(DRAWN)
    dear = Dispatcher(network, (TWO[1], pool)).clear(DRAWN)
    assert cheap.power_mw == pytest.approx([190.0, -40.0])
    assert dear.power_mw == pytest.approx([150.0, 0.0])


def test_an_offer_that_changes_between_intervals_clears_as_one_that_was_so_from_the_start() -> None:
    rng = np.random.default_rng(5)
    network = meshed(rng, 6, 30.0)
    offers = plants(rng, 6, 8)
    drawn = network.load_weight * 0.5 * sum(offer.high_mw for offer in offers)
    changed = [replace(offer, steps=tuple((mw, price + 13.0) for mw, price in offer.steps)) for offer in offers[:4]]
    more_steps = replace(offers[4], steps=(*offers[4].steps, (50.0, 95.0)))
    dispatcher = Dispatcher(network, offers)
    dispatcher.clear(drawn)
    for now in (changed, [more_steps]):
        dispatcher.offer(*now)
        names = {offer.name: offer for offer in dispatcher.book.offers}
        fresh = Dispatcher(network, [names[offer.name] for offer in offers]).clear(drawn)
        again = dispatcher.clear(drawn)
        assert again.cost_per_h == pytest.approx(fresh.cost_per_h)
        assert again.price == pytest.approx(fresh.price)


@given(SEEDS)
def test_an_interval_clears_the_same_whatever_was_cleared_before(seed: int) -> None:
    dispatcher, drawn, _ = drawn_case(seed)
    rng = np.random.default_rng(seed + 1)
    loads = drawn * rng.uniform(0.5, 1.1, len(drawn))
    fresh = Dispatcher(dispatcher.network, dispatcher.book.offers).clear(loads)
    again = dispatcher.clear(loads)
    assert (np.abs(again.flow_mw) <= dispatcher.network.rating_mw + again.overload_mw + 1e-5).all()
    assert again.overload_mw.sum() == pytest.approx(fresh.overload_mw.sum(), abs=1e-4)
    assert again.cost_per_h == pytest.approx(fresh.cost_per_h, rel=1e-7, abs=1e-3)


def test_what_gives_way_is_said_in_words_and_priced_by_its_penalty() -> None:
    short = Dispatcher(triangle(), (Offer("small", "1", ((100.0, 20.0),)),)).clear(DRAWN, reserve_mw=5.0)
    assert short.shed_mw == pytest.approx(50.0)
    assert short.energy_price == pytest.approx(Penalties().shed)
    assert short.gave_way() == ("50.0 MW of 150.0 MW drawn are shed", "5.0 MW of reserve lack")
    must_run = Offer("must", "1", ((10.0, 20.0),), low_mw=200.0)
    over = Dispatcher(triangle(50.0), (must_run,)).clear(DRAWN)
    assert over.surplus_mw == pytest.approx(50.0)
    assert over.energy_price == pytest.approx(-Penalties().surplus)
    assert over.gave_way() == (
        "50.0 MW are given beyond what is drawn", "1 branches are overloaded, the worst by 83.3 MW",
    )  # fmt: skip


def test_a_plant_that_is_off_gives_its_block_alone() -> None:
    network: Network = replace(triangle(), rating_mw=np.full(3, np.inf))
    dispatcher = Dispatcher(network, TWO)
    cleared = dispatcher.clear(DRAWN, is_on=np.array([False, True]), block_mw={"cheap": 15.0})
    assert cleared.power_mw == pytest.approx([15.0, 135.0])
    assert dispatcher.clear(DRAWN, most_mw={"cheap": 60.0}).power_mw == pytest.approx([60.0, 90.0])


@pytest.mark.parametrize(
    ("drawn", "rest", "said"),
    [
        (np.array([0.0, np.nan, 1.0]), {}, "give 3 finite numbers"),
        (np.zeros(2), {}, r"drawn_mw of shape \(2,\)"),
        (DRAWN, {"reserve_mw": -1.0}, "reserve_mw = -1.0"),
        (DRAWN, {"minutes": 0.0}, "minutes = 0.0"),
        (DRAWN, {"is_on": np.ones(3, np.bool_)}, r"give bool of shape \(2,\)"),
        (DRAWN, {"most_mw": {"cheep": 5.0}}, "'cheep' has not offered"),
        (DRAWN, {"block_mw": {"cheap": np.nan}}, "cheap: nan MW"),
        (DRAWN, {"last_mw": np.zeros(3)}, r"last_mw of shape \(3,\): give 2"),
    ],
)
def test_a_question_that_is_none_is_refused(drawn: np.ndarray, rest: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Dispatcher(triangle(), TWO).clear(drawn, **rest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": ((10.0, 30.0), (10.0, 20.0))}, "prices rising"),
        ({"steps": ((-1.0, 30.0),)}, "MW 0 or more"),
        ({"steps": ((1.0, float("nan")),)}, "give finite numbers"),
        ({"steps": ()}, "give one step at least"),
        ({"low_mw": -5.0, "may_stop": True}, "low_mw = -5.0"),
        ({"ramp_mw_per_min": -1.0}, "ramp_mw_per_min = -1.0"),
        ({"least_on_h": 0}, "least_on_h = 0"),
    ],
)
def test_an_offer_that_is_none_is_refused(change: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(TWO[0], **change)


def test_offers_that_clash_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'cheap' offers twice"):
        Dispatcher(triangle(), (TWO[0], TWO[0]))
    with pytest.raises(ConfigError, match="nothing is offered"):
        Dispatcher(triangle(), ())
    with pytest.raises(ConfigError, match="bus '9'"):
        Dispatcher(triangle(), (replace(TWO[0], bus="9"),))
    with pytest.raises(ConfigError, match="'new' has not offered before"):
        Dispatcher(triangle(), TWO).offer(replace(TWO[0], name="new"))
    with pytest.raises(ConfigError, match="shed = 0"):
        Penalties(shed=0.0)
