"""The exact schedule of a storage-like device: `min sum f_t(u_t)`, `s_t = a s_{t-1} + u_t + w_t`, `lo <= s_t <= hi`.

Theory of operation. The value function V of stored energy is convex and piecewise linear, kept as a sorted list of
(length, slope). A step backwards clips V to [lo, hi], merges the mirrored segments of f_t in by slope (an infimal
convolution), and stretches the result by the leak a. Where a segment of f_t lands in that order is a level of stored
energy: the schedule forwards fills each segment, cheapest first, up to its level. That is the optimum of the linear
program, without a grid and without a solver; a state-of-charge grid is 1 to 6 % off and slower.

`schedule` is the specification in plain Python, `plan_store` the same for numba; `plan.storage` plans a whole column of
batteries that face one price.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.errors import Infeasible

Floats = NDArray[np.float64]
SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what flows in by itself, the bounds of stored energy after it, and f as segments.

    `least` is the smallest u; `segments` are (length, slope) with rising slopes, from there on.
    """

    inflow: float
    low: float
    high: float
    least: float
    segments: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """What to put in (u) and what is stored (s) at each step, its cost, and what one more unit at the start saves."""

    moves: tuple[float, ...]
    stored: tuple[float, ...]
    cost: float
    value: float


def schedule(start: float, keep: float, steps: Sequence[Step], end_value: float = 0.0) -> Schedule:
    """Return the cheapest schedule.

    Args:
        start: Energy stored at the start.
        keep: Share of stored energy that is left after one step (a, above 0).
        steps: The steps in order.
        end_value: What a unit stored at the end is worth.

    Raises:
        Infeasible: No schedule keeps the bounds; the step is named.
        ValueError: A step's slopes fall (f is not convex: a linear program would burn energy), or a length is negative.

    >>> buy_then_sell = [Step(0, 0, 1, 0, ((1, 2.0),)), Step(0, 0, 1, -1, ((1, 5.0),))]
    >>> schedule(0.0, 1.0, buy_then_sell).moves
    (1.0, -1.0)
    """
    levels: list[list[float]] = [[] for _ in steps]
    left = min((step.low for step in steps[-1:]), default=0.0)
    right = max((step.high for step in steps[-1:]), default=0.0)
    value = [(right - left, -end_value)]
    for at in range(len(steps) - 1, -1, -1):
        step = steps[at]
        _check(step, at)
        left, value = _clipped(left, value, step.low, step.high, at)
        levels[at] = [left + sum(length for length, slope in value if slope < -rate) for _, rate in step.segments]
        mirrored = [(length, -rate) for length, rate in step.segments]
        most = step.least + sum(length for length, _ in step.segments)
        value = sorted([*value, *mirrored], key=lambda segment: segment[1])
        left = (left - most - step.inflow) / keep
        value = [(length / keep, slope * keep) for length, slope in value]
    return _forwards(start, keep, steps, levels, left, value, end_value)


def _forwards(
    start: float,
    keep: float,
    steps: Sequence[Step],
    levels: list[list[float]],
    left: float,
    value: list[tuple[float, float]],
    end_value: float,
) -> Schedule:
    right = left + sum(length for length, _ in value)
    slack = SLACK * max(1.0, abs(left), abs(right))
    if not left - slack <= start <= right + slack:
        raise Infeasible(f"start {start}: no schedule keeps the bounds from there: give {left} to {right}")
    moves, stored, cost, now = [], [], 0.0, start
    for step, level in zip(steps, levels, strict=True):
        drift = keep * now + step.inflow
        move = step.least
        for (length, rate), upto in zip(step.segments, level, strict=True):
            part = min(max(upto - drift - move, 0.0), length)
            move += part
            cost += part * rate
        now = min(max(drift + move, step.low), step.high)
        moves.append(move)
        stored.append(now)
    return Schedule(tuple(moves), tuple(stored), cost - end_value * now, -_slope_at(start - left, value))


def _check(step: Step, at: int) -> None:
    slopes = [rate for _, rate in step.segments]
    if slopes != sorted(slopes):
        raise ValueError(
            f"step {at}: slopes {slopes} fall: the cost must be convex, such as buying dearer than selling"
        )
    if any(not 0 <= length < math.inf for length, _ in step.segments):
        raise ValueError(f"step {at}: lengths must be finite and 0 or more")


def _clipped(
    left: float, value: list[tuple[float, float]], low: float, high: float, at: int
) -> tuple[float, list[tuple[float, float]]]:
    """Return the value function on [low, high] alone."""
    right = left + sum(length for length, _ in value)
    begin, end = max(left, low), min(right, high)
    if end < begin - SLACK * max(1.0, abs(begin)):
        raise Infeasible(f"step {at}: stored energy would have to be in [{begin}, {end}]: relax its bounds")
    kept, position = [], left
    for length, slope in value:
        part = min(position + length, end) - max(position, begin)
        if part > 0:
            kept.append((part, slope))
        position += length
    return begin, kept


def _slope_at(offset: float, value: list[tuple[float, float]]) -> float:
    slope = value[0][1] if value else 0.0
    for length, slope in value:
        if offset < length:
            return slope
        offset -= length
    return slope


# --- the same in columns ----------------------------------------------------------------------------------------------


@compiled
def plan_store(
    start: float,
    keep: float,
    inflow: Floats,
    low: Floats,
    high: Floats,
    least: Floats,
    length: Floats,
    slope: Floats,
    end_value: float,
    work: Floats,
    levels: Floats,
    moves: Floats,
) -> tuple[float, float]:
    """Fill `moves` with the cheapest schedule, and return its cost and the worth of one more unit at the start.

    Args:
        start: Energy stored at the start.
        keep: Share left after a step.
        inflow: Shape (T,).
        low: Least stored after each step; shape (T,).
        high: Most stored; shape (T,).
        least: Smallest u; shape (T,).
        length: Lengths of the segments of f; shape (T, K).
        slope: Their slopes, rising; shape (T, K).
        end_value: What a unit is worth at the end.
        work: Shape (2, T * K + 2): the value function.
        levels: Shape (T, K).
        moves: Shape (T,): filled.

    Returns:
        Cost and worth; the cost is NaN where no schedule keeps the bounds.
    """
    count = len(low)
    left, right, size = low[count - 1], high[count - 1], 1
    work[0, 0], work[1, 0] = right - left, -end_value
    for at in range(count - 1, -1, -1):
        begin, end = max(left, low[at]), min(right, high[at])
        if end < begin - 1e-9 * max(1.0, abs(begin)):
            return np.nan, np.nan
        size = _clip(work, size, begin - left, right - end)
        left, right = begin, max(begin, end)
        total = _merge(work, size, right, length[at], slope[at], levels[at])
        size += len(length[at])
        left = (left - least[at] - total - inflow[at]) / keep
        right = (right - least[at] - inflow[at]) / keep
        if keep != 1.0:
            # Lengths add up to the span again at each step: what rounding left over would grow by 1 / keep from here
            # on, and rule the schedule after some hundred steps of a leaky store.
            total = work[0, :size].sum()
            work[0, :size] *= (right - left) / total if total > 0.0 else 0.0
            work[1, :size] *= keep
    slack = 1e-9 * max(1.0, abs(left), abs(right))
    if start < left - slack or start > right + slack:
        return np.nan, np.nan
    worth, offset = 0.0, start - left
    for i in range(size):
        worth = -work[1, i]
        if offset < work[0, i]:
            break
        offset -= work[0, i]
    cost, now = _fill(start, keep, inflow, low, high, least, length, slope, levels, moves)
    return cost - end_value * now, worth


@compiled
def _clip(work: Floats, size: int, cut_left: float, cut_right: float) -> int:
    """Cut so much off both ends of the value function, move it to the front, and return how many segments are left."""
    first, last = 0, size
    while first < last and work[0, first] <= cut_left:
        cut_left -= work[0, first]
        first += 1
    if first < last:
        work[0, first] -= cut_left
    while first < last and work[0, last - 1] <= cut_right:
        cut_right -= work[0, last - 1]
        last -= 1
    if first < last:
        work[0, last - 1] -= cut_right
    for i in range(last - first):
        work[0, i], work[1, i] = work[0, first + i], work[1, first + i]
    return last - first


@compiled
def _merge(work: Floats, size: int, right: float, length: Floats, slope: Floats, levels: Floats) -> float:
    """Merge mirrored segments in from the back, note the level of each, and return their whole length."""
    write, read, total = size + len(length) - 1, size - 1, 0.0
    for k in range(len(length)):  # rates rise, so their mirrors fall: the first belongs furthest back
        rate = -slope[k]
        while read >= 0 and work[1, read] >= rate:
            right -= work[0, read]
            work[0, write], work[1, write] = work[0, read], work[1, read]
            write, read = write - 1, read - 1
        levels[k] = right
        work[0, write], work[1, write] = length[k], rate
        write -= 1
        total += length[k]
    return total


@compiled
def _fill(
    start: float,
    keep: float,
    inflow: Floats,
    low: Floats,
    high: Floats,
    least: Floats,
    length: Floats,
    slope: Floats,
    levels: Floats,
    moves: Floats,
) -> tuple[float, float]:
    """Go forwards, each segment up to its level; return the cost and what is stored at the end."""
    cost, now = 0.0, start
    for at in range(len(low)):
        drift = keep * now + inflow[at]
        move = least[at]
        for k in range(length.shape[1]):
            part = min(max(levels[at, k] - drift - move, 0.0), length[at, k])
            move += part
            cost += part * slope[at, k]
        moves[at] = move
        now = min(max(drift + move, low[at]), high[at])
    return cost, now
