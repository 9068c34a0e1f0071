"""What a storage can reach: bounds without dead ends, a plan it can really follow, and its cheapest cost at a price.

`charge` and `discharge` are what its terminals can move in a step, `gain` the share of it that is stored, `loss` what a
unit given takes from the store (1 or more), `drift` what flows in by itself; the step is the unit of time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.kernel import plan_store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
EPSILON = float(np.finfo(np.float64).eps)


@compiled
def tighten(
    gain: Floats, loss: Floats, keep: Floats, charge: Floats, discharge: Floats, drift: Floats, low: Floats,
    high: Floats, gave: Floats, where: Ints,
) -> None:  # fmt: skip
    """Narrow bounds in place to what can be reached from the start and still reach every later bound.

    A bound that no schedule keeps gives way to the nearest that one does: so there is always a schedule.

    Args:
        gain: Shape (n,), as `loss` and `keep`.
        charge: Shape (n, T), as `discharge`; `drift`, whose first step holds what is left of the start.
        low: Least stored after each step; shape (n, T), as `high`.
        gave: By how much a bound of each storage gave way, at most: positive below `low`, negative above `high`; (n,).
        where: At which step; (n,).
    """
    count = low.shape[1]
    for n in range(len(low)):
        least = most = 0.0
        for t in range(count):
            least = keep[n] * least - loss[n] * discharge[n, t] + drift[n, t]
            most = keep[n] * most + gain[n] * charge[n, t] + drift[n, t]
            off = max(low[n, t] - most, 0.0) + min(high[n, t] - least, 0.0)
            if abs(off) > abs(gave[n]):
                gave[n], where[n] = off, t
            if most < low[n, t]:
                least = most
            elif least > high[n, t]:
                most = least
            else:
                least, most = max(least, low[n, t]), min(most, high[n, t])
            low[n, t], high[n, t] = least, most
        for t in range(count - 2, -1, -1):
            needed = (low[n, t + 1] - gain[n] * charge[n, t + 1] - drift[n, t + 1]) / keep[n]
            allowed = (high[n, t + 1] + loss[n] * discharge[n, t + 1] - drift[n, t + 1]) / keep[n]
            low[n, t] = min(max(low[n, t], needed), high[n, t])
            high[n, t] = max(min(high[n, t], allowed), low[n, t])


@compiled
def follow(
    gain: Floats, loss: Floats, keep: Floats, charge: Floats, discharge: Floats, drift: Floats, low: Floats,
    high: Floats, wanted: Floats, power: Floats, stored: Floats,
) -> None:  # fmt: skip
    """Fill what each storage does and holds when it follows `wanted` stored energies as nearly as it can.

    It takes or gives, never both at once: what a plan burns by doing both stays in the store.

    Args:
        low: Bounds as `tighten` left them, as `high`; shape (n, T).
        wanted: Shape (n, T).
        power: Filled; positive: gives; shape (n, T), as `stored`.
    """
    for n in range(len(low)):
        now = 0.0
        for t in range(low.shape[1]):
            idle = keep[n] * now + drift[n, t]
            least = max(low[n, t], idle - loss[n] * discharge[n, t])
            most = min(high[n, t], idle + gain[n] * charge[n, t])
            now = min(max(wanted[n, t], least), max(most, least))
            move = now - idle
            power[n, t] = -move / gain[n] if move > 0.0 else -move / loss[n]
            power[n, t] = min(max(power[n, t], -charge[n, t]), discharge[n, t])
            stored[n, t] = now


@compiled
def cheapest(
    gain: Floats, loss: Floats, keep: Floats, charge: Floats, discharge: Floats, drift: Floats, low: Floats,
    high: Floats, wear: Floats, price: Floats,
) -> float:  # fmt: skip
    """Return the least cost of all storages that each face this price alone: a bound from below for any coupling.

    Where the price is so low that a storage would take and give at once, both are allowed here: still a bound. What
    rounding can have added is taken off: as many units in the last place of all that was added as there were terms.

    Args:
        wear: Cost of a unit given; shape (n,).
        price: Price of a unit of energy; shape (T,).
    """
    count, total = len(price), 0.0
    length, slope, least = np.zeros((count, 2)), np.zeros((count, 2)), np.zeros(count)
    work, levels, moves = np.zeros((2, 2 * count + 4)), np.zeros((count, 2)), np.zeros(count)
    size = 0.0
    for n in range(len(low)):
        for t in range(count):
            give, take = (price[t] - wear[n]) / loss[n], price[t] / gain[n]
            first = 0 if give <= take else 1
            length[t, first], slope[t, first] = loss[n] * discharge[n, t], give
            length[t, 1 - first], slope[t, 1 - first] = gain[n] * charge[n, t], take
            least[t] = -loss[n] * discharge[n, t]
            total += (wear[n] - price[t]) * discharge[n, t]
            size += length[t, 0] * abs(slope[t, 0]) + length[t, 1] * abs(slope[t, 1])
        cost, _ = plan_store(0.0, keep[n], drift[n], low[n], high[n], least, length, slope, 0.0, work, levels, moves)
        total += cost
    return total - 4 * (count + len(low)) * EPSILON * size
