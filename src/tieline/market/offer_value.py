"""What an offer is expected to come to: how likely its power is there, what it earns and what its lack costs.

Theory. An offer is made before its price and its power are known. Prices are cases (`PriceCases`), each with a share
of all; power is the sum of members that are there or not (`Members`), with an error that they have in common. Of each
price what clears is q; what is expected to lack of it is

    E[(q - A)+] = integral of P(A < x) for x from 0 to q.

A market that takes one price alone gets the one segment that is expected to bring the most. Of the blocks of a curve
(w_i at a break-even b_i, never falling) the first k at their dearest price b_k bring

    V(k) = E[ 1(P >= b_k) * sum of (P - b_i) w_i, i <= k ]

and the least k with the greatest V is offered: more power at a dearer price clears less often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.firm import EXACT_LEAVES
from tieline.market.curve import Availability, Risk
from tieline.market.offer import Step

Floats = NDArray[np.float64]
LACK_POINTS = 256
"""At how many powers up to that of an offer it is looked at how likely it lacks."""
CASES = 64
"""Into how many powers those that are counted case by case are gathered, where others are spread beside them."""


@dataclass(frozen=True, slots=True, eq=False)
class PriceCases:
    """What an hour may cost, and what power costs that is bought back in it (both per MWh), by case.

    Attributes:
        price: Of each case; shape (k,).
        buy_back: Of each case; shape (k,).
        frac: How likely each is, 1 together; shape (k,).
    """

    price: Floats
    buy_back: Floats
    frac: Floats

    @property
    def mean(self) -> float:
        """The expected price (per MWh)."""
        return float(self.price @ self.frac)

    def bought_back(self, aversion: float, tail_frac: float) -> float:
        """Return what buying back is taken to cost: its mean, and by aversion that of its dearest tail (per MWh).

        >>> cases = PriceCases(np.array([20.0, 60.0]), np.array([20.0, 60.0]), np.array([0.9, 0.1]))
        >>> cases.bought_back(0.0, 0.1), cases.bought_back(1.0, 0.1)
        (24.0, 60.0)
        """
        order = np.argsort(-self.buy_back, kind="stable")
        before = np.cumsum(self.frac[order]) - self.frac[order]
        share = np.clip(tail_frac - before, 0.0, self.frac[order]) / tail_frac
        return (1.0 - aversion) * float(self.buy_back @ self.frac) + aversion * float(self.buy_back[order] @ share)


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The power of members that each give all they have or nothing, and of an error that they have in common.

    Those of which most hangs are counted case by case, as a handful of them is no bell curve; the others and the error
    are normal. The counting is `fleet.firm`'s.

    Attributes:
        sums_w: What those that are counted give, by case (W); shape (k,).
        frac: How likely each case is; shape (k,).
        mean_w: What the others give on average (W).
        deviation_w: By how much that and the error in common are off: one deviation (W).
    """

    sums_w: Floats
    frac: Floats
    mean_w: float
    deviation_w: float

    @classmethod
    def of(cls, power_w: Floats, there_frac: Floats, error_w: float = 0.0) -> Members:
        """Return them from what each gives (W) and how often it is there (0 to 1), shape (n,); `error_w` in common."""
        counted = np.argsort(-power_w, kind="stable")[:EXACT_LEAVES]
        others = np.ones(len(power_w), np.bool_)
        others[counted] = False
        sums, frac = np.zeros(1), np.ones(1)
        for at in counted.tolist():
            chance = float(there_frac[at])
            sums = np.concatenate([sums, sums + power_w[at]])
            frac = np.concatenate([frac * (1.0 - chance), frac * chance])
        rest_w, rest_frac = power_w[others], there_frac[others]
        spread_w = sqrt(float((rest_w**2 * rest_frac * (1.0 - rest_frac)).sum()) + error_w**2)
        if spread_w > 0.0 and len(sums) > CASES:  # what is spread anyway needs no more of them
            grain_w = float(sums.max()) / CASES
            sums = (np.floor(sums / grain_w) + 0.5) * grain_w
        sums, of = np.unique(sums, return_inverse=True)
        by_sum = np.bincount(of, frac).astype(np.float64)
        return cls(sums, by_sum, float(rest_w @ rest_frac), spread_w)

    def short_frac(self, power_w: Floats) -> Floats:
        """Return P(A < power) of each power; shape (n,)."""
        if self.deviation_w <= 0.0:
            below = np.searchsorted(self.sums_w, power_w - self.mean_w - 1e-3, side="left")
            counted: Floats = np.minimum(np.append(0.0, np.cumsum(self.frac))[below], 1.0)
            return counted
        left = (power_w[:, None] - self.mean_w - self.sums_w[None, :]) / (-self.deviation_w * sqrt(2.0))
        each = np.array([erfc(one) for one in left.ravel().tolist()]).reshape(left.shape)
        frac: Floats = np.clip(0.5 * each @ self.frac, 0.0, 1.0)
        return frac


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an offer is expected to come to over an hour; money in the market's.

    `sold_w` and `lacks_w` are means over prices and power (W), `revenue` what is paid for the first, `penalty` what
    buying back and its penalty cost of the second. `clears_frac` is how often any of it clears, `there_frac` how often
    all of it is there, and `marginal_cost` (per MWh) what its dearest watt costs to give.
    """

    price: float
    sold_w: float
    lacks_w: float
    revenue: float
    penalty: float
    clears_frac: float
    there_frac: float
    marginal_cost: float


def lacking_w(available: Availability, power_w: Floats) -> Floats:
    """Return what is expected to lack of each power: the integral of P(A < x) up to it; shape (n,), W."""
    most_w = float(power_w.max(initial=0.0))
    if most_w <= 0.0:
        return np.zeros(len(power_w))
    step_w = most_w / LACK_POINTS
    middle = step_w * (np.arange(LACK_POINTS, dtype=np.float64) + 0.5)
    whole = np.append(0.0, np.cumsum(available.short_frac(middle)) * step_w)
    lacks: Floats = np.interp(power_w, step_w * np.arange(LACK_POINTS + 1), whole)
    return lacks


def outlook(
    steps: Sequence[Step], available: Availability, prices: PriceCases, penalty: float, marginal_cost: float
) -> Outlook:
    """Return what an offer of an hour is expected to come to.

    Args:
        steps: Its steps, at rising prices.
        available: How much there will be.
        prices: What the hour may cost.
        penalty: What comes on top of buying back (per MWh).
        marginal_cost: What its dearest watt costs to give (per MWh).
    """
    ends_w = np.cumsum(np.array([0.0, *(step.power_w for step in steps)], np.float64))
    asked = np.array([step.price for step in steps])
    clears = np.searchsorted(asked, prices.price + 1e-9, side="right")
    lacks_w = lacking_w(available, ends_w)[clears]
    sold_w = ends_w[clears]
    return Outlook(
        prices.mean, float(sold_w @ prices.frac), float(lacks_w @ prices.frac),
        float((sold_w * prices.price) @ prices.frac) / 1e6,
        float((lacks_w * np.maximum(prices.buy_back + penalty, 0.0)) @ prices.frac) / 1e6,
        float(prices.frac[clears > 0].sum()), 1.0 - float(available.short_frac(ends_w[-1:])[0]), marginal_cost,
    )  # fmt: skip


def best_single(power_w: Floats, price: Floats, least_w: float, prices: PriceCases) -> int:
    """Return how many blocks, from the cheapest on, make the one segment that is expected to bring most; 0: none.

    Args:
        power_w: Power of each block; shape (n,), W.
        price: What each must earn, never falling; shape (n,), per MWh; inf: at no price.
        least_w: The least that the market takes.
        prices: What the hour may cost.
    """
    ends_w = np.cumsum(power_w)
    may = np.isfinite(price) & (ends_w >= least_w - 1e-3)
    cost = np.cumsum(power_w * np.where(np.isfinite(price), price, 0.0))
    clears = prices.price[None, :] >= price[:, None]
    gains = np.where(clears, prices.price[None, :] * ends_w[:, None] - cost[:, None], 0.0) @ prices.frac
    if not may.any():
        return 0
    gains = np.where(may, gains, -np.inf)
    return int(np.argmax(gains >= gains.max() - 1e-9 * abs(gains.max()))) + 1


def risk_of(prices: PriceCases, penalty: float, aversion: float, tail_frac: float, most_short_frac: float) -> Risk:
    """Return what a lack in an hour costs and how it is weighed, buying back weighed by the same aversion."""
    return Risk(prices.bought_back(aversion, tail_frac), penalty, aversion, tail_frac, most_short_frac)
