"""What a fleet offers for a day: each hour's curve of what it can give, and its bids for what it would take.

Stores ask what their energy is worth in their own schedule over the forecast; cars what moving their charging costs;
the sun nothing; engines their fuel. How much there will be is a sum of cases, and a lack is weighed (`market.curve`).
Every offer is held against its market's participation model before it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from tieline.errors import InvariantError
from tieline.ids import derive
from tieline.market.curve import Cases, Risk, fit_steps, offer_curve
from tieline.market.offer import MarketOffer, Step
from tieline.market.offer_rules import check_with
from tieline.market.participation import Market, Model, versions_of
from tieline.simulate.backtest.asked import BacktestTerms
from tieline.simulate.backtest.cars import drive
from tieline.simulate.backtest.fleet import MixedFleet, known_drift
from tieline.simulate.backtest.stores import planned
from tieline.simulate.backtest.timeline import Timeline

Floats = NDArray[np.float64]
MODEL = "ercot-ader"
SUN_DAYS = 7
DRAWS = np.array([-1.5, -0.5, 0.5, 1.5])
"""How many deviations off its mean the power of those who may be out of reach is, in equally likely cases."""
MOST_SHORT_FRAC = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class DayOffers:
    """A day's offers, and what each store and all cars mean to do of them.

    Attributes:
        up: Steps of each hour's offer to give.
        down: Steps of each hour's bid to take, the dearest first.
        moves_wh: What each store would give by plan; shape (stores, hours).
        shifts: Whether that is more or less than by itself: the sign of what is sold; shape (stores, hours).
        asks: From which price on a store gives, or up to which it takes (per MWh); shape (stores, hours).
        own_wh: What each store was expected to give by itself; shape (stores, hours).
        foretold: The price that was expected of each hour (per MWh).
    """

    up: tuple[tuple[Step, ...], ...]
    down: tuple[tuple[Step, ...], ...]
    moves_wh: Floats
    shifts: Floats
    asks: Floats
    own_wh: Floats
    foretold: Floats

    def awarded_w(self, price: Floats) -> Floats:
        """Return what the market takes at its prices: given less taken; shape (hours,)."""
        bought = [sum(s.power_w for s in steps if s.price >= p) for steps, p in zip(self.down, price, strict=True)]
        return self.sold_w(price) - np.array(bought, np.float64)

    def sold_w(self, price: Floats) -> Floats:
        """Return what the market takes of the offers to give alone; shape (hours,)."""
        sold = [sum(step.power_w for step in steps if step.price <= p) for steps, p in zip(self.up, price, strict=True)]
        return np.array(sold, np.float64)

    def wanted_wh(self, price: Floats) -> Floats:
        """Return what each store is to give at the day's prices: its plan where that pays, else as by itself (NaN)."""
        goes = ((self.shifts > 0) & (self.asks <= price)) | ((self.shifts < 0) & (self.asks >= price))
        return np.where(goes, self.moves_wh, np.nan)


def model_of(terms: BacktestTerms) -> tuple[Market, Model]:
    """Return market and participation model, with the cap of the terms.

    The row holds from 2022 on: in 2021 no aggregation could sell energy in ERCOT, so a backtest asks what one would
    have earned.
    """
    market, versions = versions_of(MODEL)
    model = versions[0]
    cap = None if model.price_cap is None else msgspec.structs.replace(model.price_cap, value=terms.price_cap)
    return market, msgspec.structs.replace(model, price_cap=cap)


def offers_for(
    fleet: MixedFleet, line: Timeline, at: int, held_wh: Floats, car_held_wh: Floats, foretold: Floats,
    terms: BacktestTerms,
) -> DayOffers:  # fmt: skip
    """Return the offers for a day from what is known at its gate.

    Args:
        fleet: Who.
        line: The steps.
        at: The place of the day.
        held_wh: What each store is expected to hold as it begins; shape (stores,).
        car_held_wh: What each car had got a week before it began; shape (cars,).
        foretold: Expected prices of its hours and the next day's (per MWh).
        terms: On which terms.
    """
    span, per_wh = line.span(at), foretold / 1e6
    hours = span.stop - span.start
    stores = fleet.stores
    moves, worth = planned(stores, held_wh, known_drift(stores, line, at, 2), per_wh)
    moves = moves[:, :hours]
    own = known_own(fleet, line, at)
    off = moves - own
    shifts = np.where(np.abs(off) > 1.0, np.sign(off), 0.0)
    price = foretold[:hours]
    gives = (worth * stores.loss + stores.wear_per_wh)[:, None] * 1e6
    takes = (worth * stores.gain)[:, None] * 1e6
    # In the hours of its plan a store is worth no more than the price there: else the plan would leave them.
    asks = np.where(shifts > 0, np.minimum(gives, price), np.maximum(takes, price))
    off_w, cars_w = off / line.hours, _cars(fleet, line, at, car_held_wh, per_wh) / line.hours
    up, down = [], []
    for hour in range(hours):
        up.append(_up(fleet, line, at, hour, off_w[:, hour], asks[:, hour], cars_w, price, terms))
        down.append(_down(off_w[:, hour], asks[:, hour], cars_w[hour], _pay(cars_w, price)[1], terms))
    _check(line, at, up, down, terms)
    return DayOffers(tuple(up), tuple(down), moves, shifts, asks, own, price)


def known_own(fleet: MixedFleet, line: Timeline, at: int) -> Floats:
    """Return what each store is expected to do by itself on a day, by what was seen up to two days before."""
    stores = fleet.stores
    steady = (1.0 - stores.keep) * stores.start_wh
    return known_drift(stores, line, at, 1) - steady[:, None]


def _cars(fleet: MixedFleet, line: Timeline, at: int, held_wh: Floats, per_wh: Floats) -> Floats:
    """Return what all cars are expected to give beyond their own way in each hour: by the sessions of a week ago."""
    ago, today = line.span(at - 7), line.span(at)
    nobody = np.zeros(len(fleet.cars), np.bool_)
    done = drive(fleet.cars, ago.start, ago.stop, held_wh, lambda t: per_wh[t - ago.start :], lambda t: nobody)
    shift = done.given_wh.sum(axis=0) - fleet.car_own_wh[:, ago].sum(axis=0)
    by_place = np.zeros(line.clock.steps)
    by_place[line.place[ago]] = shift
    found: Floats = by_place[line.place[today]]
    return found


def _pay(cars_w: Floats, price: Floats) -> tuple[float, float]:
    """Return from which price on moving the cars' charging away pays, and up to which moving it there does."""
    gives, takes = np.maximum(cars_w, 0.0), np.maximum(-cars_w, 0.0)
    ask = float((takes * price).sum() / takes.sum()) if takes.sum() > 0 else float(price.min())
    bid = float((gives * price).sum() / gives.sum()) if gives.sum() > 0 else float(price.max())
    return ask, bid


def _up(
    fleet: MixedFleet, line: Timeline, at: int, hour: int, off_w: Floats, asks: Floats, cars_w: Floats,
    price: Floats, terms: BacktestTerms,
) -> tuple[Step, ...]:  # fmt: skip
    """Return the steps of an hour's offer to give."""
    rows = off_w > 1.0
    sun = _sun(fleet, line, at, hour)
    chp_w, car_w, store_w = fleet.chp_wh / line.hours, max(float(cars_w[hour]), 0.0), off_w[rows]
    power = np.concatenate([store_w, [car_w, sun.max(initial=0.0)], chp_w])
    asked = np.concatenate([asks[rows], [_pay(cars_w, price)[0], 0.0], np.full(len(chp_w), terms.fuel_per_mwh)])
    reach = np.full(len(power), 1.0 - terms.offline_frac)
    reach[: len(store_w)] -= np.where(fleet.stores.kind[rows] == "battery", 0.0, terms.opt_out_frac)
    reach[len(store_w)] -= terms.opt_out_frac
    steady = np.delete(power, len(store_w) + 1), np.delete(reach, len(store_w) + 1)
    mean, spread = float(steady[0] @ steady[1]), float((steady[0] ** 2) @ (steady[1] * (1.0 - steady[1]))) ** 0.5
    cases = np.maximum(mean + spread * DRAWS[:, None] + (1.0 - terms.offline_frac) * sun[None, :], 0.0).ravel()
    risk = Risk(float(price[hour]), terms.penalty_per_mwh, terms.aversion, most_short_frac=MOST_SHORT_FRAC)
    keep = power > 0
    return offer_curve(model_of(terms)[1], power[keep], asked[keep], Cases(cases), risk)


def _sun(fleet: MixedFleet, line: Timeline, at: int, hour: int) -> Floats:
    """Return what all PV gave at that hour on each of the last days that are over at the gate (W); shape (days,)."""
    place = line.place[line.span(at)][hour]
    found = []
    for day in range(at - 1 - SUN_DAYS, at - 1):
        span = line.span(day)
        found.append(float(fleet.sun_wh[:, span][:, line.place[span] == place].sum()) / line.hours)
    return np.array(found)


def _down(off_w: Floats, limits: Floats, cars_w: float, car_limit: float, terms: BacktestTerms) -> tuple[Step, ...]:
    """Return the steps of an hour's bid to take, dearest first: an offer seen in the mirror."""
    model = model_of(terms)[1]
    rows = off_w < -1.0
    power = np.append(-off_w[rows], max(-cars_w, 0.0))
    asked = -np.append(limits[rows], car_limit)
    order = np.argsort(asked, kind="stable")
    floor, cap = model.price_floor, model.price_cap
    assert floor is not None and cap is not None, "the row of ERCOT has both"
    mirror = msgspec.structs.replace(
        model, price_floor=msgspec.structs.replace(cap, value=-cap.value),
        price_cap=msgspec.structs.replace(floor, value=-floor.value),
    )  # fmt: skip
    return tuple(Step(step.power_w, -step.price) for step in fit_steps(mirror, power[order], asked[order]))


def _check(
    line: Timeline, at: int, up: list[tuple[Step, ...]], down: list[tuple[Step, ...]], terms: BacktestTerms
) -> None:
    """Hold every offer against its market's rules, a minute before the gate. Raises InvariantError: it is ours."""
    market, model = model_of(terms)
    # Prices of one's own may be those of another place: its gates close by that place's clock.
    market = msgspec.structs.replace(market, zone=line.clock.zone.key)
    starts = line.starts_ns[line.span(at)].tolist()
    for direction, of_hours in (("up", up), ("down", down)):
        for start_ns, steps in zip(starts, of_hours, strict=True):
            if not steps:
                continue
            name = derive("offer-id", MODEL, direction, start_ns)
            made = MarketOffer(
                name, MODEL, start_ns, start_ns + line.clock.step_ns, steps, "up" if direction == "up" else "down",
                gate="day-ahead",
            )  # fmt: skip
            if faults := check_with(market, model, made, line.gate_ns(at) - 60_000_000_000).refusals:
                raise InvariantError(f"offer of {start_ns}: {faults[0]}")
