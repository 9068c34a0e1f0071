"""A pool in units in which a middling storage, a step and a dear price are all 1, and the linear program of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.plan import reach
from tieline.plan.interior import Program
from tieline.plan.pool_terms import Course, Terms
from tieline.plan.storage import Stores

Floats = NDArray[np.float64]

DEAREST = 1000.0
"""Price of a Wh beyond the band where none is given: so many times the dearest price of energy or wear.

At 20 times one pool in ten bought some slack where a chain of losses would have cost more; at 1,000 none did."""

ROOM = 2.0
"""Ratings count up to so many times what a storage can move within its bounds in a step."""


@dataclass(frozen=True, slots=True)
class Units:
    """A middling rating (W), the dearest price (per Wh), and the length of a step."""

    watts: float
    price: float
    hours: float

    @property
    def energy_wh(self) -> float:
        """Return what a middling storage moves in a step."""
        return self.watts * self.hours

    @property
    def money(self) -> float:
        """Return what that costs at the dearest price."""
        return self.energy_wh * self.price


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """Storages in units of the pool's middling rating, a step and the dearest price; terms in arrays."""

    gain: Floats
    loss: Floats
    keep: Floats
    wear: Floats
    charge: Floats
    discharge: Floats
    drift: Floats
    low: Floats
    high: Floats
    gave: Floats
    where: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """The terms in arrays, shape (T,), scaled."""

    buy: Floats
    sell: Floats
    low: Floats
    high: Floats
    base: Floats
    slack: float


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The pool's own cost: convex segments (K, T) from a power of `target` (T,) on, which costs `offset`."""

    target: Floats
    lengths: Floats
    rates: Floats
    offset: float

    def dual(self, price: Floats) -> float:
        """Return what the pool by itself would do at these prices: its part of the Lagrangian dual."""
        return float((np.minimum(self.rates + price, 0.0) * self.lengths).sum() + price @ self.target + self.offset)


def units_of(stores: Stores, buy: Floats, sell: Floats, hours: float) -> Units:
    """Return the units of a pool: they follow from all of its storages, however it is cut up."""
    wear_most = float(stores.wear_per_wh.max(initial=0.0))
    price = max(float(np.abs(buy).max()), float(np.abs(sell).max()), wear_most) or 1.0
    ratings = np.maximum(stores.charge_w, stores.discharge_w)
    watts = float(np.median(ratings[ratings > 0])) if (ratings > 0).any() else 1.0
    return Units(watts, price, hours)


def within_room(stores: Stores, course: Course | None, hours: float) -> Stores:
    """Return the storages with ratings no higher than what would move twice all they can hold in a step.

    A rating far above that says nothing of the pool, but would set its units: its costs would drown in rounding.
    """
    course = course or Course()
    most = stores.most_wh if course.most_wh is None else course.most_wh.max(axis=1, initial=-np.inf)
    least = stores.least_wh if course.least_wh is None else course.least_wh.min(axis=1, initial=np.inf)
    room = np.maximum(most, stores.start_wh) - np.minimum(np.minimum(least, stores.start_wh), 0.0)
    if course.inflow_wh is not None:
        room = room + np.abs(course.inflow_wh).max(axis=1, initial=0.0)
    top = ROOM * room / hours
    return replace(stores, charge_w=np.minimum(stores.charge_w, top), discharge_w=np.minimum(stores.discharge_w, top))


def scaled_band(terms: Terms, band: tuple[Floats, ...], units: Units) -> Band:
    """Return the terms in those units."""
    buy, sell, low_w, high_w, base_w = band
    slack = DEAREST if terms.slack_per_wh is None else terms.slack_per_wh / units.price
    price, watts = units.price, units.watts
    return Band(buy / price, sell / price, low_w / watts, high_w / watts, base_w / watts, slack)


def scaled_stores(stores: Stores, course: Course | None, steps: int, units: Units) -> Scaled:
    """Return storages in those units, their bounds narrowed to what can be reached and left again."""
    course = course or Course()
    count, watts, unit = len(stores.start_wh), units.watts, units.energy_wh

    def column(given: Floats | None, column: Floats, by: float) -> Floats:
        return np.ascontiguousarray(np.broadcast_to(column[:, None] if given is None else given, (count, steps))) / by

    charge, discharge = (
        column(course.charge_w, stores.charge_w, watts),
        column(course.discharge_w, stores.discharge_w, watts),
    )
    low, high = column(course.least_wh, stores.least_wh, unit), column(course.most_wh, stores.most_wh, unit)
    low[:, -1] = np.maximum(low[:, -1], stores.end_wh / unit)
    keep = np.ones(count) if course.keep_frac is None else course.keep_frac.astype(float)
    drift = column(course.inflow_wh, np.zeros(count), unit)
    drift[:, 0] += keep * stores.start_wh / unit
    gain, loss = stores.charge_frac.astype(float), 1.0 / stores.discharge_frac
    gave, where = np.zeros(count), np.zeros(count, np.int64)
    reach.tighten(gain, loss, keep, charge, discharge, drift, low, high, gave, where)
    _hold(charge, discharge, gain, loss, keep, drift, low, high)
    wear = stores.wear_per_wh / units.price
    return Scaled(gain, loss, keep, wear, charge, discharge, drift, low, high, gave, where)


def _hold(
    charge: Floats, discharge: Floats, gain: Floats, loss: Floats, keep: Floats, drift: Floats, low: Floats,
    high: Floats,
) -> None:  # fmt: skip
    """Hold ratings in place to twice what a storage can ever move within its bounds: no schedule needs more."""
    before_low, before_high = np.zeros(low.shape), np.zeros(low.shape)
    before_low[:, 1:], before_high[:, 1:] = keep[:, None] * low[:, :-1], keep[:, None] * high[:, :-1]
    up, down = (high - before_low - drift).max(axis=1), (before_high + drift - low).max(axis=1)
    room = ROOM * np.maximum(np.maximum(up, down), 0.0)[:, None]
    np.minimum(charge, room / gain[:, None], out=charge)
    np.minimum(discharge, room / loss[:, None], out=discharge)


def ratings(scaled: Scaled) -> float:
    """Return the sum of all ratings, each the greatest of its day."""
    return float(np.maximum(scaled.charge, scaled.discharge).max(axis=1, initial=0.0).sum())


def floor(rated: float) -> float:
    """Return the cost below which a share means nothing: a thousandth of a step of all ratings at the dearest price."""
    return 1e-3 * max(rated, 1.0)


def program_of(scaled: Scaled, band: Band) -> Program:
    """Return the linear program that the interior point solves."""
    pool = segments(band, scaled.charge.sum(axis=0), scaled.discharge.sum(axis=0))
    return Program(
        *store_rows(scaled), pool.target[None], pool.lengths[None], pool.rates[None], pool.offset, np.array([-1]),
        np.array([len(scaled.low)]),
    )  # fmt: skip


def store_rows(scaled: Scaled) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the storages' part of that program: `width`, `low`, `drift` and `row`."""
    width = np.stack([scaled.charge, scaled.discharge, scaled.high - scaled.low], axis=1)
    reachable = np.maximum(np.abs(scaled.high), np.abs(scaled.low))
    width[:, 2][width[:, 2] <= 1e-11 * np.maximum(reachable, 1e-3)] = 0.0
    weight = np.maximum(width[:, :2].max(axis=(1, 2), initial=0.0), 1e-6)
    return (
        width,
        scaled.low,
        scaled.drift,
        np.stack([scaled.gain, scaled.loss, scaled.keep, scaled.wear, weight], axis=1),
    )


def segments(band: Band, down: Floats, up: Floats) -> Segments:
    """Return the pool's own cost of its net power, for storages that take and give at most `down` and `up`; (T,)."""
    spare = 0.05 * (down + up) + 0.1
    first, last = band.base - down - spare, band.base + up + spare
    cuts = np.sort(
        np.stack([first, *(np.clip(cut, first, last) for cut in (band.low, 0 * first, band.high)), last]), axis=0
    )
    rates = slope((cuts[:-1] + cuts[1:]) / 2, band)
    offset = float((energy(first, band) + band.slack * sum(beyond(first, band))).sum())
    return Segments(first - band.base, np.diff(cuts, axis=0), rates, offset)


def slope(net: Floats, band: Band) -> Floats:
    """Return what one more unit fed in costs: energy, and slack beyond the band."""
    slope: Floats = -np.where(net < 0, band.buy, band.sell)
    return slope + band.slack * ((net > band.high).astype(float) - (net < band.low))


def energy(net: Floats, band: Band) -> Floats:
    """Return what net power costs at the prices of energy."""
    return band.buy * np.maximum(-net, 0.0) - band.sell * np.maximum(net, 0.0)


def beyond(net: Floats, band: Band) -> tuple[Floats, Floats]:
    """Return how far net power lies above and below the band."""
    return np.maximum(net - band.high, 0.0), np.maximum(band.low - net, 0.0)


def band_prices(price: Floats, band: Band) -> tuple[Floats, Floats]:
    """Return what the band adds to the price of energy: at its low end upwards, at its high end downwards.

    Slack caps both: beyond the band the rest of the price is that of energy.
    """
    low = np.clip(price - np.where(band.low > 0, band.sell, band.buy), 0.0, band.slack)
    high = np.clip(np.where(band.high < 0, band.buy, band.sell) - price, 0.0, band.slack)
    return low, high
