"""Customer baselines: which days stand for the event day, their mean, and its adjustment.

`B(t) = mean over chosen days of L(d, t)`; ratio: `B' = f B`, `f = clip(sum L / sum B)` over the adjustment intervals;
additive: `B' = B + a`, `a = mean(L - B)`. Performance `B' - L` keeps its sign: floors belong to the payment rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tieline.market.rule import BaselineRule

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """When load was called: the day, and the first and last interval (end not included) counted from midnight.

    `per_hour` is how many intervals an hour has; a day of 23 or 25 hours has so many times that.
    """

    day: date
    first: int
    last: int
    per_hour: int = 1

    def adjusts_over(self, rule: BaselineRule, count: int) -> list[int]:
        """Return the intervals of the rule's adjustment windows that lie inside a day of so many intervals."""
        picks: list[int] = []
        for window, anchor in ((rule.adjust_before, self.first), (rule.adjust_after, self.last)):
            if window is not None and rule.adjust != "none":
                begin, end = (anchor + round(hours * self.per_hour) for hours in window)
                picks += [at for at in range(begin, end) if 0 <= at < count]
        return picks


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Days that may not stand for the event day: other events, holidays (no business days), and outages or tests."""

    event_days: frozenset[date] = frozenset()
    holidays: frozenset[date] = frozenset()
    outages: frozenset[date] = frozenset()


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
    def missing(self) -> Mask:
        """Which intervals have no meter reading."""
        lacks: Mask = ~np.isfinite(self.actual)
        return lacks

    @property
    def performance(self) -> Floats:
        """Baseline less actual, signed; 0 where the meter says nothing (never filled in)."""
        gained: Floats = np.where(self.missing, 0.0, self.baseline - np.nan_to_num(self.actual))
        return gained


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
        load: Energy of each interval for each day (kWh, consumption positive), all on the event day's clock; NaN where
            there is no reading.
        event: When.
        event_days: Days of other events, of any program; none of them enters the pool.
        holidays: Days that count as no business days.
        outages: Days left out for outages, tests or shutdowns.

    Raises:
        ValueError: The event day has no load, or too few days are left for the rule.
    """
    if event.day not in load:
        raise ValueError(f"no load for the event day {event.day}")
    apart = LeftOut(event_days - {event.day}, holidays, outages)
    days, weights, excluded, pool_n = _choose(rule, load, event, apart)
    is_business = day_type(event.day, holidays, rule.day_types) == "business"
    least = rule.min_n["business"] if is_business else rule.min_n["other"]
    if pool_n < least:
        raise ValueError(f"{rule.id}: {pool_n} like days for {event.day}, needs {least}: see the excluded days")
    mean = np.average([load[day] for day in days], axis=0, weights=weights)
    actual = load[event.day]
    factor, addend, is_capped, flags = _adjustment(rule, mean, actual, event)
    span = slice(event.first, event.last)
    lacks = int((~np.isfinite(actual[span])).sum())
    if lacks:
        flags.append(f"{lacks} intervals without meter data: zero performance")
    return Baseline(
        rule.id, rule.version, rule.source, tuple(days), tuple(excluded), factor, addend, is_capped,
        mean[span] * factor + addend, actual[span].copy(), tuple(flags), _hash(rule, load, event, apart),
    )  # fmt: skip


def _choose(
    rule: BaselineRule, load: Mapping[date, Floats], event: Event, apart: LeftOut
) -> tuple[list[date], list[float], list[tuple[date, str]], int]:
    """Return the chosen days (most recent or highest first), their weights, those left out, and the pool's size."""
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
    use = {day: float(load[day][span].sum()) for day in pool}
    ranked = sorted(pool, key=lambda d: (-use[d], -d.toordinal()))
    if rule.pick == "highest":
        chosen = ranked[:pick_n]
    elif rule.pick == "middle":
        drop = max((len(pool) - pick_n) // 2, 0)
        chosen = sorted(ranked[drop : len(ranked) - drop], reverse=True)
    else:
        chosen = pool
    weights = [1.0] * len(chosen)
    if other is not None and other.weights:
        by_age = sorted(chosen, reverse=True)
        weights = [other.weights[min(by_age.index(day), len(other.weights) - 1)] for day in chosen]
    excluded += [(day, "not among those picked") for day in pool if day not in chosen]
    return chosen, weights, excluded, len(pool)


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


def _adjustment(rule: BaselineRule, mean: Floats, actual: Floats, event: Event) -> tuple[float, float, bool, list[str]]:
    if rule.adjust == "none":
        return 1.0, 0.0, False, []
    window = event.adjusts_over(rule, len(mean))
    picks = [at for at in window if math.isfinite(actual[at])]
    flags = [f"{len(window) - len(picks)} intervals of the adjustment window without meter data: left out"]
    flags = flags if len(picks) < len(window) else []
    if not picks:
        return 1.0, 0.0, False, [*flags, "nothing metered in an adjustment window inside the day: no adjustment"]
    if rule.adjust == "additive":
        return 1.0, float(np.mean(actual[picks] - mean[picks])), False, flags
    below = float(mean[picks].sum())
    if below <= 0:
        return 1.0, 0.0, False, [*flags, "the adjustment window's baseline is 0 or negative: factor 1"]
    raw = float(actual[picks].sum()) / below
    factor = min(max(raw, rule.adjust_low), rule.adjust_high)
    return factor, 0.0, factor != raw, flags


def _hash(rule: BaselineRule, load: Mapping[date, Floats], event: Event, apart: LeftOut) -> str:
    """Return the hash of all that a baseline was made from: rule, readings, event and the days left out."""
    head = f"{rule.id}:{rule.version}:{event.day}:{event.first}:{event.last}:{event.per_hour}"
    digest = blake2b(head.encode(), digest_size=12)
    for days in (apart.event_days, apart.holidays, apart.outages):
        digest.update(",".join(day.isoformat() for day in sorted(days)).encode() + b";")
    for day in sorted(load):
        digest.update(day.isoformat().encode())
        digest.update(np.ascontiguousarray(load[day]).tobytes())
    return digest.hexdigest()


def rrmse(baseline: Floats, actual: Floats) -> float:
    """Return PJM's relative root mean square error: `sqrt(mean((CBL - L)^2)) / mean(L)`."""
    return float(np.sqrt(np.mean((baseline - actual) ** 2)) / np.mean(actual))


def meter_before(before: float, metered: Floats) -> Floats:
    """Return performance of a resource that steps from its last reading before the event (NAESB meter before/after)."""
    gained: Floats = before - metered
    return gained


def firm_service_kw(peak_load_kw: float, firm_kw: float, loss_factor: float, load_kw: Floats) -> tuple[float, Floats]:
    """Return PJM's nominated capacity and what was delivered in each hour: `PLC - load x loss factor` (kW).

    Args:
        peak_load_kw: Peak load contribution (PLC).
        firm_kw: Firm service level, at the meter.
        loss_factor: From meter to transmission.
        load_kw: Metered load in each event hour.
    """
    delivered: Floats = peak_load_kw - load_kw * loss_factor
    return peak_load_kw - firm_kw * loss_factor, delivered
