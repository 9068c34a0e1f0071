"""Forecasts are never overwritten: each says when it was known, and any past instant can ask what was known then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.times import iso

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Issue:
    """Forecasts of some series that were made at once.

    Two times are kept apart: what a value is of (`starts_ns`), and since when it was known (`known_at_ns`). Up to when
    readings were looked at is said as well.

    Attributes:
        series: Names; n of them.
        unit: Of all values, such as kWh.
        known_at_ns: When it was made.
        readings_until_ns: The end of the last day of readings that it was made from.
        starts_ns: Start of each step; shape (t,).
        step_ns: Length of a step.
        models: Which model spoke for each series.
        mean: shape (n, t).
        levels: Levels of the quantiles; shape (q,), none is fine.
        quantiles: NaN where there are none yet; shape (n, t, q).
    """

    series: tuple[str, ...]
    unit: str
    known_at_ns: int
    readings_until_ns: int
    starts_ns: Instants
    step_ns: int
    models: tuple[str, ...]
    mean: Floats
    levels: Floats
    quantiles: Floats

    def __post_init__(self) -> None:
        shape = (len(self.series), len(self.starts_ns))
        if self.mean.shape != shape or self.quantiles.shape != (*shape, len(self.levels)):
            raise ConfigError(f"mean = {self.mean.shape}: give (series, steps) = {shape}, and quantiles as many levels")
        if len(set(self.series)) != len(self.series) or len(self.models) != len(self.series):
            raise ConfigError(f"series = {len(self.series)}: give each a name of its own and a model")
        if self.readings_until_ns > self.known_at_ns:
            raise ConfigError(
                f"known_at = {iso(self.known_at_ns)}: it was made from readings until {iso(self.readings_until_ns)}: "
                "give an instant that isn't before that"
            )
        if not np.isfinite(self.mean).all():
            lacks = self.series[int(np.flatnonzero(~np.isfinite(self.mean).all(axis=1))[0])]
            raise ConfigError(f"mean of series {lacks!r} = nan: keep what there is a forecast of")


def newest(series: NDArray[np.int64], starts_ns: Instants, known_at_ns: Instants, at_ns: int) -> Instants:
    """Return the rows that were known at an instant: of each series and start the newest one then, in their order.

    Args:
        series: A number for each series; shape (rows,).
        starts_ns: What each row is of; shape (rows,).
        known_at_ns: Since when it was known; shape (rows,).
        at_ns: The instant that asks.
    """
    known = np.flatnonzero(known_at_ns <= at_ns)
    order = known[np.lexsort((known_at_ns[known], starts_ns[known], series[known]))]
    if not len(order):
        return order
    is_last = np.ones(len(order), np.bool_)
    is_last[:-1] = (np.diff(series[order]) != 0) | (np.diff(starts_ns[order]) != 0)
    return order[is_last]
