"""Forecasts as they would have been made day by day, each from what was known then: by these models are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.forecast.columns import shared_columns
from tieline.forecast.naive import like_days, newest_day, week_ago
from tieline.forecast.ridge import LEAST_DAYS, ridge
from tieline.forecast.trees import Trees

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MODELS = ("week", "day", "like", "ridge", "trees")
"""The floor first: the same day a week ago. Then the newest day, the mean of ten like days, ridge, LightGBM."""
LOOKS_BACK_DAYS = 90
REFIT_DAYS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a forecast is made from: whole days by the wall clock.

    Attributes:
        load: Values of each series, any unit, NaN where there is no reading; shape (n, days, steps).
        is_off: Whether each day is none of work; shape (days or more,).
        celsius: Measured temperature; shape (days, steps). None: without weather.
        celsius_ahead: What was forecast of each day's temperature when its load was; shape (days or more, steps).
    """

    load: Floats
    is_off: Flags
    celsius: Floats | None = None
    celsius_ahead: Floats | None = None

    def __post_init__(self) -> None:
        days = self.load.shape[1]
        told = {"is_off": self.is_off, "celsius": self.celsius, "celsius_ahead": self.celsius_ahead}
        for name, rows in told.items():
            if rows is not None and len(rows) < days:
                raise ValueError(f"{name} of {len(rows)} days: give the {days} of the load")
        if (self.celsius is None) != (self.celsius_ahead is None):
            raise ValueError("celsius without celsius_ahead: give both, or none")


def foretell(
    past: Past, day: int, lead: int = 1, models: Sequence[str] = MODELS[:4], trees: Trees | None = None
) -> Floats:
    """Return each model's mean forecast of a day, from days up to `day - lead`; shape (models, n, steps).

    Raises:
        ValueError: A model is unknown, or days are too few.
    """
    known = day - lead + 1
    low = max(0, known - LOOKS_BACK_DAYS)
    if known - low < LEAST_DAYS:
        raise ValueError(f"day {day}: {known} days are known then: give at least {LEAST_DAYS}")
    load, off = past.load[:, low:known], past.is_off[low : day + 1]
    celsius = None
    if past.celsius is not None and past.celsius_ahead is not None:
        celsius = np.concatenate([past.celsius[low:known], past.celsius_ahead[known : day + 1]])
    found = np.empty((len(models), load.shape[0], load.shape[2]))
    for at, model in enumerate(models):
        match model:
            case "week":
                found[at] = _filled(week_ago(load, lead), load, off)
            case "day":
                found[at] = _filled(newest_day(load), load, off)
            case "like":
                found[at] = like_days(load, off)
            case "ridge":
                found[at] = ridge(load, shared_columns(off, load.shape[2], celsius, lead), off)
            case "trees":
                grown = trees or _grown(past, known, lead)
                found[at] = grown.foretell(load, off, celsius)
            case _:
                raise ValueError(f"model {model!r} is unknown: give some of {', '.join(MODELS)}")
    return found


def _filled(day: Floats, load: Floats, off: Flags) -> Floats:
    """Return a naive forecast in which the mean of like days stands where its own day was not read."""
    return day if np.isfinite(day).all() else np.where(np.isfinite(day), day, like_days(load, off))


def replay(past: Past, days: Sequence[int], lead: int = 1, models: Sequence[str] = MODELS[:4], seed: int = 1) -> Floats:
    """Return each model's forecast of each day; shape (models, days, n, steps). Trees are grown anew each week."""
    made, grown, grown_at = [], None, -REFIT_DAYS
    for day in days:
        if "trees" in models and day - grown_at >= REFIT_DAYS:
            grown, grown_at = _grown(past, day - lead + 1, lead, seed), day
        made.append(foretell(past, day, lead, models, grown))
    return np.stack(made, axis=1)


def _grown(past: Past, known: int, lead: int, seed: int = 1) -> Trees:
    low = max(0, known - LOOKS_BACK_DAYS)
    celsius = None if past.celsius is None else past.celsius[low:known]
    return Trees(past.load[:, low:known], past.is_off[low:known], celsius, lead=lead, seed=seed)
