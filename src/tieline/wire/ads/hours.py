"""Hour-ending hours of a market's local day as UTC instants, through days of 23 and 25 hours.

ERCOT's convention: hour ending h covers local [h-1, h). On the day that springs forward one hour ending is absent
(HE03 of 2021-03-14); on the day that falls back one comes twice, the second flagged as repeated (HE02 of 2021-11-07).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from tieline.wire.ads.errors import Malformed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_NS = 3600 * 10**9


def hour_ns(day: date, hour_ending: int, repeated: bool, zone: ZoneInfo) -> tuple[int, int]:
    """Return [start_ns, end_ns) of a market hour in UTC nanoseconds.

    Raises:
        Malformed: No such hour on that day: it is skipped, not repeated, or not 1 to 24.

    >>> start, end = hour_ns(date(2021, 11, 7), 2, True, ZoneInfo("America/Chicago"))
    >>> (end - start) // 10**9, datetime.fromtimestamp(start // 10**9, UTC).isoformat()
    (3600, '2021-11-07T07:00:00+00:00')
    """
    if not 1 <= hour_ending <= 24:
        raise Malformed(f"hourEnding = {hour_ending}: give 1 to 24")
    local = datetime(day.year, day.month, day.day, hour_ending - 1, tzinfo=zone, fold=int(repeated))
    start = local.astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
        raise Malformed(f"hourEnding = {hour_ending} is skipped on {day} in {zone.key}")
    if repeated and local.utcoffset() == local.replace(fold=0).utcoffset():
        raise Malformed(f"hourEnding = {hour_ending} is not repeated on {day} in {zone.key}")
    start_ns = _ns(start)
    return start_ns, start_ns + _HOUR_NS


def hour_of(start_ns: int, zone: ZoneInfo) -> tuple[date, int, bool]:
    """Return (market day, hour ending, repeated) of the hour that starts at an instant.

    Raises:
        Malformed: The instant is no full local hour.
    """
    local = (_EPOCH + timedelta(microseconds=start_ns // 1000)).astimezone(zone)
    if local.minute or local.second or local.microsecond or start_ns % 1000:
        raise Malformed(f"{local.isoformat()} is no full hour in {zone.key}")
    return local.date(), local.hour + 1, bool(local.fold)


def hours_of(day: date, zone: ZoneInfo) -> list[tuple[int, bool, int, int]]:
    """Return the (hour ending, repeated, start_ns, end_ns) of a market day in order: 23, 24 or 25 of them."""
    found = []
    for hour_ending in range(1, 25):
        for repeated in (False, True):
            try:
                found.append((hour_ending, repeated, *hour_ns(day, hour_ending, repeated, zone)))
            except Malformed:
                continue
    return sorted(found, key=lambda hour: hour[2])


def _ns(instant: datetime) -> int:
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1000
