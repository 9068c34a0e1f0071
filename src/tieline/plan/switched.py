"""The cheapest schedule of what is on or off with least times, start costs and a leaky store behind it.

Theory of operation. A mode is on or off together with how long it has lasted, capped at its least time. Backwards, the
levels of the store from which the rest of the day can be kept are unions of intervals for each mode, exact, as a step
maps an interval to an interval. Forwards, labels (cost, level) go over modes and bins of the level; in each bin the
cheapest stays, with the level that its own schedule really leads to, and a label off those intervals is dropped. So a
schedule that is found keeps every bound to the last bit, there is one wherever the intervals say so, and bins bear on
its cost alone. `least_switched` is the same with a whole interval of levels in each label: no schedule costs less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BINS = 400
SPANS = 24
"""Intervals kept for a mode and step; the shortest beyond that are given up."""
SLACK = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Switched:
    """A device in arrays: `gain` (T,) is what its store gets where it is on, `flow` (T,) what it gets anyway."""

    gain: Floats
    flow: Floats
    low: Floats
    high: Floats
    keep: float
    start: float
    least_on: int
    least_off: int
    mode: int
    start_cost: float


@compiled
def next_mode(mode: int, turns_on: bool, least_on: int, least_off: int) -> int:
    """Return the mode after a step (-1: a least time forbids it); modes are on for 1, 2, … steps, then off for 1, …."""
    if mode < least_on:
        if turns_on:
            return min(mode + 1, least_on - 1)
        return least_on if mode == least_on - 1 else -1
    if not turns_on:
        return min(mode + 1, least_on + least_off - 1)
    return 0 if mode == least_on + least_off - 1 else -1


@compiled
def kept(
    gain: Floats, flow: Floats, low: Floats, high: Floats, keep: float, start: float, least_on: int, least_off: int,
    mode: int, on: Floats,
) -> bool:  # fmt: skip
    """Return whether a schedule keeps levels and least times."""
    level = start
    for t in range(len(on)):
        mode = next_mode(mode, on[t] > 0.5, least_on, least_off)
        if mode < 0:
            return False
        level = keep * level + flow[t] + (gain[t] if on[t] > 0.5 else 0.0)
        if level < low[t] - SLACK or level > high[t] + SLACK:
            return False
    return True


def keeps(d: Switched, on: Floats) -> bool:
    """Return whether a schedule keeps a device's levels and least times."""
    found: bool = kept(d.gain, d.flow, d.low, d.high, d.keep, d.start, d.least_on, d.least_off, d.mode, on)
    return found


@compiled
def viable(
    gain: Floats, flow: Floats, low: Floats, high: Floats, keep: float, least_on: int, least_off: int,
    spans: Floats, counts: Ints,
) -> None:  # fmt: skip
    """Fill the levels before each step from which the rest can be kept, by mode.

    Args:
        spans: Filled with the ends of intervals, rising; shape (T + 1, modes, SPANS, 2).
        counts: Filled: how many there are; shape (T + 1, modes).
    """
    steps, modes = len(gain), least_on + least_off
    both = np.zeros((2 * SPANS, 2))
    for m in range(modes):
        spans[steps, m, 0, 0], spans[steps, m, 0, 1] = -np.inf, np.inf
        counts[steps, m] = 1
    for t in range(steps - 1, -1, -1):
        for m in range(modes):
            found = 0
            for turns_on in (False, True):
                after = next_mode(m, turns_on, least_on, least_off)
                if after < 0:
                    continue
                drift = flow[t] + (gain[t] if turns_on else 0.0)
                for k in range(counts[t + 1, after]):
                    begin = (max(spans[t + 1, after, k, 0], low[t]) - drift) / keep
                    end = (min(spans[t + 1, after, k, 1], high[t]) - drift) / keep
                    if begin <= end + SLACK:
                        at = found
                        while at > 0 and both[at - 1, 0] > begin:
                            both[at, 0], both[at, 1] = both[at - 1, 0], both[at - 1, 1]
                            at -= 1
                        both[at, 0], both[at, 1] = begin, max(begin, end)
                        found += 1
            counts[t, m] = _joined(both, found, spans[t, m])


@compiled
def _joined(both: Floats, found: int, into: Floats) -> int:
    """Join intervals that touch, give up the shortest where there are too many, and return how many are left."""
    kept = 0
    for k in range(found):
        if kept > 0 and both[k, 0] <= both[kept - 1, 1] + SLACK:
            both[kept - 1, 1] = max(both[kept - 1, 1], both[k, 1])
        else:
            both[kept, 0], both[kept, 1] = both[k, 0], both[k, 1]
            kept += 1
    while kept > len(into):
        short = 0
        for k in range(kept):
            if both[k, 1] - both[k, 0] < both[short, 1] - both[short, 0]:
                short = k
        for k in range(short, kept - 1):
            both[k, 0], both[k, 1] = both[k + 1, 0], both[k + 1, 1]
        kept -= 1
    for k in range(kept):
        into[k, 0], into[k, 1] = both[k, 0], both[k, 1]
    return kept


@compiled
def _is_in(level: float, spans: Floats, count: int) -> bool:
    for k in range(count):
        if level <= spans[k, 1] + SLACK:
            return bool(level >= spans[k, 0] - SLACK)
    return False


@compiled
def switched(
    gain: Floats, flow: Floats, low: Floats, high: Floats, keep: float, start: float, least_on: int, least_off: int,
    mode: int, start_cost: float, spans: Floats, counts: Ints, price: Floats, on: Floats,
) -> float:  # fmt: skip
    """Fill `on` with the cheapest schedule that bins tell apart, and return its cost (infinity: there is none).

    Args:
        spans: As `viable` filled them, with `counts`.
        price: What being on costs at each step; shape (T,).
        on: Filled with 0 and 1; shape (T,).
    """
    steps, modes = len(gain), least_on + least_off
    if not _is_in(start, spans[0, mode], counts[0, mode]):
        return np.inf
    bottom, top = low.min(), high.max()
    per = BINS / max(top - bottom, 1e-12)
    cost, level = np.full((2, modes, BINS), np.inf), np.zeros((2, modes, BINS))
    came = np.full((steps, modes, BINS), -1, np.int32)
    now = 0
    first = min(max(int((start - bottom) * per), 0), BINS - 1)
    cost[0, mode, first], level[0, mode, first] = 0.0, start
    for t in range(steps):
        then = 1 - now
        cost[then] = np.inf
        for m in range(modes):
            for turns_on in (False, True):
                after = next_mode(m, turns_on, least_on, least_off)
                if after < 0 or counts[t + 1, after] == 0:
                    continue
                extra, drift = (price[t], flow[t] + gain[t]) if turns_on else (0.0, flow[t])
                if turns_on and m >= least_on:
                    extra += start_cost
                many, ends = counts[t + 1, after], spans[t + 1, after]
                least = max(low[t], ends[0, 0]) - SLACK
                most = min(high[t], ends[many - 1, 1]) + SLACK
                of, at, to, into, back = (
                    cost[now, m],
                    level[now, m],
                    cost[then, after],
                    level[then, after],
                    came[t, after],
                )
                for b in range(BINS):
                    s = keep * at[b] + drift
                    if of[b] == np.inf or s < least or s > most:
                        continue
                    total = of[b] + extra
                    place = min(max(int((s - bottom) * per), 0), BINS - 1)
                    if total < to[place] and (many == 1 or _is_in(s, ends, many)):
                        to[place], into[place], back[place] = total, s, m * BINS + b
        now = then
    best, at_m, at_b = np.inf, 0, 0
    for m in range(modes):
        for b in range(BINS):
            if cost[now, m, b] < best:
                best, at_m, at_b = cost[now, m, b], m, b
    if best == np.inf:
        return best
    for t in range(steps - 1, -1, -1):
        on[t] = 1.0 if at_m < least_on else 0.0
        before = came[t, at_m, at_b]
        at_m, at_b = before // BINS, before % BINS
    return best


@compiled
def least_switched(
    gain: Floats, flow: Floats, low: Floats, high: Floats, keep: float, start: float, least_on: int, least_off: int,
    mode: int, start_cost: float, price: Floats, bins: int,
) -> float:  # fmt: skip
    """Return what no schedule costs less than: labels carry every level that the schedules in them may have led to.

    Args:
        price: What being on costs at each step; shape (T,).
        bins: How finely levels are told apart.
    """
    steps, modes = len(gain), least_on + least_off
    bottom, top = low.min(), high.max()
    per = bins / max(top - bottom, 1e-12)
    cost = np.full((2, modes, bins), np.inf)
    least, most = np.zeros((2, modes, bins)), np.zeros((2, modes, bins))
    now = 0
    first = min(max(int((start - bottom) * per), 0), bins - 1)
    cost[0, mode, first], least[0, mode, first], most[0, mode, first] = 0.0, start, start
    for t in range(steps):
        then = 1 - now
        cost[then] = np.inf
        for m in range(modes):
            for turns_on in (False, True):
                after = next_mode(m, turns_on, least_on, least_off)
                if after < 0:
                    continue
                extra, drift = (price[t], flow[t] + gain[t]) if turns_on else (0.0, flow[t])
                if turns_on and m >= least_on:
                    extra += start_cost
                for b in range(bins):
                    if cost[now, m, b] == np.inf:
                        continue
                    begin = max(keep * least[now, m, b] + drift, low[t] - SLACK)
                    end = min(keep * most[now, m, b] + drift, high[t] + SLACK)
                    if begin > end:
                        continue
                    total = cost[now, m, b] + extra
                    one = min(max(int((begin - bottom) * per), 0), bins - 1)
                    last = min(max(int((end - bottom) * per), 0), bins - 1)
                    for place in range(one, last + 1):
                        left = max(begin, bottom + place / per) if place > one else begin
                        right = min(end, bottom + (place + 1) / per) if place < last else end
                        if cost[then, after, place] == np.inf:
                            least[then, after, place], most[then, after, place] = left, right
                        else:
                            least[then, after, place] = min(least[then, after, place], left)
                            most[then, after, place] = max(most[then, after, place], right)
                        cost[then, after, place] = min(cost[then, after, place], total)
        now = then
    return float(cost[now].min())
