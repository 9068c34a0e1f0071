"""The baseline of an event by customers that were not called: on which days they are compared, with what error."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tieline.market.baseline import Baseline, Use
from tieline.market.comparison import (
    LEAST_CONTROLS,
    PRECISION,
    SLOPE_HIGH,
    SLOPE_LOW,
    Comparison,
    Group,
    group_mean,
    matched,
    whole,
)  # fmt: skip
from tieline.market.picking import Event, LeftOut, day_type, left_out_says
from tieline.market.rule import BaselineRule

Floats = NDArray[np.float64]
Meters = Mapping[str, Mapping[date, Floats]]


def controlled(
    rule: BaselineRule, called: Meters, controls: Meters, event: Event, apart: LeftOut = LeftOut()  # noqa: B008 - frozen
) -> Baseline:  # fmt: skip
    """Return the baseline of all called customers as one.

    Args:
        rule: One that goes by controls.
        called: Each called customer's load for each day (kWh), on the event day's clock; NaN: no reading.
        controls: The same of customers that were not called.
        event: When.
        apart: Days on which they may not be compared.

    Raises:
        ConfigError: The rule was not in force on that day.
        ValueError: A customer stands on both sides, or too few days or controls are left.
    """
    rule.require_in_force(event.day)
    both = sorted(set(called) & set(controls))
    if both:
        raise ValueError(f"{rule.id}: {both[0]} was called and stands among the controls: give it once")
    days, excluded = _days(rule, called, controls, event, apart)
    least = rule.min_n["business" if day_type(event.day, apart.holidays, rule.day_types) == "business" else "other"]
    if len(days) < least:
        short = f"{rule.id}: {len(days)} like days to compare on, needs {least}"
        raise ValueError(short + left_out_says(excluded))
    span, notes = slice(event.first, event.last), list[str]()
    mine = _group(called, days, event, least, span, "called", notes, needs_today=False)
    theirs = _group(controls, days, event, least, span, "control", notes, needs_today=True)
    needed = max(rule.pick_n, 1)
    if not len(mine.today) or len(theirs.today) < needed:
        raise ValueError(
            f"{rule.id}: {len(mine.today)} called and {len(theirs.today)} controls with readings, needs 1 and {needed}"
        )
    if rule.pick == "control-group":
        one, comparison = group_mean(mine, theirs, span)
        base = one * len(mine.today)
        notes += _checks(comparison)
    else:
        each, comparison = matched(mine, theirs, rule.pick_n, span)
        base = each.sum(axis=0)
    unread = ~whole(mine.today, 0)
    actual = np.where(unread, np.nan, np.nan_to_num(mine.today).sum(axis=0))
    if lacks := int(unread[span].sum()):
        notes.append(f"{lacks} intervals without meter data: zero performance")
    after = slice(event.last, min(event.last + 2 * event.per_hour, len(base)))
    rebound = float(np.nansum(actual[after] - base[after]))
    return Baseline(
        rule.id, rule.version, rule.source, days, excluded, 1.0, 0.0, False, base[span], actual[span], tuple(notes),
        _hash(rule, called, controls, event, apart), base[span].copy(), (1.0,) * len(days),
        Use(0.0, float("nan"), None, rebound), None, comparison,
    )  # fmt: skip


def _days(
    rule: BaselineRule, called: Meters, controls: Meters, event: Event, apart: LeftOut
) -> tuple[tuple[date, ...], tuple[tuple[date, str], ...]]:
    """Return like days on which somebody on each side was read, the most recent first, and those left out."""
    wanted, found, excluded = day_type(event.day, apart.holidays, rule.day_types), list[date](), []
    has = [set[date]().union(*side.values()) for side in (called, controls)]
    for back in range(1, rule.window_days + 1):
        day = event.day - timedelta(days=back)
        if len(found) == rule.pool_n:
            break
        if day_type(day, apart.holidays, rule.day_types) != wanted:
            continue
        if day in apart.event_days or day in apart.outages:
            excluded.append((day, "an event day" if day in apart.event_days else "an outage, test or shutdown"))
        elif day in has[0] and day in has[1]:
            found.append(day)
        else:
            excluded.append((day, "no meter data"))
    return tuple(found), tuple(excluded)


def _group(
    meters: Meters, days: tuple[date, ...], event: Event, least: int, span: slice, side: str, notes: list[str],
    *, needs_today: bool,
) -> Group:  # fmt: skip
    """Return the loads of a side; who has too few whole days, or as a control no reading of the event, is named."""
    today, before = [], []
    for name, load in meters.items():
        own = load.get(event.day)
        count = len(own) if own is not None else max((len(v) for v in load.values()), default=0)
        blank = np.full(count, np.nan)
        past = np.array([load.get(day, blank) for day in days]).reshape(len(days), count)
        complete = int(whole(past, 1).sum())
        own = blank if own is None else own
        if complete < least or (needs_today and not np.isfinite(own[span]).all()):
            why = f"{complete} whole days, needs {least}" if complete < least else "gaps in the event"
            notes.append(f"{side} {name or 'meter'} left out: {why}")
            continue
        today.append(own)
        before.append(past)
    size = len(today[0]) if today else 0
    return Group(np.array(today).reshape(-1, size), np.array(before).reshape(-1, len(days), size))


def _checks(found: Comparison) -> list[str]:
    """Return what of a control group's checks does not hold."""
    notes = []
    if found.controls < LEAST_CONTROLS:
        notes.append(f"control group not valid: {found.controls} controls, needs {LEAST_CONTROLS}")
    if not SLOPE_LOW <= found.slope <= SLOPE_HIGH:
        notes.append(f"control group not valid: slope {found.slope:.3f}, needs {SLOPE_LOW} to {SLOPE_HIGH}")
    if not found.precision <= PRECISION:
        notes.append(f"control group not valid: +-{found.precision:.1%} at 90 %, needs +-{PRECISION:.0%}")
    return notes


def _hash(rule: BaselineRule, called: Meters, controls: Meters, event: Event, apart: LeftOut) -> str:
    head = f"{rule.id}:{rule.stamp}:{event.day}:{event.first}:{event.last}:{event.per_hour}"
    digest = blake2b(head.encode(), digest_size=12)
    for days in (apart.event_days, apart.holidays, apart.outages):
        digest.update(",".join(day.isoformat() for day in sorted(days)).encode() + b";")
    for side in (called, controls):
        for name in sorted(side):
            digest.update(f"{name};".encode())
            for day in sorted(side[name]):
                digest.update(day.isoformat().encode())
                digest.update(np.ascontiguousarray(side[name][day]).tobytes())
        digest.update(b"|")
    return digest.hexdigest()
