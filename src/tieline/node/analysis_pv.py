"""PV of a day from files: what plants gave under measured weather, and the weather that is forecast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.forecast.pv import Place, Weather, learn
from tieline.forecast.score import wape
from tieline.node.analysis_forecast import zone_of
from tieline.store.meter_files import MeterSeries, read_instants, read_meters, read_numbers, read_table
from tieline.times import DAY_NS, MINUTE_NS, from_ns, iso, market_day

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]

LEARNS_DAYS, HELD_OUT_DAYS, LEAST_DAYS = 90, 14, 20
MOST_W_PER_M2 = 1_500.0


@dataclass(frozen=True, slots=True)
class AskedPv:
    """What is forecast.

    Attributes:
        output_file: `start,kwh,meter`, output positive.
        weather_file: `start,celsius` with `direct,diffuse` or `level`: means of intervals, days to come as forecast.
        zone_name: By its clock days begin.
        latitude_deg, longitude_deg: Where the plants stand, north and east positive.
        day: The local day; None: the first after the output.
    """

    output_file: Path
    weather_file: Path
    zone_name: str
    latitude_deg: float
    longitude_deg: float
    day: date | None


def pv_of(asked: AskedPv) -> dict[str, Any]:
    """Return the output of a day as `tieline forecast pv` prints it.

    Plants are learnt from the 90 days before; what that is worth is told for the last 14, by plants that were learnt
    without them and the weather as it is in the file.

    Raises:
        ConfigError: A file or option is not what it should be; it is named.
    """
    zone = zone_of(asked.zone_name)
    try:
        place = Place(asked.latitude_deg, asked.longitude_deg)
    except ValueError as error:
        raise ConfigError(f"--latitude, --longitude: {error}") from None
    meters = read_meters(asked.output_file)
    step_ns = meters[0].step_ns
    if any(one.step_ns != step_ns for one in meters):
        raise ConfigError(f"{asked.output_file}: meters have intervals of different lengths: give one length in a file")
    end_ns = max(int(one.starts_ns[-1]) + step_ns for one in meters)
    over = market_day(asked.day or _day_after(end_ns, zone), zone)
    starts_ns, columns = _weather_file(asked.weather_file)
    until = over.start_ns
    past_ns = starts_ns[(starts_ns >= until - LEARNS_DAYS * DAY_NS) & (starts_ns < until)]
    past_ns, kwh = _output(asked, meters, past_ns)
    wanted = np.arange(over.start_ns, over.end_ns, step_ns)
    lacks = np.setdiff1d(wanted, starts_ns)
    if len(lacks):
        minutes, day = step_ns // MINUTE_NS, from_ns(over.start_ns).astimezone(zone).date()
        at = iso(int(lacks[0]))
        raise ConfigError(f"{asked.weather_file}: no weather at {at}: give it every {minutes} minutes of {day}")
    past, ahead = (_weather(starts_ns, columns, at, step_ns) for at in (past_ns, wanted))
    cut = int(np.searchsorted(past_ns, until - HELD_OUT_DAYS * DAY_NS))
    try:
        found = learn(kwh, past, place).output(ahead)
        before = learn(kwh[:, :cut], _weather(starts_ns, columns, past_ns[:cut], step_ns), place)
    except ValueError as error:
        raise ConfigError(f"{asked.output_file}: {error}") from None
    held = before.output(_weather(starts_ns, columns, past_ns[cut:], step_ns))
    actual, day_before = kwh[:, cut:], _a_day_before(past_ns, kwh, cut)
    return {
        "day": str(from_ns(over.start_ns).astimezone(zone).date()), "plants": len(meters), "unit": "kWh",
        "total_kwh": float(found.sum()), "learnt_from_days": len(past_ns) * step_ns // DAY_NS,
        "lately": {"days": HELD_OUT_DAYS, "wape": wape(held, actual), "wape_day_before": wape(day_before, actual)},
        "series": [
            {"series": one.meter or "plant", "intervals": [
                {"start": iso(int(at)), "kwh": float(value)} for at, value in zip(wanted, row, strict=True)]}
            for one, row in zip(meters, found, strict=True)
        ],
    }  # fmt: skip


def _day_after(end_ns: int, zone: ZoneInfo) -> date:
    last = from_ns(end_ns).astimezone(zone).date()
    return last if market_day(last, zone).start_ns >= end_ns else last + timedelta(days=1)


def _weather_file(path: Path) -> tuple[Instants, dict[str, Floats]]:
    """Return the starts, rising, and the columns. Raises ConfigError naming what is none."""
    table = read_table(path, ("start", "celsius"), ("direct", "diffuse", "level"))
    names = [name for name in table.column_names if name != "start"]
    if not {"direct", "diffuse"} <= set(names) and "level" not in names:
        raise ConfigError(f"{path}: columns {', '.join(names)}: give direct and diffuse, or level (W/m2)")
    starts_ns = read_instants(path, table["start"])
    columns = {name: read_numbers(path, table[name], name) for name in names}
    for name, values in columns.items():
        low, high = (-90.0, 65.0) if name == "celsius" else (0.0, MOST_W_PER_M2)
        odd = np.flatnonzero(~((values >= low) & (values <= high)))
        if len(odd):
            told = "empty" if np.isnan(values[odd[0]]) else f"{values[odd[0]]:g}"
            raise ConfigError(f"{path}: row {odd[0] + 2}: {name} = {told}: give {low:g} to {high:g}")
    order = np.argsort(starts_ns, kind="stable")
    again = np.flatnonzero(np.diff(starts_ns[order]) == 0)
    if len(again):
        raise ConfigError(f"{path}: start = {iso(int(starts_ns[order][again[0]]))}: stands there twice: keep one")
    return starts_ns[order], {name: values[order] for name, values in columns.items()}


def _output(asked: AskedPv, meters: list[MeterSeries], at_ns: Instants) -> tuple[Instants, Floats]:
    """Return the instants that have weather and some output, and that, NaN where none; shape (plants, n)."""
    kwh = np.full((len(meters), len(at_ns)), np.nan)
    for k, one in enumerate(meters):
        _, mine, theirs = np.intersect1d(at_ns, one.starts_ns, assume_unique=True, return_indices=True)
        kwh[k, mine] = one.kwh[theirs]
        if (one.kwh[theirs] < -1e-3).any():
            low = float(np.nanmin(one.kwh[theirs]))
            raise ConfigError(f"{asked.output_file}: meter {one.meter or 'plant'}: kwh = {low:g}: give output above 0")
    some = np.isfinite(kwh).any(axis=0)
    days = int(some.sum()) * meters[0].step_ns // DAY_NS
    if days < LEAST_DAYS:
        raise ConfigError(
            f"{asked.output_file}: {days} days have output and weather at the same starts: give at least {LEAST_DAYS}"
        )
    return at_ns[some], kwh[:, some]


def _weather(starts_ns: Instants, columns: dict[str, Floats], at_ns: Instants, step_ns: int) -> Weather:
    rows = np.searchsorted(starts_ns, at_ns)
    direct, diffuse, level = (
        columns[name][rows] if name in columns else None for name in ("direct", "diffuse", "level")
    )
    return Weather(at_ns, step_ns, columns["celsius"][rows], direct, diffuse, level)


def _a_day_before(at_ns: Instants, kwh: Floats, cut: int) -> Floats:
    found = np.full((len(kwh), len(at_ns) - cut), np.nan)
    _, mine, theirs = np.intersect1d(at_ns[cut:] - DAY_NS, at_ns, assume_unique=True, return_indices=True)
    found[:, mine] = kwh[:, theirs]
    return found
