"""Sets of series that forecasts are scored on: those that come with Tieline, and more where they are laid beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tieline.simulate.datasets import homes, homes_outdoor_c, profiles

Floats = NDArray[np.float64]
MORE = "TIELINE_DATA"
"""Names a folder with `homes/` and `weather/` in which further sets may lie."""
HEAT_PUMP_FRAC = 3.0
"""Heat or cold that the stock homes' heat pumps give of a kWh: an assumption, as the sets have the demand alone."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesSet:
    """Hourly load of some series by day, which days are off, and the temperature; `says` what it is."""

    name: str
    says: str
    load: Floats
    is_off: NDArray[np.bool_]
    celsius: Floats | None


def sets() -> Iterator[SeriesSet]:
    """Yield what there is, in a fixed order."""
    # The first row of the homes is the last hour of a Sunday.
    load, warm = homes()[:, 1 : 1 + 24 * 364] / 1e3, homes_outdoor_c()[1 : 1 + 24 * 364]
    off = np.arange(364) % 7 >= 5
    yield SeriesSet("homes", "17 real homes, Fontana CA", load.reshape(17, 364, 24), off, warm.reshape(364, 24))
    every = profiles()
    kinds = {"household profiles": ("H0-",), "business profiles": ("G", "L", "BL-"), "low-voltage grids": ("lv_",)}
    for kind, begins in kinds.items():
        names = [name for name in every if name.startswith(begins)]
        rows = np.stack([every[name] for name in names]).reshape(len(names), 366, 24, 4).mean(axis=3)
        yield SeriesSet(kind, f"{len(names)} {kind} (SimBench)", rows, _weekends(date(2016, 1, 1), 366), None)
    yield from _more()


def missing() -> list[str]:
    """Return what is left out and why."""
    wanted = [
        "homes/resstock_tx_hourly.parquet",
        "homes/resstock_ca_hourly.parquet",
        "homes/uci_sceaux_2008_1min.parquet",
    ]
    folder = os.environ.get(MORE)
    if folder is None:
        return [f"{name}: {MORE} names no folder" for name in wanted]
    return [f"{name}: not in {MORE}" for name in wanted if not (Path(folder) / name).exists()]


def _more() -> Iterator[SeriesSet]:
    folder = Path(os.environ.get(MORE, "/nonexistent"))
    for state in ("tx", "ca"):
        file, weather = (
            folder / f"homes/resstock_{state}_hourly.parquet",
            folder / f"weather/{state}_weather_hourly.parquet",
        )
        if not (file.exists() and weather.exists()):
            continue
        table, outside = pq.read_table(file), pq.read_table(weather)
        heat = _column(table, "cooling_demand") + _column(table, "heating_demand")
        load = _column(table, "non_shiftable_load") + heat / HEAT_PUMP_FRAC + _column(table, "dhw_demand")
        off = _column(table, "day_type").reshape(100, 365, 24)[0, :, 12] >= 6
        celsius = _column(outside, "outdoor_dry_bulb_temperature").reshape(365, 24)
        yield SeriesSet(f"stock-{state}", f"100 stock homes, {state.upper()}", load.reshape(100, 365, 24), off, celsius)
    file = folder / "homes/uci_sceaux_2008_1min.parquet"
    if file.exists():
        power = _column(pq.read_table(file), "Global_active_power").reshape(1, 366, 24, 60)
        seen = np.isfinite(power)
        load = np.where(
            seen.sum(axis=3) >= 30, np.where(seen, power, 0).sum(axis=3) / np.maximum(seen.sum(axis=3), 1), np.nan
        )
        yield SeriesSet("home-sceaux", "1 real home, Sceaux", load, _weekends(date(2008, 1, 1), 366), None)


def _column(table: Any, name: str) -> Floats:
    values: Floats = table[name].to_numpy().astype(np.float64)
    return values


def _weekends(first: date, days: int) -> NDArray[np.bool_]:
    return np.array([(first + timedelta(days=at)).weekday() >= 5 for at in range(days)])
