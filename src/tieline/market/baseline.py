"""Customer baselines: which days stand for the event day, their mean, and its adjustment.

`B(t) = mean over chosen days of L(d, t)`; ratio: `B' = f B`, `f = clip(sum L / sum B)` over the adjustment intervals;
additive: `B' = B + a`, `a = mean(L - B)`. Performance `B' - L` keeps its sign: floors belong to the payment rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.market.comparison import Comparison
from tieline.market.picking import Chosen, Event, LeftOut, choose, day_type, left_out_says, own_day
from tieline.market.rule import BaselineRule
from tieline.market.weathered import Model, weathered

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
__all__ = ["Baseline", "Event", "LeftOut", "compute", "day_type", "firm_service_kw", "meter_before", "rrmse"]


NO_TEMPERATURE: Mapping[date, float] = MappingProxyType({})
NO_HOURS: Mapping[date, Floats] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Use:
    """What shows whether load was moved to raise a baseline, or only moved in time (all in the load's unit).

    Attributes:
        adjustment: What the adjustment alone adds to the baseline over the event.
        window_z: How far the event day's adjustment window lies from those of its like days (standard deviations; NaN
            where there are fewer than two, or they are all alike).
        before_notice: Sum of the baseline with its window ended before the notification; None: it ended before anyway.
        rebound: Load above baseline in the two hours after the event.
    """

    adjustment: float
    window_z: float
    before_notice: float | None
    rebound: float


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
    unadjusted: Floats
    """The mean before its adjustment, over the event."""
    weights: tuple[float, ...] = ()
    used: Use | None = None
    model: Model | None = None
    """What a weather-normalised baseline rests on."""
    comparison: Comparison | None = None
    """How well customers that were not called stand for those that were."""

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


def compute(
    rule: BaselineRule,
    load: Mapping[date, Floats],
    event: Event,
    *,
    event_days: frozenset[date] = frozenset(),
    holidays: frozenset[date] = frozenset(),
    outages: frozenset[date] = frozenset(),
    warmest: Mapping[date, float] = NO_TEMPERATURE,
    celsius: Mapping[date, Floats] = NO_HOURS,
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
        warmest: Daily maximum temperature (degC), for rules that go by it.
        celsius: Temperature of each hour for each day, on the event day's clock (degC), for rules with a model.

    Raises:
        ConfigError: The rule was not in force on that day.
        ValueError: The event day has no load, too few days are left for the rule, or it goes by customers that were
            not called or by a peak load (`controls.controlled`, `firm_service`).
    """
    if event.day not in load:
        raise ValueError(f"no load for the event day {event.day}")
    rule.require_in_force(event.day)
    apart = LeftOut(event_days - {event.day}, holidays, outages)
    actual = load[event.day]
    if rule.needs in ("controls", "peak_load_kw"):
        beside = "customers that were not called" if rule.needs == "controls" else "a peak load"
        raise ValueError(f"{rule.id} goes by {beside}: give it to the function for that")
    mean, chosen, model, notes = own_day(rule, actual, event), Chosen((), (), (), 0), None, list[str]()
    if rule.pick == "hourly-model":
        mean, chosen, model, notes = weathered(rule, load, event, apart, celsius)
    elif mean is None:
        mean, chosen = _of_like_days(rule, load, event, apart, warmest)
    factor, addend, is_capped, flags = _adjustment(rule, mean, actual, event)
    flags += notes
    # A reading of any other day changes nothing: a statement that follows from these inputs must stay the same.
    looked_at = {day: load[day] for day in (event.day, *chosen.days)}
    span = slice(event.first, event.last)
    lacks = int((~np.isfinite(actual[span])).sum())
    if lacks:
        flags.append(f"{lacks} intervals without meter data: zero performance")
    return Baseline(
        rule.id, rule.version, rule.source, chosen.days, chosen.excluded, factor, addend, is_capped,
        mean[span] * factor + addend, actual[span].copy(), tuple(flags),
        _hash(rule, looked_at, event, apart, warmest, celsius), mean[span].copy(),
        chosen.weights,
        _use(rule, load, event, chosen, mean, factor, addend), model,
    )  # fmt: skip


def _of_like_days(
    rule: BaselineRule, load: Mapping[date, Floats], event: Event, apart: LeftOut, warmest: Mapping[date, float]
) -> tuple[Floats, Chosen]:
    """Return the mean of the days that a rule chooses, and them. Raises ValueError where they are too few."""
    chosen = choose(rule, load, event, apart, warmest)
    is_business = day_type(event.day, apart.holidays, rule.day_types) == "business"
    least = rule.min_n["business"] if is_business else rule.min_n["other"]
    if min(chosen.pool_n, len(chosen.days) if rule.pick == "nearest-temperature" else chosen.pool_n) < least:
        short = f"{rule.id}: {chosen.pool_n} like days for {event.day}, needs {least}"
        raise ValueError(short + left_out_says(chosen.excluded))
    mean: Floats = np.average([load[day] for day in chosen.days], axis=0, weights=chosen.weights)
    return mean, chosen


def _use(
    rule: BaselineRule,
    load: Mapping[date, Floats],
    event: Event,
    chosen: Chosen,
    mean: Floats,
    factor: float,
    addend: float,
) -> Use:
    """Return what shows whether load was moved to raise a baseline."""
    actual = load[event.day]
    window = event.adjusts_over(rule, len(mean))
    like = np.array([float(load[day][window].sum()) for day in chosen.days]) if window else np.zeros(0)
    window_z = math.nan
    if len(like) >= 2 and (spread := float(like.std(ddof=1))) > 0:
        window_z = (float(actual[window].sum()) - float(like.mean())) / spread
    adjusted = mean * factor + addend
    after = list(range(event.last, min(event.last + 2 * event.per_hour, len(mean))))
    rebound = float(np.nansum(actual[after] - adjusted[after]))
    moved = None
    if event.notice is not None and window and max(window) >= event.notice:
        # The same window, ended before anybody knew: what the answer would have been without their doing.
        shift = event.first - min(event.notice, event.first)
        early = Event(event.day, event.first - shift, event.first - shift, event.per_hour)
        before = BaselineRule(**{**_fields(rule), "adjust_after": None})
        if early.adjusts_over(before, len(mean)):
            f, a, _, _ = _adjustment(before, mean, actual, early)
            moved = float((mean[event.first : event.last] * f + a).sum())
    return Use(float((adjusted - mean)[event.first : event.last].sum()), window_z, moved, rebound)


def _fields(rule: BaselineRule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in rule.__struct_fields__}


def _off_the_window(rule: BaselineRule, window: list[int], event: Event) -> list[str]:
    """Return, as a flag, which intervals stand for an adjustment window that begins or ends within one."""
    edges = [hours for one in (rule.adjust_before, rule.adjust_after) if one is not None for hours in one]
    if not window or all((hours * event.per_hour).is_integer() for hours in map(float, edges)):
        return []
    minutes = 60 // event.per_hour
    first, last = (f"{at * minutes // 60:02}:{at * minutes % 60:02}" for at in (window[0], window[-1] + 1))
    said = " and ".join(f"{one[0]:g} to {one[1]:g} h" for one in (rule.adjust_before, rule.adjust_after) if one)
    own = f"give readings of {_longest(edges)} minutes or less to settle by the rule's own"
    return [
        f"the rule adjusts by {said} of the event, which {minutes} minute intervals don't divide: by those from "
        f"{first} to {last} after midnight instead; {own}"
    ]


def _longest(edges: list[float]) -> int:
    """Return the longest interval (minutes) of those that meters have, into which all edges fall."""
    return next(
        one for one in (30, 15, 10, 5, 1) if all((hours * 60 / one).is_integer() for hours in map(float, edges))
    )


def _adjustment(rule: BaselineRule, mean: Floats, actual: Floats, event: Event) -> tuple[float, float, bool, list[str]]:
    if rule.adjust == "none":
        return 1.0, 0.0, False, []
    window = event.adjusts_over(rule, len(mean))
    picks = [at for at in window if math.isfinite(actual[at])]
    flags = [f"{len(window) - len(picks)} intervals of the adjustment window without meter data: left out"]
    flags = flags if len(picks) < len(window) else []
    flags += _off_the_window(rule, window, event)
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


def _hash(
    rule: BaselineRule, load: Mapping[date, Floats], event: Event, apart: LeftOut, warmest: Mapping[date, float],
    celsius: Mapping[date, Floats],
) -> str:  # fmt: skip
    """Return the hash of all that a baseline was made from: rule, event, days left out, and readings of the others."""
    head = f"{rule.id}:{rule.stamp}:{event.day}:{event.first}:{event.last}:{event.per_hour}"
    digest = blake2b(head.encode(), digest_size=12)
    for days in (apart.event_days, apart.holidays, apart.outages):
        digest.update(",".join(day.isoformat() for day in sorted(days)).encode() + b";")
    for day in sorted(warmest):
        digest.update(f"{day}={warmest[day]!r};".encode())
    for series in (celsius, load):
        for day in sorted(series):
            digest.update(day.isoformat().encode())
            digest.update(np.ascontiguousarray(series[day]).tobytes())
    return digest.hexdigest()


def rrmse(baseline: Floats, actual: Floats) -> float:
    """Return PJM's relative root mean square error: `sqrt(mean((CBL - L)^2)) / mean(L)`."""
    return float(np.sqrt(np.mean((baseline - actual) ** 2)) / np.mean(actual))


def firm_service(
    rule: BaselineRule, load: Mapping[date, Floats], event: Event, peak_kw: float, firm_kw: float | None, loss: float
) -> Baseline:
    """Return performance against a peak load: `peak - load x loss factor`, whatever the load was before.

    Args:
        rule: One of a firm service level or a maximum base load.
        load: Energy of each interval for each day (kWh); the event day's alone is looked at.
        event: When.
        peak_kw: Peak load contribution.
        firm_kw: The level that was promised, at the meter; intervals above it are told. None: none was.
        loss: Loss factor from meter to transmission.

    Raises:
        ValueError: The event day has no load.
    """
    if event.day not in load:
        raise ValueError(f"no load for the event day {event.day}")
    rule.require_in_force(event.day)
    own = load[event.day][event.first : event.last]
    # Both sides are at transmission, as the peak is.
    base, flags = np.full(len(own), peak_kw / event.per_hour), [f"loads are metered ones times {loss:g}"]
    if firm_kw is not None:
        over = int((own > firm_kw / event.per_hour * (1 + 1e-12)).sum())
        flags.append(f"{over} intervals above the firm service level of {firm_kw:g} kW")
    if lacks := int((~np.isfinite(own)).sum()):
        flags.append(f"{lacks} intervals without meter data: zero performance")
    hashed = _hash(rule, {event.day: load[event.day]}, event, LeftOut(), {}, {})
    terms = blake2b(f"{hashed}:{peak_kw!r}:{firm_kw!r}:{loss!r}".encode(), digest_size=12).hexdigest()
    return Baseline(
        rule.id, rule.version, rule.source, (), (), 1.0, 0.0, False, base, own * loss, tuple(flags), terms, base.copy()
    )  # fmt: skip


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
