"""The day-ahead offer: for each hour what the pool can give, at rising prices, within energy and a margin.

A store asks no less than its opportunity cost: what its energy would earn in the best hour that it gives up by selling
here, or what it costs to put back. That is the marginal value of stored energy in the exact schedule of the store over
the forecast (`plan.storage`), less losses and wear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from tieline.desk.charging import MOST_WH, ONE_WAY_FRAC, WEAR_PER_WH
from tieline.desk.ports import Offer, Segment
from tieline.fleet.able import stored_wh
from tieline.fleet.columns import KIND_CODE, KINDS, Fleet
from tieline.ids import derive
from tieline.plan.forecast import best_hours
from tieline.plan.storage import Stores, plan_stores
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, Interval

Floats = NDArray[np.float64]
MARGIN = 0.25
LOADS = (Kind.THERMOSTAT, Kind.INTERRUPTIBLE_LOAD, Kind.SHIFTABLE_LOAD)
"""Kinds that give by drawing less: no more than they draw."""
MOST_SEGMENTS = 8
MIN_SEGMENT_W = 10_000.0
ROUND_TO = 5.0
TYPICAL_SHARE = {
    Kind.THERMOSTAT: 0.15,
    Kind.INTERRUPTIBLE_LOAD: 0.5,
    Kind.SHIFTABLE_LOAD: 0.15,
    Kind.BIOMASS: 0.9,
    Kind.BATTERY: 1.0,
    Kind.MECHANICAL_STORAGE: 1.0,
    Kind.HYBRID_SITE: 1.0,
}
"""What share of its rating each kind can be expected to give through six dear hours, where no load is foretold.

A house that may grow 2 degC warmer saves about 2/22 of its rating for as long as that lasts, and what its walls hold at
first: 0.15 on average over six hours. Loads that come and go by themselves are not counted on.
"""


def day_ahead_offers(
    pool: str,
    product: str,
    day: Interval,
    price: Floats,
    power_w: Floats,
    energy_wh: Floats,
    cost: Floats,
    hours: int,
    frac: Callable[[int], Floats] | None = None,
) -> list[Offer]:
    """Return one offer for each of the dearest hours of a market day.

    Stored energy is spread over the hours that are offered; of all there is, a margin stays back for devices that
    will fail, opt out or be limited.

    Args:
        pool: Who offers.
        product: What.
        day: The market day.
        price: Forecast price of each hour ($/MWh); shape (hours of the day,).
        power_w: What each row can give (W); shape (n,).
        energy_wh: What each row has stored for it (Wh; inf: no store); shape (n,).
        cost: What each row asks ($/MWh); shape (n,).
        hours: At most so many hours are offered.
        frac: What part of `power_w` each row can give in an hour of the day, as loads are foretold; None: all.
    """
    chosen = best_hours(price, hours, float(np.min(cost)) if len(cost) else 0.0)
    if not len(chosen):
        return []
    sustained_w = np.minimum(power_w, energy_wh / len(chosen)) * (1.0 - MARGIN)
    asks = asks_of(price[int(chosen[0]) :], sustained_w, energy_wh, cost)
    segments = curve(sustained_w, asks)
    offers = []
    for hour in chosen:
        if frac is not None:
            segments = curve(sustained_w * frac(int(hour)), asks)
        if not segments:
            continue
        start_ns = day.start_ns + int(hour) * HOUR_NS
        offers.append(
            Offer(derive("offer-id", pool, product, start_ns), pool, product, start_ns, start_ns + HOUR_NS, segments)
        )
    return offers


def asks_of(price: Floats, sustained_w: Floats, energy_wh: Floats, cost: Floats) -> Floats:
    """Return what each row asks ($/MWh): its cost, and of a store no less than its energy's worth in other hours.

    Args:
        price: Forecast of each hour from the first that is offered on ($/MWh); shape (hours,).
        sustained_w: What each row offers in each hour (W); shape (n,).
        energy_wh: What each row has stored for it (Wh; inf: no store); shape (n,).
        cost: What each row asks at least ($/MWh); shape (n,).
    """
    stores = np.flatnonzero(np.isfinite(energy_wh) & (energy_wh > 0) & (sustained_w > 0))
    asks = cost.copy()
    asks[stores] = np.maximum(cost[stores], water_price(price, energy_wh[stores], sustained_w[stores]))
    return asks


def water_price(price: Floats, energy_wh: Floats, sustained_w: Floats) -> Floats:
    """Return what each store must get for a MWh not to lose by it ($/MWh), rounded up to whole five dollars.

    Args:
        price: Forecast of each hour from the first that is offered on ($/MWh); shape (hours,).
        energy_wh: What each store can give (Wh at its terminal); shape (n,).
        sustained_w: What it offers in each hour (W); shape (n,).
    """
    count = len(energy_wh)
    frac, wear = np.full(count, ONE_WAY_FRAC), np.full(count, WEAR_PER_WH)
    full_wh, nothing = np.minimum(energy_wh, MOST_WH) / ONE_WAY_FRAC, np.zeros(count)
    stores = Stores(full_wh, nothing, full_wh, nothing, sustained_w, sustained_w, frac, frac, wear)
    buy = price / 1e6
    # A negative price is a gift, not a cost: it must not make the schedule burn energy.
    sell = np.minimum(buy, buy / ONE_WAY_FRAC**2)
    worth = plan_stores(stores, buy, sell, 1.0).worth_per_wh
    asks: Floats = np.ceil((worth / ONE_WAY_FRAC + WEAR_PER_WH) * 1e6 / ROUND_TO) * ROUND_TO
    return asks


def curve(power_w: Floats, cost: Floats) -> tuple[Segment, ...]:
    """Return the supply curve: power by rising cost, in at most eight segments of at least 10 kW."""
    found: list[Segment] = []
    for level in np.unique(cost):
        watts = float(power_w[cost == level].sum())
        if watts <= 0:
            continue
        if found and (watts < MIN_SEGMENT_W or len(found) == MOST_SEGMENTS):
            last = found.pop()
            found.append(Segment(last.power_w + watts, max(last.price_per_mwh, float(level))))
        else:
            found.append(Segment(watts, float(level)))
    return tuple(
        Segment(float(np.floor(s.power_w / 1_000.0) * 1_000.0), s.price_per_mwh) for s in found if s.power_w >= 1_000
    )


def by_load(fleet: Fleet, power_w: Floats, drawn_w: Mapping[Kind, Floats]) -> Floats:
    """Return what part of its power each kind can give in each hour, by what its devices are foretold to draw.

    A load that is interrupted gives all that it draws; a thermostat or a load that is put off no more than that, and no
    more than it typically can. Where nothing is foretold (NaN) it is what it typically can. Shape (hours, kinds).

    Args:
        fleet: Whose devices.
        power_w: What each row typically can give (W); shape (n,).
        drawn_w: What all rows of a kind that can give are foretold to draw together, hour by hour (W).
    """
    hours = max((len(watts) for watts in drawn_w.values()), default=0)
    frac = np.ones((hours, len(KINDS)))
    for kind, watts in drawn_w.items():
        typical_w = float(power_w[fleet.kinds == KIND_CODE[kind]].sum())
        if typical_w > 0:
            part = np.maximum(watts, 0.0) / typical_w
            part = part if kind is Kind.INTERRUPTIBLE_LOAD else np.minimum(part, 1.0)
            frac[:, KIND_CODE[kind]] = np.where(np.isfinite(part), part, 1.0)
    return frac


def what_it_gives(fleet: Fleet, may_serve: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return what each row can be expected to give through dear hours (W) and has stored for it (Wh; inf: no store).

    Shape (n,) each. A store that was never heard counts as four fifths full.
    """
    rated_w = np.maximum(fleet.max_inject_w, fleet.max_absorb_w)
    share = np.zeros(len(KINDS))
    for kind, frac in TYPICAL_SHARE.items():
        share[KIND_CODE[kind]] = frac
    power_w = np.where(may_serve, share[fleet.kinds] * rated_w, 0.0)
    told_wh = stored_wh(fleet, np.arange(len(fleet), dtype=np.int32))
    # One that tells its power and never how full it is can't be called: it isn't sold either.
    unheard = np.isnan(told_wh) & np.isnan(fleet.power_w)
    held_wh = np.where(unheard, 0.8 * fleet.energy_wh, np.nan_to_num(told_wh))
    return power_w, np.where(fleet.energy_wh > 0, held_wh, np.inf)
