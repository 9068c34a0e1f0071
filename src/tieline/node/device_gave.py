"""What each device's own meter says that it gave: its part of the pool's baseline, less what it metered.

A pool's baseline is a mean of days, times a factor or with something added. So each device has its part of it: the mean
of its own readings of the same days, times the same factor, or with what its own adjustment window adds. The parts of
all devices are the pool's baseline, and what they gave is the pool's performance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.desk.paid import ByMeters
from tieline.market.baseline import Baseline
from tieline.market.calendar import on_the_clock_of
from tieline.market.picking import Event, own_intervals
from tieline.market.rule import BaselineRule, baseline_rule
from tieline.node.kept_readings import Seen
from tieline.times import MINUTE_NS, market_day

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
STEP_NS = 5 * MINUTE_NS


class DeviceMeters(Protocol):
    """Where readings of devices are, as means of five minutes."""

    async def seen(self, rows: Rows, start_ns: int, end_ns: int) -> Seen:
        """Return what each row's meter saw in each interval (W, positive into the grid)."""
        ...


async def device_gave(
    kept: DeviceMeters,
    groups: Sequence[tuple[Rows, Baseline]],
    day: date,
    zone: ZoneInfo,
    event: Event,
    starts: Sequence[int],
    moved_w: Mapping[int, tuple[Rows, Floats]],
) -> ByMeters:
    """Return what each device gave in some intervals of a market day by its own meter.

    Args:
        kept: Where its readings are.
        groups: Rows that are settled by one baseline, ascending, and that baseline.
        day: The market day.
        zone: Whose day.
        event: When the pool was called on it, in intervals of the day.
        starts: The intervals to tell of (ns).
        moved_w: What program events moved of which rows, by interval (W): what they gave is paid there, and no part of
            this.
    """
    opened_ns = market_day(day, zone).start_ns
    at = np.array([(start_ns - opened_ns) // STEP_NS for start_ns in starts], np.int64)
    found = [await _gave(kept, rows, base, day, zone, event, at) for rows, base in groups]
    rows = np.concatenate([rows for rows, _ in groups])
    gave_w, order = np.concatenate(found), np.argsort(rows, kind="stable")
    rows, gave_w = rows[order], gave_w[order]
    for column, start_ns in enumerate(starts):
        of, watts = moved_w.get(start_ns, (np.zeros(0, np.int32), np.zeros(0)))
        mine = np.isin(of, rows)
        np.subtract.at(gave_w[:, column], np.searchsorted(rows, of[mine]), np.maximum(watts[mine], 0.0))
    return ByMeters(rows.astype(np.int64), {at_ns: gave_w[:, n].copy() for n, at_ns in enumerate(starts)})


async def _gave(
    kept: DeviceMeters, rows: Rows, base: Baseline, day: date, zone: ZoneInfo, event: Event, at: NDArray[np.int64]
) -> Floats:
    """Return baseline less consumption of each row in some intervals of a day (W); shape (rows, intervals)."""
    rule, over = baseline_rule(f"{base.rule}@{base.version}"), market_day(day, zone)
    actual_w = -(await kept.seen(rows, over.start_ns, over.end_ns)).power_w
    steps = actual_w.shape[1]
    own = own_intervals(rule, event, steps)
    if own is not None:
        mean_w = np.repeat(_known_mean(actual_w[:, own])[:, None], steps, axis=1)
    else:
        mean_w = await _of_days(kept, rows, base, day, zone, steps)
    base_w = mean_w * base.factor + _added_w(rule, event, mean_w, actual_w)[:, None]
    gained: Floats = (base_w - actual_w)[:, at]
    return gained


async def _of_days(kept: DeviceMeters, rows: Rows, base: Baseline, day: date, zone: ZoneInfo, steps: int) -> Floats:
    """Return the mean of each row over the days that the pool's baseline rests on, on the clock of the day (W)."""
    sums, weights = np.zeros((len(rows), steps)), np.zeros((len(rows), steps))
    for like, weight in zip(base.days, base.weights, strict=True):
        over = market_day(like, zone)
        seen_w = -(await kept.seen(rows, over.start_ns, over.end_ns)).power_w
        starts = np.arange(over.start_ns, over.end_ns, STEP_NS, dtype=np.int64)
        place = on_the_clock_of(day, zone, starts, np.arange(len(starts), dtype=np.float64))[like]
        there = np.isfinite(place)
        laid_w = np.full((len(rows), steps), np.nan)
        laid_w[:, there] = seen_w[:, place[there].astype(np.int64)]
        known = np.isfinite(laid_w)
        sums += np.where(known, laid_w, 0.0) * weight
        weights += known * weight
    return np.where(weights > 0, sums / np.where(weights > 0, weights, 1.0), np.nan)


def _added_w(rule: BaselineRule, event: Event, mean_w: Floats, actual_w: Floats) -> Floats:
    """Return what an additive rule adds to each row's mean: how far its own adjustment window is from it (W)."""
    if rule.adjust != "additive":
        return np.zeros(len(mean_w))
    window = event.adjusts_over(rule, mean_w.shape[1])
    return np.nan_to_num(_known_mean((actual_w - mean_w)[:, window]))


def _known_mean(values: Floats) -> Floats:
    """Return the mean of what is known of each row; NaN: nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
