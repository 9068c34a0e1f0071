"""Cars of a backtest: real sessions, charged when it is cheapest until the departure that the driver declared.

A charger knows a car once it is there: what it needs and when its driver says that he will leave. He leaves when he
likes; what his car lacks then is counted. A linear cost and one deadline need no solver: the cheapest hours are taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]
Mask = NDArray[np.bool_]
Sees = Callable[[int], Floats]
"""The prices that are known or expected at a step, from that step on."""


@dataclass(frozen=True, slots=True, eq=False)
class Cars:
    """Chargers and all sessions of their time; steps count from the start of it.

    Attributes:
        rated_wh: Taken at most in a step; shape (n,).
        car: Whose each session is; shape (m,).
        begins: Its first step.
        told: The step at which it is declared to leave.
        ends: The step at which it leaves.
        need_wh: What it needs.
        at: Which session each charger has at each step, -1 for none; shape (n, T).
    """

    rated_wh: Floats
    car: Steps
    begins: Steps
    told: Steps
    ends: Steps
    need_wh: Floats
    at: Steps

    def __len__(self) -> int:
        """Return how many chargers there are."""
        return len(self.rated_wh)


@dataclass(frozen=True, slots=True, eq=False)
class Driven:
    """What cars gave (0 or less) in each step, (n, steps), what each has at the end, (n,), and who lacked what.

    `lacking` are (session, Wh) of those that left.
    """

    given_wh: Floats
    held_wh: Floats
    lacking: tuple[tuple[int, float], ...]


def laid_out(rated_wh: Floats, sessions: list[tuple[int, int, int, int, float]], steps: int) -> Cars:
    """Return cars from (charger, begins, told, ends, need) in order of time; of two that meet the first is kept."""
    at = np.full((len(rated_wh), steps), -1, np.int64)
    kept: list[tuple[int, int, int, int, float]] = []
    for car, begins, told, ends, need in sessions:
        if begins >= steps or (at[car, begins:ends] >= 0).any():
            continue
        at[car, begins:ends] = len(kept)
        kept.append((car, begins, max(told, begins + 1), ends, need))
    whole = np.array([one[:4] for one in kept], np.int64).reshape(-1, 4)
    need_wh = np.array([one[4] for one in kept], np.float64)
    return Cars(rated_wh, whole[:, 0], whole[:, 1], whole[:, 2], whole[:, 3], need_wh, at)


def drive(cars: Cars, first: int, last: int, held_wh: Floats, sees: Sees, free: Callable[[int], Mask]) -> Driven:
    """Return what cars do from one step up to another.

    Args:
        cars: Who.
        first: The first step.
        last: The step after the last.
        held_wh: What each car there has got so far; shape (n,).
        sees: What prices are known at a step.
        free: Whose charger is nobody's to control at a step: he charges at once; shape (n,).
    """
    given, held, lacking = np.zeros((len(cars), max(last - first, 0))), held_wh.copy(), []
    every = np.arange(len(cars))
    for t in range(first, last):
        session = cars.at[:, t]
        rows = every[session >= 0]
        mine = session[rows]
        held[rows] = np.where(cars.begins[mine] == t, 0.0, held[rows])
        left = np.maximum(cars.need_wh[mine] - held[rows], 0.0)
        price = sees(t)
        steps_left = np.clip(cars.told[mine] - t, 1, len(price))
        # So many steps before the declared departure are cheaper than this one: they are filled first.
        cheaper = np.concatenate([[0], np.cumsum(price[1:] < price[0])])[steps_left - 1]
        wanted = left - np.where(free(t)[rows], 0, cheaper) * cars.rated_wh[rows]
        takes = np.clip(wanted, 0.0, np.minimum(cars.rated_wh[rows], left))
        held[rows] += takes
        given[rows, t - first] = -takes
        gone = cars.ends[mine] == t + 1
        short = cars.need_wh[mine] - held[rows]
        lacking += [(int(mine[k]), float(short[k])) for k in np.flatnonzero(gone & (short > 1e-6))]
    return Driven(given, held, tuple(lacking))


def own_way(cars: Cars, steps: int) -> Floats:
    """Return what cars give when each charges at once; shape (n, steps)."""
    everybody, nothing = np.ones(len(cars), np.bool_), np.zeros(1)
    return drive(cars, 0, steps, np.zeros(len(cars)), lambda t: nothing, lambda t: everybody).given_wh


def least_cost(cars: Cars, price: Floats, first: int, last: int) -> float:
    """Return what sessions cost at least between two steps, each getting there what it gets when it charges at once.

    Args:
        cars: Who.
        price: Price of a Wh at each step of all time.
        first: The first step.
        last: The step after the last.
    """
    total, own = 0.0, own_way(cars, last)
    for k in range(len(cars.car)):
        begin, end = max(int(cars.begins[k]), first), min(int(cars.ends[k]), last)
        if begin >= end:
            continue
        car = int(cars.car[k])
        full = cars.rated_wh[car]
        need = -float(own[car, begin:end].sum())
        dear = np.sort(price[begin:end])
        total += float((np.clip(need - full * np.arange(end - begin), 0.0, full) * dear).sum())
    return total
