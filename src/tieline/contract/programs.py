"""Reads programs, and says what a single field of one can't.

That a call is not longer than the season's hours, that heat is let go in turns, that a rebate pays by the kWh.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from tieline.contract.program import (
    MOST_MONEY,
    NOT_VOLUNTARY,
    OPT_OUT_S,
    RELEASE_S,
    SIGNED,
    AnyProgram,
    BringYourOwnThermostat,
    CapacityBidding,
    DirectLoadControl,
    DynamicPrice,
    Emergency,
    ExportBattery,
    FlexibleConnection,
    PeakTimeRebate,
    Weather,
)
from tieline.contract.strict import Faulty, Span, document, overlaps, take
from tieline.resource.identity import GROUP_KINDS, Kind


@cache
def sample_programs() -> tuple[AnyProgram, ...]:
    """Return the programs that come with the package, one of each type at least."""
    text = (files("tieline.contract") / "rules" / "programs.toml").read_text(encoding="utf-8")
    return parse_programs(text, "programs.toml")


def parse_programs(text: str, name: str) -> tuple[AnyProgram, ...]:
    """Return the programs of a TOML text.

    Raises:
        ConfigError: A row is no program, or can't be kept; every fault with its path.
    """
    rows, found = document(text, name, {"program": AnyProgram}).get("program", []), list[str]()
    programs = take(rows, AnyProgram, f"{name}: $.program", found)
    for at, program in enumerate(programs):
        if program is not None:
            found += [f"{name}: $.program[{at}].{fault}" for fault in faults(program)]
            found += [f"{name}: $.program[{at}].{fault}" for fault in _twice(program, programs[:at])]
    if not rows:
        found.append(f"{name}: $.program: is missing: give each program under [[program]]")
    if found:
        raise Faulty(name, found)
    return tuple(programs)


def _twice(program: AnyProgram, before: list[AnyProgram | None]) -> Iterator[str]:
    for other in before:
        if other is None or other.id != program.id:
            continue
        if overlaps(Span(program.effective_from, program.effective_to), Span(other.effective_from, other.effective_to)):
            yield f"effective_from = {program.effective_from}: version {other.version} of {program.id} holds then, too"


def faults(program: AnyProgram) -> list[str]:
    """Return what is wrong with a program, each as `field = value: limit`."""
    return [*_money(program, ""), *_common(program), *_calls(program), *_own(program)]


def _money(part: Struct, path: str) -> Iterator[str]:
    """Yield what is wrong with amounts: msgspec bounds no Decimal, and a NaN would pass any sum in silence."""
    for name in part.__struct_fields__:
        value = getattr(part, name)
        for at, one in enumerate(value if isinstance(value, tuple) else (value,)):
            here = f"{path}{name}[{at}]" if isinstance(value, tuple) else f"{path}{name}"
            if isinstance(one, Struct):
                yield from _money(one, f"{here}.")
            elif isinstance(one, Decimal):
                least = -MOST_MONEY if name in SIGNED else Decimal(0)
                if not one.is_finite() or not least <= one <= MOST_MONEY:
                    yield f"{here} = {one}: give {least} to {MOST_MONEY}"


def _common(program: AnyProgram) -> Iterator[str]:
    try:
        ZoneInfo(program.zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield f"zone = {program.zone!r}: give a zone of the tz database, such as America/Los_Angeles"
    if program.effective_to is not None and program.effective_to <= program.effective_from:
        yield f"effective_to = {program.effective_to}: give a day after {program.effective_from}"
    for kind in program.kinds:
        if kind in GROUP_KINDS:
            yield f"kinds = {kind.value}: give kinds of devices, not of groups"
    if not program.source.strip():
        yield "source = '': give where the values come from"
    known = set(program.__struct_fields__)
    for name in program.ours:
        if name.split(".")[0] not in known:
            yield f"ours = {name!r}: give fields of this program"
    if program.id in program.excludes:
        yield f"excludes = {program.id!r}: give other programs"
    out = program.opt_out
    if out.is_allowed and not isinstance(program, NOT_VOLUNTARY) and out.effective_s > OPT_OUT_S:
        yield f"opt_out.effective_s = {out.effective_s}: give at most {OPT_OUT_S} s for a voluntary program"
    if out.is_allowed and isinstance(program, PeakTimeRebate | Emergency) and out.penalty_per_kwh > 0:
        yield f"opt_out.penalty_per_kwh = {out.penalty_per_kwh}: give 0: nobody pays for missing it"
    if not out.is_allowed and not isinstance(program, NOT_VOLUNTARY):
        yield "opt_out.is_allowed = false: give true: only contracted capacity and connections may refuse it"
    for at, weather in enumerate(program.triggers):
        if isinstance(weather, Weather) and weather.above_c is None and weather.below_c is None:
            yield f"triggers[{at}].above_c = none: give above_c, below_c or both"


def _calls(program: AnyProgram) -> Iterator[str]:
    if not program.is_called:
        if program.budget is not None or program.triggers:
            yield "budget = given: a dynamic price holds always: leave budget and triggers out"
        return
    if not program.triggers:
        yield "triggers = none: give what calls it, one at least"
    for at, window in enumerate(program.windows):
        if window.last_hour <= window.first_hour:
            yield f"windows[{at}].last_hour = {window.last_hour}: give one after first_hour {window.first_hour}"
    budget = program.budget
    if budget is None:
        yield "budget = none: give hours_a_call and what bounds a season"
        return
    if budget.hours_a_call <= 0:
        yield f"budget.hours_a_call = {budget.hours_a_call:g}: give more than 0"
    if budget.least_hours_a_call > budget.hours_a_call:
        limit = f"give at most hours_a_call {budget.hours_a_call:g}"
        yield f"budget.least_hours_a_call = {budget.least_hours_a_call:g}: {limit}"
    for name in ("hours_a_month", "hours_a_season"):
        most = getattr(budget, name)
        if most is not None and most < budget.hours_a_call:
            yield f"budget.hours_a_call = {budget.hours_a_call:g}: give at most {name} {most:g}"
    if budget.calls_a_season is None and budget.hours_a_season is None:
        yield "budget.calls_a_season = none: give calls_a_season or hours_a_season: an owner is told the most"
    longest = max((window.last_hour - window.first_hour for window in program.windows), default=24)
    if budget.hours_a_call > longest:
        yield f"budget.hours_a_call = {budget.hours_a_call:g}: give at most the longest window, {longest} h"


def _own(program: AnyProgram) -> Iterator[str]:
    match program:
        case DirectLoadControl() | BringYourOwnThermostat():
            back, (low, high) = program.snapback, RELEASE_S
            if not low <= back.release_s <= high:
                yield f"snapback.release_s = {back.release_s}: give {low} to {high}: at once they make a new peak"
            if back.stages < 2:
                yield f"snapback.stages = {back.stages}: give 2 or more: heat comes back by groups"
        case DynamicPrice():
            if program.cap_per_kwh <= program.floor_per_kwh:
                yield f"cap_per_kwh = {program.cap_per_kwh}: give more than floor_per_kwh {program.floor_per_kwh}"
        case PeakTimeRebate() | Emergency():
            if not any(one.per == "kwh" and one.amount > 0 for one in program.incentives):
                yield "incentives = none per kwh: give what a kWh is paid"
        case CapacityBidding():
            if not any(one.per in ("kw_month", "kw_season") for one in program.incentives):
                yield "incentives = none per kw_month: give what capacity is paid"
        case FlexibleConnection():
            if program.fallback_frac > program.firm_frac:
                yield f"fallback_frac = {program.fallback_frac:g}: give at most firm_frac {program.firm_frac:g}"
        case ExportBattery() if Kind.BATTERY not in program.kinds:
            yield f"kinds = {', '.join(program.kinds)}: give battery among them"
        case _:
            return
