"""Real data that the world is made of, read from the package; see `data/SOURCES.md`.

Each is laid onto the territory by the clock that governs it: people's by the wall clock, the weather's by the sun.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tieline.grid.feeder import FeederModel, read_simbench
from tieline.times import DAY_NS, HOUR_NS, SECOND_NS, from_ns, to_ns

Floats = NDArray[np.float64]
ZONE = ZoneInfo("America/Chicago")
HOURS = 8760
QUARTERS = 366 * 96
LATITUDE_DEG, LONGITUDE_DEG = 32.8, -96.8
"""Where the territory lies."""
WEATHER_LATITUDE_DEG, WEATHER_LONGITUDE_DEG = 36.1, -79.95
"""Where the weather was recorded; the sun stood over that place when it did."""
WEATHER_LATER_DAYS = 9
"""The typical year's hottest August spell (7th to 9th) is laid onto the dear days of the prices (16th to 18th)."""
_HOMES_FROM = datetime(2022, 8, 1)  # noqa: DTZ001  a wall clock: the homes' year begins on a Monday, as this one does
_PROFILES_FROM = datetime(2016, 1, 1)  # noqa: DTZ001  a wall clock
_WEATHER_ZONE = timezone(timedelta(hours=-5))


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """Hourly temperature (degC), wind (m/s), direct normal and diffuse irradiance (W/m2); shape (8760,)."""

    outdoor_c: Floats
    wind_m_per_s: Floats
    direct_w_per_m2: Floats
    diffuse_w_per_m2: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """Charging sessions: weekday (0 Monday), local arrival (s of day), stay and declared stay (s), energy (Wh)."""

    weekday: NDArray[np.int8]
    arrives_s: Floats
    stays_s: Floats
    declared_s: Floats
    energy_wh: Floats


def _table(name: str) -> pq.ParquetFile:
    return pq.read_table(BytesIO((files("tieline.simulate") / "data" / name).read_bytes()))


def _column(table: pq.ParquetFile, name: str) -> Floats:
    values: Floats = table[name].to_numpy().astype(np.float64)
    return values


@cache
def homes() -> Floats:
    """Return the hourly load (W) of 17 homes without heating, cooling and hot water; shape (17, 8760)."""
    table = _table("homes.parquet")
    return np.stack([_column(table, name) * 1e3 for name in table.column_names])


@cache
def homes_outdoor_c() -> Floats:
    """Return the outdoor temperature of those homes (degC), hour by hour; shape (8760,)."""
    return _column(_table("homes_weather.parquet"), "outdoor_c")


@cache
def weather() -> Weather:
    """Return the typical year."""
    table = _table("weather.parquet")
    names = ("outdoor_c", "wind_m_per_s", "direct_w_per_m2", "diffuse_w_per_m2")
    return Weather(*(_column(table, name) for name in names))


@cache
def sessions() -> Sessions:
    """Return the charging sessions."""
    table = _table("ev_sessions.parquet")
    rest = ("arrives_s", "stays_s", "declared_s", "energy_wh")
    return Sessions(table["weekday"].to_numpy(), *(_column(table, name) for name in rest))


@cache
def feeder(name: str) -> FeederModel:
    """Return a SimBench feeder: `1-lv-rural1`, `1-lv-urban6` or `1-mv-semiurb`."""
    return read_simbench((files("tieline.simulate") / "data" / "feeder" / f"{name}.json").read_text("utf-8"), name)


@cache
def profiles() -> dict[str, Floats]:
    """Return the feeders' quarter-hourly profiles by name, as shares of the nameplate; shape (35136,) each."""
    table = _table("feeder/profiles.parquet")
    return {name.removesuffix("_p_frac").removesuffix("_frac"): _column(table, name) for name in table.column_names}


@lru_cache(2)
def wall_clock(instant_ns: int) -> datetime:
    """Return the wall clock of the territory, without its zone."""
    return from_ns(instant_ns).astimezone(ZONE).replace(tzinfo=None)


def second_of_day(instant_ns: int) -> int:
    """Return the second of the territory's day by its wall clock."""
    local = wall_clock(instant_ns)
    return local.hour * 3600 + local.minute * 60 + local.second


def is_weekend(instant_ns: int) -> bool:
    """Return whether the territory has Saturday or Sunday."""
    return wall_clock(instant_ns).weekday() >= 5


def homes_at(instant_ns: int) -> Floats:
    """Return the load of each home (W) at an instant by the wall clock, straight between the hours; shape (17,)."""
    hours = (wall_clock(instant_ns) - _HOMES_FROM).total_seconds() / 3600.0
    return _between(homes(), hours)


def profile_row(instant_ns: int) -> int:
    """Return the row of the feeders' profiles at an instant: its quarter-hour on a day of the same weekday."""
    local = wall_clock(instant_ns)
    day = local.timetuple().tm_yday - 1
    shift = (local.weekday() - (_PROFILES_FROM.weekday() + day)) % 7
    shift -= 7 if shift > 3 else 0
    return int(((day + shift) * 96 + local.hour * 4 + local.minute // 15) % QUARTERS)


def weather_ns(instant_ns: int, later_days: int = WEATHER_LATER_DAYS) -> int:
    """Return the recording's instant whose sun stands as the territory's does at an instant, so many days before."""
    solar_s = (LONGITUDE_DEG - WEATHER_LONGITUDE_DEG) / 15.0 * 3600.0
    return instant_ns + round(solar_s) * SECOND_NS - later_days * DAY_NS


def weather_at(instant_ns: int, later_days: int = WEATHER_LATER_DAYS) -> tuple[float, float, float, float]:
    """Return temperature (degC), wind (m/s), direct and diffuse irradiance (W/m2) at an instant.

    Temperature and wind were read at the end of each hour; irradiance is the mean of the hour (TMY3 manual, table
    1-2), and so stands for its middle.
    """
    recorded_ns = weather_ns(instant_ns, later_days)
    year = from_ns(recorded_ns).astimezone(_WEATHER_ZONE).year  # a typical year has no date: it is read by its day
    begins_ns = to_ns(datetime(year, 1, 1, tzinfo=_WEATHER_ZONE))
    found, hours = weather(), (recorded_ns - begins_ns) / HOUR_NS
    read_h, mean_h = hours - 1.0, hours - 0.5
    return (
        float(_between(found.outdoor_c, read_h)),
        float(_between(found.wind_m_per_s, read_h)),
        float(_between(found.direct_w_per_m2, mean_h)),
        float(_between(found.diffuse_w_per_m2, mean_h)),
    )


def _between(values: Floats, hours: float) -> Floats:
    """Return hourly values (last axis), straight between the hours; the year repeats."""
    whole = int(np.floor(hours))
    far = hours - whole
    result: Floats = values[..., whole % HOURS] * (1 - far) + values[..., (whole + 1) % HOURS] * far
    return result
