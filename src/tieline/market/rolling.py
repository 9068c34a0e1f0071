"""Rolling baselines over columns: for every meter and every interval of every day, what its like days say of it.

`baseline.compute` is the rule as it reads, an event at a time; this asks it of each interval as if that were an event
of its own, without the adjustment, which belongs to an event's start. What comes out is the same to the last bit: like
days are added up in the rule's order, the most recent first. A day without a reading of an interval is passed over for
it alone, and where too few are left there is no baseline. Rules that pick all like days are served.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.market.picking import LeftOut, day_type
from tieline.market.rule import BaselineRule

Block = NDArray[np.float32]
Floats = NDArray[np.float64]
Places = NDArray[np.int32]
TILE = 2_048
"""How many columns are worked through at once, so that all days of a window stay in the cache."""


def unadjusted(rule: BaselineRule) -> BaselineRule:
    """Return a rule without its adjustment.

    Raises:
        ValueError: The rule doesn't pick all like days, or drops days by their use over an event's hours.
    """
    if rule.pick != "all" or rule.low_use_frac > 0.0:
        raise ValueError(f"{rule.id} picks {rule.pick} by an event's hours: give a rule that picks all like days")
    return replace(rule, adjust="none", adjust_before=None, adjust_after=None)


def like_days(
    rule: BaselineRule, days: Sequence[date], wanted: Sequence[date], apart: LeftOut
) -> tuple[Places, Places, Places]:
    """Return, for each wanted day, which of `days` may stand for it, most recent first; how many; how many it needs.

    Shapes (w, most), (w,), (w,); places that stand for nothing are -1. `days` without a place are passed over.
    """
    place = {day: at for at, day in enumerate(days)}
    rows, least = list[list[int]](), list[int]()
    for day in wanted:
        rule.require_in_force(day)
        kind = day_type(day, apart.holidays, rule.day_types)
        back = (day - timedelta(days=n) for n in range(1 + rule.lag_days, rule.window_days + 1))
        rows.append([
            place[one] for one in back
            if one in place and day_type(one, apart.holidays, rule.day_types) == kind
            and one not in apart.event_days and one not in apart.outages
        ])  # fmt: skip
        least.append(rule.min_n["business" if kind == "business" else "other"])
    most = max((len(row) for row in rows), default=0)
    found = np.full((len(rows), max(most, 1)), -1, np.int32)
    for at, row in enumerate(rows):
        found[at, : len(row)] = row
    return found, np.array([len(row) for row in rows], np.int32), np.array(least, np.int32)


def rolling_baseline(
    rule: BaselineRule,
    days: Sequence[date],
    load: Block,
    wanted: Sequence[date],
    apart: LeftOut = LeftOut(),  # noqa: B008 - frozen
    into: Floats | None = None,
) -> Floats:
    """Return the baseline of every column of every wanted day; shape (w, columns), in the readings' unit.

    Args:
        rule: How; its adjustment is left out.
        days: Which days there are readings of, each once.
        load: Readings of each day, laid on one clock: a column is an interval of a meter; shape (days, columns), NaN
            where there is none.
        wanted: Days whose baseline is asked for.
        apart: Days that may not stand for another: events, holidays (no business days), outages.
        into: Where results go; None: into new memory.

    Raises:
        ConfigError: The rule was not in force on a wanted day.
        ValueError: The rule does not pick all like days, a day stands there twice, or shapes don't fit.
    """
    plain = unadjusted(rule)
    if len(set(days)) != len(days) or load.shape[0] != len(days):
        raise ValueError(f"load has {load.shape[0]} days for {len(set(days))} dates: give one row a date")
    other = plain.other
    found, count, least = like_days(plain, days, wanted, apart)
    pools = [
        plain.pool_n if other is None or day_type(day, apart.holidays, plain.day_types) == "business" else other.pool_n
        for day in wanted
    ]
    made = np.empty((len(wanted), load.shape[1])) if into is None else into
    if made.shape != (len(wanted), load.shape[1]):
        raise ValueError(f"into has shape {made.shape}: give {(len(wanted), load.shape[1])}")
    _roll(load, found, count, least, np.array(pools, np.int32), made)
    return made


@compiled
def _roll(load: Block, found: Places, count: Places, least: Places, pools: Places, made: Floats) -> None:
    """Fill in each wanted day's mean of its like days, tile after tile of columns."""
    columns = load.shape[1]
    total = np.empty(TILE)
    for first in range(0, columns, TILE):
        width = min(TILE, columns - first)
        for d in range(len(count)):
            n = min(pools[d], count[d])
            if n < least[d] or n == 0:
                made[d, first : first + width] = np.nan
                continue
            _sum_days(load, found[d], n, first, width, total)
            into, gaps = made[d, first : first + width], 0
            for x in range(width):
                into[x] = total[x] / n
                gaps += 0 if total[x] - total[x] == 0.0 else 1
            if gaps == 0:
                continue
            for x in range(width):
                # What is no number has met a gap: its like days are looked up one by one.
                if not np.isfinite(into[x]):
                    into[x] = _passed_over(load, found[d], count[d], pools[d], least[d], first + x)


@compiled
def _sum_days(load: Block, found: Places, n: int, first: int, width: int, total: Floats) -> None:
    """Fill in the sum of the first n like days of a tile, in their order."""
    end = first + width
    row = load[found[0], first:end]
    for x in range(width):
        total[x] = row[x]
    j = 1
    while j + 2 < n:
        # Three at a time, in the same order: the running sum is fetched and put back a third as often.
        one, two, three = load[found[j], first:end], load[found[j + 1], first:end], load[found[j + 2], first:end]
        for x in range(width):
            total[x] = ((total[x] + one[x]) + two[x]) + three[x]
        j += 3
    while j < n:
        row = load[found[j], first:end]
        for x in range(width):
            total[x] += row[x]
        j += 1


@compiled
def _passed_over(load: Block, found: Places, count: int, pool_n: int, least: int, column: int) -> float:
    """Return the mean of one column's first like days that have a reading; NaN where too few have."""
    total, n = 0.0, 0
    for j in range(count):
        value = load[found[j], column]
        if np.isfinite(value):
            total += value
            n += 1
            if n == pool_n:
                break
    return total / n if n >= least and n > 0 else np.nan
