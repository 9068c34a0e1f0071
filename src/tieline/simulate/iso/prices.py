"""Day-ahead prices of 2021-2022 (ERCOT), hour by hour in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import cache
from importlib.resources import as_file, files
from zoneinfo import ZoneInfo

from tieline.errors import ConfigError
from tieline.times import from_ns
from tieline.wire.ads.hours import hour_ns, hours_of

ZONE = ZoneInfo("America/Chicago")
POINTS = ("HB_NORTH", "LZ_HOUSTON")


@cache
def _rows(point: str) -> Mapping[str, list[tuple[int, bool, float]]]:
    """Return the (hour ending, repeated, price) of each market day's hours. Raises ConfigError for no such point."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if point not in POINTS:
        raise ConfigError(f"settlement point {point!r}: give one of {', '.join(POINTS)}")
    place = files("tieline.simulate") / "data" / "prices" / "ercot_dam_2021_2022.parquet"
    with as_file(place) as path:
        table = pq.read_table(path)
    rows = table.filter(pc.equal(table["settlement_point"], point)).to_pydict()
    found: dict[str, list[tuple[int, bool, float]]] = {}
    columns = rows["delivery_date"], rows["hour_ending"], rows["repeated_hour"], rows["spp"]
    for day, hour_ending, repeated, price in zip(*columns, strict=True):
        found.setdefault(day, []).append((int(hour_ending[:2]), repeated == "Y", price))
    return found


def _priced(day: date, rows: Iterable[tuple[int, bool, float]]) -> dict[int, float]:
    return {hour_ns(day, hour_ending, repeated, ZONE)[0]: price for hour_ending, repeated, price in rows}


@cache
def day_ahead(point: str) -> Mapping[int, float]:
    """Return the day-ahead price ($/MWh) of each hour, by its start in UTC ns.

    Raises:
        ConfigError: There are no prices of that settlement point.
    """
    prices: dict[int, float] = {}
    for day, rows in _rows(point).items():
        prices |= _priced(date.fromisoformat(day), rows)
    return prices


@cache
def last_day(point: str) -> date:
    """Return the last market day whose prices are all known."""
    known = day_ahead(point)
    day = from_ns(max(known)).astimezone(ZONE).date()
    return day if all(start in known for _, _, start, _ in hours_of(day, ZONE)) else day - timedelta(days=1)


def prices_of(point: str, day: date) -> dict[int, float]:
    """Return the prices of one market day by hour start: 23, 24 or 25 of them; none outside 2021-2022."""
    return _priced(day, sorted(_rows(point).get(day.isoformat(), ())))
