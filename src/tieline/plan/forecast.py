"""Forecasts that are honest about their floor: the mean of like hours of recent days, and what it is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def like_days(history: Floats, steps_a_day: int, days: int = 5, decay: float = 0.75) -> Floats:
    """Return the forecast of the next day from whole past days: their weighted mean, the latest weighing most.

    Args:
        history: Past values, oldest first; shape (n,), n at least one day.
        steps_a_day: Values a day.
        days: How many days to look back.
        decay: Weight of a day over that of the day after it.

    Raises:
        ValueError: Less than one day of history, or none of it finite.
    """
    whole = len(history) // steps_a_day
    if whole < 1:
        raise ValueError(f"{len(history)} values: give at least one day of {steps_a_day}")
    past = history[len(history) - whole * steps_a_day :].reshape(whole, steps_a_day)[-days:]
    weights = decay ** np.arange(len(past))[::-1]
    good = np.isfinite(past)
    mass = (weights[:, None] * good).sum(axis=0)
    if not (mass > 0).all():
        raise ValueError("a step has no finite value in any of the days")
    forecast: Floats = (weights[:, None] * np.where(good, past, 0.0)).sum(axis=0) / mass
    return forecast


def skill(forecast: Floats, actual: Floats, naive: Floats) -> float:
    """Return how much better than naive a forecast was: 1 - WAPE / WAPE of naive (1: perfect, 0: no better)."""
    floor = float(np.abs(naive - actual).sum())
    return 1.0 - float(np.abs(forecast - actual).sum()) / floor if floor > 0 else 0.0


def best_hours(price: Floats, count: int, above: float) -> NDArray[np.int64]:
    """Return the dearest hours, at most `count` and dearer than `above`, in order of time."""
    order = np.argsort(-price, kind="stable")[:count]
    return np.sort(order[price[order] > above])
