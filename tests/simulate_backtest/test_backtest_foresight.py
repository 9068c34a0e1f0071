"""Nobody who offers or plans in a backtest knows what was not known then."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from backtests import small
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.forecast.known import newest
from tieline.simulate.backtest.emissions import LEADS, ROW_NS, STEP_NS, august_2020, quarters
from tieline.simulate.backtest.energy import out_on
from tieline.simulate.backtest.fleet import known_drift
from tieline.simulate.backtest.offering import DayOffers
from tieline.simulate.backtest.timeline import BEFORE_DAYS

FIRST, LAST = date(2021, 2, 11), date(2021, 2, 17)


def told(offers: DayOffers) -> tuple[object, ...]:
    """Return all that an offer says, and all that is meant by it."""
    arrays = (offers.moves_wh, offers.shifts, offers.asks, offers.own_wh, offers.foretold)
    return offers.up, offers.down, *(array.tobytes() for array in arrays)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 6), st.integers(0, 10**6))
def test_prices_from_a_day_on_never_change_an_offer_up_to_that_day(day: int, seed: int) -> None:
    world = small(FIRST, LAST)
    rng, since = np.random.default_rng(seed), world.line.span(BEFORE_DAYS + day).start
    later = {int(ns): float(rng.uniform(-50.0, 9_000.0)) for ns in world.line.starts_ns[since:]}
    before, after = world.run().offers, world.repriced(later).run().offers
    assert [told(one) for one in before[: day + 1]] == [told(one) for one in after[: day + 1]]


def test_prices_of_the_day_before_do_change_an_offer() -> None:
    """Else the test above would hold of a fleet that looks at nothing."""
    world = small(FIRST, LAST)
    eve = world.line.span(BEFORE_DAYS + 2)
    turned = {int(ns): 500.0 * (k % 12) for k, ns in enumerate(world.line.starts_ns[eve])}
    assert told(world.run().offers[3]) != told(world.repriced(turned).run().offers[3])


def test_who_is_out_on_a_day_depends_on_seed_and_date_alone() -> None:
    """A longer backtest meets the same outages on the same days."""
    long, short = small(FIRST, LAST), small(FIRST + timedelta(days=2), LAST)
    first = out_on(long.fleet, long.line, BEFORE_DAYS + 2, 1, long.asked.terms)
    again = out_on(short.fleet, short.line, BEFORE_DAYS, 1, short.asked.terms)
    assert (first.offline == again.offline).all() and (first.opted_out == again.opted_out).all()
    assert first.offline.any() and first.opted_out.any()


def test_a_quarter_hours_forecast_is_the_newest_that_was_known_as_it_began() -> None:
    """By the search that asks any past instant what was known then (`forecast.known`)."""
    rng = np.random.default_rng(3)
    rows = 60
    leads = rng.random((rows, LEADS))
    found = quarters(0, rng.random(rows), leads)
    made = np.repeat(np.arange(rows), LEADS)
    starts = (made + np.tile(np.arange(1, LEADS + 1), rows)) * ROW_NS
    for at in (1, 7, 19):
        known = newest(np.zeros(len(made), np.int64), starts, made * ROW_NS, at * STEP_NS - 1)
        ahead = known[(starts[known] >= at * STEP_NS)][:LEADS]
        assert (starts[ahead] == at * STEP_NS + np.arange(LEADS) * ROW_NS).all()
        assert found.told[at] == pytest.approx(leads.ravel()[ahead].reshape(12, 3).mean(axis=1), abs=1e-15)


@settings(max_examples=30, deadline=None)
@given(st.integers(96, 3_000), st.integers(0, 10**6))
def test_emissions_from_a_quarter_hour_on_never_change_what_was_foretold_then(at: int, seed: int) -> None:
    real = august_2020()
    rng = np.random.default_rng(seed)
    rate, lead = real.rate.copy(), real.told.copy()
    rate[at:], lead[at + 1 :] = rng.random(len(rate) - at), rng.random(lead[at + 1 :].shape)
    other = type(real)(real.start_ns, rate, lead)
    assert (other.foretold(at, 96) == real.foretold(at, 96)).all()
    assert (other.like(at, 96) == real.like(at, 96)).all()


@pytest.mark.parametrize("day", [0, 3, 6])
def test_what_flows_from_the_eve_on_never_changes_what_was_expected_of_a_day(day: int) -> None:
    """At the gate the eve is not over: neither its weather nor its draws of water are known."""
    world = small(FIRST, LAST)
    at, stores = BEFORE_DAYS + day, world.fleet.stores
    drift = stores.drift_wh.copy()
    drift[:, world.line.span(at - 1).start :] = -777.0
    other = replace(stores, drift_wh=drift)
    assert (known_drift(other, world.line, at, 2) == known_drift(stores, world.line, at, 2)).all()
    drift[:, world.line.span(at - 2)] = -777.0
    assert (known_drift(other, world.line, at, 2) != known_drift(stores, world.line, at, 2)).any()
