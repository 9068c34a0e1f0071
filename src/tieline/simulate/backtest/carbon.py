"""A carbon backtest: batteries, cars, thermostats and water heaters shift by marginal emissions as foretold then.

Every quarter-hour each store is planned anew over the next day, by the forecast that was out as it began, and does the
first step of its plan; a car likewise, until the departure that is counted on. What is avoided is what each does
beyond its own way, at the rate that was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.backtest.asked import Backtest
from tieline.simulate.backtest.cars import Sees, drive, least_cost
from tieline.simulate.backtest.emissions import PER_DAY, Emissions
from tieline.simulate.backtest.energy import Out, lacking_at_end, out_on
from tieline.simulate.backtest.fleet import MixedFleet, known_drift
from tieline.simulate.backtest.stores import least_cost as least_of_stores
from tieline.simulate.backtest.stores import moved, planned
from tieline.simulate.backtest.timeline import Timeline

Floats = NDArray[np.float64]
Sight = Literal["published", "like_days", "foresight"]
"""By what devices are planned: the published forecast, the mean of the last days alone, or the rates that came."""
WEAR_KG_PER_KWH = 0.02
"""What a kWh given must avoid for a battery to be worn for it."""


@dataclass(frozen=True, slots=True, eq=False)
class CarbonRun:
    """What was avoided on each day (kg), in all and by kind, what cars lacked as they left, and each step of it.

    Attributes:
        sight: By what devices were planned.
        avoided_kg: shape (days,). The last day bears what stores lack at the end, at its highest rate.
        by_kind_kg: Avoided by each kind.
        missed_kwh: What drivers lacked; shape (days,). It counts at the highest rate of the stay.
        shifted_kwh: What was given beyond devices' own way; shape (days,).
        off_wh: What all gave beyond their own way; shape (steps,).
    """

    sight: Sight
    avoided_kg: Floats
    by_kind_kg: dict[str, float]
    missed_kwh: Floats
    shifted_kwh: Floats
    off_wh: Floats


def run_carbon(asked: Backtest, fleet: MixedFleet, line: Timeline, rates: Emissions, sight: Sight) -> CarbonRun:
    """Return the backtest played once, quarter-hour by quarter-hour."""
    stores = replace(fleet.stores, wear_per_wh=np.where(fleet.stores.kind == "battery", WEAR_KG_PER_KWH / 1e3, 0.0))
    held, cars_held = stores.start_wh, _cars_before(fleet, line)
    avoided, missed, shifted, offs = [], [], [], []
    by_device = np.zeros(len(stores) + len(fleet.cars))
    for at in line.played:
        span, out = line.span(at), out_on(fleet, line, at, asked.seed, asked.terms)
        sees = _seen(rates, line, sight)
        off, held = _stores_go(replace(fleet, stores=stores), line, at, out, held, sees)
        first = len(stores)
        is_out = out.either[first : first + len(fleet.cars)]
        done = drive(fleet.cars, span.start, span.stop, cars_held, sees, lambda t, who=is_out: who)  # type: ignore[misc]
        cars_held = done.held_wh
        whole = np.concatenate([off, done.given_wh - fleet.car_own_wh[:, span]])
        rate = _rates(rates, line, span)
        owed_kg = sum(wh / 1e3 * _highest(rates, line, fleet, session) for session, wh in done.lacking)
        if at == line.played[-1]:
            owed_kg += lacking_at_end(fleet, span.stop, held, cars_held) / 1e3 * float(rate.max())
        by_device += whole @ rate / 1e3
        avoided.append(float(whole.sum(axis=0) @ rate) / 1e3 - owed_kg)
        missed.append(sum(wh for _, wh in done.lacking) / 1e3)
        shifted.append(float(np.maximum(whole, 0.0).sum()) / 1e3)
        offs.append(whole.sum(axis=0))
    kinds = fleet.kind[: len(by_device)]
    by_kind = {str(kind): float(by_device[kinds == kind].sum()) for kind in dict.fromkeys(kinds.tolist())}
    return CarbonRun(sight, np.array(avoided), by_kind, np.array(missed), np.array(shifted), np.concatenate(offs))


def _seen(rates: Emissions, line: Timeline, sight: Sight) -> Sees:
    """Return what is known at a step: rates of it and the next day's quarter-hours (kg a Wh, scaled to kg a kWh)."""

    def sees(t: int) -> Floats:
        at = rates.place(int(line.starts_ns[t]))
        if sight == "like_days":
            return rates.like(at, PER_DAY)
        if sight == "published":
            return rates.foretold(at, PER_DAY)
        came = rates.rate[at : at + PER_DAY]
        return np.concatenate([came, rates.like(at, PER_DAY)[len(came) :]])

    return sees


def _stores_go(fleet: MixedFleet, line: Timeline, at: int, out: Out, held: Floats, sees: Sees) -> tuple[Floats, Floats]:
    """Return what stores give beyond their own way on a day, and what they hold then."""
    stores, span = fleet.stores, line.span(at)
    is_out = out.either[: len(stores)]
    off = np.zeros((len(stores), span.stop - span.start))
    expected = known_drift(stores, line, at, 2)
    steady = ((1.0 - stores.keep) * stores.start_wh)[:, None]
    for k, t in enumerate(range(span.start, span.stop)):
        flows = expected[:, k : k + PER_DAY]
        moves, _ = planned(stores, held, flows, sees(t)[: flows.shape[1]] / 1e3)
        own = stores.own_wh[:, t]
        told = moves[:, 0] + np.where(stores.by_shift, own - (flows - steady)[:, 0], 0.0)
        given, held = moved(stores, held, np.where(is_out, own, told), stores.drift_wh[:, t])
        off[:, k] = given - own
    return off, held


def _rates(rates: Emissions, line: Timeline, span: slice) -> Floats:
    return rates.rate[[rates.place(int(ns)) for ns in line.starts_ns[span]]]


def _highest(rates: Emissions, line: Timeline, fleet: MixedFleet, session: int) -> float:
    """Return the highest rate of a car's stay: by it counts what it lacks as it leaves."""
    stay = line.starts_ns[int(fleet.cars.begins[session]) : int(fleet.cars.ends[session])]
    known = [(int(ns) - rates.start_ns) // (15 * 60 * 10**9) for ns in stay]
    return max((float(rates.rate[at]) for at in known if 0 <= at < len(rates.rate)), default=0.0)


def _cars_before(fleet: MixedFleet, line: Timeline) -> Floats:
    everybody, nothing = np.ones(len(fleet.cars), np.bool_), np.zeros(1)
    first = line.span(line.played[0]).start
    return drive(fleet.cars, 0, first, np.zeros(len(fleet.cars)), lambda t: nothing, lambda t: everybody).held_wh


def carbon_bound_kg(fleet: MixedFleet, line: Timeline, rates: Emissions) -> float:
    """Return what no run can beat (kg): all rates, needs and departures known before, nobody ever out."""
    span = slice(line.span(line.played[0]).start, line.span(line.played[-1]).stop)
    per_wh = _rates(rates, line, span) / 1e3
    stores = replace(
        fleet.stores, drift_wh=fleet.stores.drift_wh[:, span].copy(), own_wh=fleet.stores.own_wh[:, span].copy()
    )
    saved = float(-stores.own_wh.sum(axis=0) @ per_wh) - least_of_stores(stores, per_wh)
    all_time = np.zeros(len(line.starts_ns))
    all_time[span] = per_wh
    own = float(-fleet.car_own_wh[:, span].sum(axis=0) @ per_wh)
    return saved + own - least_cost(fleet.cars, all_time, span.start, span.stop)


def own_kg(fleet: MixedFleet, line: Timeline, rates: Emissions) -> float:
    """Return what devices cause when each does as it does by itself (kg)."""
    span = slice(line.span(line.played[0]).start, line.span(line.played[-1]).stop)
    taken = -fleet.stores.own_wh[:, span].sum(axis=0) - fleet.car_own_wh[:, span].sum(axis=0)
    return float(taken @ _rates(rates, line, span)) / 1e3
