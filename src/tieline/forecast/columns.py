"""Columns that all series share: time and type of day, and how warm or cold it is against the days before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.forecast.lags import strayed

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

COOLS_ABOVE_C, HEATS_BELOW_C = 18.0, 16.0
DEGREES = 10.0
"""Degrees are told in tens, so that columns are of like size and one penalty suits all."""
DAY_WAVES, SHORT_WAVES, LONG_WAVES = 6, 3, 2


def waves(steps: int, count: int) -> Floats:
    """Return 1 and `count` sine and cosine pairs over a day; shape (steps, 2 count + 1)."""
    angle = 2 * np.pi * (np.arange(steps) + 0.5) / steps
    pairs = [wave(k * angle) for k in range(1, count + 1) for wave in (np.sin, np.cos)]
    return np.stack([np.ones(steps), *pairs], axis=1)


def trailing_day(celsius: Floats) -> Floats:
    """Return the mean of the last 24 hours up to each step, which walls and roofs remember; shape as given."""
    days, steps = celsius.shape
    flat = celsius.reshape(-1)
    total = np.cumsum(np.concatenate([np.full(steps, flat[0]), flat]))
    mean: Floats = ((total[steps:] - total[:-steps]) / steps).reshape(days, steps)
    return mean


def degrees(celsius: Floats) -> Floats:
    """Return tens of degrees that cool and heat, now and over the last day; shape (4, days, steps)."""
    both = (celsius, trailing_day(celsius))
    return np.stack(
        [np.maximum(one - COOLS_ABOVE_C, 0.0) / DEGREES for one in both]
        + [np.maximum(HEATS_BELOW_C - one, 0.0) / DEGREES for one in both]
    )


def shared_columns(is_off: Flags, steps: int, celsius: Floats | None = None, lead: int = 1) -> Floats:
    """Return the columns of calendar and weather; shape (days, steps, columns). The first is one everywhere.

    Args:
        is_off: Whether each day is none of work (weekend, holiday); shape (days,).
        steps: Intervals of a day.
        celsius: Outdoor temperature, for days to come as forecast; shape (days, steps). None: by calendar alone.
        lead: The target, the last day, is so many days after the last whose load is known.
    """
    days = len(is_off)
    day, short, long = waves(steps, DAY_WAVES), waves(steps, SHORT_WAVES), waves(steps, LONG_WAVES)
    found = [np.broadcast_to(day, (days, steps, day.shape[1])), is_off[:, None, None] * short[None]]
    if celsius is not None:
        beyond = degrees(celsius)
        unlike = strayed(beyond, is_off, lead)
        found += [unlike[k][:, :, None] * shape for k, shape in enumerate((short, long, short, long))]
    return np.concatenate(found, axis=2)
