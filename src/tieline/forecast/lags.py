"""What each series' own past says of a day: the profile of its like days, and how the last days strayed from it.

All of it is made from days that are known when the forecast is made; `lead` says how many days ahead that is. A reading
that lacks is passed over: it neither weighs in a profile nor counts as a deviation.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

NAMES = ("newest day", "last days", "a week ago", "newest day's mean", "last days' mean", "newest evening")
"""What the columns of a series say, each as a deviation from the profile; in their order."""
COUNT = len(NAMES)
KEEP_ALL, KEEP_LIKE, KEEP_FAST = 0.92, 0.87, 0.6
"""What a day still weighs one day (of its type) later: of all days, of like days, and of the last days."""
FADE_H = 3.0
"""The hours after which the evening before is felt by 1/e."""
_ALL, _ALL_MASS, _LIKE, _LIKE_MASS, _NEWEST, _FAST = 0, 1, 2, 4, 6, 7
"""Rows of what is remembered of a series, each of a day's length; like days have two, for days of work and off."""


def lags_of(load: Floats, is_off: Flags, first: int, root: Floats) -> tuple[Floats, Flags, Floats, Floats, Floats]:
    """Return what is fitted of every series and what its target day begins with, all over its own mean size.

    Args:
        load: Past values, NaN where none; shape (n, days, steps).
        is_off: Whether a day is none of work; shape (days + lead,): the last is the target.
        first: The first day that is fitted.
        root: Root of each fitted day's weight; shape (days - first,).

    Returns:
        Weighed lag columns and behind them the deviation from the profile, (n, COUNT + 1, days - first, steps), zero
        where there is none; where there is one, (n, days - first, steps); each series' size (n,); the target day's
        profile, (n, steps), in the unit of `load`; its lag columns, (n, COUNT, steps).
    """
    count, days, steps = load.shape
    span = days - first
    own, seen = np.zeros((count, COUNT + 1, span, steps)), np.zeros((count, span, steps), np.bool_)
    size = np.empty(count)
    base, ahead = np.empty((count, steps)), np.empty((count, COUNT, steps))
    _fill(load, is_off, len(is_off) - days, first, root, seen, own, size, base, ahead)
    return own, seen, size, base, ahead


@compiled
def _fill(load, is_off, lead, first, root, seen, own, size, base, ahead):  # type: ignore[no-untyped-def]
    count, days, steps = load.shape
    week = 7 * ((lead + 6) // 7)  # the last day of the same name that is known
    fade = np.exp(-np.arange(steps) * 24.0 / steps / FADE_H)
    nothing = np.full(steps, math.nan)
    past, level, profile = np.zeros((8, steps)), np.zeros(3), np.zeros(steps)
    for i in range(count):
        past[:], level[:] = 0.0, 0.0
        size[i] = _size(load[i, first:])
        for t in range(days + lead):
            if t >= lead:
                _fold(load[i, t - lead], 1 if is_off[t - lead] else 0, past, level)
            if not first <= t < days:
                continue
            _profile(1 if is_off[t] else 0, past, profile)
            for s in range(steps):
                seen[i, t - first, s] = not math.isnan(load[i, t, s] - profile[s])
            back = load[i, t - week] if t >= week else nothing
            weight = root[t - first] / size[i]
            for s in range(steps):
                if seen[i, t - first, s]:
                    own[i, COUNT, t - first, s] = (load[i, t, s] - profile[s]) * weight
            _say(past, level, profile, back, fade, weight, seen[i, t - first], own[i, :, t - first])
        target = days + lead - 1
        _profile(1 if is_off[target] else 0, past, profile)
        base[i] = profile
        back = load[i, target - week] if target >= week else nothing
        ahead[i] = 0.0
        _say(past, level, profile, back, fade, 1.0 / size[i], ~np.isnan(profile), ahead[i])


@compiled
def _fold(day, kind, past, level):  # type: ignore[no-untyped-def]
    """Let a day count: how it strayed from what was expected of it first, then its values."""
    steps = len(day)
    expected = np.empty(steps)
    _profile(kind, past, expected)
    for s in range(steps):
        strayed = day[s] - expected[s]
        past[_NEWEST, s] = 0.0 if math.isnan(strayed) else strayed
        if not math.isnan(day[s]):
            past[_LIKE + kind, s] = past[_LIKE + kind, s] * KEEP_LIKE + day[s]
            past[_LIKE_MASS + kind, s] = past[_LIKE_MASS + kind, s] * KEEP_LIKE + 1.0
            past[_ALL, s] += day[s] / KEEP_ALL
            past[_ALL_MASS, s] += 1.0 / KEEP_ALL
        past[_ALL, s] *= KEEP_ALL
        past[_ALL_MASS, s] *= KEEP_ALL
        past[_FAST, s] = KEEP_FAST * past[_FAST, s] + (1.0 - KEEP_FAST) * past[_NEWEST, s]
    level[0] = past[_NEWEST].mean()
    level[1] = KEEP_FAST * level[1] + (1.0 - KEEP_FAST) * level[0]
    level[2] = past[_NEWEST, steps - max(steps // 8, 1) :].mean()


@compiled
def _profile(kind, past, profile):  # type: ignore[no-untyped-def]
    """Fill in the mean of like days, to which the mean of all days counts as one more day; NaN where there is none."""
    for s in range(len(profile)):
        if past[_ALL_MASS, s] <= 0.0:
            profile[s] = math.nan
            continue
        every = past[_ALL, s] / past[_ALL_MASS, s]
        profile[s] = (past[_LIKE + kind, s] + every) / (past[_LIKE_MASS + kind, s] + 1.0)


@compiled
def _say(past, level, profile, back, fade, weight, is_wanted, columns):  # type: ignore[no-untyped-def]
    for s in range(len(profile)):
        if is_wanted[s]:
            columns[0, s] = past[_NEWEST, s] * weight
            columns[1, s] = past[_FAST, s] * weight
            columns[2, s] = 0.0 if math.isnan(back[s]) else (back[s] - profile[s]) * weight
            columns[3, s] = level[0] * weight
            columns[4, s] = level[1] * weight
            columns[5, s] = level[2] * fade[s] * weight


@compiled
def _size(values):  # type: ignore[no-untyped-def]
    """Return the mean size of what is no NaN; 1 where nothing is, or all is zero."""
    total, seen = 0.0, 0
    for value in values.flat:
        if not math.isnan(value):
            total += abs(value)
            seen += 1
    return total / seen if total > 0.0 else 1.0


def strayed(columns: Floats, is_off: Flags, lead: int) -> Floats:
    """Return how columns stray from their own like-day profile, as that of a load that went with them would.

    A profile of past days holds past weather: what weather adds to it is how it differs from that.

    Args:
        columns: Values of every day, the target last; shape (n, days + lead, steps).
        is_off: Whether a day is none of work; shape (days + lead,).
        lead: The profile of a day is made from days up to so many before it.
    """
    found = np.zeros(columns.shape)
    _stray(np.ascontiguousarray(columns), is_off, lead, found)
    return found


@compiled
def _stray(columns, is_off, lead, found):  # type: ignore[no-untyped-def]
    count, days, steps = columns.shape
    past, level, profile = np.zeros((8, steps)), np.zeros(3), np.zeros(steps)
    for i in range(count):
        past[:], level[:] = 0.0, 0.0
        for t in range(days):
            if t >= lead:
                _fold(columns[i, t - lead], 1 if is_off[t - lead] else 0, past, level)
                _profile(1 if is_off[t] else 0, past, profile)
                found[i, t] = columns[i, t] - profile
