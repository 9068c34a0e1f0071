"""Which days stand for an event day: like days of a window, without those of events, outages and low use, then a pick.

Picks: `all`, the `highest` or `middle` by use over the event's hours, the `nearest-temperature` by daily maximum, the
`most-similar` by load before the event. Two rules look at the event day alone: `same-day` takes the mean of hours
before and after, `last-reading` the interval before the event.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from tieline.market.rule import BaselineRule

Floats = NDArray[np.float64]
NOT_PICKED = "not among those picked"
MOST_NAMED = 5
"""How many days of one cause a refusal names one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """When load was called: the day, and the first and last interval (end not included) counted from midnight.

    `per_hour` is how many intervals an hour has; a day of 23 or 25 hours has so many times that.
    """

    day: date
    first: int
    last: int
    per_hour: int = 1

    notice: int | None = None
    """First interval at whose start participants knew; None: not told."""

    def over(self, *windows: tuple[tuple[float, float] | None, int], count: int) -> list[int]:
        """Return the intervals of windows (hours, interval that they count from) inside a day of so many intervals."""
        picks: list[int] = []
        for window, anchor in windows:
            if window is not None:
                begin, end = (anchor + round(hours * self.per_hour) for hours in window)
                picks += [at for at in range(begin, end) if 0 <= at < count]
        return picks

    def adjusts_over(self, rule: BaselineRule, count: int) -> list[int]:
        """Return the intervals of the rule's adjustment windows that lie inside a day of so many intervals."""
        if rule.adjust == "none":
            return []
        return self.over((rule.adjust_before, self.first), (rule.adjust_after, self.last), count=count)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Days that may not stand for the event day: other events, holidays (no business days), and outages or tests."""

    event_days: frozenset[date] = frozenset()
    holidays: frozenset[date] = frozenset()
    outages: frozenset[date] = frozenset()


def day_type(day: date, holidays: frozenset[date], scheme: str) -> str:
    """Return what kind of day it is: business or other, or business, saturday, sunday (holidays are sundays).

    A rule of every day knows no kinds: all are business.
    """
    if scheme == "every-day":
        return "business"
    if day in holidays:
        return "other" if scheme == "weekday-or-not" else "sunday"
    if day.weekday() < 5:
        return "business"
    return "other" if scheme == "weekday-or-not" else ("saturday" if day.weekday() == 5 else "sunday")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The days that stand for an event day, most recent, highest or nearest first; their weights; those left out."""

    days: tuple[date, ...]
    weights: tuple[float, ...]
    excluded: tuple[tuple[date, str], ...]
    pool_n: int


def own_intervals(rule: BaselineRule, event: Event, count: int) -> list[int] | None:
    """Return which of so many intervals of the event day a rule takes that looks at no other day; None for others."""
    if rule.pick == "last-reading":
        return [event.first - 1] if event.first else []
    if rule.pick == "same-day":
        return event.over((rule.own_before, event.first), (rule.own_after, event.last), count=count)
    return None


def own_day(rule: BaselineRule, load: Floats, event: Event) -> Floats | None:
    """Return the baseline of a rule that looks at the event day alone, over the whole day; None for other rules.

    Raises:
        ValueError: No interval that the rule looks at has a reading.
    """
    at = own_intervals(rule, event, len(load))
    if at is None:
        return None
    read = [k for k in at if math.isfinite(load[k])]
    if not read:
        raise ValueError(f"{rule.id}: no reading on {event.day} in the hours that it looks at")
    flat: Floats = np.full(len(load), float(np.mean(load[read])))
    return flat


def choose(
    rule: BaselineRule,
    load: Mapping[date, Floats],
    event: Event,
    apart: LeftOut,
    warmest: Mapping[date, float],
) -> Chosen:
    """Return which days stand for the event day.

    Args:
        rule: How.
        load: Energy of each interval for each day, on the event day's clock.
        event: When.
        apart: Days that may not stand for it.
        warmest: Daily maximum temperature (degC), for rules that go by it.

    Raises:
        ValueError: A rule that goes by temperature has none for the event day.
    """
    wanted = day_type(event.day, apart.holidays, rule.day_types)
    other = rule.other if wanted != "business" else None
    pool_n, pick_n = (rule.pool_n, rule.pick_n) if other is None else (other.pool_n, other.pick_n)
    span = slice(event.first, event.last)
    needed = [*range(event.first, event.last), *event.adjusts_over(rule, len(load[event.day]))]
    pool: list[date] = []
    excluded: list[tuple[date, str]] = []
    for back in range(1 + rule.lag_days, rule.window_days + 1):
        day = event.day - timedelta(days=back)
        if len(pool) == pool_n:
            break
        if day_type(day, apart.holidays, rule.day_types) != wanted:
            if day in apart.holidays and day_type(day, frozenset(), rule.day_types) == wanted:
                excluded.append((day, "a holiday"))
            continue
        reason = _reason(day, load, needed, apart)
        if reason:
            excluded.append((day, reason))
            continue
        pool.append(day)
        if len(pool) == pool_n:
            pool = _without_low_use(rule, pool, load, span, excluded)
    # The window may end before the pool is full: what is in it is still held to the rule.
    pool = _without_low_use(rule, pool, load, span, excluded)
    chosen = _picked(rule, pool, pick_n, load, event, warmest, excluded)
    weights = [1.0] * len(chosen)
    if other is not None and other.weights:
        by_age = sorted(chosen, reverse=True)
        weights = [other.weights[min(by_age.index(day), len(other.weights) - 1)] for day in chosen]
    excluded += [(day, NOT_PICKED) for day in pool if day not in chosen]
    return Chosen(tuple(chosen), tuple(weights), tuple(dict(excluded).items()), len(pool))


def left_out_says(excluded: Iterable[tuple[date, str]]) -> str:
    """Return which days were left out, newest first, and why, to stand behind what lacks: each cause once.

    More than `MOST_NAMED` days of one cause are told by their number, the first and the last. Days that were only not
    picked were not left out.
    """
    causes: dict[str, list[date]] = {}
    for day, why in excluded:
        if why != NOT_PICKED:
            causes.setdefault(why, []).append(day)
    told = [f"{_days_say(days)} ({why})" for why, days in causes.items()]
    return f"; left out: {', '.join(told)}" if told else "; no day of its window was left out"


def _days_say(days: Sequence[date]) -> str:
    if len(days) > MOST_NAMED:
        return f"{len(days)} days from {min(days)} to {max(days)}"
    return ", ".join(map(str, days))


def _picked(
    rule: BaselineRule,
    pool: list[date],
    pick_n: int,
    load: Mapping[date, Floats],
    event: Event,
    warmest: Mapping[date, float],
    excluded: list[tuple[date, str]],
) -> list[date]:
    """Return the days of a pool that a rule picks."""
    if rule.pick == "nearest-temperature":
        if event.day not in warmest:
            raise ValueError(f"{rule.id}: no temperature of {event.day}: give a temperature file that covers it")
        excluded += [(day, "no temperature") for day in pool if day not in warmest]
        known = [day for day in pool if day in warmest]
        return sorted(known, key=lambda d: (abs(warmest[d] - warmest[event.day]), -d.toordinal()))[:pick_n]
    span = slice(event.first, event.last)
    if rule.pick == "most-similar":
        # The hour before an event belongs to those who were told of it; what came before is the day's own.
        before = slice(0, max(event.first - event.per_hour, 1))
        own = load[event.day][before]
        off = {day: float(np.nansum((load[day][before] - own) ** 2)) for day in pool}
        return sorted(pool, key=lambda d: (off[d], -d.toordinal()))[:pick_n]
    use = {day: float(load[day][span].sum()) for day in pool}
    ranked = sorted(pool, key=lambda d: (-use[d], -d.toordinal()))
    if rule.pick == "highest":
        return ranked[:pick_n]
    if rule.pick == "middle":
        drop = max((len(pool) - pick_n) // 2, 0)
        return sorted(ranked[drop : len(ranked) - drop], reverse=True)
    return pool


def _reason(day: date, load: Mapping[date, Floats], needed: list[int], apart: LeftOut) -> str:
    if day in apart.event_days:
        return "an event day"
    if day in apart.outages:
        return "an outage, test or shutdown"
    if day not in load:
        return "no meter data"
    return "meter data with gaps" if not np.isfinite(load[day][needed]).all() else ""


def _without_low_use(
    rule: BaselineRule, pool: list[date], load: Mapping[date, Floats], span: slice, excluded: list[tuple[date, str]]
) -> list[date]:
    """Return the pool without days of low use, which are noted; each one that goes raises the mean, so look again."""
    while rule.low_use_frac > 0 and pool:
        use = {day: float(load[day][span].sum()) for day in pool}
        least = rule.low_use_frac * math.fsum(use.values()) / len(use)
        low = [day for day in pool if use[day] < least]
        if not low:
            break
        excluded += [(day, f"under {rule.low_use_frac:.0%} of the pool's mean use") for day in low]
        pool = [day for day in pool if day not in low]
    return pool
