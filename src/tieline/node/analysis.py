"""What a settlement analyst asks without a server: the baseline of an event from files, with all that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from tieline.contract.eligibility import Case, Verdict, enrol, judge
from tieline.errors import ConfigError
from tieline.fleet.columns import FUELS, KINDS
from tieline.market.baseline import Baseline, Event, Floats, compute, firm_service
from tieline.market.calendar import hours_on_the_clock_of, on_the_clock_of
from tieline.market.controls import controlled
from tieline.market.picking import LeftOut
from tieline.market.rule import BaselineRule, InForce, RuleTable, rule_table
from tieline.node.doubted_meters import doubted_readings
from tieline.node.unread import unread_of
from tieline.resource.identity import GROUP_KINDS
from tieline.store.importing import read_fleet
from tieline.store.meter_files import EventFile, MeterSeries, read_celsius, read_event, read_meters, read_warmest
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, iso, market_day

Level = Literal["meter", "registration", "resource"]
LEVELS: tuple[Level, ...] = get_args(Level)


def baseline_of(
    rule_id: str, meter_file: Path, event_file: Path, level: str | None = None, rules: RuleTable | None = None
) -> dict[str, Any]:
    """Return the baseline of an event as `tieline baseline` prints it.

    Args:
        rule_id: A rule's name, as `tieline rules list` prints it: the version in force on the event's local day is
            taken; `RULE@VERSION` pins one.
        meter_file: CSV or Parquet: `start,kwh` and `meter` where there are several.
        event_file: TOML: timezone, start, end and what else is known of the event.
        level: `meter`: each meter by itself, then summed; `registration` or `resource`: their sum as one, of the
            customer or of what the market knows. None: the rule's.
        rules: Which rules there are; None: those that come with Tieline.

    Raises:
        ConfigError: A file, a row, a field or the rule's demands are not met; what would do is named.
    """
    event, chosen = chosen_for(rule_id, event_file, rules)
    meters = read_meters(meter_file)
    made = made_of(chosen.rule, meter_file, meters, event_file, event, level)
    flags = [f"{one.meter}: {flag}" if one.meter else flag for one in meters for flag in one.flags]
    flags += unread_of(meters, event)
    doubted = doubted_readings(meter_file, meters, event.rating_kw)
    flags += [f"{one}; it is settled with --as-read {one.word} alone" for one in doubted]
    return _told(chosen, made, event, [*chosen.flags, *flags])


def chosen_for(rule_id: str, event_file: Path, rules: RuleTable | None) -> tuple[EventFile, InForce]:
    """Return an event, and the version of a rule that it is settled by. Raises ConfigError naming what is not met."""
    table = rule_table() if rules is None else rules
    table.named(rule_id)  # a name that is none is told before a file is read
    event = read_event(event_file)
    return event, table.on(rule_id, event.day)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """Baselines by meter ("" for a registration as one), the level that they are at, and an interval's length."""

    level: Level
    step_ns: int
    baselines: Mapping[str, Baseline]


def made_of(
    rule: BaselineRule,
    meter_file: Path,
    meters: list[MeterSeries],
    event_file: Path,
    event: EventFile,
    asked_level: str | None,
) -> Made:
    """Return the baselines of an event at a level (None: the rule's). Raises ConfigError naming what is not met."""
    level = next((one for one in LEVELS if one == (asked_level or rule.level)), None)
    if level is None:
        raise ConfigError(f"--level {asked_level}: give {' or '.join(LEVELS)}")
    if "temperatures" in rule.needs and event.temperature is None:
        raise ConfigError(f'{event_file}: temperature is missing: {rule.id} goes by it: give temperature = "FILE.csv"')
    if rule.needs == "peak_load_kw" and event.peak_load_kw is None:
        raise ConfigError(f"{event_file}: peak_load_kw is missing: {rule.id} counts from it: give kW")
    if rule.needs == "controls":
        return _controlled(rule, meter_file, meters, event_file, event, level)
    weather = _weather(rule, event)
    meters = _expanded(rule, meter_file, meters, event_file, event, level) if rule.is_sample else meters
    parts = [(one.meter, one) for one in meters] if level == "meter" else [("", _together(meter_file, meters))]
    steps = {one.step_ns for _, one in parts}
    if len(steps) > 1:
        raise ConfigError(f"{meter_file}: meters have intervals of different lengths: give one length in a file")
    found = {name: _one(rule, series, event, event_file, *weather) for name, series in parts}
    return Made(level, parts[0][1].step_ns, found)


def _together(path: Path, meters: list[MeterSeries]) -> MeterSeries:
    """Return the sum of all meters; an interval that one of them lacks is lacking."""
    if len(meters) == 1:
        return meters[0]
    steps = {one.step_ns for one in meters}
    if len(steps) > 1:
        odd = next(one for one in meters if one.step_ns != meters[0].step_ns)
        raise ConfigError(
            f"{path}: meter {odd.meter} has {odd.step_ns // MINUTE_NS} minute intervals, {meters[0].meter} has "
            f"{meters[0].step_ns // MINUTE_NS}: give one length, or --level meter"
        )
    starts = np.unique(np.concatenate([one.starts_ns for one in meters]))
    total, count = np.zeros(len(starts)), np.zeros(len(starts), np.int64)
    for one in meters:
        at = np.searchsorted(starts, one.starts_ns)
        total[at] += one.kwh
        count[at] += 1
    total[count < len(meters)] = np.nan
    return MeterSeries("", starts, total, meters[0].step_ns, ())


def _expanded(
    rule: BaselineRule, meter_file: Path, meters: list[MeterSeries], event_file: Path, event: EventFile, level: str
) -> list[MeterSeries]:
    """Return a sample's meters, each standing for its part of the population."""
    if event.population is None or event.population < len(meters):
        raise ConfigError(
            f"{event_file}: population = {event.population}: {rule.id} takes the meters of {meter_file} for a sample: "
            f"give how many they stand for, {len(meters)} at least"
        )
    if level != "meter":
        raise ConfigError(f"--level {level}: {rule.id} needs each meter by itself, for its error: meter")
    part = event.population / len(meters)
    return [replace(one, kwh=one.kwh * part) for one in meters]


def _sample_error(found: list[Baseline], population: int) -> dict[str, Any]:
    """Return a sample's size and the standard error of the total: `sqrt(n var(x) (1 - n / N))` of expanded sums x.

    Simple random sampling without replacement (Cochran, Sampling Techniques, section 2.8).
    """
    sums, count = np.array([float(one.performance.sum()) for one in found]), len(found)
    error = float(np.sqrt(count * sums.var(ddof=1) * (1 - count / population))) if count > 1 else None
    return {"meters": count, "population": population, "standard_error_kwh": error}


def _controlled(
    rule: BaselineRule, meter_file: Path, meters: list[MeterSeries], event_file: Path, event: EventFile, level: Level
) -> Made:
    """Return the baseline of all called meters as one, by those of the event's `controls`."""
    if level == "meter":
        raise ConfigError(f"--level {level}: {rule.id} compares all who were called with who was not: registration")
    if event.controls is None:
        raise ConfigError(f'{event_file}: controls is missing: {rule.id} goes by it: give controls = "FILE.csv"')
    others = read_meters(event.controls)
    odd = next((one for one in [*meters, *others] if one.step_ns != meters[0].step_ns), None)
    if odd is not None:
        wanted, has = meters[0].step_ns // MINUTE_NS, odd.step_ns // MINUTE_NS
        where = event.controls if odd in others else meter_file
        raise ConfigError(
            f"{where}: meter {odd.meter} has {has} minute intervals: give {wanted} as the first meter has"
        )
    sides = [
        {one.meter: on_the_clock_of(event.day, event.zone, one.starts_ns, one.kwh, one.step_ns) for one in side}
        for side in (meters, others)
    ]
    apart = LeftOut(event.other_event_days, event.holidays)
    try:
        made = controlled(rule, sides[0], sides[1], call_of(meters[0], event, event_file), apart)
    except ValueError as error:
        raise ConfigError(f"{event_file}: {error}") from None
    return Made(level, meters[0].step_ns, {"": made})


def _weather(rule: BaselineRule, event: EventFile) -> tuple[Mapping[date, float], Mapping[date, Floats]]:
    """Return each day's highest temperature and, for a rule that wants them, those of its hours."""
    if event.temperature is None:
        return {}, {}
    if rule.needs != "hourly temperatures":
        return read_warmest(event.temperature, event.zone), {}
    return {}, hours_on_the_clock_of(event.day, event.zone, *read_celsius(event.temperature))


def call_of(series: MeterSeries, event: EventFile, event_file: Path) -> Event:
    """Return an event in intervals of a meter. Raises ConfigError where it begins or ends within one."""
    over, step_ns = market_day(event.day, event.zone), series.step_ns
    if past_ns := (int(series.starts_ns[0]) - over.start_ns) % step_ns:
        raise ConfigError(
            f"{f'meter {series.meter}: ' if series.meter else ''}start = {iso(int(series.starts_ns[0]))}: its "
            f"{step_ns // MINUTE_NS} minute intervals begin {past_ns / MINUTE_NS:g} minutes past those of the day in "
            f"{event.zone.key} ({event_file}): give readings on its clock"
        )
    first, last = (event.start_ns - over.start_ns) / step_ns, (event.end_ns - over.start_ns) / step_ns
    for name, at, value in (("start", first, event.start_ns), ("end", last, event.end_ns)):
        if at != round(at):
            minutes = step_ns // MINUTE_NS
            raise ConfigError(
                f"{event_file}: {name} = {iso(value)}: give a whole {minutes} minute interval of the meter"
            )
    notice = None
    if event.notified_ns is not None:
        # Told on an earlier day, the whole day is after the notice.
        notice = min(max(-(-(event.notified_ns - over.start_ns) // step_ns), 0), round(first))
    return Event(event.day, round(first), round(last), HOUR_NS // step_ns, notice)


def _one(
    rule: BaselineRule, series: MeterSeries, event: EventFile, event_file: Path,
    warmest: Mapping[date, float], celsius: Mapping[date, Floats],
) -> Baseline:  # fmt: skip
    call = call_of(series, event, event_file)
    load: dict[date, Floats] = on_the_clock_of(event.day, event.zone, series.starts_ns, series.kwh, series.step_ns)
    who = f"meter {series.meter}: " if series.meter else ""
    try:
        if event.peak_load_kw is not None and rule.needs == "peak_load_kw":
            return firm_service(rule, load, call, event.peak_load_kw, event.firm_service_kw, event.loss_factor)
        return compute(
            rule, load, call, event_days=event.other_event_days, holidays=event.holidays, warmest=warmest,
            celsius=celsius,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(f"{who}{error}") from None


def _told(chosen: InForce, made: Made, event: EventFile, flags: list[str]) -> dict[str, Any]:
    rule = chosen.rule
    level, step_ns, found = made.level, made.step_ns, made.baselines
    first = next(iter(found.values()))
    alone = len(found) == 1
    base = np.sum([one.baseline for one in found.values()], axis=0)
    gained = np.sum([one.performance for one in found.values()], axis=0)
    actual = np.sum([np.nan_to_num(one.actual) for one in found.values()], axis=0)
    unread = np.any([one.missing for one in found.values()], axis=0)
    starts = [from_ns(event.start_ns + k * step_ns).astimezone(event.zone).isoformat() for k in range(len(base))]
    told: dict[str, Any] = {
        "rule": rule.id, "version": rule.version, "in_force": chosen.told(), "row_hash": rule.row_hash,
        "source": rule.source, "certainty": rule.certainty, "level": level,
        "event": {"day": event.day.isoformat(), "timezone": event.zone.key, "start": starts[0],
                  "end": from_ns(event.end_ns).astimezone(event.zone).isoformat()},
    }  # fmt: skip
    if alone:
        told |= explained(rule, first)
    else:
        told["meters"] = [
            {"meter": name, **explained(rule, one), "total_kwh": float(one.performance.sum())}
            for name, one in found.items()
        ]
    told["intervals"] = [
        {
            "start": start, "baseline_kwh": float(base[k]), "actual_kwh": None if unread[k] else float(actual[k]),
            "performance_kwh": float(gained[k]),
        }
        for k, start in enumerate(starts)
    ]  # fmt: skip
    told["total_kwh"] = float(gained.sum())
    told["flags"] = [*flags, *dict.fromkeys(flag for one in found.values() for flag in one.flags)]
    if rule.is_sample and event.population is not None:
        told["sample"] = _sample_error(list(found.values()), event.population)
    told["gaming"] = _gaming(list(found.values()))
    told["input_hash"] = first.input_hash if alone else {name: one.input_hash for name, one in found.items()}
    return told


def explained(rule: BaselineRule, one: Baseline) -> dict[str, Any]:
    """Return how a baseline came about: days and weights, days left out and why, factor or addend with its caps."""
    adjusted = {"additive": {"addend": one.addend}, "ratio": {"factor": one.factor}}
    caps = {"cap_low": rule.adjust_low, "cap_high": rule.adjust_high} if rule.adjust == "ratio" else {}
    return {
        "days": [day.isoformat() for day in one.days],
        "weights": list(one.weights),
        "excluded": [{"day": day.isoformat(), "why": why} for day, why in one.excluded],
        **adjusted.get(rule.adjust, {"factor": 1.0}),
        **caps,
        "is_capped": one.is_capped,
        **({} if one.model is None else {"model": _plain(asdict(one.model))}),
        **({} if one.comparison is None else {"comparison": _plain(asdict(one.comparison))}),
    }


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with what is no number as null, as JSON has no other word for it."""
    return {name: None if value != value else value for name, value in fields.items()}


def _gaming(found: list[Baseline]) -> dict[str, Any]:
    """Return what shows whether load was moved to raise the baseline, and what the adjustment alone adds."""
    uses = [one.used for one in found if one.used is not None]
    total = sum(float(one.performance.sum()) for one in found)
    adjustment = sum(use.adjustment for use in uses)
    before = [use.before_notice for use in uses]
    moved = [value for value in before if value is not None]
    return {
        "adjustment_kwh": adjustment,
        "adjustment_share": adjustment / total if total else None,
        "window_z": uses[0].window_z if len(uses) == 1 else None,
        "baseline_before_notice_kwh": sum(moved) if len(moved) == len(uses) else None,
        "rebound_kwh": sum(use.rebound for use in uses),
    }


def eligible_one(kind: str, fuel: str, jurisdiction: str, program: str, **where: Any) -> dict[str, Any]:
    """Return whether one resource may serve a program, and by which rule.

    Raises:
        ConfigError: There is no such kind or fuel.
    """
    leaves = sorted(each.value for each in KINDS if each not in GROUP_KINDS)
    if kind not in leaves:
        raise ConfigError(f"--kind {kind!r}: give one of {', '.join(leaves)}; or --devices TABLE")
    if fuel not in FUELS:
        raise ConfigError(f"--fuel {fuel!r}: give one of {', '.join(FUELS)}")
    verdict = judge(Case(kind, fuel, jurisdiction, program, **where))
    asked = {"kind": kind, "fuel": fuel, "jurisdiction": jurisdiction, "program": program, **where}
    return {"eligible": verdict.is_eligible, **_rule_of(verdict), "asked": asked}


def eligible_devices(table: Path, jurisdiction: str, program: str, **where: Any) -> dict[str, Any]:
    """Return who of a device table may serve a program, and by which rule each other may not.

    Raises:
        ConfigError: The table is faulty; rows are named.
    """
    fleet = read_fleet(table)
    kinds = np.array([kind.value for kind in KINDS])[fleet.kinds]
    found = enrol(kinds, np.array(list(FUELS))[fleet.fuels], jurisdiction, program, **where)
    counts = np.bincount(found.verdict_of, minlength=len(found.verdicts)).tolist()
    refused: dict[str, dict[str, Any]] = {}
    for verdict, count in zip(found.verdicts, counts, strict=True):
        if not verdict.is_eligible and count:
            row = refused.setdefault(verdict.rule, {**_rule_of(verdict), "count": 0})
            row["count"] += count
    devices = [
        {"id": name, "eligible": verdict.is_eligible, "rule": verdict.rule}
        for name, verdict in zip(fleet.ids, (found.verdicts[at] for at in found.verdict_of.tolist()), strict=True)
    ]
    asked = {"jurisdiction": jurisdiction, "program": program, **where}
    return {
        "eligible": int(found.may_serve.sum()), "total": len(fleet), "refused": list(refused.values()),
        "asked": asked, "devices": devices,
    }  # fmt: skip


def _rule_of(verdict: Verdict) -> dict[str, str]:
    return {
        "rule": verdict.rule, "version": verdict.version, "source": verdict.source, "says": verdict.says
    }  # fmt: skip
