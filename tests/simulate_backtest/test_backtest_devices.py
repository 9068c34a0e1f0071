"""Devices of a backtest keep to what they can do; cars are charged by the time that is counted on."""

from dataclasses import replace
from datetime import date

import highspy
import numpy as np
import pytest
from backtests import small
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.simulate.backtest.cars import Cars, drive, laid_out, least_cost, own_way
from tieline.simulate.backtest.stores import moved, planned

STEPS = 48


def random_cars(seed: int, count: int = 6) -> Cars:
    rng = np.random.default_rng(seed)
    sessions = []
    for car in range(count):
        begins = rng.choice(STEPS - 12, 3, replace=False)
        for begin in sorted(begins.tolist()):
            stay = int(rng.integers(1, 12))
            need = float(rng.uniform(0.1, 1.0)) * stay * 1_000.0
            sessions.append((car, begin, begin + int(rng.integers(1, 14)), begin + stay, need))
    return laid_out(np.full(count, 1_000.0), sorted(sessions, key=lambda one: one[1]), STEPS)


def driven(cars: Cars, price: np.ndarray, everybody_free: bool = False):  # type: ignore[no-untyped-def]
    free = np.full(len(cars), everybody_free)
    return drive(cars, 0, STEPS, np.zeros(len(cars)), lambda t: price[t:], lambda t: free)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_cars_take_within_their_rating_while_they_are_there_and_no_more_than_they_need(seed: int) -> None:
    cars = random_cars(seed)
    price = np.random.default_rng(seed).random(STEPS)
    done = driven(cars, price)
    assert (done.given_wh <= 0).all() and (done.given_wh >= -1_000.0 - 1e-9).all()
    assert (done.given_wh[cars.at < 0] == 0).all()
    lacking = dict(done.lacking)
    for k in range(len(cars.car)):
        took = -done.given_wh[cars.car[k], cars.begins[k] : cars.ends[k]].sum()
        assert took + lacking.get(k, 0.0) == pytest.approx(cars.need_wh[k], abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_cars_whose_drivers_keep_their_word_leave_full_at_the_least_cost(seed: int) -> None:
    made = random_cars(seed)
    cars = replace(made, told=made.ends)
    price = np.random.default_rng(seed).random(STEPS)
    done = driven(cars, price)
    assert done.lacking == ()
    cost = float((-done.given_wh * price[None, :]).sum())
    assert cost == pytest.approx(by_highs(cars, price), abs=1e-6)
    assert cost == pytest.approx(least_cost(cars, price, 0, STEPS), abs=1e-6)
    assert float((-own_way(cars, STEPS) * price[None, :]).sum()) >= cost - 1e-6


def by_highs(cars: Cars, price: np.ndarray) -> float:
    lp = highspy.Highs()
    lp.silent()
    for k in range(len(cars.car)):
        parts = [lp.addVariable(0, 1_000.0, float(price[t])) for t in range(cars.begins[k], cars.ends[k])]
        lp.addConstr(sum(parts) == float(cars.need_wh[k]))
    lp.run()
    return float(lp.getObjectiveValue())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_stores_that_follow_their_plan_keep_within_what_they_hold(seed: int) -> None:
    stores = small(date(2021, 2, 11), date(2021, 2, 17)).fleet.stores
    rng = np.random.default_rng(seed)
    first = int(rng.integers(0, stores.drift_wh.shape[1] - STEPS))
    flows, price = stores.drift_wh[:, first : first + STEPS], rng.uniform(0.0, 1e-3, STEPS)
    moves, worth = planned(stores, stores.start_wh, flows, price)
    held = stores.start_wh
    for t in range(STEPS):
        given_wh, held = moved(stores, held, moves[:, t], flows[:, t])
        assert given_wh == pytest.approx(moves[:, t], abs=1e-3)
        assert (held >= -1e-6).all() and (held <= stores.high_wh + 1e-6).all()
    assert (held >= stores.start_wh - 1e-3).all() and (worth >= -1e-12).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 3.0))
def test_a_store_told_anything_does_what_its_rating_and_what_it_holds_allow(seed: int, wildly: float) -> None:
    stores = small(date(2021, 2, 11), date(2021, 2, 17)).fleet.stores
    rng = np.random.default_rng(seed)
    held = rng.random(len(stores)) * stores.high_wh
    flows = stores.drift_wh[:, int(rng.integers(0, stores.drift_wh.shape[1]))]
    given_wh, after = moved(stores, held, rng.normal(0, 1, len(stores)) * wildly * stores.charge_wh, flows)
    assert (given_wh <= stores.discharge_wh + 1e-6).all() and (given_wh >= -stores.charge_wh - 1e-6).all()
    stored = stores.keep * held + flows + np.where(given_wh < 0, -given_wh * stores.gain, -given_wh * stores.loss)
    assert after == pytest.approx(stored, abs=1e-6)


def test_diesels_are_refused_and_gas_chp_serves_where_the_rules_allow() -> None:
    fleet = small(date(2021, 2, 11), date(2021, 2, 17)).fleet
    assert fleet.enrolment.refused == {"us-rice-emergency": 8}
    assert "backup_generator" not in fleet.kind and len(fleet.chp_wh) == 4
