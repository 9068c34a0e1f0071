"""The kernels of arbitration in columns: one small loop for each rule, compiled by numba.

`place` maps a fleet row to its place in the result (-1: not asked for). All other arrays have shape (m,), the rows
asked for, or (k,), the claims of one batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Mask = NDArray[np.bool_]


@compiled
def gather_limits(
    rows: Ints,
    alive: Mask,
    low: Floats,
    high: Floats,
    place: Ints,
    serial: int,
    level_low: Floats,
    level_high: Floats,
    low_by: Ints,
    high_by: Ints,
) -> None:
    """Intersect one batch's limits into those of its level: the highest low and the lowest high hold."""
    for k in range(len(rows)):
        at = place[rows[k]]
        if at < 0 or not alive[k]:
            continue
        if low[k] > level_low[at]:
            level_low[at] = low[k]
            low_by[at] = serial
        if high[k] < level_high[at]:
            level_high[at] = high[k]
            high_by[at] = serial


@compiled
def fold_level(
    level_low: Floats,
    level_high: Floats,
    level_low_by: Ints,
    level_high_by: Ints,
    safe_w: Floats,
    low_w: Floats,
    high_w: Floats,
    low_by: Ints,
    high_by: Ints,
    conflict: Mask,
) -> None:
    """Narrow what the stronger levels left by one level, then clear the level's columns for the next.

    A level that contradicts itself is a conflict and becomes the point nearest to the safe power; where level and rest
    don't meet, the end of the rest nearest to the level is taken (R6).
    """
    for at in range(len(low_w)):
        a, b = level_low[at], level_high[at]
        if a > b:
            # a > b here: the level allows nothing, so that its two ends in the other order bound the choice.
            point = min(max(safe_w[at], b), a)
            a, b = point, point
            conflict[at] = True
        new_low = min(max(a, low_w[at]), high_w[at])
        new_high = min(max(b, low_w[at]), high_w[at])
        if new_low > low_w[at]:
            low_by[at] = level_low_by[at]
        if new_high < high_w[at]:
            high_by[at] = level_high_by[at]
        low_w[at], high_w[at] = new_low, new_high
        # Cleared row by row in the same pass: the next level reuses the columns, and a second pass would cost as much.
        level_low[at], level_high[at] = -np.inf, np.inf
        level_low_by[at], level_high_by[at] = -1, -1


@compiled
def compete(
    rows: Ints,
    alive: Mask,
    value: Floats,
    place: Ints,
    serial: int,
    rank: int,
    is_tie_class: int,
    best_rank: Ints,
    best_class: Ints,
    winner: Ints,
    target_w: Floats,
    conflict: Mask,
) -> None:
    """Let one batch's targets compete: the lowest rank wins; an equal class with another value is a conflict (R7).

    Batches come in order of rank, so a row's class is that of its winner.
    """
    for k in range(len(rows)):
        at = place[rows[k]]
        if at < 0 or not alive[k]:
            continue
        if winner[at] < 0:
            best_rank[at], best_class[at], winner[at], target_w[at] = rank, is_tie_class, serial, value[k]
            continue
        # Told even where the rule decides by age: two askers of one priority who disagree are a matter for people.
        if best_class[at] == is_tie_class and target_w[at] != value[k]:
            conflict[at] = True
        if rank < best_rank[at]:
            best_rank[at], best_class[at], winner[at], target_w[at] = rank, is_tie_class, serial, value[k]


@compiled
def fold_bounds(
    own_low: Floats, own_high: Floats, by: Ints, low_w: Floats, high_w: Floats, low_by: Ints, high_by: Ints
) -> None:
    """Narrow by bounds that stand in columns (a hold timer, a lock-out); NaN: none on that row."""
    for at in range(len(low_w)):
        if np.isnan(own_low[at]):
            continue
        new_low = min(max(own_low[at], low_w[at]), high_w[at])
        new_high = min(max(own_high[at], low_w[at]), high_w[at])
        if new_low > low_w[at]:
            low_by[at] = by[at]
        if new_high < high_w[at]:
            high_by[at] = by[at]
        low_w[at], high_w[at] = new_low, new_high


@compiled
def add_deltas(
    rows: Ints,
    alive: Mask,
    value: Floats,
    place: Ints,
    held_up_w: float,
    held_down_w: float,
    used_up_w: Floats,
    used_down_w: Floats,
    total_w: Floats,
) -> None:
    """Add one batch's deltas, all of one reservation together only as far as it holds (R8)."""
    for k in range(len(rows)):
        at = place[rows[k]]
        if at < 0 or not alive[k]:
            continue
        size = abs(value[k])
        if value[k] >= 0 and used_up_w[at] + size <= held_up_w:
            used_up_w[at] += size
            total_w[at] += value[k]
        elif value[k] < 0 and used_down_w[at] + size <= held_down_w:
            used_down_w[at] += size
            total_w[at] += value[k]


@compiled
def clamp(target_w: Floats, winner: Ints, default_w: Floats, total_w: Floats, low_w: Floats, high_w: Floats) -> None:
    """Set each target to the winner's, or the default, plus the deltas, clamped into the bounds (R9)."""
    for at in range(len(target_w)):
        wanted = (default_w[at] if winner[at] < 0 else target_w[at]) + total_w[at]
        target_w[at] = min(max(wanted, low_w[at]), high_w[at])


def warm() -> None:
    """Load every kernel now: numba takes half a second for the first call, which must not be an operate's."""
    no_rows, no_w, none = np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.bool_)
    gather_limits(no_rows, none, no_w, no_w, no_rows, 0, no_w, no_w, no_rows, no_rows)
    fold_level(no_w, no_w, no_rows, no_rows, no_w, no_w, no_w, no_rows, no_rows, none)
    fold_bounds(no_w, no_w, no_rows, no_w, no_w, no_rows, no_rows)
    compete(no_rows, none, no_w, no_rows, 0, 0, 0, no_rows, no_rows, no_rows, no_w, none)
    add_deltas(no_rows, none, no_w, no_rows, 0.0, 0.0, no_w, no_w, no_w)
    clamp(no_w, no_rows, no_w, no_w, no_w, no_w)
