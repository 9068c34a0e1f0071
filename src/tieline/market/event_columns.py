"""A called event over columns of meters: which days stand for it, baseline and performance, a meter a column.

`baseline.compute` is the rule as it reads, a meter at a time; this is the same for many at once, and a property test
holds the two together. Readings come as float32 blocks of shape (intervals, meters), one a day, so that only the event
and its adjustment windows are ever touched. Rules that pick by temperature or likeness, or look at the event day alone,
are not here: those are settled a meter at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.market.picking import Event, LeftOut, day_type
from tieline.market.rule import BaselineRule

Floats = NDArray[np.float64]
Block = NDArray[np.float32]
Mask = NDArray[np.bool_]
Days = NDArray[np.int8]
PICKS = {"all": 0, "highest": 1, "middle": 2}
ADJUSTS = {"none": 0, "ratio": 1, "additive": 2}
OK, HUNGRY, TOO_FEW = 0, 1, 2
NO_DAY = -1
MOST_LIKE_DAYS = 127
"""Days of a meter are told by their place, in a byte."""


class DayBlocks(Protocol):
    """Where readings of many meters lie by day (kWh), all on the event day's clock."""

    def size(self, part: int) -> int:
        """Return how many meters a part has."""
        ...

    def read(self, day: date, intervals: Sequence[int], part: int, into: Block) -> bool:
        """Fill in these intervals of a day for a part's meters, shape (k, m), NaN: no reading; false: no such day."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Baseline and performance of a part of the meters, shape (event intervals, m), and how each came about, (m,).

    `day_of` holds, for each pick, which of `candidates` stands for the event day (-1: none), the most recent first.
    `has_baseline` is false where too few like days are left: such a meter gains nothing.
    """

    candidates: tuple[date, ...]
    baseline: Floats
    performance: Floats
    factor: Floats
    addend: Floats
    day_of: Days
    has_baseline: Mask
    unread: Mask


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rule asks of an event: like days, most recent first, and the intervals to read (the event's first)."""

    rule: BaselineRule
    event: Event
    candidates: tuple[date, ...]
    intervals: tuple[int, ...]
    pool_n: int
    pick_n: int
    least: int
    weights: tuple[float, ...]

    @classmethod
    def of(cls, rule: BaselineRule, event: Event, apart: LeftOut, per_day: int) -> Plan:
        """Return the plan of an event.

        Args:
            rule: How days are chosen.
            event: When.
            apart: Days that may not stand for it.
            per_day: How many intervals the event day has.

        Raises:
            ConfigError: The rule was not in force on that day.
            ValueError: The rule's pick is not one that is settled in columns, or it looks at too many days.
        """
        if rule.pick not in PICKS:
            raise ValueError(f"{rule.id} picks {rule.pick}: give a rule that picks {', '.join(PICKS)}")
        rule.require_in_force(event.day)
        wanted = day_type(event.day, apart.holidays, rule.day_types)
        other = rule.other if wanted != "business" else None
        pool_n, pick_n = (rule.pool_n, rule.pick_n) if other is None else (other.pool_n, other.pick_n)
        days = (event.day - timedelta(days=back) for back in range(1 + rule.lag_days, rule.window_days + 1))
        free = tuple(
            day
            for day in days
            if day_type(day, apart.holidays, rule.day_types) == wanted
            and day not in apart.event_days
            and day not in apart.outages
        )
        if len(free) > MOST_LIKE_DAYS:
            raise ValueError(
                f"{rule.id} looks at {len(free)} like days, of which columns hold {MOST_LIKE_DAYS} at most"
            )
        is_business = day_type(event.day, apart.holidays, rule.day_types) == "business"
        intervals = (*range(event.first, event.last), *event.adjusts_over(rule, per_day))
        return cls(
            rule, event, free, intervals, pool_n, pick_n, rule.min_n["business" if is_business else "other"],
            () if other is None else other.weights,
        )  # fmt: skip

    @property
    def event_n(self) -> int:
        """How many intervals the event has."""
        return self.event.last - self.event.first


def settle_part(plan: Plan, blocks: DayBlocks, part: int) -> Columns:
    """Return baseline and performance of one part of the meters.

    Days are read as they are needed: as many as the pool holds, then one more at a time for those meters alone whose
    pool isn't full yet.

    Raises:
        ValueError: There is no reading of the event day.
    """
    wide, count = len(plan.intervals), blocks.size(part)
    actual = np.empty((wide, count), np.float32)
    if not blocks.read(plan.event.day, plan.intervals, part, actual):
        raise ValueError(f"no load for the event day {plan.event.day}")
    made = _empty(plan, actual)
    left = iter(enumerate(plan.candidates))
    cube = np.empty((plan.pool_n, wide, count), np.float32)
    days: list[int] = []
    while len(days) < plan.pool_n and (found := _next(plan, blocks, part, left, cube[len(days)])) is not None:
        days.append(found)
    rows = np.arange(count)
    hungry = _fill(plan, made, days, cube[: len(days)], actual, rows)
    more = np.empty((wide, count), np.float32)
    while hungry.any() and (found := _next(plan, blocks, part, left, more)) is not None:
        # Few by now: their days are copied out, the others are done.
        rows = rows[hungry]
        cube = np.concatenate([cube[: len(days), :, hungry], more[None, :, rows]])
        days.append(found)
        hungry = _fill(plan, made, days, cube, actual, rows)
    return made


def _next(plan: Plan, blocks: DayBlocks, part: int, left: Iterator[tuple[int, date]], into: Block) -> int | None:
    """Read the next like day that there is, and return which of the candidates it is."""
    for at, day in left:
        if blocks.read(day, plan.intervals, part, into):
            return at
    return None


def _empty(plan: Plan, actual: Block) -> Columns:
    count, n = actual.shape[1], plan.event_n
    picks = max(plan.pool_n, 1)
    return Columns(
        plan.candidates, np.full((n, count), np.nan), np.zeros((n, count)), np.ones(count), np.zeros(count),
        np.full((picks, count), NO_DAY, np.int8), np.zeros(count, np.bool_), ~np.isfinite(actual[:n]),
    )  # fmt: skip


def _fill(plan: Plan, made: Columns, days: Sequence[int], cube: Block, actual: Block, rows: NDArray[np.int64]) -> Mask:
    """Settle some meters by the days read so far, and return whose pool isn't full yet."""
    rule, n, whole = plan.rule, plan.event_n, len(rows) == actual.shape[1]
    count = len(rows)
    into = (
        np.empty((n, count)), np.empty((n, count)), np.empty(count), np.empty(count),
        np.full((made.day_of.shape[0], count), NO_DAY, np.int8), np.empty(count, np.int8),
    )  # fmt: skip
    settle_meters(
        cube, actual if whole else np.ascontiguousarray(actual[:, rows]), n, plan.pool_n, plan.pick_n, plan.least,
        PICKS[rule.pick], ADJUSTS[rule.adjust], rule.adjust_low, rule.adjust_high, rule.low_use_frac,
        np.array(plan.weights, np.float64), *into,
    )  # fmt: skip
    baseline, performance, factor, addend, day_of, status = into
    at = slice(None) if whole else rows
    made.baseline[:, at], made.performance[:, at] = baseline, performance
    made.factor[at], made.addend[at] = factor, addend
    index = np.array([*days, NO_DAY], np.int8)
    made.day_of[:, at] = index[day_of]
    made.has_baseline[at] = (status & TOO_FEW) == 0
    hungry: Mask = (status & HUNGRY) != 0
    return hungry


@compiled
def settle_meters(
    cube: Block,
    actual: Block,
    event_n: int,
    pool_n: int,
    pick_n: int,
    least: int,
    pick: int,
    adjust: int,
    low: float,
    high: float,
    low_use_frac: float,
    weights: Floats,
    baseline: Floats,
    performance: Floats,
    factor: Floats,
    addend: Floats,
    day_of: Days,
    status: Days,
) -> None:
    """Fill in what each meter's days come to.

    Args:
        cube: Like days, most recent first; shape (days, intervals, m), the event's intervals first.
        actual: The event day, likewise; shape (intervals, m).
        event_n: How many intervals the event has.
        pool_n, pick_n, least, pick, adjust, low, high, low_use_frac, weights: The rule.
        baseline, performance, factor, addend, day_of, status: Where results go.
    """
    days, _, meters = cube.shape
    pool, use, order = np.empty(max(days, 1), np.int64), np.empty(max(days, 1)), np.empty(max(days, 1), np.int64)
    for m in range(meters):
        n = _pool(cube, m, event_n, pool_n, low_use_frac, pool, use)
        status[m] = HUNGRY if n < pool_n else OK
        picked = _pick(pool, use, n, pick, pick_n, order)
        factor[m], addend[m] = 1.0, 0.0
        if n < least or picked == 0:
            status[m] |= TOO_FEW
            for k in range(event_n):
                baseline[k, m], performance[k, m] = np.nan, 0.0
            continue
        for j in range(picked):
            day_of[j, m] = order[j]
        above, below, off, seen = _mean_day(cube, actual, m, event_n, order[:picked], weights, baseline)
        if adjust == 1 and seen and below > 0.0:
            factor[m] = min(max(above / below, low), high)
        elif adjust == 2 and seen:
            addend[m] = off / seen
        for k in range(event_n):
            baseline[k, m] = baseline[k, m] * factor[m] + addend[m]
            gave = actual[k, m]
            performance[k, m] = baseline[k, m] - gave if np.isfinite(gave) else 0.0


@compiled
def _mean_day(
    cube: Block, actual: Block, m: int, event_n: int, order: NDArray[np.int64], weights: Floats, baseline: Floats
) -> tuple[float, float, float, int]:
    """Fill in one meter's weighted mean of its picked days, and return what the adjustment window comes to.

    That is: use on the event day, use of the mean day, their differences' sum, and how many intervals have a reading.
    """
    mass = 0.0
    for j in range(len(order)):
        mass += weights[min(j, len(weights) - 1)] if len(weights) else 1.0
    above, below, off, seen = 0.0, 0.0, 0.0, 0
    for k in range(cube.shape[1]):
        mean = 0.0
        for j in range(len(order)):
            mean += (weights[min(j, len(weights) - 1)] if len(weights) else 1.0) * cube[order[j], k, m]
        mean /= mass
        if k < event_n:
            baseline[k, m] = mean
        elif np.isfinite(actual[k, m]):
            above += actual[k, m]
            below += mean
            off += actual[k, m] - mean
            seen += 1
    return above, below, off, seen


@compiled
def _pool(
    cube: Block, m: int, event_n: int, pool_n: int, low_use_frac: float, pool: NDArray[np.int64], use: Floats
) -> int:
    """Fill the pool of one meter with days that are read throughout, and return how many; days of low use drop out."""
    days, wide, _ = cube.shape
    n = 0
    for d in range(days):
        if n == pool_n:
            break
        total, is_whole = 0.0, True
        for k in range(wide):
            value = cube[d, k, m]
            if not np.isfinite(value):
                is_whole = False
                break
            if k < event_n:
                total += value
        if not is_whole:
            continue
        pool[n], use[n] = d, total
        n += 1
        if n == pool_n:
            n = _without_low_use(pool, use, n, low_use_frac)
    left: int = _without_low_use(pool, use, n, low_use_frac)
    return left


@compiled
def _without_low_use(pool: NDArray[np.int64], use: Floats, n: int, frac: float) -> int:
    """Return how many days are left without those under a part of the mean use; each that goes raises the mean."""
    while frac > 0.0 and n > 0:
        mean = 0.0
        for j in range(n):
            mean += use[j]
        mean /= n
        kept = 0
        for j in range(n):
            if use[j] >= frac * mean:
                pool[kept], use[kept] = pool[j], use[j]
                kept += 1
        if kept == n:
            break
        n = kept
    return n


@compiled
def _pick(pool: NDArray[np.int64], use: Floats, n: int, pick: int, pick_n: int, order: NDArray[np.int64]) -> int:
    """Fill in the days that are picked, most recent first, and return how many; of days alike the most recent wins."""
    first, last = 0, n
    if pick == 1:
        last = min(pick_n, n)
    elif pick == 2:
        drop = max((n - pick_n) // 2, 0)
        first, last = drop, n - drop
    count = 0
    for j in range(n):
        rank = 0
        for i in range(n):
            if use[i] > use[j] or (use[i] == use[j] and i < j):
                rank += 1
        if pick == 0 or first <= rank < last:
            order[count] = pool[j]
            count += 1
    return count
