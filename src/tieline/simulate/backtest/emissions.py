"""Marginal emissions of August 2020 (Southern California), each with the forecasts that were published of it then.

Row t of the file holds the rate of the five minutes from t on and, as published with it, what was expected of the next
three hours. Whoever decides at t has the row before: what was true at t was published while it happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.times import MINUTE_NS, iso

Floats = NDArray[np.float64]
ROW_NS, STEP_NS = 5 * MINUTE_NS, 15 * MINUTE_NS
LEADS = 36
LIKE_DAYS = 7
PER_DAY = 96


@dataclass(frozen=True, slots=True, eq=False)
class Emissions:
    """Rates of quarter-hours (kg CO2 a kWh), and what was foretold of them; `start_ns` is the first of all.

    Attributes:
        start_ns: Start of the first quarter-hour.
        rate: What was; shape (quarters,).
        told: What was foretold of the twelve quarter-hours from each on as it began; NaN: nothing; (quarters, 12).
    """

    start_ns: int
    rate: Floats
    told: Floats

    def place(self, instant_ns: int) -> int:
        """Return the place of a quarter-hour. Raises ConfigError where the data has none."""
        at = (instant_ns - self.start_ns) // STEP_NS
        if not 0 <= at < len(self.rate):
            end = iso(self.start_ns + len(self.rate) * STEP_NS)
            raise ConfigError(f"no emissions of {iso(instant_ns)}: give days from {iso(self.start_ns)} to {end}")
        return int(at)

    def foretold(self, at: int, count: int) -> Floats:
        """Return what was known at the start of a quarter-hour of it and those after; shape (count,).

        The published forecast as far as it goes, then the mean of the same time on the last days.
        """
        found = self.like(at, count)
        told = self.told[at][:count]
        return np.concatenate([np.where(np.isfinite(told), told, found[: len(told)]), found[len(told) :]])

    def like(self, at: int, count: int) -> Floats:
        """Return the mean of the same time on up to seven days before, from what was over by then; shape (count,).

        Raises:
            ConfigError: Less than a day had been seen by then.
        """
        if at < PER_DAY:
            raise ConfigError(f"{at} quarter-hours before the first day: give a first day with one day before it")
        steps = at + np.arange(count)
        total, seen = np.zeros(count), np.zeros(count)
        for day in range(1, LIKE_DAYS + 2):
            past = steps - day * PER_DAY
            is_known = (past >= 0) & (past < at) & (seen < LIKE_DAYS)
            total += np.where(is_known, self.rate[np.clip(past, 0, len(self.rate) - 1)], 0.0)
            seen += is_known
        return total / np.maximum(seen, 1)


@cache
def august_2020() -> Emissions:
    """Return the emissions that come along."""
    table = pq.read_table(
        BytesIO((files("tieline.simulate") / "data" / "carbon" / "sgip_moer_sce_2020_08.parquet").read_bytes())
    )
    starts = table["time"].to_numpy().astype("datetime64[ns]").astype(np.int64)
    leads = np.stack([table[f"f{k}"].to_numpy() for k in range(1, LEADS + 1)], axis=1).astype(np.float64)
    return quarters(int(starts[0]), table["moer"].to_numpy().astype(np.float64), leads)


def quarters(start_ns: int, rate: Floats, leads: Floats) -> Emissions:
    """Return five-minute rates and their forecasts, shape (rows, 36), as quarter-hours.

    A quarter-hour's forecast is that of the row before it: its first lead is the quarter-hour's first five minutes.
    """
    count = len(rate) // 3
    mean = rate[: 3 * count].reshape(count, 3).mean(axis=1)
    told = np.full((count, LEADS // 3), np.nan)
    told[1:] = leads[2 : 3 * count - 1 : 3].reshape(count - 1, LEADS // 3, 3).mean(axis=2)
    return Emissions(start_ns, mean, told)
