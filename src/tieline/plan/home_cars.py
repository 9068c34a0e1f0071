"""At which steps a home's cars charge, where a charger gives nothing or at least some power."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.plan.home_columns import FIRST, WATTS
from tieline.plan.home_search import Choice, Costed, Search, car_kw, charging_steps, load_of, patterned, solved
from tieline.plan.home_terms import Car

Floats = NDArray[np.float64]
DIVES = 8
"""How often a share of a car's steps of little power is closed before the rest is rounded."""


def with_cars(s: Search, found: Costed, closed: tuple[float, ...] = ()) -> Costed:
    """Return a choice with cars that charge with nothing or from their least on, by the best of a few roundings.

    The free optimum is rounded at once, and after steps of little power were closed, a share at a time, and the rest
    was solved anew; then a car charges at more or fewer of the steps in the same order, as long as that pays.
    """
    tried = []
    for share in (1.0, *closed) if any(car.least_w > 0 for car in s.home.cars) else (1.0,):
        kw, price = (car_kw(s, found.x), found.price[:, 0]) if share == 1.0 else _dived(s, found, share)
        orders = [_ordered(car, row, price) for car, row in zip(s.home.cars, kw, strict=True)]
        rows = zip(s.home.cars, kw, orders, strict=True)
        sizes = [_count(car, row, order, s.home.hours) for car, row, order in rows]
        tried.append(_sized(s, found.choice, orders, sizes))
    return min(tried, key=lambda one: one.cost)


def _sized(s: Search, choice: Choice, orders: list[NDArray[np.int64]], sizes: list[int]) -> Costed:
    """Return a choice with cars that charge at the first steps of their orders, at as many of them as cost least."""
    best = _at_first(s, choice, orders, sizes)
    for k, car in enumerate(s.home.cars):
        fewest, most = charging_steps(car, s.home.hours) if car.least_w > 0 else (sizes[k], sizes[k])
        for by in (1, -1):
            is_better = True
            while is_better and fewest <= sizes[k] + by <= most:
                other = [*sizes[:k], sizes[k] + by, *sizes[k + 1 :]]
                tried = _at_first(s, choice, orders, other)
                is_better = tried.cost < best.cost
                best, sizes = (tried, other) if is_better else (best, sizes)
    return best


def _at_first(s: Search, choice: Choice, orders: list[NDArray[np.int64]], sizes: list[int]) -> Costed:
    charges = np.zeros((len(orders), len(s.home.buy_per_wh)), bool)
    for row, order, size in zip(charges, orders, sizes, strict=True):
        row[order[:size]] = True
    return patterned(s, choice, charges)


def _dived(s: Search, found: Costed, share: float) -> tuple[Floats, Floats]:
    """Return what cars take (cars, T) and the price (T,) after a share of their steps of little power was closed again
    and again.
    """
    c, kw, price = s.base, car_kw(s, found.x), found.price[:, 0]
    right, width = c.right.copy(), c.width.copy()
    right[:, 0] += load_of(s, found.choice)
    first = FIRST + 2 * c.battery
    for _ in range(DIVES):
        has_closed = False
        for k, car in enumerate(s.home.cars):
            least = car.least_w / WATTS
            small = np.flatnonzero((width[:, first + k] > 0.0) & (kw[k] < least * (1 - 1e-6)))
            spare = int((width[:, first + k] > 0.0).sum()) - charging_steps(car, s.home.hours)[0]
            needed = int(np.ceil(kw[k, small].sum() / least - 1e-6)) if least else 0
            close = min(int(np.ceil(max(len(small) - needed, 0) * share)), spare)
            if close > 0:
                order = small[np.lexsort((price[small], kw[k, small].round(6)))]
                width[order[:close], first + k] = 0.0
                has_closed = True
        if not has_closed:
            break
        tried = solved(s, found.choice, width, right)
        kw, price = car_kw(s, tried.x), tried.price[:, 0]
    return kw, price


def _ordered(car: Car, kw: Floats, price: Floats) -> NDArray[np.int64]:
    """Return a car's steps, those first at which the free optimum takes most."""
    stay = np.arange(car.arrives, car.leaves)
    order: NDArray[np.int64] = stay[np.lexsort((price[stay], -kw[stay].round(6)))]
    return order


def _count(car: Car, kw: Floats, order: NDArray[np.int64], hours: float) -> int:
    """Return at how many steps a car charges: so many as its energy fills and lets."""
    least = car.least_w / WATTS
    if least == 0.0:
        return len(order)
    is_full = kw[order] >= least * (1 - 1e-6)
    wanted = int(is_full.sum()) + round(float(kw[order][~is_full].sum()) / least)
    fewest, most = charging_steps(car, hours)
    return min(max(wanted, fewest), most)
