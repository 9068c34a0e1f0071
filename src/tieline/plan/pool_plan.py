"""What a plan of a pool says, and how a schedule is judged: its cost, its gap, and what gave way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.plan.pool_scaled import Band, Units, band_prices, beyond, energy, floor
from tieline.plan.pool_words import GaveWay, pool_words, store_words

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PoolPlan:
    """A schedule that every storage can follow, and what is proven of it.

    `power_w` (n, T) is positive where a storage gives, `stored_wh` (n, T) what it holds after each step, `net_w` (T,)
    the pool's power with its base. `cost` counts energy, wear and slack; `slack_cost` is the slack's part. No schedule
    within the bounds of the storages (those that gave way as they did) costs less than `bound`; `gap` is the difference
    and `gap_frac` its share of the cost (of a thousandth of what all ratings move in a step, at the dearest price,
    where the cost is less). `price_per_wh` (T,) is what one more Wh asked of the pool at a step would cost;
    `low_price_per_wh` and `high_price_per_wh` (0 or more) are what one more W of room below or above would save, per
    hour. `over_w` and `under_w` (T,) lie beyond the band; `gave_way` says in words what could not be kept.
    """

    power_w: Floats
    stored_wh: Floats
    net_w: Floats
    cost: float
    slack_cost: float
    bound: float
    gap: float
    gap_frac: float
    price_per_wh: Floats
    low_price_per_wh: Floats
    high_price_per_wh: Floats
    over_w: Floats
    under_w: Floats
    gave_way: tuple[GaveWay, ...]
    rounds: int


@dataclass(frozen=True, slots=True, eq=False)
class Gave:
    """By how much a bound of each storage gave way, at which step, and how much it may hold at most; shape (n,)."""

    off: Floats
    where: NDArray[np.int64]
    most: Floats


def judged(
    power: Floats, stored: Floats, net: Floats, worn: float, bound: float, price: Floats, gave: Gave, rated: float,
    rounds: int, band: Band, units: Units,
) -> PoolPlan:  # fmt: skip
    """Return the plan of a schedule.

    Args:
        power: What each storage gives (W), as `stored` (Wh); shape (n, T).
        net: The pool's power; shape (T,); this and all that follows in scaled units.
        worn: What wear costs.
        bound: What no schedule undercuts.
        price: The prices that prove it; shape (T,).
        gave: What the storages could not keep.
        rated: Sum of all ratings.
        rounds: How many rounds it took.
    """
    over, under = beyond(net, band)
    watts, hours, money = units.watts, units.hours, units.money
    slack_cost = float(band.slack * (over + under).sum()) * money
    cost = (float(energy(net, band).sum()) + worn) * money + slack_cost
    bound *= money
    low_price, high_price = band_prices(price, band)
    met = 1e-6 * max(1.0, float(np.abs(net).max(initial=0.0)))
    words = pool_words(net * watts, band.low * watts, band.high * watts, met * watts, hours, band.slack * units.price)
    words += store_words(gave.off * units.energy_wh, gave.where, 1e-9 * np.maximum(gave.most, 1.0) * units.energy_wh)
    gap = max(cost - bound, 0.0)
    gap_frac = gap / max(abs(cost), floor(rated) * money)
    return PoolPlan(
        power, stored, net * watts, cost, slack_cost, bound, gap, gap_frac, price * units.price,
        low_price * units.price, high_price * units.price, over * watts, under * watts, words, rounds,
    )  # fmt: skip


def better(first: PoolPlan, again: PoolPlan, least: float) -> PoolPlan:
    """Return the cheaper plan with the higher bound; prices stay those that prove the bound."""
    plan = again if again.cost < first.cost else first
    bound = max(first.bound, again.bound)
    gap = max(plan.cost - bound, 0.0)
    return replace(
        plan, bound=bound, gap=gap, gap_frac=gap / max(abs(plan.cost), least), rounds=first.rounds + again.rounds,
        price_per_wh=first.price_per_wh, low_price_per_wh=first.low_price_per_wh,
        high_price_per_wh=first.high_price_per_wh,
    )  # fmt: skip
