"""What a costed schedule proves of all others: a bound that is a sum over devices and steps.

With heaters, appliances and a car's steps of charging given, the rest of a home is a linear program. Its dual at any
prices y bounds it from below, and what is given enters that bound step by step: a kW drawn costs y_t, a step at which a
car charges costs what its least power draws and what it takes above it. So each dual that was met is a cut below the
cost of every schedule, and a change's share of it is the sum over the cells that it changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.plan import home_inner
from tieline.plan.home_columns import FIRST, WATTS, Columns
from tieline.plan.home_terms import Home

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """No schedule costs less than `rest + load @ price + sum(charging * worth)`, starts aside; worth is (cars, T)."""

    price: Floats
    worth: Floats
    rest: float
    least_worth: float
    """The least of all cars together where each may charge with any power."""


def cut_of(home: Home, c: Columns, price: Floats) -> Cut:
    """Return the cut of prices y (T, rows of the base), those of any dual."""
    worth = np.zeros(c.width.shape)
    home_inner.priced(c.power, c.store, c.gain, c.keep, price, worth)
    pulls = np.minimum(c.cost - worth, 0.0)
    first = FIRST + 2 * c.battery
    width, steps = c.width.copy(), np.zeros((c.cars, len(price)))
    for k, car in enumerate(home.cars):
        column, least = first + k, car.least_w / WATTS
        here = c.width[:, column] > 0.0
        own = least * (price[:, 0] - c.gain[:, column] * price[:, c.store[column]])
        steps[k] = np.where(here, own + pulls[:, column] * (c.width[:, column] - least), 0.0)
        width[:, column] = 0.0
    first = FIRST + 2 * c.battery
    free = float((pulls * c.width)[:, first : first + c.cars].sum())
    return Cut(price[:, 0].copy(), steps, float((price * c.right).sum() + (pulls * width).sum()), free)
