"""Quantiles around a mean forecast that hold what they say: split conformal, with levels that adapt to what came.

The quantile at level q is the mean forecast plus a quantile of the errors of the last days at about the same time of
day (a step and its neighbours). Exchangeable errors would need no more (Vovk et al. 2005). Loads drift, so the level
that is looked up, a, follows what came: after each day a <- a + g (q - share of the day's values at or below the
quantile), as adaptive conformal inference does (Gibbs and Candes 2021), for each quantile by itself. How far the share
is off by now is told beside each band (`below`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
WINDOW_DAYS = 56
LEAST_DAYS = 14
RATE = 0.05
NEAR = (-1, 0, 1)
"""Steps whose errors count for a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """Quantiles of each day and what came of them.

    Attributes:
        levels: shape (q,).
        quantiles: NaN on days that have too few errors behind them; shape (days, n, steps, q).
        below: Share of values at or below each quantile so far, as known before each day; shape (days, n, q).
    """

    levels: Floats
    quantiles: Floats
    below: Floats

    def covered(self, low: float, high: float) -> Floats:
        """Return the share of values within a band by its levels, as known before each day; shape (days, n)."""
        at = [int(np.argmin(np.abs(self.levels - level))) for level in (low, high)]
        result: Floats = self.below[:, :, at[1]] - self.below[:, :, at[0]]
        return result


def bands(mean: Floats, actual: Floats, levels: tuple[float, ...] = LEVELS, lead: int = 1, rate: float = RATE) -> Bands:
    """Return the quantiles of each day, each made from what was known a lead before it.

    Args:
        mean: Mean forecasts; shape (days, n, steps).
        actual: What came; NaN where it isn't known, as on the days to come; same shape.
        levels: Rising, between 0 and 1.
        lead: How many days ahead forecasts are made.
        rate: g above.

    Raises:
        ValueError: Levels that don't rise between 0 and 1, or shapes that differ.
    """
    wanted = np.array(levels)
    if not len(wanted) or wanted[0] <= 0 or wanted[-1] >= 1 or (np.diff(wanted) <= 0).any():
        raise ValueError(f"levels {levels}: give some that rise between 0 and 1")
    if mean.shape != actual.shape or mean.ndim != 3:
        raise ValueError(f"forecasts {mean.shape} and values {actual.shape}: give (days, n, steps) twice")
    days, count, steps = mean.shape
    error = actual - mean
    quantiles = np.full((days, count, steps, len(wanted)), np.nan)
    below = np.full((days, count, len(wanted)), np.nan)
    looked = np.tile(wanted, (count, 1))
    hits, asked = np.zeros((count, len(wanted))), np.zeros(count)
    for day in range(days):
        known = day - lead
        if known >= 0:
            judged = np.isfinite(error[known])[..., None] & np.isfinite(quantiles[known])
            was_below = judged & (actual[known][..., None] <= quantiles[known])
            seen = judged.sum(axis=1)
            share = was_below.sum(axis=1) / np.maximum(seen, 1)
            looked = np.where(seen > 0, np.clip(looked + rate * (wanted - share), 0.0, 1.0), looked)
            hits, asked = hits + was_below.sum(axis=1), asked + seen[:, 0]
        below[day] = np.where(asked[:, None] > 0, hits / np.maximum(asked, 1)[:, None], np.nan)
        if known + 1 >= LEAST_DAYS:
            window = error[max(0, known + 1 - WINDOW_DAYS) : known + 1]
            quantiles[day] = mean[day][..., None] + _of_errors(window, looked)
            # What never was below zero so far won't be: its quantiles say no such thing.
            never_below = ~(actual[: known + 1] < 0).any(axis=(0, 2))
            quantiles[day, never_below] = np.maximum(quantiles[day, never_below], 0.0)
    return Bands(wanted, quantiles, below)


def _of_errors(window: Floats, looked: Floats) -> Floats:
    """Return the errors at the levels that are looked up, rising; shape (n, steps, q). NaN: too few errors."""
    near = np.concatenate([np.roll(window, by, axis=2) for by in NEAR])
    rows = np.sort(near, axis=0)  # NaN last
    seen = np.isfinite(rows).sum(axis=0)
    # The k-th of m values is the quantile at k / (m + 1), which is what makes split conformal hold for few values.
    place = looked[:, None, :] * (seen[..., None] + 1) - 1
    place = np.clip(place, 0, np.maximum(seen - 1, 0)[..., None])
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(seen - 1, 0)[..., None])
    rows = np.moveaxis(rows, 0, -1)
    one, two = np.take_along_axis(rows, low, axis=2), np.take_along_axis(rows, high, axis=2)
    found = np.sort(one + (two - one) * (place - low), axis=2)
    return np.where((seen >= LEAST_DAYS)[..., None], found, np.nan)
