"""The exact schedule of a store where taking and giving at once would pay: it does one of both at a step.

Theory of operation. Where a price is below 0, what giving saves falls below what taking earns, and the cost f of a step
has a bend downwards where it turns from giving to taking: a linear program would do both at once and burn energy. The
value function V of stored energy then is piecewise linear still, but not convex. It is kept as points (level, value).
A step backwards is `V(x) = min(min_{x-g <= y <= x} V'(y) + c (y - x), min_{x <= y <= x+k} V'(y) + d (y - x))`, each
part of which is a minimum over a sliding window: of the windows' ends and of the least point between them. Between two
events (a point enters or leaves a window) these are at most five straight lines, of which the lower envelope is taken.
So V is exact without a grid. Where there are more than MOST points, those that stand out upwards the least are left
out: V then is a bound from below, and what the schedule costs more than that is its proven gap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST = 4_096
"""Points of the value function of a step: a day of prices below 0 needs some hundreds."""
PER = 16
"""Points that a step can make of one, at most: three events, five lines between each two."""
TINY = 1e-13
"""Events nearer than this, as a share of all levels, are one; points nearer to a line than this lie on it."""


@compiled
def plan_one_direction(
    start: float, low: Floats, high: Floats, length: Floats, slope: Floats, moves: Floats
) -> tuple[float, float, float]:
    """Fill `moves` with the cheapest schedule, and return its cost, the worth of one more unit at the start, its gap.

    Args:
        start: Energy stored at the start.
        low: Least stored after each step; shape (T,), as `high`. Every level between can be reached from the start and
            left again (`reach.tighten`).
        length: How much a step may take out and put in; shape (T, 2).
        slope: What a unit costs: taken out (below it is a gain, as `f(-u) = -slope u`) and put in; shape (T, 2).
        moves: Filled; shape (T,).
    """
    steps = len(low)
    ends, levels, values = np.zeros(steps + 2, np.int64), np.zeros(1024), np.zeros(1024)
    now_x, now_v, then_x, then_v = np.zeros(2), np.zeros(2), np.zeros(PER * 2), np.zeros(PER * 2)
    size = 1 if high[steps - 1] <= low[steps - 1] else 2
    now_x[0], now_x[1] = low[steps - 1], high[steps - 1]
    now_v[0] = now_v[1] = 0.0
    for t in range(steps - 1, -1, -1):
        used = ends[steps - 1 - t]
        while used + size > len(levels):
            levels, values = np.append(levels, np.zeros(len(levels))), np.append(values, np.zeros(len(values)))
        levels[used : used + size], values[used : used + size] = now_x[:size], now_v[:size]
        ends[steps - t] = used + size
        if len(then_x) < PER * (size + 1):
            then_x, then_v = np.zeros(2 * PER * (size + 1)), np.zeros(2 * PER * (size + 1))
        found = _back(now_x[:size], now_v[:size], length[t], slope[t], then_x, then_v)
        least, most = (low[t - 1], high[t - 1]) if t > 0 else (then_x[0], then_x[found - 1])
        size = _cut(then_x, then_v, found, least, most)
        now_x, now_v = then_x[:size].copy(), then_v[:size].copy()
    worth = _worth(now_x, now_v, size, start)
    cost, now, bound = 0.0, start, 0.0
    for t in range(steps):
        first, last = ends[steps - 1 - t], ends[steps - t]
        total, move = _best(now, levels[first:last], values[first:last], length[t], slope[t])
        bound = total if t == 0 else bound
        moves[t] = move
        cost += move * (slope[t, 0] if move < 0.0 else slope[t, 1])
        now = min(max(now + move, low[t]), high[t])
    return cost, worth, max(cost - bound, 0.0)


@compiled
def _best(now: float, levels: Floats, values: Floats, length: Floats, slope: Floats) -> tuple[float, float]:
    """Return the least of what a step and all that follow cost, and the move that does it: staying, where all is one.

    The least lies where V or f bends: at a point, at the end of a move, or at none at all.
    """
    bottom, top = max(now - length[0], levels[0]), min(now + length[1], levels[-1])
    best, move = np.inf, 0.0
    for k in range(-3, len(levels)):
        if k == -3:
            to = min(max(now, levels[0]), levels[-1])
        elif k < 0:
            to = bottom if k == -2 else max(top, bottom)
        else:
            to = levels[k]
            if to < bottom or to > top:
                continue
        step = to - now
        total = _at(levels, values, to) + step * (slope[0] if step < 0.0 else slope[1])
        if total < best - TINY * abs(best) or k == -3:
            best, move = total, step
    return best, move


@compiled
def _at(levels: Floats, values: Floats, x: float) -> float:
    """Return the value at a level within the points."""
    if len(levels) == 1:
        return float(values[0])
    k = min(max(_upto(levels, x), 1), len(levels) - 1)
    share = (x - levels[k - 1]) / (levels[k] - levels[k - 1])
    return float(values[k - 1] + (values[k] - values[k - 1]) * share)


@compiled
def _upto(levels: Floats, x: float) -> int:
    """Return how many levels are at most x."""
    first, last = 0, len(levels)
    while first < last:
        middle = (first + last) // 2
        if levels[middle] <= x:
            first = middle + 1
        else:
            last = middle
    return first


@compiled
def _worth(levels: Floats, values: Floats, size: int, start: float) -> float:
    if size < 2:
        return 0.0
    k = min(max(_upto(levels[:size], start), 1), size - 1)
    return float((values[k - 1] - values[k]) / (levels[k] - levels[k - 1]))


@compiled
def _back(x: Floats, v: Floats, length: Floats, slope: Floats, to_x: Floats, to_v: Floats) -> int:
    """Fill the points of V before a step, and return how many there are.

    The five lines: all is given (0), nothing moves (1), all is taken (2), or the store goes to the least point below
    (3) or above (4).
    """
    size = len(x)
    tiny = TINY * max(abs(x[0]), abs(x[-1]), length[0] + length[1], 1e-300)
    under, over = np.zeros(size, np.int64), np.zeros(size, np.int64)
    under_first = under_last = over_first = over_last = 0
    given, here, taken, count = 0, 0, 0, 0
    line, a = np.zeros((5, 2)), x[0] - length[1]
    while True:
        # The next event: pointers say how many points lie at or left of x - g, x and x + k.
        while taken < size and x[taken] - length[1] <= a + tiny:
            while over_last > over_first and v[over[over_last - 1]] + slope[1] * x[over[over_last - 1]] >= (
                v[taken] + slope[1] * x[taken]
            ):
                over_last -= 1
            over[over_last] = taken
            over_last, taken = over_last + 1, taken + 1
        while here < size and x[here] <= a + tiny:
            while under_last > under_first and v[under[under_last - 1]] + slope[0] * x[under[under_last - 1]] >= (
                v[here] + slope[0] * x[here]
            ):
                under_last -= 1
            under[under_last] = here
            under_last, here = under_last + 1, here + 1
        while given < size and x[given] + length[0] <= a + tiny:
            given += 1
        while over_first < over_last and over[over_first] < here:
            over_first += 1
        while under_first < under_last and under[under_first] < given:
            under_first += 1
        b = np.inf
        if taken < size:
            b = min(b, x[taken] - length[1])
        if here < size:
            b = min(b, x[here])
        if given < size:
            b = min(b, x[given] + length[0])
        if b == np.inf:
            break
        line[:] = np.inf
        _line(x, v, given, a - length[0], b - length[0], -slope[0] * length[0], line[0])
        _line(x, v, here, a, b, 0.0, line[1])
        _line(x, v, taken, a + length[1], b + length[1], slope[1] * length[1], line[2])
        if under_first < under_last:
            k = under[under_first]
            line[3, 0], line[3, 1] = v[k] + slope[0] * (x[k] - a), v[k] + slope[0] * (x[k] - b)
        if over_first < over_last:
            k = over[over_first]
            line[4, 0], line[4, 1] = v[k] + slope[1] * (x[k] - a), v[k] + slope[1] * (x[k] - b)
        count = _lowest(a, b, line, to_x, to_v, count, tiny)
        a = b
    if count == 0:
        to_x[0], to_v[0], count = x[0], v[0], 1
    return count


@compiled
def _line(x: Floats, v: Floats, passed: int, a: float, b: float, extra: float, line: Floats) -> None:
    """Fill a line's values at a and b from the segment that they lie in, if they lie in one."""
    if 0 < passed < len(x):
        rise = (v[passed] - v[passed - 1]) / (x[passed] - x[passed - 1])
        line[0] = v[passed - 1] + rise * (a - x[passed - 1]) + extra
        line[1] = v[passed - 1] + rise * (b - x[passed - 1]) + extra


@compiled
def _lowest(a: float, b: float, line: Floats, to_x: Floats, to_v: Floats, count: int, tiny: float) -> int:
    """Add the lower envelope of the lines from a to b, and return how many points there are then."""
    one = -1
    for k in range(len(line)):
        if line[k, 0] < np.inf and (
            one < 0 or line[k, 0] < line[one, 0] or (line[k, 0] == line[one, 0] and line[k, 1] < line[one, 1])
        ):
            one = k
    if one < 0:
        return count
    if count == 0:
        count = _add(a, line[one, 0], to_x, to_v, count, tiny)
    share = 0.0
    while True:
        next_one, next_share = -1, 1.0
        for k in range(len(line)):
            if line[k, 1] >= line[one, 1]:
                continue
            ahead, behind = line[k, 0] - line[one, 0], line[one, 1] - line[k, 1]
            meets = max(max(ahead, 0.0) / (max(ahead, 0.0) + behind), share)
            if meets < next_share:
                next_one, next_share = k, meets
        if next_one < 0:
            break
        value = line[one, 0] + (line[one, 1] - line[one, 0]) * next_share
        count = _add(a + (b - a) * next_share, value, to_x, to_v, count, tiny)
        one, share = next_one, next_share
    return int(_add(b, line[one, 1], to_x, to_v, count, tiny))


@compiled
def _add(x: float, v: float, to_x: Floats, to_v: Floats, count: int, tiny: float) -> int:
    """Add a point, drop the one before it where that lies on the line, and return how many there are."""
    if count > 0 and x <= to_x[count - 1] + tiny:
        to_v[count - 1] = min(to_v[count - 1], v)
        return count
    if count > 1:
        share = (to_x[count - 1] - to_x[count - 2]) / (x - to_x[count - 2])
        on = to_v[count - 2] + share * (v - to_v[count - 2])
        if abs(on - to_v[count - 1]) <= TINY * max(abs(v), abs(to_v[count - 2])):
            count -= 1
    to_x[count], to_v[count] = x, v
    return count + 1


@compiled
def _cut(x: Floats, v: Floats, count: int, least: float, most: float) -> int:
    """Keep the points from `least` to `most`, thinned out where there are too many; return how many there are."""
    least, most = max(least, x[0]), min(most, x[count - 1])
    if most <= least:
        x[0], v[0] = least, _at(x[:count], v[:count], least)
        return 1
    first, last = _upto(x[:count], least), count
    while last > first and x[last - 1] >= most:
        last -= 1
    low_v, high_v = _at(x[:count], v[:count], least), _at(x[:count], v[:count], most)
    size = last - first + 2
    x[1 : size - 1], v[1 : size - 1] = x[first:last].copy(), v[first:last].copy()
    x[0], v[0], x[size - 1], v[size - 1] = least, low_v, most, high_v
    above = TINY * max(np.abs(v[:size]).max(), 1e-300)
    while size > MOST and above < 1e300:  # beyond that V is convex, and stays as it is
        above *= 4.0
        size = _thinned(x, v, size, above)
    return int(size)


@compiled
def _thinned(x: Floats, v: Floats, size: int, above: float) -> int:
    """Leave out points that stand out upwards by less than `above`: what is left lies nowhere higher than before."""
    kept, k = 1, 1
    while k < size - 1:
        share = (x[k] - x[kept - 1]) / (x[k + 1] - x[kept - 1])
        height = v[k] - (v[kept - 1] + share * (v[k + 1] - v[kept - 1]))
        if 0.0 <= height < above:
            k += 1  # the next one stays: what is left out is seen from points that stay
        x[kept], v[kept] = x[k], v[k]
        kept, k = kept + 1, k + 1
    if k == size - 1:
        x[kept], v[kept] = x[k], v[k]
        kept += 1
    return kept
