"""Which model speaks for a pool today: the one that did best for it lately, and the floor until one has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

KEEP = 0.97
"""What a day's error still weighs a day later: a month or so is looked at."""
LEAST_DAYS = 7
MARGIN = 0.02
"""A model takes over where it was better by this share: what is no better isn't worth a change."""


def choose(errors: Floats, floor: int = 0, lead: int = 1, keep: float = KEEP) -> Places:
    """Return which model speaks on each day, by what was known when it was asked; shape (days, pools).

    The errors of a day are known once the day is over: the choice for day d looks at days up to d - lead. A model holds
    its place until another was better by a fiftieth; until a week of errors is known, the floor speaks. A day on which
    any model has no error (NaN: no reading, no forecast) says nothing of that pool.

    Args:
        errors: Sum of absolute errors of each model; shape (models, days, pools).
        floor: The model that speaks until one is known to be better.
        lead: How many days ahead forecasts are made.
        keep: What a day's error still weighs a day later.
    """
    _, days, count = errors.shape
    chosen, speaks = np.empty((days, count), np.int64), np.full(count, floor)
    mean, seen, every = np.zeros((len(errors), count)), np.zeros(count), np.arange(count)
    for day in range(days):
        if day >= lead:
            said = np.isfinite(errors[:, day - lead]).all(axis=0)
            mean = np.where(said, keep * mean + errors[:, day - lead], mean)
            seen += said
            best = mean.argmin(axis=0)
            is_better = mean[best, every] < (1.0 - MARGIN) * mean[speaks, every]
            speaks = np.where((seen >= LEAST_DAYS) & is_better, best, speaks)
        chosen[day] = speaks
    return chosen


def spoken(forecasts: Floats, chosen: Places) -> Floats:
    """Return the forecast of the model that speaks; of shape (models, days, pools, steps) the last three."""
    days, count = chosen.shape
    return forecasts[chosen, np.arange(days)[:, None], np.arange(count)]
