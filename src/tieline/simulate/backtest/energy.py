"""An energy backtest: each day is offered by what was known at its gate, cleared at real prices, played and settled.

What a device is paid for is what it does beyond its own way: a load that takes less gives. In the world that is played
everybody follows what was sold as far as he can, devices fall out of reach, and owners take loads out; who does gives
nothing. Cars are charged by the day-ahead prices that are published by then, each from its arrival on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tieline.ids import derive
from tieline.market.settlement import Basis, Line
from tieline.simulate.backtest.asked import Backtest, BacktestTerms
from tieline.simulate.backtest.cars import drive, least_cost
from tieline.simulate.backtest.fleet import MixedFleet, known_drift
from tieline.simulate.backtest.money import Played, Profit, lines_of, profit_of, with_owners
from tieline.simulate.backtest.offering import DayOffers, known_own, offers_for
from tieline.simulate.backtest.prices import DayAhead, Mind
from tieline.simulate.backtest.stores import StoreColumns, moved
from tieline.simulate.backtest.stores import least_cost as least_of_stores
from tieline.simulate.backtest.timeline import BEFORE_DAYS, Timeline

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
PUBLISHED_H = 14
"""From this hour on the next day's prices are out (ERCOT publishes by 13:30)."""
OUTAGES = 99


@dataclass(frozen=True, slots=True, eq=False)
class Out:
    """Who is out of reach on a day, and whose owner took it out; shape (n,) each, in the fleet's order."""

    offline: Mask
    opted_out: Mask

    @property
    def either(self) -> Mask:
        """Who does what he does by himself."""
        return self.offline | self.opted_out


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A backtest played once: its days' offers, money and lines."""

    mind: Mind
    days: tuple[Profit, ...]
    offers: tuple[DayOffers, ...]
    played: tuple[Played, ...]
    lines: tuple[tuple[Line, ...], ...]

    @property
    def whole(self) -> Profit:
        """All days."""
        total = Profit()
        for day in self.days:
            total += day
        return total


@dataclass(slots=True, eq=False)
class _State:
    """What stores and cars hold as a day begins; of the day before what it was, with what stores were to give."""

    held: Floats
    before: Floats
    wanted_before: Floats | None
    cars: Floats
    cars_at: list[Floats]


def out_on(fleet: MixedFleet, line: Timeline, at: int, seed: int, terms: BacktestTerms) -> Out:
    """Return who is out on a day: by seed and date alone, so that days before and after change nothing."""
    rng = np.random.default_rng([seed, OUTAGES, line.clock.day(at).toordinal()])
    draws = rng.random((2, len(fleet)))
    is_load = ~np.isin(fleet.kind, ("battery", "pv", "chp"))
    offline = draws[0] < terms.offline_frac
    return Out(offline, is_load & ~offline & (draws[1] < terms.opt_out_frac))


def run(
    asked: Backtest, fleet: MixedFleet, line: Timeline, prices: DayAhead, mind: Mind, spot: dict[int, float]
) -> Run:
    """Return the backtest played once.

    Args:
        asked: What is asked.
        fleet: Who takes part.
        line: The steps, an hour each.
        prices: Day-ahead prices and what was forecast of them.
        mind: By what offers are made.
        spot: Real-time prices by the start of each interval; may be empty.
    """
    state = _State(fleet.stores.start_wh, fleet.stores.start_wh, None, *_cars_before(fleet, line))
    offers, played, lines = [], [], []
    for at in line.played:
        made = offers_for(
            fleet, line, at, _expected(fleet, line, at, state), state.cars_at[at - 8], prices.foretold(line, at, mind),
            asked.terms,
        )  # fmt: skip
        one = _played(asked, fleet, line, prices, at, made, state)
        offers.append(made)
        played.append(one)
        lines.append(tuple(lines_of(one, _basis(asked, mind, line, at), spot)))
    terms = asked.terms
    bare = [profit_of(p, of, terms.penalty_per_mwh, terms.fuel_per_mwh) for p, of in zip(played, lines, strict=True)]
    days = with_owners(bare, [one.given_wh for one in played], Decimal(str(terms.operator_frac)))
    return Run(mind, tuple(days), tuple(offers), tuple(played), tuple(lines))


def _basis(asked: Backtest, mind: str, line: Timeline, at: int) -> Basis:
    inputs = derive("inputs", msgspec.json.encode(asked), mind)
    statement = derive("statement", inputs, line.clock.day(at).isoformat())
    return Basis(statement, "own way", "1", inputs, derive("data", asked.point, asked.prices))


def _cars_before(fleet: MixedFleet, line: Timeline) -> tuple[Floats, list[Floats]]:
    """Return what cars held as the first day began and at the end of each before; until then all charge at once."""
    held, of_days = np.zeros(len(fleet.cars)), []
    everybody, nothing = np.ones(len(fleet.cars), np.bool_), np.zeros(1)
    for at in range(BEFORE_DAYS):
        span = line.span(at)
        held = drive(fleet.cars, span.start, span.stop, held, lambda t: nothing, lambda t: everybody).held_wh
        of_days.append(held)
    return held, of_days


def _expected(fleet: MixedFleet, line: Timeline, at: int, state: _State) -> Floats:
    """Return what stores are expected to hold as a day begins: the day before is not over at the gate.

    It is taken from what they held as that day began, by its awards and what was expected to flow.
    """
    if state.wanted_before is None:
        return state.held
    flows, own, held = known_drift(fleet.stores, line, at - 1, 1), known_own(fleet, line, at - 1), state.before
    wanted = np.where(np.isnan(state.wanted_before), own, state.wanted_before)
    for hour in range(flows.shape[1]):
        held = moved(fleet.stores, held, wanted[:, hour], flows[:, hour])[1]
    return held


def _played(
    asked: Backtest, fleet: MixedFleet, line: Timeline, prices: DayAhead, at: int, made: DayOffers, state: _State
) -> Played:
    """Return what happened on a day; the state is that of its end then."""
    span, price = line.span(at), prices.of(line, at)
    out = out_on(fleet, line, at, asked.seed, asked.terms)
    count, last = len(fleet.stores), at == line.played[-1]
    wanted = made.wanted_wh(price)
    state.before, state.wanted_before = state.held, wanted
    off, meant = _stores_go(fleet, span, wanted, made.own_wh, out.either[:count], state)
    cars, missed = _cars_go(fleet, line, prices, at, out, price, state)
    sun, chp = _plants_go(fleet, span, out, price, asked.terms, made.sold_w(price))
    whole = np.concatenate([off, cars, sun, chp])
    lacks = np.maximum(meant - off, 0.0)
    given = np.maximum(whole, 0.0).sum(axis=1)
    return Played(
        line.starts_ns[span], line.clock.step_ns, made.awarded_w(price), whole.sum(axis=0) / line.hours,
        lacks[out.offline[:count]].sum(axis=0) / line.hours, lacks[out.opted_out[:count]].sum(axis=0) / line.hours,
        price, given, whole @ (price / 1e6), float(chp.sum()), missed,
        _refill(fleet, line, at, price, state) if last else (),
    )  # fmt: skip


def _stores_go(
    fleet: MixedFleet, span: slice, wanted: Floats, known_wh: Floats, is_out: Mask, state: _State
) -> tuple[Floats, Floats]:
    """Return what stores give beyond their own way, and what they would if none were out; shape (stores, hours)."""
    stores = fleet.stores
    off, meant, held = np.zeros(wanted.shape), np.zeros(wanted.shape), state.held
    for hour, t in enumerate(range(span.start, span.stop)):
        own, drift = stores.own_wh[:, t], stores.drift_wh[:, t]
        told = wanted[:, hour] + np.where(stores.by_shift, own - known_wh[:, hour], 0.0)
        asked = np.where(np.isnan(told), own, told)
        meant[:, hour] = moved(stores, held, asked, drift)[0] - own
        given, held = moved(stores, held, np.where(is_out, own, asked), drift)
        off[:, hour] = given - own
    state.held = held
    return off, meant


def _cars_go(
    fleet: MixedFleet, line: Timeline, prices: DayAhead, at: int, out: Out, price: Floats, state: _State
) -> tuple[Floats, tuple[tuple[float, float], ...]]:  # fmt: skip
    """Return what cars give beyond their own way, and what those that left lacked, with their stay's dearest price."""
    span, cars = line.span(at), fleet.cars
    first = len(fleet.stores)
    is_out = out.either[first : first + len(cars)]
    ahead, tomorrow = prices.expected_after(line, at), prices.after(line, at)

    def sees(t: int) -> Floats:
        hour = int(line.place[t])
        later = ahead if hour < PUBLISHED_H or tomorrow is None else tomorrow
        return np.concatenate([price[t - span.start :], later])

    done = drive(cars, span.start, span.stop, state.cars, sees, lambda t: is_out)
    state.cars = done.held_wh
    state.cars_at.append(done.held_wh)
    missed = []
    for session, wh in done.lacking:
        stay = range(int(cars.begins[session]), int(cars.ends[session]))
        dearest = max(prices.of_hour.get(int(line.starts_ns[t]), 0.0) for t in stay)
        missed.append((wh, max(dearest, 0.0)))
    return done.given_wh - fleet.car_own_wh[:, span], tuple(missed)


def _plants_go(
    fleet: MixedFleet, span: slice, out: Out, price: Floats, terms: BacktestTerms, sold_w: Floats
) -> tuple[Floats, Floats]:
    """Return what sun and engines give; the sun rests at a price below 0, engines below their fuel's."""
    first = len(fleet.stores) + len(fleet.cars)
    sun_in = ~out.offline[first : first + len(fleet.sun_wh)]
    chp_in = ~out.offline[first + len(fleet.sun_wh) :]
    sun = fleet.sun_wh[:, span] * sun_in[:, None] * (price >= 0)[None, :]
    chp = (fleet.chp_wh * chp_in)[:, None] * ((price >= terms.fuel_per_mwh) & (sold_w > 0))[None, :]
    return sun, chp


def _refill(
    fleet: MixedFleet, line: Timeline, at: int, price: Floats, state: _State
) -> tuple[tuple[float, float], ...]:
    """Return what stores and cars lack at the very end against their own way, and the dearest price of the day."""
    lacks = lacking_at_end(fleet, line.span(at).stop, state.held, state.cars)
    return ((lacks, max(float(price.max()), 0.0)),)


def lacking_at_end(fleet: MixedFleet, end: int, held: Floats, cars_held: Floats) -> float:
    """Return what stores and cars that are there lack at the very end against their own way (Wh at the terminal)."""
    stores, session = fleet.stores, fleet.cars.at[:, end - 1]
    lacks = np.maximum(stores.start_wh - held, 0.0) / stores.gain
    stays = np.flatnonzero(session >= 0)
    stays = stays[fleet.cars.ends[session[stays]] > end]
    cars = np.maximum(_own_held(fleet, end) - cars_held, 0.0)[stays]
    return float(lacks.sum() + cars.sum())


def _own_held(fleet: MixedFleet, end: int) -> Floats:
    """Return what each car would have got by then had it charged at once; shape (cars,)."""
    everybody, nothing = np.ones(len(fleet.cars), np.bool_), np.zeros(1)
    return drive(fleet.cars, 0, end, np.zeros(len(fleet.cars)), lambda t: nothing, lambda t: everybody).held_wh


def bound_of(asked: Backtest, fleet: MixedFleet, line: Timeline, prices: DayAhead) -> float:
    """Return what no run can beat: every price, need and departure known before, nobody ever out, over all days.

    Each device by itself is at its least cost over the whole time (money before owners' pay).
    """
    span = slice(line.span(line.played[0]).start, line.span(line.played[-1]).stop)
    price = np.concatenate([prices.of(line, at) for at in line.played])
    per_wh = price / 1e6
    stores = _cut(fleet, span)
    saved = float((-stores.own_wh.sum(axis=0) * per_wh).sum()) - least_of_stores(stores, per_wh)
    all_time = np.zeros(len(line.starts_ns))
    all_time[span] = per_wh
    own = float((-fleet.car_own_wh[:, span].sum(axis=0) * per_wh).sum())
    saved += own - least_cost(fleet.cars, all_time, span.start, span.stop)
    sun = float((fleet.sun_wh[:, span].sum(axis=0) * np.maximum(per_wh, 0.0)).sum())
    chp = float(fleet.chp_wh.sum() * np.maximum(per_wh - asked.terms.fuel_per_mwh / 1e6, 0.0).sum())
    return saved + sun + chp


def _cut(fleet: MixedFleet, span: slice) -> StoreColumns:
    stores = fleet.stores
    return replace(stores, drift_wh=stores.drift_wh[:, span].copy(), own_wh=stores.own_wh[:, span].copy())


def days_of(line: Timeline) -> Iterator[str]:
    """Yield the dates that are played."""
    for at in line.played:
        yield line.clock.day(at).isoformat()
