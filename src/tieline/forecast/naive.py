"""The floor: what the same hours were a week ago, the newest day, and the mean of the last like days."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LIKE_DAYS = 10


def week_ago(load: Floats, lead: int = 1) -> Floats:
    """Return the newest known day of the target's name, a week or more before it; shape (n, steps).

    Args:
        load: Past values of whole days, NaN where none; shape (n, days, steps).
        lead: The target is so many days after the last that is known.

    Raises:
        ValueError: There is no such day.
    """
    back = 7 * (-(-lead // 7)) - lead + 1
    if load.shape[1] < back:
        raise ValueError(f"{load.shape[1]} days: give at least {back}, so that a week ago is known")
    return load[:, -back]


def newest_day(load: Floats) -> Floats:
    """Return the newest known day; shape (n, steps)."""
    return load[:, -1]


def like_days(load: Floats, is_off: Flags, count: int = LIKE_DAYS) -> Floats:
    """Return the mean of the last days of the target's type; shape (n, steps). NaN where no such day has a reading.

    Args:
        load: As above; shape (n, days, steps).
        is_off: Whether each day, and last the target, is none of work; shape (days + lead,).
        count: How many days.
    """
    days = load.shape[1]
    same = np.flatnonzero(is_off[:days] == is_off[-1])[-count:]
    has = np.isfinite(load[:, same])
    total, seen = np.where(has, load[:, same], 0.0).sum(axis=1), has.sum(axis=1)
    return np.where(seen > 0, total / np.maximum(seen, 1), np.nan)
