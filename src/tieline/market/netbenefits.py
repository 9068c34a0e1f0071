"""FERC Order 745: demand response is paid the LMP where that is at or above a month's threshold price.

The threshold is the price on a smoothed supply curve from which on its elasticity is 1 or less: there a MWh that is
not used lowers what the rest of load pays by more than it costs. RTOs publish one a month; `threshold` makes one from
a curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.market.product import ZERO, ProductLine, line_of, split_line
from tieline.market.settlement import Basis

Floats = NDArray[np.float64]
ENERGY, NOT_PAID = "energy", "not_paid"
LEAST_POINTS = 10


@dataclass(frozen=True, slots=True)
class Threshold:
    """The threshold price, the supply at it, and how well the smooth curve `ln P = c + d Q` fits (R squared)."""

    price_per_mwh: float
    supply_mw: float
    intercept: float
    slope: float
    fit: float
    points: int
    is_inside: bool
    """Whether it lies within the prices that the curve was fitted to; outside it is no more than an extrapolation."""


def threshold(price_per_mwh: Floats, supply_mw: Floats) -> Threshold:
    """Return the threshold price of a supply curve.

    Fitted is `ln P = c + d Q` by least squares. Its elasticity `(dQ/dP)(P/Q)` is `1/(d Q)`, which is 1 at `Q = 1/d`,
    and there `P = exp(c + 1)`.

    Args:
        price_per_mwh: Offered prices above 0; shape (n,).
        supply_mw: Supply offered up to each, rising with it; shape (n,).

    Raises:
        ValueError: There are too few points, a price is not above 0, supply falls as prices rise, or the curve is flat.

    >>> q = np.linspace(20_000, 120_000, 50)
    >>> round(threshold(np.exp(1.0 + q / 50_000), q).price_per_mwh, 4) == round(math.exp(2.0), 4)
    True
    """
    order = np.argsort(price_per_mwh, kind="stable")
    price, supply = price_per_mwh[order], supply_mw[order]
    if len(price) < LEAST_POINTS:
        raise ValueError(f"{len(price)} points: give {LEAST_POINTS} or more")
    if not price[0] > 0:
        raise ValueError(f"price {price[0]:g}: give prices above 0")
    falls = np.flatnonzero(np.diff(supply) < 0)
    if len(falls):
        k = int(falls[0])
        raise ValueError(
            f"supply falls from {supply[k]:g} to {supply[k + 1]:g} MW as the price rises to {price[k + 1]:g}"
        )
    log_price = np.log(price)
    spread = float(((supply - supply.mean()) ** 2).sum())
    rise = float(((supply - supply.mean()) * (log_price - log_price.mean())).sum())
    if spread <= 0 or rise <= 0:
        raise ValueError("the curve is flat: give supply that rises with its price")
    slope = rise / spread
    intercept = float(log_price.mean()) - slope * float(supply.mean())
    left = float(((log_price - intercept - slope * supply) ** 2).sum())
    all_of_it = float(((log_price - log_price.mean()) ** 2).sum())
    at = math.exp(intercept + 1.0)
    return Threshold(
        at, 1.0 / slope, intercept, slope, 1.0 - left / all_of_it, len(price), bool(price[0] <= at <= price[-1])
    )


class Reduction(Struct, frozen=True):
    """What was reduced in an interval, the LMP there, and the threshold of its month."""

    resource: str
    start_ns: int
    end_ns: int
    mwh: Decimal
    lmp: Decimal
    threshold: Decimal


def reduction_lines(basis: Basis, asked: Reduction) -> list[ProductLine]:
    """Return an interval's line: the LMP at or above the threshold, nothing below it, and why."""
    over = (asked.start_ns, asked.end_ns)
    if asked.lmp >= asked.threshold:
        return [line_of(basis, ENERGY, asked.resource, over, asked.mwh, "MWh", asked.lmp)]
    line = line_of(basis, NOT_PAID, asked.resource, over, asked.mwh, "MWh", ZERO)
    return split_line(line, {"below_net_benefits": 1.0})
