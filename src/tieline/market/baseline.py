"""Customer baselines: which days stand for the event day, their mean, and its adjustment.

`B(t) = mean over chosen days of L(d, t)`; ratio: `B' = f B`, `f = clip(sum L / sum B)` over the adjustment intervals;
additive: `B' = B + a`, `a = mean(L - B)`. Performance `B' - L` keeps its sign: floors belong to the payment rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tieline.market.rule import BaselineRule

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """When load was called: the day, and the first and last interval (end not included) counted from midnight."""

    day: date
    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A baseline with all that led to it. Series have a value for each interval of the event (kWh or any unit)."""

    rule: str
    version: str
    source: str
    days: tuple[date, ...]
    excluded: tuple[tuple[date, str], ...]
    factor: float
    addend: float
    is_capped: bool
    baseline: Floats
    actual: Floats
    flags: tuple[str, ...]
    input_hash: str

    @property
    def performance(self) -> Floats:
        """Baseline less actual, signed."""
        return self.baseline - self.actual


def day_type(day: date, holidays: frozenset[date], scheme: str) -> str:
    """Return what kind of day it is: business or other, or business, saturday, sunday (holidays are sundays)."""
    if day in holidays:
        return "other" if scheme == "weekday-or-not" else "sunday"
    if day.weekday() < 5:
        return "business"
    return "other" if scheme == "weekday-or-not" else ("saturday" if day.weekday() == 5 else "sunday")


def compute(
    rule: BaselineRule,
    load: Mapping[date, Floats],
    event: Event,
    *,
    event_days: frozenset[date] = frozenset(),
    holidays: frozenset[date] = frozenset(),
    outages: frozenset[date] = frozenset(),
) -> Baseline:
    """Return the baseline of an event.

    Args:
        rule: How.
        load: Energy of each interval for each day (kWh, consumption positive); each day's array holds the whole day.
        event: When.
        event_days: Days of other events, of any program; none of them enters the pool.
        holidays: Days that count as no business days.
        outages: Days left out for outages, tests or shutdowns.

    Raises:
        ValueError: The event day has no load, or too few days are left for the rule.
    """
    if event.day not in load:
        raise ValueError(f"no load for the event day {event.day}")
    days, excluded, pool_n = _choose(rule, load, event, event_days, holidays, outages)
    is_business = day_type(event.day, holidays, rule.day_types) == "business"
    least = rule.min_n["business"] if is_business else rule.min_n["other"]
    if pool_n < least:
        raise ValueError(f"{rule.id}: {pool_n} like days for {event.day}, needs {least}: see the excluded days")
    mean = np.mean([load[day] for day in days], axis=0)
    actual = load[event.day]
    factor, addend, is_capped, flags = _adjustment(rule, mean, actual, event)
    span = slice(event.first, event.last)
    return Baseline(
        rule.id, rule.version, rule.source, tuple(days), tuple(excluded), factor, addend, is_capped,
        mean[span] * factor + addend, actual[span].copy(), tuple(flags), _hash(load, event),
    )  # fmt: skip


def _choose(
    rule: BaselineRule,
    load: Mapping[date, Floats],
    event: Event,
    event_days: frozenset[date],
    holidays: frozenset[date],
    outages: frozenset[date],
) -> tuple[list[date], list[tuple[date, str]], int]:
    """Return the chosen days (most recent or highest first), those left out with reasons, and the pool's size."""
    wanted = day_type(event.day, holidays, rule.day_types)
    span = slice(event.first, event.last)
    pool: list[date] = []
    excluded: list[tuple[date, str]] = []
    for back in range(1 + rule.lag_days, rule.window_days + 1):
        day = event.day - timedelta(days=back)
        if len(pool) == rule.pool_n:
            break
        if day_type(day, holidays, rule.day_types) != wanted:
            continue
        reason = _reason(day, load, event_days, outages)
        if reason:
            excluded.append((day, reason))
            continue
        pool.append(day)
        if len(pool) == rule.pool_n and rule.low_use_frac > 0:
            low = _low_use(rule, pool, load, span)
            excluded += [(d, f"under {rule.low_use_frac:.0%} of the pool's mean use") for d in low]
            pool = [d for d in pool if d not in low]
    use = {day: float(load[day][span].sum()) for day in pool}
    if rule.pick == "highest":
        count = rule.pick_n if wanted == "business" or rule.pick_n <= 2 else min(rule.pick_n, max(len(pool) - 1, 2))
        chosen = sorted(pool, key=lambda d: (-use[d], -d.toordinal()))[:count]
    elif rule.pick == "middle":
        drop = (len(pool) - rule.pick_n) // 2
        ranked = sorted(pool, key=lambda d: (-use[d], -d.toordinal()))
        chosen = sorted(ranked[drop : len(ranked) - drop], reverse=True)
    else:
        chosen = pool
    excluded += [(day, "not among those picked") for day in pool if day not in chosen]
    return chosen, excluded, len(pool)


def _reason(day: date, load: Mapping[date, Floats], event_days: frozenset[date], outages: frozenset[date]) -> str:
    if day in event_days:
        return "an event day"
    if day in outages:
        return "an outage, test or shutdown"
    if day not in load:
        return "no meter data"
    return "meter data with gaps" if not np.isfinite(load[day]).all() else ""


def _low_use(rule: BaselineRule, pool: list[date], load: Mapping[date, Floats], span: slice) -> list[date]:
    mean = float(np.mean([load[day][span].sum() for day in pool]))
    return [day for day in pool if load[day][span].sum() < rule.low_use_frac * mean]


def _adjustment(rule: BaselineRule, mean: Floats, actual: Floats, event: Event) -> tuple[float, float, bool, list[str]]:
    per_hour = len(mean) / 24
    picks: list[int] = []
    for window, anchor in ((rule.adjust_before, event.first), (rule.adjust_after, event.last)):
        if window is not None:
            begin, end = (anchor + round(hours * per_hour) for hours in window)
            picks += [at for at in range(begin, end) if 0 <= at < len(mean)]
    if rule.adjust == "none" or not picks:
        return 1.0, 0.0, False, [] if rule.adjust == "none" else ["no adjustment window inside the day"]
    if rule.adjust == "additive":
        return 1.0, float(np.mean(actual[picks] - mean[picks])), False, []
    below = float(mean[picks].sum())
    if below <= 0:
        return 1.0, 0.0, False, ["the adjustment window's baseline is 0 or negative: factor 1"]
    raw = float(actual[picks].sum()) / below
    factor = min(max(raw, rule.adjust_low), rule.adjust_high)
    return factor, 0.0, factor != raw, []


def _hash(load: Mapping[date, Floats], event: Event) -> str:
    digest = blake2b(f"{event.day}:{event.first}:{event.last}".encode(), digest_size=12)
    for day in sorted(load):
        digest.update(day.isoformat().encode())
        digest.update(np.ascontiguousarray(load[day]).tobytes())
    return digest.hexdigest()


def rrmse(baseline: Floats, actual: Floats) -> float:
    """Return PJM's relative root mean square error: `sqrt(mean((CBL - L)^2)) / mean(L)`."""
    return float(np.sqrt(np.mean((baseline - actual) ** 2)) / np.mean(actual))
