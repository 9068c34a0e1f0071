"""A placebo study from a meter file, or of the homes that come with Tieline: what rules pay where nothing happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.market.baseline import day_type
from tieline.market.calendar import hours_on_the_clock_of, nerc_holidays, on_the_clock_of
from tieline.market.placebo import Days, Study, Trial, by_size, chosen, study_rules
from tieline.market.rule import BaselineRule, RuleTable, rule_table
from tieline.store.meter_files import read_celsius, read_meters, read_warmest
from tieline.store.segment import Tell
from tieline.times import HOUR_NS

PLAIN = date(2024, 1, 2)
"""Any day of 24 hours: on its clock all days are laid out."""
SAMPLE_BEGINS = date(2016, 8, 1)
"""The first whole day of the homes that come with Tieline, a Monday as their own weekdays say."""
MOST_EVENTS = 400
NOT_STUDIED = ("naesb-meter-before-meter-after", "caiso-meter-generator-output")
"""One steps from a reading, the other measures generators: neither says what a load would have been."""
STUDIED = ("", "daily temperatures", "hourly temperatures")
"""What a study has beside readings."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is studied: local hours of the day, days, rules, sizes of portfolios and how many are drawn of each."""

    hours: tuple[int, int]
    first: date
    last: date
    day_type: Literal["business", "other"]
    rules: Sequence[str]
    sizes: Sequence[int]
    draws: int
    seed: int
    table: RuleTable = field(default_factory=rule_table)
    """Which rules there are; those that come with Tieline where nobody says."""


def placebo_of(
    asked: Asked, meter_file: Path | None, zone_name: str | None, temperature_file: Path | None, say: Tell
) -> dict[str, Any]:
    """Return a study as `tieline placebo` prints it; the same files and seed give the same answer.

    `say` hears what is studied and how far it is: all rules on a year of 17 homes take minutes.

    Raises:
        ConfigError: A file or option is not what it should be, or no day can be settled.
    """
    if meter_file is None:
        homes, weather, per_hour = sample()
        inputs = derive("inputs", "homes that come with Tieline")
    else:
        homes, weather, per_hour = from_files(meter_file, zone_name, temperature_file)
        files = [meter_file, *([temperature_file] if temperature_file else [])]
        inputs = derive("inputs", *(path.read_bytes() for path in files))
    study = study_of(asked, homes, weather, per_hour)
    rules = rules_of(asked, study, bool(weather.warmest))
    bad = [size for size in asked.sizes if not 1 <= size <= len(homes)]
    if bad:
        raise ConfigError(f"--size {bad[0]}: give 1 to {len(homes)}, the number of meters")
    by_name = {rule.id: rule for rule in rules}
    trials = [trial for rule in each_told(rules, len(homes), study, say) for trial in study_rules([rule], homes, study)]
    best = {level: chosen(trials, level) for level in ("meter", "registration")}
    if not any(one.events for one in trials):
        raise ConfigError(
            f"no day from {asked.first} to {asked.last} has like days enough before it: give more readings"
        )
    pick = best["registration"]
    grown = []
    if pick is not None and asked.sizes:
        rng = np.random.default_rng(asked.seed)
        grown = by_size(by_name[pick.rule], homes, study, asked.sizes, asked.draws, rng)
    return {
        "meters": len(homes), "days": len(study.days), "hours": list(asked.hours), "day_type": asked.day_type,
        "input_hash": inputs, "trials": [_told(one, by_name) for one in trials],
        "chosen": {level: None if one is None else one.rule for level, one in best.items()},
        "by_size": [_told(one, by_name) for one in grown], "seed": asked.seed,
    }  # fmt: skip


def each_told(rules: Sequence[BaselineRule], meters: int, study: Study, say: Tell) -> Iterator[BaselineRule]:
    """Yield each rule, and say which it is: first of how many on what."""
    say(f"{len(rules)} rules on {meters} meters and {len(study.days)} days: fewer by --rule, --from, --until")
    for number, rule in enumerate(rules, 1):
        say(f"{number} of {len(rules)}: {rule.id}")
        yield rule


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """Each day's highest temperature, and that of each of its hours (degC); empty: not known."""

    warmest: Mapping[date, float] = field(default_factory=dict)
    celsius: Days = field(default_factory=dict)


def sample() -> tuple[dict[str, Days], Weather, int]:
    """Return the 17 homes that come with Tieline by day, their weather, and one interval an hour."""
    from tieline.simulate.datasets import homes, homes_outdoor_c

    # The first row is the last hour of the day before.
    whole = (homes().shape[1] - 1) // 24
    days = [SAMPLE_BEGINS + timedelta(days=at) for at in range(whole)]
    loads = homes()[:, 1 : 1 + 24 * whole].reshape(-1, whole, 24) / 1e3
    warm = homes_outdoor_c()[1 : 1 + 24 * whole].reshape(whole, 24)
    found: dict[str, Days] = {f"home-{k + 1:02}": dict(zip(days, rows, strict=True)) for k, rows in enumerate(loads)}
    highest = dict(zip(days, warm.max(axis=1).tolist(), strict=True))
    return found, Weather(highest, dict(zip(days, warm.astype(np.float64), strict=True))), 1


def from_files(
    meter_file: Path, zone_name: str | None, temperature_file: Path | None
) -> tuple[dict[str, Days], Weather, int]:
    """Return the meters of a file by day on one clock, their weather, and how many intervals an hour has.

    Raises:
        ConfigError: A file or option is not what it should be.
    """
    if zone_name is None:
        raise ConfigError("--timezone: is missing: give an IANA name: by its clock days begin")
    try:
        zone = ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"--timezone {zone_name!r}: give an IANA name such as America/Los_Angeles") from None
    meters = read_meters(meter_file)
    if len({one.step_ns for one in meters}) > 1:
        raise ConfigError(f"{meter_file}: meters have intervals of different lengths: give one length in a file")
    step_ns = meters[0].step_ns
    homes: dict[str, Days] = {
        one.meter or "meter": on_the_clock_of(PLAIN, zone, one.starts_ns, one.kwh, step_ns) for one in meters
    }
    if temperature_file is None:
        return homes, Weather(), HOUR_NS // step_ns
    hours = hours_on_the_clock_of(PLAIN, zone, *read_celsius(temperature_file))
    return homes, Weather(read_warmest(temperature_file, zone), hours), HOUR_NS // step_ns


def study_of(asked: Asked, homes: Mapping[str, Days], weather: Weather, per_hour: int) -> Study:
    """Return the days of a study. Raises ConfigError where there are none, or too many."""
    begin, end = asked.hours
    known = sorted({day for load in homes.values() for day in load if asked.first <= day <= asked.last})
    holidays = frozenset[date]().union(*(nerc_holidays(year) for year in {day.year for day in known}))
    is_business = asked.day_type == "business"
    days = [day for day in known if (day_type(day, holidays, "weekday-or-not") == "business") == is_business]
    if not days:
        raise ConfigError(f"--from {asked.first}: no {asked.day_type} day with readings from there to {asked.last}")
    if len(days) > MOST_EVENTS:
        raise ConfigError(f"--from {asked.first}: {len(days)} days: give {MOST_EVENTS} at most")
    return Study(days, begin * per_hour, end * per_hour, per_hour, holidays, weather.warmest, weather.celsius)


def rules_of(asked: Asked, study: Study, has_weather: bool) -> list[BaselineRule]:
    """Return the rules to study, none named: all that say what a load would be.

    Of each the version that is in force on the last studied day; where none is its method is studied all the same, by
    the newest. `RULE@VERSION` pins another.

    Raises:
        ConfigError: A rule is unknown, is named in two versions, or needs what the study hasn't.
    """
    if asked.rules:
        rules = [_of_study(asked.table, ref, max(study.days)) for ref in asked.rules]
        twice = [rule for n, rule in enumerate(rules) if rule.id in {one.id for one in rules[:n]}]
        if twice:
            raise ConfigError(f"--rule {twice[0].ref}: {twice[0].id} is named already: study one version at a time")
        odd = [rule for rule in rules if rule.needs not in STUDIED]
        if odd:
            raise ConfigError(f"--rule {odd[0].id}: goes by {odd[0].needs}, which no meter file has: give another rule")
        lacking = [rule.id for rule in rules if rule.needs and not has_weather]
        if lacking:
            raise ConfigError(f"--rule {lacking[0]}: goes by temperature: give --temperature FILE (start,celsius)")
        return rules
    every = [
        _of_study(asked.table, name, max(study.days)) for name in sorted(asked.table.rules) if name not in NOT_STUDIED
    ]
    return [rule for rule in every if rule.needs in STUDIED and (has_weather or not rule.needs)]


def _of_study(table: RuleTable, ref: str, day: date) -> BaselineRule:
    held = None if "@" in ref else table.holding(ref, day)
    return table.named(ref) if held is None else held.rule


def _told(one: Trial, by_name: Mapping[str, BaselineRule]) -> dict[str, Any]:
    return {
        "rule": one.rule, "version": by_name[one.rule].version,
        "level": one.level, "days": one.days, "meters": one.meters, "events": one.events,
        "refused": one.refused, "bias": one.bias, "rrmse": one.rrmse, "floored": one.floored,
    }  # fmt: skip
