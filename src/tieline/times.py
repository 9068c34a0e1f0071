"""Instants, intervals, steps and market days. An instant is UTC nanoseconds in an int."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
FOREVER_NS = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the time; handed in wherever time matters, so that simulated time is like real time."""

    def now_ns(self) -> int:
        """Return UTC now in nanoseconds."""
        ...


def to_ns(instant: datetime) -> int:
    """Return an aware datetime as UTC nanoseconds, exact to the microsecond.

    Raises:
        ValueError: `instant` is naive.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone: give one, such as {instant}+00:00")
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND_NS + delta.microseconds * 1_000


def from_ns(instant_ns: int) -> datetime:
    """Return UTC nanoseconds as an aware datetime, cut to the microsecond."""
    return _EPOCH + timedelta(microseconds=instant_ns // 1_000)


FAR = "an instant between 1678 and 2262"
"""What nanoseconds in 64 bits reach."""


def iso(instant_ns: int) -> str:
    """Return UTC nanoseconds as ISO 8601 with a Z."""
    return from_ns(instant_ns).isoformat().replace("+00:00", "Z")


def parse_iso(text: str) -> int:
    """Return ISO 8601 with an offset as UTC nanoseconds.

    Raises:
        ValueError: Not ISO 8601, without an offset, or beyond what nanoseconds reach (the year 2262).
    """
    instant_ns = to_ns(datetime.fromisoformat(text))
    if abs(instant_ns) > FOREVER_NS:
        raise ValueError(f"{text}: give {FAR}")
    return instant_ns


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A half-open stretch of time, [start_ns, end_ns)."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        if self.end_ns <= self.start_ns:
            raise ValueError(f"interval ends at {self.end_ns}, not after its start {self.start_ns}")

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return (self.end_ns - self.start_ns) / SECOND_NS

    def holds(self, instant_ns: int) -> bool:
        """Return whether the instant lies inside."""
        return self.start_ns <= instant_ns < self.end_ns

    def overlaps(self, other: Interval) -> bool:
        """Return whether the two share any instant."""
        return self.start_ns < other.end_ns and other.start_ns < self.end_ns

    def steps(self, step_ns: int) -> list[Interval]:
        """Return the interval cut into steps; the last may be shorter."""
        return [Interval(s, min(s + step_ns, self.end_ns)) for s in range(self.start_ns, self.end_ns, step_ns)]


def market_day(day: date, zone: ZoneInfo) -> Interval:
    """Return a market's calendar day: 23, 24 or 25 hours long.

    >>> market_day(date(2021, 3, 14), ZoneInfo("America/Chicago")).seconds / 3600
    23.0
    """
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    after = day + timedelta(days=1)
    end = datetime(after.year, after.month, after.day, tzinfo=zone)
    return Interval(to_ns(start), to_ns(end))


def hour_start_ns(instant_ns: int, zone: ZoneInfo) -> int:
    """Return when the hour of a zone's clock began that an instant lies in: not every zone is whole hours from UTC.

    >>> iso(hour_start_ns(parse_iso("2026-06-01T12:50:00Z"), ZoneInfo("Asia/Kolkata")))
    '2026-06-01T12:30:00Z'
    """
    offset = from_ns(instant_ns).astimezone(zone).utcoffset() or timedelta()
    offset_ns = (offset.days * 86_400 + offset.seconds) * SECOND_NS
    return floor_ns(instant_ns + offset_ns, HOUR_NS) - offset_ns


def lengths_s(text: str) -> list[float]:
    """Return lengths of time such as `4s,15m,1h,1d` in seconds, rising, each once.

    Raises:
        ValueError: One is no such length, or not above 0 and at most a year; it says what would do.

    >>> lengths_s("1h,15m")
    [900.0, 3600.0]
    """
    units, found = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}, set[float]()
    for word in text.split(","):
        try:
            length_s = float(word.strip()[:-1]) * units[word.strip()[-1:]]
        except (ValueError, KeyError):
            raise ValueError("give lengths such as 4s,15m,1h,1d") from None
        if not 0 < length_s <= 366 * units["d"]:
            raise ValueError("give more than 0 and at most a year")
        found.add(length_s)
    return sorted(found)


def floor_ns(instant_ns: int, step_ns: int) -> int:
    """Return the last multiple of the step (since the epoch) that is not after the instant."""
    return instant_ns - instant_ns % step_ns
