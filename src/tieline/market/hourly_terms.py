"""The terms of hourly weather-normalised baselines: hours of day and week, and temperature by part of the day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.int64]

HOURS, DAYS, PARTS = 24, 7, 6
KNOTS_C = (-1.0, 10.0, 18.0, 24.0, 32.0)
"""Where the response to the hour's temperature may bend: near CalTRACK's 30, 45, 55, 65, 75 and 90 degF, less one."""
MEAN_KNOTS_C = (5.0, 12.0, 18.0, 24.0)
LINES = len(KNOTS_C) + len(MEAN_KNOTS_C) + 2
PADDED = 12
WEEK = HOURS * DAYS
TERMS = HOURS + WEEK + PARTS * LINES
WEEK_WEIGHT = 0.3
"""An hour of the week has a seventh of the hours that an hour of the day has: it must earn its difference."""


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """The terms of one weather station's hours, shared by all of its meters; n hours.

    Attributes:
        slot: Hour of the week, 0 to 167; shape (n,).
        lines: Temperature terms, scaled; shape (n, PADDED).
        learns: Which hours a model may learn from; shape (n,).
        has_weather: Which hours have a temperature: others have no baseline; shape (n,).
        hour_scale: Scale of each hour of the day; shape (HOURS,).
        week_scale: Scale of each hour of the week; shape (WEEK,).
        middle: Mean of each term over the learnt hours; shape (TERMS,).
        root: Eigenvalues of the terms' scatter, rising; shape (TERMS,).
        axes: Its eigenvectors, one a column; shape (TERMS, TERMS).
        back: The same, one a row; shape (TERMS, TERMS).
        coldest_c: Lowest temperature that is learnt from.
        warmest_c: Highest.
    """

    slot: Places
    lines: Floats
    learns: Mask
    has_weather: Mask
    hour_scale: Floats
    week_scale: Floats
    middle: Floats
    root: Floats
    axes: Floats
    back: Floats
    coldest_c: float
    warmest_c: float

    @property
    def count(self) -> int:
        """How many hours are learnt from, where a meter has all of them."""
        return int(self.learns.sum())


def station(slot: Places, celsius: Floats, learns: Mask) -> Station:
    """Return the terms of a station's hours.

    Args:
        slot: Hour of the week of each hour, 0 (Monday, midnight) to 167; shape (n,).
        celsius: Outdoor temperature (degC), in time order; NaN: not known; shape (n,).
        learns: Which hours may be learnt from: those of events, outages and the days to be judged may not; shape (n,).

    Raises:
        ValueError: Shapes differ, a slot is outside the week, or no hour with a temperature is left to learn from.
    """
    if not slot.shape == celsius.shape == learns.shape or slot.ndim != 1:
        raise ValueError(f"slot, celsius and learns have shapes {slot.shape}, {celsius.shape}, {learns.shape}")
    if len(slot) and not (slot.min() >= 0 and slot.max() < WEEK):
        raise ValueError(f"slots are {slot.min()} to {slot.max()}: give hours of the week, 0 to {WEEK - 1}")
    known: Mask = np.isfinite(celsius)
    taught: Mask = learns & known
    if not taught.any():
        raise ValueError("no hour with a temperature to learn from")
    lines = np.zeros((len(slot), PADDED))
    lines[:, : len(KNOTS_C) + 1] = bent(celsius, KNOTS_C)
    lines[:, len(KNOTS_C) + 1 : LINES] = bent(mean_of_day(celsius), MEAN_KNOTS_C)
    lines[~known] = 0.0
    count, part = taught.sum(), slot % HOURS // (HOURS // PARTS)
    for p in range(PARTS):
        mine = part == p
        # A term's spread is that over all hours: it is 0 in those of other parts.
        mean = lines[taught & mine].sum(axis=0) / count
        spread = np.sqrt(np.maximum((lines[taught & mine] ** 2).sum(axis=0) / count - mean**2, 0.0))
        lines[mine] *= np.where(spread > 1e-9, 1.0 / np.where(spread > 1e-9, spread, 1.0), 0.0)
    share = np.bincount(slot[taught], minlength=WEEK) / count
    hour_scale, week_scale = _scale(share.reshape(DAYS, HOURS).sum(axis=0)), WEEK_WEIGHT * _scale(share)
    rows = _dense(slot[taught], lines[taught], hour_scale, week_scale)
    middle = rows.mean(axis=0)
    rows -= middle
    root, axes = np.linalg.eigh(rows.T @ rows)
    return Station(
        slot, lines, taught, known, hour_scale, week_scale, middle, np.maximum(root, 0.0), np.ascontiguousarray(axes),
        np.ascontiguousarray(axes.T), float(celsius[taught].min()), float(celsius[taught].max()),
    )  # fmt: skip


def bent(celsius: Floats, knots: tuple[float, ...]) -> Floats:
    """Return the part of a temperature that lies in each segment between knots; their sum is it, less the first knot.

    >>> bent(np.array([-5.0, 12.0, 40.0]), (0.0, 10.0)).tolist()
    [[-5.0, 0.0, 0.0], [0.0, 10.0, 2.0], [0.0, 10.0, 30.0]]
    """
    parts = [np.minimum(celsius - knots[0], 0.0)]
    for low, high in zip(knots, (*knots[1:], np.inf), strict=True):
        parts.append(np.clip(celsius - low, 0.0, high - low))
    return np.stack(parts, axis=1)


def mean_of_day(celsius: Floats) -> Floats:
    """Return the mean temperature of each hour and the 23 before it, of those that are known (degC)."""
    known = np.isfinite(celsius)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, celsius, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    ends = np.arange(1, len(celsius) + 1)
    begins = np.maximum(ends - HOURS, 0)
    mean: Floats = (total[ends] - total[begins]) / np.maximum(count[ends] - count[begins], 1)
    return mean


def _scale(share: Floats) -> Floats:
    """Return 1 over the standard deviation of an indicator that is 1 in this share of hours; 0 where it never is."""
    spread = np.sqrt(share * (1.0 - share))
    scale: Floats = np.where(spread > 1e-9, 1.0 / np.where(spread > 1e-9, spread, 1.0), 0.0)
    return scale


def _dense(slot: Places, lines: Floats, hour_scale: Floats, week_scale: Floats) -> Floats:
    """Return whole rows of terms: hour of the day, hour of the week, temperature lines a part of the day."""
    rows, at, hour = np.zeros((len(slot), TERMS)), np.arange(len(slot)), slot % HOURS
    rows[at, hour] = hour_scale[hour]
    rows[at, HOURS + slot] = week_scale[slot]
    first = HOURS + WEEK + hour // (HOURS // PARTS) * LINES
    for k in range(LINES):
        rows[at, first + k] = lines[:, k]
    return rows


def rows_of(one: Station, at: Places) -> Floats:
    """Return whole rows of terms of some hours; shape (len(at), TERMS)."""
    return _dense(one.slot[at], one.lines[at], one.hour_scale, one.week_scale)
