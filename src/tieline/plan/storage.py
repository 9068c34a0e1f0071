"""The schedules of a column of batteries that face one price, each by itself: the exact kernel (`plan.kernel`).

Where a price is below 0, or selling pays more than buying costs over a round trip, a linear program would have a
battery take and give at once. A battery that has such a step is planned in one direction a step (`plan.one_direction`),
exactly as well; the others of the batch are not. A bound that no schedule keeps (an end that can't be reached in time)
gives way to the nearest that one does, and that is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.errors import ConfigError
from tieline.plan.kernel import Schedule, Step, plan_store, schedule
from tieline.plan.one_direction import plan_one_direction
from tieline.plan.pool_words import GaveWay, store_words
from tieline.plan.reach import tighten
from tieline.plan.refusals import refuse, shaped, within

__all__ = ["Schedule", "Step", "StorePlans", "Stores", "checked_stores", "plan_store", "plan_stores", "schedule"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stores:
    """Batteries in columns, shape (n,): energies in Wh, powers in W at the terminal, efficiencies as fractions.

    `wear_per_wh` is what a delivered Wh costs the battery.
    """

    start_wh: Floats
    least_wh: Floats
    most_wh: Floats
    end_wh: Floats
    charge_w: Floats
    discharge_w: Floats
    charge_frac: Floats
    discharge_frac: Floats
    wear_per_wh: Floats


@dataclass(frozen=True, slots=True, eq=False)
class StorePlans:
    """A schedule of each battery by itself, and what is proven of it; shape (n,) but for `power_w` (n, T).

    `power_w` is what it does at each step (W at the terminal, positive: gives), `cost` what that costs, energy and
    wear. `worth_per_wh` is its water value: what one more Wh stored at the start would save. `gap` is by how much a
    cheaper schedule may exist at most, at the prices that it saw: 0 but for rounding, unless a battery with prices
    below 0 has a value function of thousands of points. `gave_wh` is by how much a bound of its own gave way (positive:
    below the least or the end, negative: above the most; 0: all are kept), `gave_at` at which step.
    """

    power_w: Floats
    cost: Floats
    worth_per_wh: Floats
    gap: Floats
    gave_wh: Floats
    gave_at: Ints

    def gave_way(self) -> tuple[GaveWay, ...]:
        """Return which batteries could not keep a bound, in words."""
        return store_words(self.gave_wh, self.gave_at, np.zeros(len(self.gave_wh)))


def checked_stores(stores: Stores) -> None:
    """Check that columns are alike in length, and every value makes sense.

    Raises:
        ConfigError: Else; the message names the storage.
    """
    shape = stores.start_wh.shape
    for name in Stores.__slots__:
        column = getattr(stores, name)
        if column.ndim != 1 or column.shape != shape:
            raise ConfigError(
                f"stores.{name} has shape {column.shape}: give {shape}, as start_wh has, in one dimension"
            )
        is_share = name.endswith("_frac")
        least = 0.0 if name in ("charge_w", "discharge_w", "wear_per_wh") or is_share else -np.inf
        within(f"stores.{name}", column, least, 1.0 if is_share else np.inf, above=is_share)
    refuse("stores.least_wh", stores.least_wh, stores.least_wh > stores.most_wh, "at most most_wh")
    refuse("stores.end_wh", stores.end_wh, stores.end_wh > stores.most_wh, "at most most_wh")


def plan_stores(
    stores: Stores,
    buy_per_wh: Floats,
    sell_per_wh: Floats,
    hours: float,
    deliver_w: Floats | None = None,
    jitter: Floats | None = None,
) -> StorePlans:
    """Return the cheapest schedule of each battery by itself, its cost and its water value.

    Args:
        stores: Who; shape (n,).
        buy_per_wh: Price of a Wh taken; shape (T,).
        sell_per_wh: Price of a Wh given; shape (T,). Both may be below 0, and the second above the first.
        hours: Length of a step.
        deliver_w: At most so much is given at each step; shape (n, T) (None: its rating).
        jitter: A small price of its own for each battery and step, so that like batteries don't move as one; (n, T).

    Raises:
        ConfigError: A value that is no number or makes no sense; the message names field, battery, value and limit.
    """
    checked_stores(stores)
    given, noise = _checked_terms(len(stores.start_wh), buy_per_wh, sell_per_wh, hours, deliver_w, jitter)
    asked = (*(getattr(stores, name) for name in Stores.__slots__), buy_per_wh, sell_per_wh, hours, given, noise)
    power, cost, worth = _plan_stores(*asked)
    gap, gave, where = np.zeros(len(cost)), np.zeros(len(cost)), np.zeros(len(cost), np.int64)
    if len(others := np.flatnonzero(np.isnan(cost))):
        _plan_others(others, *asked, power, cost, worth, gap, gave, where)
    return StorePlans(power, cost, worth, gap, gave, where)


def _checked_terms(
    count: int, buy: Floats, sell: Floats, hours: float, deliver_w: Floats | None, jitter: Floats | None
) -> tuple[Floats, Floats]:
    """Return what may be given and the jitter, empty where there is none, when all terms make sense."""
    within("hours", np.array([hours]), 0.0, np.inf, above=True)
    if buy.ndim != 1 or not len(buy):
        raise ConfigError(f"buy_per_wh has shape {buy.shape}: give one price a step, at least one")
    shaped("sell_per_wh", sell, buy.shape)
    within("buy_per_wh", buy, -np.inf, np.inf)
    within("sell_per_wh", sell, -np.inf, np.inf)
    given = np.empty((0, 0)) if deliver_w is None else deliver_w
    noise = np.empty((0, 0)) if jitter is None else jitter
    if deliver_w is not None:
        shaped("deliver_w", given, (count, len(buy)))
        refuse("deliver_w", given, ~(given >= 0.0), "0 or more")
    if jitter is not None:
        shaped("jitter", noise, (count, len(buy)))
        within("jitter", noise, -np.inf, np.inf)
    return given, noise


@compiled
def _plan_stores(
    start: Floats, least: Floats, most: Floats, end: Floats, charge_w: Floats, discharge_w: Floats, charge_frac: Floats,
    discharge_frac: Floats, wear: Floats, buy: Floats, sell: Floats, hours: float, deliver_w: Floats, jitter: Floats,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Return power, cost and worth by the kernel; the cost is NaN where a battery is left to `_plan_others`."""
    count, steps = len(start), len(buy)
    power, cost, worth = np.zeros((count, steps)), np.zeros(count), np.zeros(count)
    inflow, low, high, smallest = np.zeros(steps), np.zeros(steps), np.zeros(steps), np.zeros(steps)
    length, slope = np.zeros((steps, 2)), np.zeros((steps, 2))
    work, levels, moves = np.zeros((2, steps * 2 + 4)), np.zeros((steps, 2)), np.zeros(steps)
    for n in range(count):
        cost[n] = np.nan
        if _lay(n, charge_w, discharge_w, charge_frac, discharge_frac, wear, buy, sell, hours, deliver_w, jitter,
                smallest, length, slope):  # fmt: skip
            low[:], high[:] = least[n], most[n]
            low[steps - 1] = max(least[n], end[n])
            cost[n], worth[n] = plan_store(
                start[n], 1.0, inflow, low, high, smallest, length, slope, 0.0, work, levels, moves
            )
        if not np.isnan(cost[n]):
            cost[n] = _told(moves, charge_frac[n], discharge_frac[n], wear[n], buy, sell, hours, power[n])
    return power, cost, worth


@compiled
def _plan_others(
    rows: Ints, start: Floats, least: Floats, most: Floats, end: Floats, charge_w: Floats, discharge_w: Floats,
    charge_frac: Floats, discharge_frac: Floats, wear: Floats, buy: Floats, sell: Floats, hours: float,
    deliver_w: Floats, jitter: Floats, power: Floats, cost: Floats, worth: Floats, gap: Floats, gave: Floats,
    where: Ints,
) -> None:  # fmt: skip
    """Fill in batteries of which a bound gives way, or that are planned in one direction a step.

    Compiled by itself, as it takes ten seconds and most batches need none of it.
    """
    steps = len(buy)
    inflow, low, high, smallest = np.zeros(steps), np.zeros(steps), np.zeros(steps), np.zeros(steps)
    length, slope = np.zeros((steps, 2)), np.zeros((steps, 2))
    work, levels, moves = np.zeros((2, steps * 2 + 4)), np.zeros((steps, 2)), np.zeros(steps)
    for n in rows:
        is_convex = _lay(n, charge_w, discharge_w, charge_frac, discharge_frac, wear, buy, sell, hours, deliver_w,
                         jitter, smallest, length, slope)  # fmt: skip
        low[:], high[:] = least[n], most[n]
        low[steps - 1] = max(least[n], end[n])
        _tighten(start[n], inflow, low, high, length, gave[n : n + 1], where[n : n + 1])
        if is_convex:
            _, worth[n] = plan_store(
                start[n], 1.0, inflow, low, high, smallest, length, slope, 0.0, work, levels, moves
            )
        else:
            _, worth[n], gap[n] = plan_one_direction(start[n], low, high, length, slope, moves)
        cost[n] = _told(moves, charge_frac[n], discharge_frac[n], wear[n], buy, sell, hours, power[n])


@compiled
def _lay(
    n: int, charge_w: Floats, discharge_w: Floats, charge_frac: Floats, discharge_frac: Floats, wear: Floats,
    buy: Floats, sell: Floats, hours: float, deliver_w: Floats, jitter: Floats, smallest: Floats, length: Floats,
    slope: Floats,
) -> bool:  # fmt: skip
    """Fill a battery's costs, and return whether they are convex: at no step would it pay to take and give at once."""
    is_convex = True
    for t in range(len(buy)):
        gives_w = discharge_w[n] if deliver_w.size == 0 else min(discharge_w[n], deliver_w[n, t])
        extra = 0.0 if jitter.size == 0 else jitter[n, t]
        length[t, 0] = gives_w * hours / discharge_frac[n]
        length[t, 1] = charge_w[n] * hours * charge_frac[n]
        smallest[t] = -length[t, 0]
        slope[t, 0] = (sell[t] - wear[n]) * discharge_frac[n]
        slope[t, 1] = (buy[t] + extra) / charge_frac[n]
        if slope[t, 1] < slope[t, 0]:
            does_both = length[t, 0] > 0.0 and length[t, 1] > 0.0
            if does_both and slope[t, 0] > buy[t] / charge_frac[n] + 1e-15:
                is_convex = False
            elif length[t, 0] > 0.0:  # by jitter alone
                slope[t, 1] = slope[t, 0]
            else:  # nothing is given: what it would cost bears on nothing
                slope[t, 0] = slope[t, 1]
    return is_convex


@compiled
def _told(
    moves: Floats, charge_frac: float, discharge_frac: float, wear: float, buy: Floats, sell: Floats, hours: float,
    power: Floats,
) -> float:  # fmt: skip
    """Fill the power at the terminal, and return what it costs."""
    total = 0.0
    for t in range(len(moves)):
        move = moves[t]
        power[t] = -move * discharge_frac / hours if move < 0 else -move / charge_frac / hours
        total += -power[t] * hours * (buy[t] if move > 0 else sell[t] - wear)
    return total


@compiled
def _tighten(
    start: float, inflow: Floats, low: Floats, high: Floats, length: Floats, gave: Floats, where: Ints
) -> None:
    """Narrow a battery's bounds in place to what it can reach and leave again, and note which of them gave way."""
    one = np.ones(1)
    inflow[0] = start
    tighten(
        one, one, one, length[:, 1].copy().reshape(1, -1), length[:, 0].copy().reshape(1, -1), inflow.reshape(1, -1),
        low.reshape(1, -1), high.reshape(1, -1), gave, where,
    )  # fmt: skip
    inflow[0] = 0.0
