"""Stores of a backtest in columns: what they would best do at a price, and what they do when they try.

Energies are Wh a step at the terminal, positive where given; stored energy counts from the least that may be held.
A load is a store, too: of heat, or of what a tank holds. What it needs flows out, and by itself it puts that back at
once (`own_wh`), so that its store stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan import reach
from tieline.plan.kernel import plan_store

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class StoreColumns:
    """Stores, shape (n,), and their time, shape (n, T).

    Attributes:
        kind: What each is, such as `battery`.
        rated_w: Rating.
        gain: Share of what is taken that is stored.
        loss: What a Wh given takes from the store (1 or more).
        keep: Share that is left after a step.
        wear_per_wh: What a Wh given costs the store: it bears on plans, and is paid by nobody.
        charge_wh: Taken at most in a step.
        discharge_wh: Given at most in a step.
        high_wh: Stored at most.
        start_wh: Stored at the start, and at the end if nobody asks anything.
        drift_wh: What flows in by itself (out: negative).
        own_wh: What it gives by itself (takes: negative).
        known_days: Over how many days what flows is averaged to foretell it.
        by_shift: Whether it is told to do more or less than by itself (a thermostat), or what to do (a battery).
    """

    kind: NDArray[np.str_]
    rated_w: Floats
    gain: Floats
    loss: Floats
    keep: Floats
    wear_per_wh: Floats
    charge_wh: Floats
    discharge_wh: Floats
    high_wh: Floats
    start_wh: Floats
    drift_wh: Floats
    own_wh: Floats
    known_days: NDArray[np.int64]
    by_shift: Mask

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rated_w)


def joined(parts: list[StoreColumns]) -> StoreColumns:
    """Return stores of several kinds as one."""
    return StoreColumns(
        **{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(StoreColumns)}
    )


def planned(
    stores: StoreColumns, now_wh: Floats, drift_wh: Floats, price: Floats, end_wh: Floats | None = None
) -> tuple[Floats, Floats]:
    """Return the cheapest moves of each store by itself, (n, W), and what one more Wh stored now would bring, (n,).

    Args:
        stores: Who.
        now_wh: Stored now; shape (n,).
        drift_wh: What is expected to flow; shape (n, W).
        price: Price of a Wh at each step; shape (W,).
        end_wh: Stored at the end at least, where that can be reached (None: as at the start of all); shape (n,).
    """
    low, high, flows = _reachable(stores, now_wh, drift_wh, stores.start_wh if end_wh is None else end_wh)
    charge, discharge = _ratings(stores, len(price))
    moves, worth = np.zeros(low.shape), np.zeros(len(stores))
    _cheapest(
        stores.gain, stores.loss, stores.keep, charge, discharge, flows, low, high, stores.wear_per_wh, price, moves,
        worth,
    )  # fmt: skip
    return moves, worth


def least_cost(stores: StoreColumns, price: Floats) -> float:
    """Return what all stores cost at least over all of their time, each having at its end what it had at its start.

    Their wear is left out, so that nothing that they could do costs less. A bound from below for negative prices, too.
    """
    low, high, flows = _reachable(stores, stores.start_wh, stores.drift_wh, stores.start_wh)
    charge, discharge = _ratings(stores, len(price))
    none = np.zeros(len(stores))
    return float(
        reach.cheapest(stores.gain, stores.loss, stores.keep, charge, discharge, flows, low, high, none, price)
    )


def moved(stores: StoreColumns, now_wh: Floats, wanted_wh: Floats, drift_wh: Floats) -> tuple[Floats, Floats]:
    """Return what each store gives when it is to give so much, as far as it can, and what it holds then; (n,) each.

    Nothing is looked at but this step: a store that would run empty or over does less, or more, than it was told.
    """
    idle = stores.keep * now_wh + drift_wh
    change = np.where(wanted_wh > 0, -wanted_wh * stores.loss, -wanted_wh * stores.gain)
    least = np.maximum(0.0, idle - stores.loss * stores.discharge_wh)
    most = np.minimum(stores.high_wh, idle + stores.gain * stores.charge_wh)
    # Where a need is beyond its rating the store goes below 0; where it is full, it can't give what it has not got.
    after = np.minimum(np.maximum(idle + change, least), np.maximum(most, idle - stores.loss * stores.discharge_wh))
    move = after - idle
    given: Floats = np.where(move > 0, -move / stores.gain, -move / stores.loss)
    return given, after


def _ratings(stores: StoreColumns, steps: int) -> tuple[Floats, Floats]:
    shape = (len(stores), steps)
    return (
        np.broadcast_to(stores.charge_wh[:, None], shape).copy(),
        np.broadcast_to(stores.discharge_wh[:, None], shape).copy(),
    )


def _reachable(stores: StoreColumns, now_wh: Floats, drift_wh: Floats, end_wh: Floats) -> tuple[Floats, Floats, Floats]:
    """Return bounds without dead ends and what flows, its first step with what is left of now; (n, W) each."""
    low, high = np.zeros(drift_wh.shape), np.broadcast_to(stores.high_wh[:, None], drift_wh.shape).copy()
    low[:, -1] = np.minimum(end_wh, stores.high_wh)
    flows = drift_wh.copy()
    flows[:, 0] += stores.keep * now_wh
    charge, discharge = _ratings(stores, drift_wh.shape[1])
    gave, where = np.zeros(len(stores)), np.zeros(len(stores), np.int64)
    reach.tighten(stores.gain, stores.loss, stores.keep, charge, discharge, flows, low, high, gave, where)
    return low, high, flows


@compiled
def _cheapest(
    gain: Floats, loss: Floats, keep: Floats, charge: Floats, discharge: Floats, drift: Floats, low: Floats,
    high: Floats, wear: Floats, price: Floats, given: Floats, worth: Floats,
) -> None:  # fmt: skip
    """Fill what each store gives in its cheapest schedule, and what one more Wh at the start is worth."""
    count = len(price)
    length, slope, least = np.zeros((count, 2)), np.zeros((count, 2)), np.zeros(count)
    work, levels, moves = np.zeros((2, 2 * count + 4)), np.zeros((count, 2)), np.zeros(count)
    for n in range(len(low)):
        for t in range(count):
            take = price[t] / gain[n]
            # At a negative price giving must not pay less than taking costs: energy would be burnt.
            give = min((price[t] - wear[n]) / loss[n], take)
            length[t, 0], slope[t, 0] = loss[n] * discharge[n, t], give
            length[t, 1], slope[t, 1] = gain[n] * charge[n, t], take
            least[t] = -loss[n] * discharge[n, t]
        _, worth[n] = plan_store(
            0.0, keep[n], drift[n], low[n], high[n], least, length, slope, 0.0, work, levels, moves
        )
        for t in range(count):
            given[n, t] = -moves[t] / gain[n] if moves[t] > 0.0 else -moves[t] / loss[n]
