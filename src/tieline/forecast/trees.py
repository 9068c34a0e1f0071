"""A global model: one LightGBM ensemble for all series, which lends what many show to those that show little.

It is fitted to the same columns as the ridge, each over its series' own size, by squared error, so that it foretells
the mean: a model of the median wins a home and loses the sum of homes. LightGBM is an extra:
`pip install tieline[forecast]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.forecast.columns import degrees, trailing_day
from tieline.forecast.lags import COUNT, lags_of, strayed
from tieline.forecast.ridge import LEAST_DAYS, within

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MOST_ROWS = 200_000
"""Rows that are fitted at most; of more a seeded sample is drawn."""
WINDOW_DAYS = 56
ROUNDS, LEAVES, RATE = 120, 31, 0.06


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError:
        raise ConfigError(
            "model = 'trees': LightGBM is not installed: give ridge, or `pip install tieline[forecast]`"
        ) from None
    return lightgbm


class Trees:
    """An ensemble that was fitted to the past of some series; it foretells any day of these or of others."""

    def __init__(
        self, load: Floats, is_off: Flags, celsius: Floats | None, *, lead: int = 1, seed: int = 1, threads: int = 1
    ) -> None:
        """Fit it. The same inputs, seed and threads give the same trees.

        Args:
            load: Past values of whole days, NaN where none; shape (n, days, steps).
            is_off: Whether each day is none of work; shape (days,).
            celsius: Outdoor temperature; shape (days, steps). None: without weather.
            lead: The target is so many days after the last that is known.
            seed: By which rows are drawn.
            threads: Threads of LightGBM.

        Raises:
            ConfigError: LightGBM is not installed.
            ValueError: Fewer than 14 days, or no reading in them.
        """
        lightgbm = _lightgbm()
        days = load.shape[1]
        if days < LEAST_DAYS:
            raise ValueError(f"{days} days: give at least {LEAST_DAYS}")
        self.lead, self._has_weather = lead, celsius is not None
        first = max(days - WINDOW_DAYS, 7)
        # Whose target lies beyond the data: only the fitted days of it are taken.
        ahead_off = np.concatenate([is_off, np.repeat(is_off[-1:], lead)])
        own, seen, size, _, _ = lags_of(load, ahead_off, first, np.ones(days - first))
        rows = np.flatnonzero(seen)
        if not len(rows):
            raise ValueError("no reading in the days that are fitted: give some")
        rng = np.random.default_rng(seed)
        if len(rows) > MOST_ROWS:
            rows = np.sort(rng.choice(rows, MOST_ROWS, replace=False))
        profile = load[:, first:] / size[:, None, None] - own[:, COUNT]
        told = _told(
            own[:, :COUNT], profile, is_off[first:], None if celsius is None else _weather(celsius, is_off, lead, first)
        )
        columns = told.reshape(told.shape[0], -1)[:, rows].T
        terms = {
            "objective": "regression", "learning_rate": RATE, "num_leaves": LEAVES, "min_data_in_leaf": 100,
            "lambda_l2": 10.0, "feature_fraction": 0.8, "verbosity": -1, "deterministic": True, "force_row_wise": True,
            "seed": seed, "num_threads": threads, "max_bin": 127,
        }  # fmt: skip
        data = lightgbm.Dataset(columns, own[:, COUNT].reshape(-1)[rows])
        self._trees, self._threads = lightgbm.train(terms, data, ROUNDS), threads

    def foretell(self, load: Floats, is_off: Flags, celsius: Floats | None) -> Floats:
        """Return the mean forecast of the day behind the known ones; shape (n, steps).

        Args:
            load: Past values; shape (n, days, steps).
            is_off: Whether each day, the target last, is none of work; shape (days + lead,).
            celsius: Temperature of these days, for days to come as forecast; shape (days + lead, steps).

        Raises:
            ValueError: Days that don't fit, or weather where there was none, or none where there was.
        """
        days, steps = load.shape[1:]
        if len(is_off) != days + self.lead or (celsius is not None) != self._has_weather:
            raise ValueError(f"{len(is_off)} days of calendar: give {days} + {self.lead}, and weather as when fitted")
        size, base, ahead = lags_of(load, is_off, max(days - WINDOW_DAYS, 0), np.ones(min(days, WINDOW_DAYS)))[2:]
        weather = None if celsius is None else _weather(celsius, is_off, self.lead, len(celsius) - 1)
        told = _told(ahead[:, :, None], (base / size[:, None])[:, None], is_off[-1:], weather)
        found = self._trees.predict(told.reshape(told.shape[0], -1).T, num_threads=self._threads)
        return within(base + np.asarray(found).reshape(-1, steps) * size[:, None], load)


def _weather(celsius: Floats, is_off: Flags, lead: int, first: int) -> Floats:
    """Return temperature, its mean of 24 hours and how both are unlike the profile's days; shape (6, days, steps)."""
    unlike = strayed(degrees(celsius), is_off, lead)
    return np.concatenate([np.stack([celsius, trailing_day(celsius)]), unlike])[:, first:]


def _told(lags: Floats, profile: Floats, is_off: Flags, weather: Floats | None) -> Floats:
    """Return the columns of every series, day and step; shape (columns, n, days, steps)."""
    count, _, days, steps = lags.shape
    shape = (count, days, steps)
    hour = np.broadcast_to((np.arange(steps) + 0.5) * 24.0 / steps, shape)
    off = np.broadcast_to(is_off[:, None].astype(np.float64), shape)
    shared = [hour, off] if weather is None else [hour, off, *(np.broadcast_to(one, shape) for one in weather)]
    return np.stack([*lags.transpose(1, 0, 2, 3), profile, *shared])
