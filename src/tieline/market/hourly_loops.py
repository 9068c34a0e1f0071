"""The compiled loops of hourly baselines: sums over readings, gaps taken out of what is shared, baselines laid out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.market.hourly_terms import HOURS, LINES, PADDED, PARTS, TERMS, WEEK, Floats, Mask, Places


@compiled
def walk(
    load: NDArray[Any], slot: Places, lines: Floats, learns: Mask, hour_scale: Floats, week_scale: Floats,
    sums: Floats, whole: Floats,
) -> None:  # fmt: skip
    """Fill in each meter's sums of term times load, and how many readings it has, their sum and sum of squares."""
    week, tied = np.empty(WEEK), np.empty((PARTS, PADDED))
    for m in range(load.shape[0]):
        week[:] = 0.0
        tied[:] = 0.0
        read, square = 0, 0.0
        for t in range(load.shape[1]):
            y = np.float64(load[m, t])
            # What is no number differs from itself, and what has no end does so less itself.
            if not learns[t] or y - y != 0.0:
                continue
            read += 1
            square += y * y
            at = slot[t]
            week[at] += y
            mine = at % HOURS // (HOURS // PARTS)
            for k in range(PADDED):
                tied[mine, k] += lines[t, k] * y
        sums[m, :HOURS] = 0.0
        total = 0.0
        for s in range(WEEK):
            sums[m, s % HOURS] += week[s] * hour_scale[s % HOURS]
            sums[m, HOURS + s] = week[s] * week_scale[s]
            total += week[s]
        for p in range(PARTS):
            for k in range(LINES):
                sums[m, HOURS + WEEK + p * LINES + k] = tied[p, k]
        whole[m, 0], whole[m, 1], whole[m, 2] = read, total, square


@compiled
def lay(
    slot: Places, lines: Floats, has_weather: Mask, hour_scale: Floats, week_scale: Floats, level: Floats,
    terms: Floats, made: NDArray[Any],
) -> None:  # fmt: skip
    """Fill in each meter's baseline of each hour."""
    week, tied = np.empty(WEEK), np.zeros((PARTS, PADDED))
    for m in range(len(level)):
        for s in range(WEEK):
            hour = s % HOURS
            week[s] = level[m] + terms[m, hour] * hour_scale[hour] + terms[m, HOURS + s] * week_scale[s]
        for p in range(PARTS):
            for k in range(LINES):
                tied[p, k] = terms[m, HOURS + WEEK + p * LINES + k]
        for t in range(len(slot)):
            at = slot[t]
            mine = at % HOURS // (HOURS // PARTS)
            # Three sums of four, so that no addition waits for the one before it.
            one, two, three = week[at], 0.0, 0.0
            for k in range(4):
                one += tied[mine, k] * lines[t, k]
                two += tied[mine, k + 4] * lines[t, k + 4]
                three += tied[mine, k + 8] * lines[t, k + 8]
            made[m, t] = one + two + three if has_weather[t] else np.nan


@compiled
def turned(rows: Floats, axes: Floats) -> Floats:
    """Return rows times axes. A product of this size in threads costs more than it saves, and its bits vary by them."""
    made = np.zeros((rows.shape[0], axes.shape[1]))
    for m in range(rows.shape[0]):
        for i in range(axes.shape[0]):
            value = rows[m, i]
            for x in range(axes.shape[1]):
                made[m, x] += value * axes[i, x]
    return made


@compiled
def lacking(
    gaps: Places, slot: Places, lines: Floats, hour_scale: Floats, week_scale: Floats, axes: Floats, q: Floats
) -> None:
    """Add to each column of q, below its first row, a lacking hour's terms along the axes."""
    own = np.empty(TERMS)
    for g in range(len(gaps)):
        t = gaps[g]
        s = slot[t]
        hour = s % HOURS
        first = HOURS + WEEK + hour // (HOURS // PARTS) * LINES
        for x in range(TERMS):
            own[x] = hour_scale[hour] * axes[hour, x] + week_scale[s] * axes[HOURS + s, x]
        for k in range(LINES):
            value = lines[t, k]
            for x in range(TERMS):
                own[x] += value * axes[first + k, x]
        for x in range(TERMS):
            q[1 + x, g] += own[x]


@compiled
def taken_out(diagonal: Floats, q: Floats, right: Floats, solved: Floats) -> None:
    """Fill in the solution of `(diag(diagonal) - q q') x = right`, through whichever system is the smaller one."""
    size, gaps = q.shape
    if gaps >= size:
        whole = np.diag(diagonal)
        for g in range(gaps):
            own = q[:, g].copy()
            for i in range(size):
                for j in range(i, size):
                    whole[i, j] -= own[i] * own[j]
        solved[:] = right
        _cholesky(whole, solved)
        return
    small, seen = np.eye(gaps), np.zeros(gaps)
    for x in range(size):
        for i in range(gaps):
            value = q[x, i] / diagonal[x]
            seen[i] += value * right[x]
            for j in range(i, gaps):
                small[i, j] -= value * q[x, j]
    _cholesky(small, seen)
    for x in range(size):
        value = 0.0
        for g in range(gaps):
            value += q[x, g] * seen[g]
        solved[x] = (right[x] + value) / diagonal[x]


@compiled
def _cholesky(upper: Floats, right: Floats) -> None:
    """Solve a symmetric positive system whose upper half is given, in place."""
    n = len(right)
    for i in range(n):
        for j in range(i + 1, n):
            share = upper[i, j] / upper[i, i]
            right[j] -= share * right[i]
            for k in range(j, n):
                upper[j, k] -= share * upper[i, k]
    for i in range(n - 1, -1, -1):
        value = right[i]
        for j in range(i + 1, n):
            value -= upper[i, j] * right[j]
        right[i] = value / upper[i, i]
