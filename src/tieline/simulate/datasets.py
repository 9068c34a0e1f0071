"""Real data that the world is made of, read from the package; see `data/SOURCES.md`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tieline.times import HOUR_NS, parse_iso

Floats = NDArray[np.float64]
HOURS = 8760
_START_NS = parse_iso("2022-08-01T00:00:00-05:00")
"""The homes' year begins on a Monday, 1 August; in 2022 that is a Monday too, so weekdays stay true. Their local time
is read as that of the territory (US Central)."""


@dataclass(frozen=True, slots=True, eq=False)
class Homes:
    """Hourly base load (W) and PV output per rated W of 17 homes; shape (17, 8760)."""

    load_w: Floats
    pv_frac: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """Hourly outdoor temperature (degC) and irradiance (W/m2); shape (8760,)."""

    outdoor_c: Floats
    irradiance_w_per_m2: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """Charging sessions: weekday (0 Monday), local arrival (s of day), stay (s), energy (Wh); shape (n,)."""

    weekday: NDArray[np.int8]
    arrives_s: Floats
    stays_s: Floats
    energy_wh: Floats


def _table(name: str) -> pq.ParquetFile:
    return pq.read_table(BytesIO((files("tieline.simulate") / "data" / name).read_bytes()))


@cache
def homes() -> Homes:
    """Return the homes."""
    table = _table("homes.parquet")
    load = [name for name in table.column_names if name.startswith("load_")]
    pv = [name for name in table.column_names if name.startswith("pv_")]
    return Homes(
        np.stack([table[name].to_numpy().astype(np.float64) * 1e3 for name in load]),
        np.stack([table[name].to_numpy().astype(np.float64) / 1e3 for name in pv]),
    )


@cache
def weather() -> Weather:
    """Return the weather of the homes."""
    table = _table("weather.parquet")
    direct = table["direct_w_per_m2"].to_numpy().astype(np.float64)
    diffuse = table["diffuse_w_per_m2"].to_numpy().astype(np.float64)
    return Weather(table["outdoor_c"].to_numpy().astype(np.float64), direct + diffuse)


@cache
def sessions() -> Sessions:
    """Return the charging sessions."""
    table = _table("ev_sessions.parquet")
    return Sessions(
        table["weekday"].to_numpy(),
        table["arrives_s"].to_numpy().astype(np.float64),
        table["stays_s"].to_numpy().astype(np.float64),
        table["energy_wh"].to_numpy().astype(np.float64),
    )


def hour_of(instant_ns: int) -> tuple[int, int, float]:
    """Return the hour of the data before and after an instant, and how far it lies between them (0 to 1)."""
    hours, rest = divmod(instant_ns - _START_NS, HOUR_NS)
    return int(hours % HOURS), int((hours + 1) % HOURS), rest / HOUR_NS


def between(values: Floats, instant_ns: int) -> Floats:
    """Return hourly values (last axis) at an instant, straight between the hours."""
    before, after, far = hour_of(instant_ns)
    result: Floats = values[..., before] * (1 - far) + values[..., after] * far
    return result
