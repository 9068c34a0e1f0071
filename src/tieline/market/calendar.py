"""Holidays and daylight saving: which days are business days, and what o'clock an interval of a market day is."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.times import HOUR_NS, MINUTE_NS, from_ns, market_day

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
STEP_NS = 5 * MINUTE_NS


@cache
def nerc_holidays(year: int) -> frozenset[date]:
    """Return the six holidays on which North American markets count no business day.

    Source: NERC, additional off-peak days: New Year, Memorial, Independence, Labor, Thanksgiving and Christmas Day; one
    that falls on a Sunday is kept on the Monday after it.

    >>> date(2022, 12, 26) in nerc_holidays(2022)
    True
    """
    fixed = [date(year, 1, 1), date(year, 7, 4), date(year, 12, 25)]
    memorial = date(year, 5, 31) - timedelta(days=date(year, 5, 31).weekday())
    labor = date(year, 9, 1) + timedelta(days=(-date(year, 9, 1).weekday()) % 7)
    first = date(year, 11, 1)
    thanksgiving = first + timedelta(days=(3 - first.weekday()) % 7 + 21)
    kept = [day + timedelta(days=1) if day.weekday() == 6 else day for day in fixed]
    return frozenset([*kept, memorial, labor, thanksgiving])


def holidays_around(day: date) -> frozenset[date]:
    """Return the holidays that a baseline of a day can meet: its year's and those of the year before."""
    return nerc_holidays(day.year) | nerc_holidays(day.year - 1)


def on_the_clock_of(
    event_day: date, zone: ZoneInfo, starts_ns: Instants, values: Floats, step_ns: int = STEP_NS
) -> dict[date, Floats]:
    """Return each local day's values laid out on the clock of the event day; NaN where there is no reading.

    A market day has 23, 24 or 25 hours. An interval of the event day stands beside the one at the same time of day, so
    that five in the afternoon is compared with five in the afternoon. The repeated hour of a 25-hour day stands beside
    the one hour of that name; an hour that a like day skipped stays NaN, and that day is then left out by name if the
    event needs it.

    Args:
        event_day: Whose clock.
        zone: The market's zone.
        starts_ns: Start of each reading; shape (n,).
        values: The readings; shape (n,).
        step_ns: Length of an interval.
    """
    wanted = _walls(event_day, zone, step_ns)
    found: dict[date, Floats] = {}
    if not len(starts_ns):
        return found
    day = from_ns(int(starts_ns.min())).astimezone(zone).date()
    last = from_ns(int(starts_ns.max())).astimezone(zone).date()
    while day <= last:
        over = market_day(day, zone)
        mine = (starts_ns >= over.start_ns) & (starts_ns < over.end_ns)
        if mine.any():
            own = np.full((over.end_ns - over.start_ns) // step_ns, np.nan)
            own[(starts_ns[mine] - over.start_ns) // step_ns] = values[mine]
            found[day] = own if day == event_day else _laid_out(own, _walls(day, zone, step_ns), wanted)
        day += timedelta(days=1)
    return found


def hours_on_the_clock_of(event_day: date, zone: ZoneInfo, starts_ns: Instants, values: Floats) -> dict[date, Floats]:
    """Return each local day's hourly means laid out on the clock of the event day; NaN where an hour has no value.

    Args:
        event_day: Whose clock.
        zone: The market's zone.
        starts_ns: When each value was taken; shape (n,).
        values: The values; NaN: none; shape (n,).
    """
    known = np.isfinite(values)
    if not known.any():
        return {}
    opened_ns = market_day(event_day, zone).start_ns
    hour, of = np.unique((starts_ns[known] - opened_ns) // HOUR_NS, return_inverse=True)
    mean = np.bincount(of, values[known]) / np.bincount(of)
    return on_the_clock_of(event_day, zone, opened_ns + hour * HOUR_NS, mean, HOUR_NS)


Wall = tuple[int, int]


def _walls(day: date, zone: ZoneInfo, step_ns: int) -> list[Wall]:
    """Return (minute of the day, which pass) of each interval of a market day."""
    over = market_day(day, zone)
    local = (from_ns(at).astimezone(zone) for at in range(over.start_ns, over.end_ns, step_ns))
    return [(at.hour * 60 + at.minute, at.fold) for at in local]


def _laid_out(own: Floats, walls: list[Wall], wanted: list[Wall]) -> Floats:
    if walls == wanted:
        return own
    place = {wall: at for at, wall in enumerate(walls)}
    picks = [place.get(wall, place.get((wall[0], 0), -1)) for wall in wanted]
    padded = np.append(own, np.nan)
    laid: Floats = padded[picks]
    return laid
