"""What a row of a baseline rule may say, and how versions must follow each other; each fault with path and value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tieline.errors import ConfigError

if TYPE_CHECKING:
    from tieline.market.rule import BaselineRule

MOST_DAYS = 3_660
DAY_H = 24.0
RANKED = ("highest", "middle", "nearest-temperature", "most-similar", "matched-controls")
"""Picks that take so many days or controls, the best by some measure."""
BY_DAYS = (*RANKED, "all", "hourly-model", "control-group")
"""Picks that look at other days at all."""
Fault = tuple[str, Any, str]
"""Field, its value, and what would do."""
FIRST, LAST = date(1900, 1, 1), date(2999, 12, 31)
"""Between these a version's days lie; one that isn't given is not tested."""
_AT = re.compile(r"(?P<says>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<at>\d+)\]")


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a path such as `.other.pool_n` of a row, as deep as the path can be followed.

    >>> value_at({"other": {"weights": [1, "b"]}}, ".other.weights[1]"), value_at({"min_n": {"a": 1}}, ".min_n[...]")
    ('b', {'a': 1})
    """
    held: Any = row
    for step in _STEP.finditer(path):
        name, at = step["name"], step["at"]
        if name is not None and isinstance(held, Mapping):
            held = held.get(name)
        elif at is not None and isinstance(held, list) and int(at) < len(held):
            held = held[int(at)]
    return held


def row_faults(rule: BaselineRule) -> Iterator[Fault]:
    """Yield each field of a row that the engine can't compute by."""
    if rule.pick in BY_DAYS:
        yield from _pool_faults(rule)
    for field in ("lag_days", "window_days", "pool_n", "pick_n"):
        value = getattr(rule, field)
        if not 0 <= value <= MOST_DAYS:
            yield field, value, f"give 0 to {MOST_DAYS}"
    if not 0.0 <= rule.low_use_frac <= 1.0:
        yield "low_use_frac", rule.low_use_frac, "give 0 to 1"
    # A cap that leaves out 1 would move a baseline that needs nothing.
    if not 0.0 <= rule.adjust_low <= 1.0:
        yield "adjust_low", rule.adjust_low, "give 0 to 1"
    if not rule.adjust_high >= 1.0:
        yield "adjust_high", rule.adjust_high, "give 1 or more"
    yield from _hour_faults(rule)


def _pool_faults(rule: BaselineRule) -> Iterator[Fault]:
    if not 1 <= rule.window_days <= MOST_DAYS:
        yield "window_days", rule.window_days, f"give 1 to {MOST_DAYS}"
        return
    if not 0 <= rule.lag_days < rule.window_days:
        yield "lag_days", rule.lag_days, f"give 0 to {rule.window_days - 1}"
    if not 1 <= rule.pool_n <= rule.window_days:
        yield "pool_n", rule.pool_n, f"give 1 to {rule.window_days}"
    # Matched controls are so many for each meter, no days of the pool.
    is_of_days = rule.pick in RANKED and rule.pick != "matched-controls"
    if rule.pick in RANKED and not 1 <= rule.pick_n <= (rule.pool_n if is_of_days else MOST_DAYS):
        yield "pick_n", rule.pick_n, f"give 1 to {rule.pool_n if is_of_days else MOST_DAYS}"
    other = rule.other
    if other is not None:
        if not 1 <= other.pool_n <= rule.window_days:
            yield "other.pool_n", other.pool_n, f"give 1 to {rule.window_days}"
        if not 1 <= other.pick_n <= other.pool_n:
            yield "other.pick_n", other.pick_n, f"give 1 to {other.pool_n}"
        if other.weights and not (
            len(other.weights) == other.pick_n and all(0.0 < each < float("inf") for each in other.weights)
        ):
            yield "other.weights", other.weights, f"give {other.pick_n} above 0, or none"
    for kind, most in (("business", rule.pool_n), ("other", rule.pool_n if other is None else other.pool_n)):
        least = rule.min_n.get(kind)  # type: ignore[call-overload]
        if least is None or not 1 <= least <= most:
            yield f"min_n.{kind}", least, f"give 1 to {most}"


def _hour_faults(rule: BaselineRule) -> Iterator[Fault]:
    for field in ("adjust_before", "own_before"):
        span = getattr(rule, field)
        if span is not None and not -DAY_H <= span[0] < span[1] <= 0.0:
            yield field, span, f"give two hours, -{DAY_H:g} to 0, the earlier first"
    for field in ("adjust_after", "own_after"):
        span = getattr(rule, field)
        if span is not None and not 0.0 <= span[0] < span[1] <= DAY_H:
            yield field, span, f"give two hours, 0 to {DAY_H:g}, the earlier first"
    if rule.adjust != "none" and rule.adjust_before is None and rule.adjust_after is None:
        yield "adjust", rule.adjust, "give adjust_before or adjust_after with it"
    if rule.pick == "same-day" and rule.own_before is None and rule.own_after is None:
        yield "pick", rule.pick, "give own_before or own_after with it"


def day_before(day: str) -> str:
    """Return the day before one, both as ISO 8601 says them."""
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat()


def day_after(day: str) -> str:
    """Return the day after one, both as ISO 8601 says them."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def day_in(value: Any, where: str, faults: list[str]) -> str:
    """Return a day as ISO 8601 says it, from TOML's own date or text; empty where it is none, which is told."""
    day = value if isinstance(value, date) and not isinstance(value, datetime) else None
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
    if day is None:
        faults.append(f"{where} = {value!r}: give a day such as 2024-06-01")
        return ""
    if not FIRST <= day <= LAST:
        faults.append(f"{where} = {day.isoformat()!r}: give {FIRST} to {LAST}")
    return day.isoformat()


def require_span(where: str, first: str, last: str) -> None:
    """Do nothing for two days in order, or none (empty). Raises ConfigError naming what is no day, or early."""
    faults: list[str] = []
    for field, day in (("effective_from", first), ("effective_to", last)):
        if day:
            day_in(day, f"{where}: {field}", faults)
    if first and last and last < first and not faults:
        faults.append(f"{where}: effective_to = {last!r}: give {first}, its first day, or later")
    if faults:
        raise ConfigError("; ".join(faults))


def placed(says: str, row: Mapping[str, Any], where: str) -> str:
    """Return what a validation says, behind the path of the file and the value that stands there."""
    match = _AT.fullmatch(says)
    path = (match["path"] or "") if match else ""
    told = match["says"] if match else says
    if unknown := _UNKNOWN.fullmatch(told):
        path, told = f"{path}.{unknown['name']}", "is unknown: leave it out"
    if not path:
        return f"{where}: {told}"
    return f"{where}{path} = {value_at(row, path)!r}: {told}"


def chain_faults(rows: Iterable[tuple[str, BaselineRule]]) -> list[str]:
    """Return what keeps versions of a rule, by their first days, from following each other day by day.

    A row that has no place stands in the table that the file adds to; what the file says is told.
    """
    found: list[str] = []
    seen: set[str] = set()
    before: tuple[str, BaselineRule] | None = None
    for where, one in sorted(rows, key=lambda each: (each[1].effective_from, bool(each[0]))):
        if one.version in seen:
            found.append(f"{where}.version = {one.version!r}: stands twice: give each version a name of its own")
        elif before is not None:
            found += _follows(*before, where, one)
        seen.add(one.version)
        before = where, one
    return found


def _follows(place: str, before: BaselineRule, where: str, one: BaselineRule) -> list[str]:
    if one.effective_from == before.effective_from:
        day = "that day" if one.effective_from else "the first day"
        at = f"{where}.effective_from = {one.effective_from!r}"
        return [f"{at}: version {before.version} holds from {day}, too: give each a first day of its own"]
    wanted, ends = one.effective_from, before.effective_to
    if not ends or ends == day_before(wanted):
        return []
    if wanted <= ends:
        says = f"version {before.version} holds to {ends}" if where else f"version {one.version} holds from {wanted}"
    else:
        says = f"no version holds from {day_after(ends)} to {day_before(wanted)}"
    if where:
        return [f"{where}.effective_from = {wanted!r}: {says}: give {day_after(ends)}"]
    return [f"{place}.effective_to = {ends!r}: {says}: give {day_before(wanted)}, or leave it out"]
