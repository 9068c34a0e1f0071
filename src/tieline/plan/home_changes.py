"""Changes of one device of a home: runs that move, grow, shrink, come or go; starts; steps at which a car charges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.home_columns import WATTS
from tieline.plan.home_cuts import Cut
from tieline.plan.home_search import Choice, Costed, Search, charging_steps, load_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
FAR, LONGER = 4, 3
"""By how many steps an edge or a run is moved at most, and how many lengths a new run or pause is tried with."""
CAR_CHANGES = 200
"""How many changes of a car are looked at, those with most hope."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """M changes of one device each, the first of which changes nothing.

    `device` (M,) is whose: heaters, then appliances, then cars (-1: nobody's). `cells` (M, 4) are up to two stretches
    that turn over, each its first cell and the one behind its last; of an appliance its new start, of a car the step
    that it leaves and the one that it takes (-1: none). `begun` (M,) is what one adds to the cost of starts, and
    `share` (M, C) what to each cut.
    """

    device: Ints
    cells: Ints
    begun: Floats
    share: Floats


def changes_of(s: Search, best: Costed, cuts: list[Cut]) -> Changes:
    """Return what may be changed of a schedule, weighed by cuts."""
    price = np.array([cut.price for cut in cuts])
    sums = np.zeros((len(cuts), price.shape[1] + 1))
    np.cumsum(price, axis=1, out=sums[:, 1:])
    parts = [(np.full(1, -1), np.full((1, 4), -1), np.zeros(1), np.zeros((1, len(cuts))))]
    for k, d in enumerate(s.heaters):
        on = best.choice.on[k]
        cells, begun, share = turned(on, d.mode < d.least_on, d.least_on, d.least_off, d.start_cost, s.kw[k], sums)
        parts.append((np.full(len(cells), k), cells, begun, share))
    for k in range(len(s.home.appliances)):
        parts.append(_started(s, best, k, price))
    if best.charges is not None:
        worth = np.array([cut.worth for cut in cuts])
        parts += [_swapped(s, best, k, worth[:, k]) for k, car in enumerate(s.home.cars) if car.least_w > 0]
    return Changes(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def shares_of(s: Search, best: Costed, changes: Changes, cut: Cut) -> Floats:
    """Return what each change adds to one more cut; shape (M,)."""
    return changes_of(s, best, [cut]).share[:, 0]


def own_of(s: Search, best: Costed, cuts: list[Cut]) -> Floats:
    """Return what each cut says of a schedule; shape (C,)."""
    load = load_of(s, best.choice)
    free = [c.rest + load @ c.price for c in cuts]
    if best.charges is None:
        return np.array([base + c.least_worth for base, c in zip(free, cuts, strict=True)])
    return np.array([base + float((c.worth * best.charges).sum()) for base, c in zip(free, cuts, strict=True)])


@compiled
def turned(
    on: Floats, was_on: bool, least_on: int, least_off: int, start_cost: float, kw: float, sums: Floats
) -> tuple[Ints, Floats, Floats]:
    """Return what of a heater's schedule may turn over: cells, what starts cost more, and what each cut does."""
    steps = len(on)
    most = 32 * (steps + 1) + 2 * LONGER * steps
    cells, count = np.full((most, 4), -1), 0
    begin = 0
    while begin < steps:
        end = begin + 1
        while end < steps and on[end] == on[begin]:
            end += 1
        # The stretch [begin, end) is on or off; its edges move into it, both edges at once, it goes, or it is broken.
        for by in range(1, FAR + 1):
            if by <= end - begin:
                if begin > 0:
                    cells[count, 0], cells[count, 1] = begin, begin + by
                    count += 1
                if end < steps or by < end - begin:
                    cells[count, 0], cells[count, 1] = end - by, end
                    count += 1
            after = end
            while after < steps and on[after] == on[min(end, steps - 1)]:
                after += 1
            if begin > 0 and end < steps and by <= end - begin and by <= after - end:
                cells[count, 0], cells[count, 1], cells[count, 2], cells[count, 3] = begin, begin + by, end, end + by
                count += 1
            before = begin
            while before > 0 and on[before - 1] == on[max(begin - 1, 0)]:
                before -= 1
            if begin > 0 and by <= end - begin and by <= begin - before:
                cells[count, 0], cells[count, 1], cells[count, 2], cells[count, 3] = begin - by, begin, end - by, end
                count += 1
        if end - begin > FAR:
            cells[count, 0], cells[count, 1] = begin, end
            count += 1
        least = least_off if on[begin] > 0.5 else least_on
        for long in range(least, least + LONGER):
            for first in range(begin + 1, end - long):
                cells[count, 0], cells[count, 1] = first, first + long
                count += 1
        begin = end
    begun, share = np.zeros(count), np.zeros((count, len(sums)))
    for m in range(count):
        for i in (0, 2):
            first, last = cells[m, i], cells[m, i + 1]
            if first >= 0:
                sign = -kw if on[first] > 0.5 else kw
                for c in range(len(sums)):
                    share[m, c] += sign * (sums[c, last] - sums[c, first])
        if start_cost > 0:
            begun[m] = start_cost * _more_starts(on, was_on, cells[m])
    return cells[:count], begun, share


@compiled
def _is_on(on: Floats, cells: Ints, t: int) -> bool:
    is_on = bool(on[t] > 0.5)
    if (cells[0] <= t and t < cells[1]) or (cells[2] <= t and t < cells[3]):
        return not is_on
    return is_on


@compiled
def _more_starts(on: Floats, was_on: bool, cells: Ints) -> int:
    more, before, after = 0, was_on, was_on
    for t in range(len(on)):
        one, other = bool(on[t] > 0.5), _is_on(on, cells, t)
        more += int(other and not after) - int(one and not before)
        before, after = one, other
    return more


def _started(s: Search, best: Costed, k: int, price: Floats) -> tuple[Ints, Ints, Floats, Floats]:
    each, old = s.home.appliances[k], best.choice.starts[k]
    power = np.asarray(each.power_w, float) / WATTS
    starts = np.arange(each.earliest, each.latest - len(power) + 1)
    costs = np.array([np.correlate(row[each.earliest : each.latest], power, "valid") for row in price]).T
    share = costs - costs[old - each.earliest]
    others = starts != old
    cells = np.full((int(others.sum()), 4), -1)
    cells[:, 0] = starts[others]
    return np.full(len(cells), len(s.heaters) + k), cells, np.zeros(len(cells)), share[others]


def _swapped(s: Search, best: Costed, k: int, worth: Floats) -> tuple[Ints, Ints, Floats, Floats]:
    """Return a car's swaps of steps, those with most hope by the best's own cut."""
    assert best.charges is not None, "a pattern was costed"
    car, charges, own = s.home.cars[k], best.charges[k], best.cut.worth[k]
    fewest, most = charging_steps(car, s.home.hours)
    stay = np.arange(car.arrives, car.leaves)
    outs, intos = np.append(stay[charges[stay]], -1), np.append(stay[~charges[stay]], -1)
    out, into = (grid.ravel() for grid in np.meshgrid(outs, intos, indexing="ij"))
    size = int(charges.sum()) - (out >= 0) + (into >= 0)
    fits = (size >= fewest) & (size <= most) & ((out >= 0) | (into >= 0))
    out, into = out[fits], into[fits]
    hope = np.where(into >= 0, own[into], 0.0) - np.where(out >= 0, own[out], 0.0)
    is_swap = (out >= 0) & (into >= 0)
    order = np.argsort(np.where(is_swap, hope, np.inf), kind="stable")[: min(CAR_CHANGES, int(is_swap.sum()))]
    order = np.concatenate([np.flatnonzero(~is_swap), order])
    out, into = out[order], into[order]
    share = np.where(into >= 0, worth[:, into], 0.0) - np.where(out >= 0, worth[:, out], 0.0)
    cells = np.full((len(out), 4), -1)
    cells[:, 0], cells[:, 2] = out, into
    device = np.full(len(out), len(s.heaters) + len(s.home.appliances) + k)
    return device, cells, np.zeros(len(out)), share.T


def changed(s: Search, best: Costed, changes: Changes, which: Ints) -> tuple[Choice, Bools | None]:
    """Return a schedule after changes, and the steps at which cars charge."""
    on, starts = best.choice.on.copy(), list(best.choice.starts)
    charges = None if best.charges is None else best.charges.copy()
    for m in which:
        k, (first, last, again, end) = int(changes.device[m]), changes.cells[m]
        if k < 0:
            continue
        if k < len(s.heaters):
            on[k, first:last] = 1.0 - on[k, first:last]
            on[k, again:end] = 1.0 - on[k, again:end]
        elif k < len(s.heaters) + len(s.home.appliances):
            starts[k - len(s.heaters)] = int(first)
        elif charges is not None:
            car = k - len(s.heaters) - len(s.home.appliances)
            if first >= 0:
                charges[car, first] = False
            if again >= 0:
                charges[car, again] = True
    return Choice(on, tuple(starts)), charges
