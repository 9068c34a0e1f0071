"""Offers as curves: what each further watt must earn, by its cost, how likely it is to lack, and what a lack costs.

Theory. Sold is q, there will be A (a random power); d = min(q, A) is delivered at the rising cost of the stack, and
what lacks is bought back at R with a penalty s on top. At a clearing price P an offer of q earns

    profit(q) = P q - C(min(q, A)) - (R + s) max(q - A, 0),    C(d) = cost of the first d watts of the stack.

The next watt at q is delivered where A reaches q, and lacks where it doesn't: with F(q) = P(A < q). It breaks even at

    b(q) = c(q) + w(q) max(R + s - c(q), 0),    w = (1 - aversion) F + aversion min(F / tail, 1).

For `aversion` 0 that is the condition of the expected profit (a newsvendor's). For 1 it is that of the mean profit of
the worst `tail` of all cases (CVaR): profit falls with A, so the worst cases are those of the least power, and among
them the share that lacks at q is F / tail. In between, the objective is the weighted sum of both. b rises with q, so
that it is itself the supply curve: whatever P clears, exactly the best q is taken. That one would rather be short than
deliver (R + s below cost) is never counted in: nobody plans to lack.

What a stored watt-hour costs is its opportunity: the marginal value of stored energy in the store's own schedule
(`desk.offering.water_price`); it enters as the stack's price. Curves are of what is given (upward energy, and capacity
either way); bids to take energy are not made here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import erfc, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tieline.market.offer import Step
from tieline.market.participation import Model

Floats = NDArray[np.float64]
OneOf = Callable[[Floats, Floats, float], int]
MOST_BLOCKS = 512
"""Into how many blocks a curve is cut before it is made to fit its market."""
SLACK = 1e-9


class Availability(Protocol):
    """How likely it is that there will be less than a power."""

    def short_frac(self, power_w: Floats) -> Floats:
        """Return P(A < power) of each power; shape (n,)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """A power (W) for each of many equally likely cases, such as those of a forecast; shape (n,)."""

    power_w: Floats

    def short_frac(self, power_w: Floats) -> Floats:
        """Return in which share of the cases there is less."""
        frac: Floats = np.searchsorted(np.sort(self.power_w), power_w, side="left") / len(self.power_w)
        return frac


@dataclass(frozen=True, slots=True)
class Normal:
    """A normally distributed power (W), as the sum of many members that can be reached or not."""

    mean_w: float
    deviation_w: float

    @classmethod
    def of_members(cls, power_w: Floats, reach_frac: Floats) -> Normal:
        """Return the sum of members that give all that they have with their own probability, else nothing (W).

        >>> Normal.of_members(np.full(10_000, 5e3), np.full(10_000, 0.98)).mean_w
        49000000.0
        """
        variance = float((power_w**2 * reach_frac * (1.0 - reach_frac)).sum())
        return cls(float((power_w * reach_frac).sum()), variance**0.5)

    def short_frac(self, power_w: Floats) -> Floats:
        """Return the distribution's share below each power."""
        if self.deviation_w <= 0.0:
            return np.where(power_w > self.mean_w, 1.0, 0.0)
        z = (self.mean_w - power_w) / (self.deviation_w * sqrt(2.0))
        return np.array([0.5 * erfc(float(one)) for one in z])


@dataclass(frozen=True, slots=True)
class Risk:
    """What a lack costs and how it is weighed.

    `buy_back` is the price at which it is bought back, and `penalty` what comes on top (both of the market's currency
    per MWh); `aversion` 0 weighs the mean alone, 1 the worst `tail_frac` of the cases alone. Power that lacks more
    often than `most_short_frac` is not offered at any price.
    """

    buy_back: float
    penalty: float = 0.0
    aversion: float = 0.0
    tail_frac: float = 0.1
    most_short_frac: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("aversion", self.aversion), ("most_short_frac", self.most_short_frac)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} = {value:g}: give 0 to 1")
        if not 0.0 < self.tail_frac <= 1.0:
            raise ValueError(f"tail_frac = {self.tail_frac:g}: give over 0 to 1")

    def weight(self, short_frac: Floats) -> Floats:
        """Return how much of a lack's cost a watt bears that lacks in such a share of the cases."""
        tail: Floats = np.minimum(short_frac / self.tail_frac, 1.0)
        weighed: Floats = (1.0 - self.aversion) * short_frac + self.aversion * tail
        return weighed


def stack_cost(power_w: Floats, price: Floats, at_w: Floats) -> Floats:
    """Return what the watt just below each power costs, by the merit order of members; beyond the last: inf.

    Args:
        power_w: What each member can give; shape (n,), W.
        price: What each asks; shape (n,).
        at_w: Powers that are asked for; shape (k,), W.
    """
    order = np.argsort(price, kind="stable")
    ends = np.cumsum(power_w[order])
    at = np.searchsorted(ends, at_w - SLACK * np.maximum(at_w, 1.0), side="left")
    cost: Floats = np.append(price[order], np.inf)[at]
    return cost


def marginal_price(cost: Floats, short_frac: Floats, risk: Risk) -> Floats:
    """Return b(q): at which price each further watt breaks even; never falling."""
    lack = np.maximum(risk.buy_back + risk.penalty - cost, 0.0)
    price: Floats = cost + risk.weight(short_frac) * lack
    price[short_frac > risk.most_short_frac] = np.inf
    return np.maximum.accumulate(price)


def offer_curve(
    model: Model, power_w: Floats, price: Floats, available: Availability, risk: Risk, sold_w: float = 0.0,
    one_of: OneOf | None = None,
) -> tuple[Step, ...]:  # fmt: skip
    """Return the steps of an offer that a model takes, from what members can give; empty: nothing that it takes.

    An intraday offer begins at what is sold already (`sold_w`): that power lacks first, so the rest bears more risk.

    Args:
        model: What the market takes: grain, least, most, points, floor, cap.
        power_w: What each member can give; shape (n,), W.
        price: What each asks, its opportunity cost; shape (n,), per MWh.
        available: How much of it there will be.
        risk: What a lack costs and how it is weighed.
        sold_w: Sold before (W).
        one_of: Where the model takes one segment alone: how many of the blocks (power and price of each, least) it is
            of, such as `offer_value.best_single` says; None: all of them.
    """
    whole_w = float(power_w.sum()) - sold_w
    most_w = min(whole_w, model.watts("max_mw") or np.inf)
    unit_w = model.watts("step_mw") or 1.0
    count = int((most_w + 1e-3) // unit_w)
    if count < 1:
        return ()
    per_block = -(-count // MOST_BLOCKS)
    units = np.minimum(np.arange(per_block, count + per_block, per_block), count)
    ends_w = units * unit_w
    # Of a block the last watt is the dearest: a block is never sold below what any of it must earn.
    at_w = sold_w + ends_w
    asked = marginal_price(stack_cost(power_w, price, at_w), available.short_frac(at_w), risk)
    blocks_w = np.diff(ends_w, prepend=0.0)
    if one_of is not None and int(model.number("points_most") or 1) == 1:
        cap = model.number("price_cap")
        asked = np.where(asked <= (np.inf if cap is None else cap + 1e-9), asked, np.inf)
        first = one_of(blocks_w, asked, model.watts("min_mw") or 0.0)
        blocks_w, asked = blocks_w[:first], asked[:first]
    return fit_steps(model, blocks_w, asked)


def fit_steps(model: Model, power_w: Floats, price: Floats) -> tuple[Step, ...]:
    """Return blocks of power at never falling prices as steps that a model takes; empty where it takes none.

    Powers go down to the market's grain and prices up to its tick; blocks beyond the cap are left out; where there are
    more than the model's points the two are joined, at the dearer price, that lose the least by it.

    Args:
        model: What the market takes.
        power_w: Power of each block; shape (n,), W.
        price: What each must earn; shape (n,), never falling.
    """
    tick, unit_w = model.number("price_tick") or 0.01, model.watts("step_mw") or 1.0
    floor, cap = (model.number(key) for key in ("price_floor", "price_cap"))
    low, high = (-np.inf if floor is None else floor), (np.inf if cap is None else cap)
    bid = np.maximum(np.ceil(price / tick - 1e-6) * tick, np.ceil(low / tick - 1e-6) * tick)
    keep = np.isfinite(bid) & (bid <= high + 1e-9) & (power_w > 0)
    found = _joined(power_w[keep], bid[keep], int(model.number("points_most") or 1), unit_w)
    most_units = np.inf if model.max_mw is None else round((model.watts("max_mw") or 0.0) / unit_w)
    steps, used = [], 0
    for watts, asked in found:
        units = int(min((watts + 1e-3) // unit_w, most_units - used))
        if units > 0:
            steps.append(Step(units * unit_w, round(round(asked / tick) * tick, 6)))
            used += units
    least_w = model.watts("min_mw") or 0.0
    return tuple(steps) if used * unit_w >= least_w - 1e-3 else ()


def _joined(power_w: Floats, bid: Floats, most: int, unit_w: float) -> list[tuple[float, float]]:
    """Return (power, price) of blocks of one price each, at most so many, none smaller than the grain but the last."""
    blocks: list[tuple[float, float]] = []
    for watts, asked in zip(power_w.tolist(), bid.tolist(), strict=True):
        if blocks and (blocks[-1][1] == asked or blocks[-1][0] < unit_w - 1e-3):
            blocks[-1] = (blocks[-1][0] + watts, asked)
        else:
            blocks.append((watts, asked))
    while len(blocks) > most:
        # Joined at the dearer price, the cheaper block misses the awards that clear in between.
        lost = [(b[1] - a[1]) * a[0] for a, b in pairwise(blocks)]
        at = int(np.argmin(lost))
        blocks[at : at + 2] = [(blocks[at][0] + blocks[at + 1][0], blocks[at + 1][1])]
    # What the grain cuts off a block belongs to the next, dearer one: nothing is sold below its price.
    for at in range(len(blocks) - 1):
        whole_w = (blocks[at][0] + 1e-3) // unit_w * unit_w
        blocks[at + 1] = (blocks[at + 1][0] + blocks[at][0] - whole_w, blocks[at + 1][1])
        blocks[at] = (whole_w, blocks[at][1])
    return blocks
