"""What lies around the best schedule of a home: every change of one device, and of two at once, that may pay.

Theory of operation. A change's share of a cut (`plan.home_cuts`) is a sum over the cells that it changes, so two
changes that don't touch add theirs. Thousands of pairs are weighed so in a millisecond, and only those that all cuts
let hope are costed, the most hopeful first; each that was costed adds its cut against the others. Pairs matter because
a store's last level binds: what is added to one run must be taken from another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.home_changes import changed, changes_of, own_of, shares_of
from tieline.plan.home_search import Choice, Costed, Search, costed, patterned, start_cost
from tieline.plan.switched import kept

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BETTER = 1e-7
"""By how much a schedule must be better to count."""
KEPT = 200
"""How many pairs that may pay are kept."""
CUTS = 40
"""How many cuts weigh a change: the newest."""


def around(s: Search, best: Costed, most: int) -> Costed:
    """Return the best that changes of one or two devices at a time lead to, so many of them costed at each place."""
    while True:
        found = next((each for each in beside(s, best, most, best.cost) if each.cost < best.cost - BETTER), None)
        if found is None:
            return best
        best = found


def lower_bound(s: Search, best: Costed, choice: Choice) -> float:
    """Return what a choice costs at least with the best's steps of charging, by the newest cuts."""
    newest = s.cuts[: -CUTS - 1 : -1]
    return float(own_of(s, replace(best, choice=choice), newest).max()) + start_cost(s, choice)


def beside(s: Search, best: Costed, most: int, limit: float) -> Iterator[Costed]:
    """Yield so many schedules beside one that by all cuts may cost less than a limit, those with most hope first."""
    newest = [best.cut, *s.cuts[: -CUTS - 1 : -1]]
    changes, own = changes_of(s, best, newest), own_of(s, best, newest)
    limit = limit - start_cost(s, best.choice) - BETTER
    which, least = np.zeros((KEPT, 2), np.int64), np.full(KEPT, np.inf)
    _paired(
        own, changes.share, changes.begun, changes.device, changes.cells, best.choice.on, *_stacked(s), limit,
        len(s.heaters) + len(s.home.appliances), which, least,
    )  # fmt: skip
    for _ in range(most):
        at = int(least.argmin())
        if least[at] >= limit:
            return
        choice, charges = changed(s, best, changes, which[at])
        least[at] = np.inf
        if charges is None and choice.key() in s.seen:
            continue
        found = costed(s, choice) if charges is None else patterned(s, choice, charges)
        yield found
        share, own = shares_of(s, best, changes, found.cut), own_of(s, best, [found.cut])
        sums = own[0] + share[which].sum(axis=1) + changes.begun[which].sum(axis=1)
        np.maximum(least, sums, out=least)


def _stacked(s: Search) -> tuple[NDArray[Any], ...]:
    """Return all heaters' columns, each with a row a heater."""
    wide, names = (len(s.heaters), len(s.home.buy_per_wh)), ("gain", "flow", "low", "high")
    stacked = [np.array([getattr(d, name) for d in s.heaters]).reshape(wide) for name in names]
    stacked += [np.array([getattr(d, name) for d in s.heaters], float) for name in ("keep", "start")]
    stacked += [np.array([getattr(d, name) for d in s.heaters], int) for name in ("least_on", "least_off", "mode")]
    return tuple(stacked)


@compiled
def _touch(a: Ints, b: Ints) -> bool:
    for i in (0, 2):
        for j in (0, 2):
            if a[i] >= 0 and b[j] >= 0 and a[i] <= b[j + 1] and b[j] <= a[i + 1]:
                return True
    return False


@compiled
def _apart(a: Ints, b: Ints, device: int, heaters: int, cars: int) -> bool:
    """Return whether two changes of one device may be made together: each adds what it adds alone."""
    if device < heaters:
        return not _touch(a, b)
    if device < cars:
        return False
    # Of a car, where each moves one step, so that the count of steps stays as it is.
    return bool(min(a[0], a[2], b[0], b[2]) >= 0 and a[0] != b[0] and a[2] != b[2])


@compiled
def _turn(on: Floats, cells: Ints) -> None:
    for i in (0, 2):
        if cells[i] >= 0:
            for t in range(cells[i], cells[i + 1]):
                on[t] = 1.0 - on[t]


@compiled
def _paired(
    own: Floats, share: Floats, begun: Floats, device: Ints, cells: Ints, on: Floats, gain: Floats, flow: Floats,
    low: Floats, high: Floats, keep: Floats, start: Floats, least_on: Ints, least_off: Ints, mode: Ints,
    limit: float, cars: int, which: Ints, least: Floats,
) -> None:  # fmt: skip
    """Fill the pairs that all cuts let hope and that keep every store, with the least that each costs.

    The first change is none, so that a change by itself is a pair as well.

    Args:
        own: What each cut says of the schedule as it stands; shape (C,).
        share: As `Changes` has it, with `begun`, `device` and `cells`.
        on: Heaters as they stand; shape (k, T).
        gain: As `Switched` has it, a row a heater, with what follows.
        limit: What a pair that may pay costs less than, starts as they stand aside.
        cars: From which device on there are cars.
        which: Filled; shape (KEPT, 2).
        least: Filled, infinity where there is no pair; shape (KEPT,).
    """
    count, cuts = share.shape
    worst, row, alone = 0, np.zeros(on.shape[1]), np.ones(count, np.bool_)
    for m in range(count):
        k = device[m]
        if 0 <= k < len(keep):
            row[:] = on[k]
            _turn(row, cells[m])
            alone[m] = kept(
                gain[k], flow[k], low[k], high[k], keep[k], start[k], least_on[k], least_off[k], mode[k], row
            )
    for one in range(count):
        for other in range(one + 1, count):
            is_same = device[one] == device[other]
            if not is_same and not (alone[one] and alone[other]):
                continue
            most = min(limit, least[worst])
            extra, found = begun[one] + begun[other], -np.inf
            for c in range(cuts):
                found = max(found, own[c] + share[one, c] + share[other, c] + extra)
                if found >= most:
                    break
            if found >= most or (is_same and not _apart(cells[one], cells[other], device[one], len(keep), cars)):
                continue
            k = device[one]
            if is_same and k < len(keep):
                row[:] = on[k]
                _turn(row, cells[one])
                _turn(row, cells[other])
                if not kept(
                    gain[k], flow[k], low[k], high[k], keep[k], start[k], least_on[k], least_off[k], mode[k], row
                ):
                    continue
            which[worst, 0], which[worst, 1], least[worst] = one, other, found
            worst = int(least.argmax())
