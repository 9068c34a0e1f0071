"""Forecasts from files: the next day of some meters, what models were worth on the days before, what was known when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.forecast.bands import LEAST_DAYS as LEAST_ERRORS
from tieline.forecast.bands import LEVELS, bands
from tieline.forecast.choosing import LEAST_DAYS as LEAST_CHOICE
from tieline.forecast.choosing import choose, spoken
from tieline.forecast.clock import DayClock
from tieline.forecast.known import Issue
from tieline.forecast.replay import LOOKS_BACK_DAYS, Past, replay
from tieline.forecast.ridge import LEAST_DAYS
from tieline.forecast.score import coverage, pinball, skill, wape
from tieline.forecast.weather import weather_error
from tieline.market.calendar import nerc_holidays
from tieline.node.kept_readings import named
from tieline.store.meter_files import MeterSeries, read_instants, read_meters, read_numbers, read_table
from tieline.times import MINUTE_NS, from_ns, iso, market_day

Floats = NDArray[np.float64]

REPLAYED_DAYS = 70
"""The forecasts of so many days are made anew for a choice and quantiles that know how the last ones went."""
MOST_LEAD = 14
POOL = "pool"
LEAST_READ = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """What is forecast, and from what.

    Attributes:
        meter_file: `start,kwh` and `meter`.
        zone_name: By its clock days begin.
        temperature_file: `start,celsius`, days to come as forecast; None: without weather.
        lead: So many days after the last day of readings that is looked at.
        level: `pool`, the sum of all meters, or `meter`.
        holidays: `none` or `nerc`.
        without: Days that say nothing of a usual load, such as those with events.
        models: Of these one is chosen by what each was worth lately; the first is the floor.
        meters: What was read elsewhere already, in a served folder; `meter_file` is then where.
    """

    meter_file: Path
    zone_name: str
    temperature_file: Path | None
    lead: int
    level: str
    holidays: str
    without: Sequence[date]
    models: Sequence[str]
    meters: Sequence[MeterSeries] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    names: tuple[str, ...]
    clock: DayClock
    known: int
    past: Past
    flags: tuple[str, ...]


def forecast_of(asked: Asked, day: date | None) -> tuple[dict[str, Any], Issue]:
    """Return the forecast of a day as `tieline forecast` prints it, and what is kept of it (known since its readings).

    Args:
        asked: Files and terms.
        day: The day; None: as early as the readings and the lead allow.

    Raises:
        ConfigError: A file or option is not what it should be; it is named.
    """
    read = _read(asked, day, REPLAYED_DAYS + LOOKS_BACK_DAYS + asked.lead)
    clock, past, lead = read.clock, read.past, asked.lead
    target = clock.days - 1
    days = range(max(LEAST_DAYS + lead - 1, target - REPLAYED_DAYS), target + 1)
    each = replay(past, days, lead, asked.models)
    silent = ~np.isfinite(each[:, -1]).all(axis=(0, 2))
    flags = [f"meter {read.names[k]}: left out: no reading at some time of day lately" for k in np.flatnonzero(silent)]
    if silent.all():
        raise ConfigError(_silence(asked, read, target))
    made, actual = _levels(asked, each[:, :, ~silent], past.load[:, list(days)][~silent])
    chosen = choose(np.abs(made - actual).sum(axis=-1), lead=lead)
    mean = spoken(made, chosen)
    around = bands(mean, actual, lead=lead)
    starts_ns, steps = clock.instants(target)
    kept = tuple(read.names[k] for k in np.flatnonzero(~silent))
    names = (POOL,) if asked.level == POOL else kept
    flags += read.flags
    if len(days) <= LEAST_ERRORS + lead - 1:
        flags.append(
            f"no quantiles: {len(days) - 1} days could be foretold before: {LEAST_ERRORS + lead - 1} are needed"
        )
    until_ns = market_day(clock.day(target - lead), clock.zone).end_ns
    issue = Issue(
        names, "kWh", until_ns, until_ns, starts_ns, clock.step_ns, tuple(asked.models[k] for k in chosen[-1]),
        mean[-1][:, steps], around.levels, around.quantiles[-1][:, steps],
    )  # fmt: skip
    told = [
        _told(issue, k, _worth(made[:, :-1, k], mean[:-1, k], actual[:-1, k], asked.models), around.below[-1, k])
        for k in range(len(names))
    ]
    head = {
        "day": str(clock.day(target)), "timezone": asked.zone_name, "lead_days": lead, "meters": len(read.names),
        "readings_until": iso(until_ns), "weather": asked.temperature_file is not None, "unit": "kWh",
    }  # fmt: skip
    return {**head, "series": told, "flags": flags}, issue


def score_of(asked: Asked, last_days: int, weather_error_c: float, seed: int) -> dict[str, Any]:
    """Return what each model was worth on the last days of the readings, as `tieline forecast score` prints it.

    Days before them are foretold as well, so that the choice and the bands know how those went, as they do in a
    forecast. Where readings don't go back so far, what all were worth since a model could be chosen is told as well.

    Args:
        asked: Files and terms.
        last_days: So many days are foretold, each from what was known then.
        weather_error_c: Standard error of the temperatures of days ahead: measured ones are no forecast.
        seed: Of those errors.

    Raises:
        ConfigError: As above.
    """
    read = _read(asked, None, last_days + REPLAYED_DAYS + LOOKS_BACK_DAYS + asked.lead, is_ahead=False)
    past, lead, until = read.past, asked.lead, read.known
    first = max(LEAST_DAYS + lead - 1, until - last_days)
    if until - first < LEAST_ERRORS + lead:
        least = LEAST_DAYS + LEAST_ERRORS + 2 * lead
        raise ConfigError(
            f"{asked.meter_file}: {named(read.names)}: --days {last_days} leaves {until - first} days to be foretold: "
            f"give at least {LEAST_ERRORS + lead}; of whole days of readings, {until} here, give at least {least}"
        )
    if past.celsius is not None and weather_error_c > 0:
        off = weather_error((len(past.celsius), past.celsius.shape[1]), weather_error_c, seed)
        past = Past(past.load, past.is_off, past.celsius, past.celsius + off)
    days = range(max(LEAST_DAYS + lead - 1, first - REPLAYED_DAYS), until)
    made, actual = _levels(asked, replay(past, days, lead, asked.models), past.load[:, list(days)])
    chosen = choose(np.abs(made - actual).sum(axis=-1), lead=lead)
    mean = spoken(made, chosen)
    around, of = bands(mean, actual, lead=lead), slice(first - until, None)
    since = max(first, days[0] + LEAST_CHOICE + lead - 1)
    later = _worth(made[:, since - until :], mean[since - until :], actual[since - until :], asked.models)
    made, actual, chosen, mean, quantiles = made[:, of], actual[of], chosen[of], mean[of], around.quantiles[of]
    worth = _worth(made, mean, actual, asked.models)
    low, high = quantiles[..., 0], quantiles[..., -1]
    return {
        "meters": len(read.names), "level": asked.level, "from": str(read.clock.day(first)),
        "until": str(read.clock.day(until - 1)), "days": until - first, "lead_days": lead,
        "weather_error_c": weather_error_c if past.celsius is not None else None, **worth,
        "coverage_90": coverage(low, high, actual), "coverage_80": coverage(*_inner(quantiles), actual),
        "pinball": pinball(quantiles, actual, around.levels),
        "chosen": {name: int((chosen == k).sum()) for k, name in enumerate(asked.models)},
        "since_choice": {"from": str(read.clock.day(since)), "days": until - since, **later},
        "seed": seed, "flags": list(read.flags),
    }  # fmt: skip


def _silence(asked: Asked, read: _Read, target: int) -> str:
    """Return why no meter can be foretold: at which time of day which of them was read on none of the days."""
    load, days = read.past.load, min(read.known, LOOKS_BACK_DAYS)
    unread = np.logical_and.reduce(np.isnan(load[:, read.known - days : read.known]), axis=1)
    at = unread.any(axis=0).argmax()  # the first time of day that somebody lacks
    minutes = int(at) * read.clock.step_ns // MINUTE_NS
    whose = named([name for k, name in enumerate(read.names) if unread[k, at]] or read.names)
    return (
        f"{asked.meter_file}: no meter has readings at all times of day before {read.clock.day(target)}: {whose}: "
        f"readings at {minutes // 60:02}:{minutes % 60:02} = 0 in {days} days: give at least 1 for every time of day"
    )


def _inner(quantiles: Floats) -> tuple[Floats, Floats]:
    return quantiles[..., LEVELS.index(0.1)], quantiles[..., LEVELS.index(0.9)]


def _levels(asked: Asked, made: Floats, load: Floats) -> tuple[Floats, Floats]:
    """Return forecasts (models, days, m, steps) and what came (days, m, steps), of each meter or of their sum."""
    actual = load.transpose(1, 0, 2)
    if asked.level != POOL:
        return made, actual
    # Of very many meters some always lack: where half or more were read, forecasts and readings of these are summed.
    told = np.isfinite(made).all(axis=0)
    read = told & np.isfinite(actual)
    share = read.sum(axis=1) / np.maximum(told.sum(axis=1), 1)
    both = np.where((share > 0)[:, None], read, told)
    came = np.where(share >= LEAST_READ, np.where(read, actual, 0.0).sum(axis=1), np.nan)
    return np.where(both, made, 0.0).sum(axis=2)[:, :, None], came[:, None]


def _worth(made: Floats, mean: Floats, actual: Floats, models: Sequence[str]) -> dict[str, Any]:
    """Return WAPE of each model and of what was spoken, and the skill of that over the floor."""
    return {
        "wape": {name: wape(made[k], actual) for k, name in enumerate(models)} | {"chosen": wape(mean, actual)},
        "skill": skill(mean, actual, made[0]),
    }


def _told(issue: Issue, k: int, worth: dict[str, Any], below: Floats) -> dict[str, Any]:
    names = [f"q{round(100 * level):02d}" for level in issue.levels]
    rows = [
        {"start": iso(int(start)), "kwh": float(issue.mean[k, t])}
        | {name: float(issue.quantiles[k, t, q]) for q, name in enumerate(names)}
        for t, start in enumerate(issue.starts_ns)
    ]
    return {
        "series": issue.series[k], "model": issue.models[k], "total_kwh": float(issue.mean[k].sum()), "lately": worth,
        "coverage_90": float(below[-1] - below[0]), "intervals": rows,
    }  # fmt: skip


def _read(asked: Asked, day: date | None, looks_back: int, is_ahead: bool = True) -> _Read:
    """Return readings laid out by day; the last day is the target, of which and of the lead nothing is known.

    Args:
        asked: Files and terms.
        day: The target; None: the first that can be.
        looks_back: So many days before it are read.
        is_ahead: Whether the target itself is foretold, so that its temperature is needed.
    """
    zone = zone_of(asked.zone_name)
    if not 1 <= asked.lead <= MOST_LEAD:
        raise ConfigError(f"--lead {asked.lead}: give 1 to {MOST_LEAD} days")
    meters = list(asked.meters) or read_meters(asked.meter_file)
    if len({one.step_ns for one in meters}) > 1:
        raise ConfigError(f"{asked.meter_file}: meters have intervals of different lengths: give one length in a file")
    step_ns = meters[0].step_ns
    first = min(_whole_day(int(one.starts_ns[0]), zone) for one in meters)
    end_ns = max(int(one.starts_ns[-1]) + step_ns for one in meters)
    whole = from_ns(end_ns).astimezone(zone).date()  # the first day that isn't whole
    target = whole + timedelta(days=asked.lead - 1) if day is None else day
    unknown = min(whole, target - timedelta(days=asked.lead - 1))  # the first day that is not looked at
    if (there := max((unknown - first).days, 0)) < LEAST_DAYS:
        raise ConfigError(
            f"{asked.meter_file}: {there} whole days before {target} less the lead: give at least {LEAST_DAYS}"
        )
    if target > whole + timedelta(days=asked.lead - 1):
        latest, lead = whole + timedelta(days=asked.lead - 1), (target - whole).days + 1
        last = whole - timedelta(days=1)
        raise ConfigError(f"--day {target}: readings end with {last}: give {latest} at the latest, or --lead {lead}")
    first = max(first, target - timedelta(days=looks_back))
    clock = DayClock(zone, first, (target - first).days + 1, step_ns)
    try:
        load = clock.laid_out([(one.starts_ns, one.kwh) for one in meters])
    except ConfigError as error:
        raise ConfigError(f"{asked.meter_file}: {error}") from None
    known = clock.place_of(unknown)
    load[:, known:] = np.nan  # what was not known then is not looked at, not even for a score
    load[:, [at for at in map(clock.place_of, asked.without) if 0 <= at < clock.days]] = np.nan
    is_off = clock.weekends(_holidays(asked.holidays, clock))
    celsius = (
        None
        if asked.temperature_file is None
        else _celsius(asked.temperature_file, clock, clock.days if is_ahead else known)
    )
    flags = tuple(f"{one.meter}: {flag}" if one.meter else flag for one in meters for flag in one.flags)
    names = tuple(one.meter or "meter" for one in meters)
    return _Read(names, clock, known, Past(load, is_off, celsius, celsius), flags[:20])


def _whole_day(start_ns: int, zone: ZoneInfo) -> date:
    """Return the first local day that begins with or after an instant."""
    day = from_ns(start_ns).astimezone(zone).date()
    return day if market_day(day, zone).start_ns >= start_ns else day + timedelta(days=1)


def zone_of(name: str) -> ZoneInfo:
    """Return the zone of `--timezone`. Raises ConfigError where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--timezone {name!r}: give an IANA name such as America/Los_Angeles") from None


def _holidays(which: str, clock: DayClock) -> frozenset[date]:
    years = range(clock.first.year, clock.day(clock.days - 1).year + 1)
    return frozenset[date]().union(*(nerc_holidays(year) for year in years)) if which == "nerc" else frozenset()


def _celsius(path: Path, clock: DayClock, days: int) -> Floats:
    """Return the temperature of every day. Raises ConfigError naming the first of so many that lacks one."""
    table = read_table(path, ("start", "celsius"), ())
    starts_ns, celsius = read_instants(path, table["start"]), read_numbers(path, table["celsius"], "celsius")
    odd = np.flatnonzero((celsius < -90.0) | (celsius > 65.0))
    if len(odd):
        raise ConfigError(f"{path}: row {odd[0] + 2}: celsius = {celsius[odd[0]]:g}: give -90 to 65 degC")
    found = clock.interpolated(starts_ns, celsius)
    lacks = np.flatnonzero(~np.isfinite(found[:days]).all(axis=1))
    if len(lacks):
        raise ConfigError(
            f"{path}: no temperature for all of {clock.day(int(lacks[0]))}: give start,celsius from "
            f"{clock.first} to {clock.day(days - 1)}, that included, no more than 3 h apart"
        )
    return found
