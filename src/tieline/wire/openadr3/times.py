"""OpenADR 3.1's ways to say time: instants, durations, and the timeline that the intervals of an event make.

User Guide 3.1.0, 7.3 to 7.6: an interval without a start of its own follows the one before it; 0001-01-01 means now
(0000-00-00, as 3.0 had it, is no date of RFC 3339, and 3.1 took it out: changelog 3.1.0, 339); P9999Y means without
end; an event's own duration cuts its intervals short or repeats them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

SECOND_NS = 1_000_000_000
FOREVER_S = 9999 * 365 * 86_400
LAST_NS = 2**62  # later than any date that can be said: what is without end ends here
MOST_SPANS = 5_000
_LAST_YEAR = 2200
HORIZON_NS = 2 * 86_400 * SECOND_NS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOW = re.compile(r"^0001-01-01(?:T00:00:00(?:\.0{1,9})?(?:Z|[+-]00:00)?)?$", re.ASCII)
_DURATION = re.compile(
    r"^P(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})W)?(?:(\d{1,9})D)?"
    r"(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?$",
    re.ASCII,
)


class TimeError(ValueError):
    """A text that is no instant or duration; it names the path (`field`), the text (`value`) and what would do."""

    def __init__(self, text: str, path: str, limit: str) -> None:
        super().__init__(f"{text[:40]!r} at {path}: {limit}")
        self.field, self.value, self.limit = path, text[:40], limit


def seconds_of(text: str, path: str = "$") -> float:
    """Return an ISO 8601 duration in seconds; P9999Y means without end. A year counts 365 days, a month 30."""
    match = _DURATION.match(text)
    # No sign: the official pattern lets one stand, but no span of time of an event is negative.
    if match is None or text == "P":
        raise TimeError(text, path, "give an ISO 8601 duration such as PT15M")
    years, months, weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    whole_days = 365 * years + 30 * months + 7 * weeks + days
    return min(whole_days * 86_400 + hours * 3600 + minutes * 60 + seconds, float(FOREVER_S))


def instant_ns(text: str, path: str = "$") -> int | None:
    """Return an ISO 8601 instant as UTC ns; None for 0001-01-01 at midnight, which means now. Raises TimeError."""
    if _NOW.match(text) is not None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise TimeError(
            text, path, "give ISO 8601 with an offset, as 2026-01-01T00:00:00Z, or 0001-01-01 for now"
        ) from None
    if instant.tzinfo is None:
        raise TimeError(text, path, f"give an offset, such as {text[:40]}Z, or 0001-01-01 for now")
    if not 1970 <= instant.year <= _LAST_YEAR:  # what lies outside does not fit into 64 bits of ns
        raise TimeError(text, path, f"give 1970 to {_LAST_YEAR}, or 0001-01-01 for now")
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND_NS + delta.microseconds * 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """One interval of an event in time, [start, end), with its payloads as they came."""

    start_ns: int
    end_ns: int
    payloads: list[Mapping[str, Any]]


def randomize_s(event: Mapping[str, Any]) -> float:
    """Return by how much the start of an event may be moved, either way (s)."""
    return seconds_of((event.get("intervalPeriod") or {}).get("randomizeStart") or "PT0S", "$.intervalPeriod")


def timeline(event: Mapping[str, Any], now_ns: int, shift_ns: int = 0) -> list[Span]:
    """Return the intervals of an event in time, those of a repeated event up to two days ahead.

    Args:
        event: As the VTN shows it.
        now_ns: What "now" means in it.
        shift_ns: What `randomizeStart` came to: all starts move by it together (User Guide 7.3).
    """
    default = event.get("intervalPeriod") or {}
    spans: list[Span] = []
    next_ns = _start(default, now_ns, "$.intervalPeriod")
    first_ns = next_ns
    for at, interval in enumerate(event.get("intervals") or ()):
        own, path = interval.get("intervalPeriod") or {}, f"$.intervals[{at}].intervalPeriod"
        if own.get("start") is not None:
            told_ns = instant_ns(own["start"], path)
            next_ns = next_ns if told_ns is None else told_ns  # "0001-01-01" in an interval: it follows on
        first_ns = min(first_ns, next_ns) if at else next_ns
        seconds = seconds_of(own.get("duration") or default.get("duration") or "P9999Y", path)
        end_ns = _later(next_ns, seconds)
        spans.append(Span(next_ns, end_ns, interval["payloads"]))
        next_ns = end_ns
    whole = event.get("duration")
    if whole is not None and spans:
        spans = _stretched(spans, first_ns, next_ns, _later(first_ns, seconds_of(whole, "$.duration")), now_ns)
    return [Span(span.start_ns + shift_ns, min(span.end_ns + shift_ns, LAST_NS), span.payloads) for span in spans]


def ends_ns(event: Mapping[str, Any], now_ns: int) -> int:
    """Return when an event is over; one without intervals never is."""
    spans = timeline(event, now_ns)
    return max((span.end_ns for span in spans), default=LAST_NS)


def begins_ns(event: Mapping[str, Any], now_ns: int) -> int:
    """Return when an event begins, the first time where it repeats; now, where it has no interval."""
    return min((span.start_ns for span in timeline({**event, "duration": None}, now_ns)), default=now_ns)


def _start(period: Mapping[str, Any], now_ns: int, path: str) -> int:
    told = period.get("start")
    told_ns = None if told is None else instant_ns(told, path)
    return now_ns if told_ns is None else told_ns


def _later(start_ns: int, seconds: float) -> int:
    return min(start_ns + round(seconds * SECOND_NS), LAST_NS)


def _stretched(spans: list[Span], first_ns: int, last_ns: int, until_ns: int, now_ns: int) -> list[Span]:
    """Repeat the intervals until the event is over, and cut what lies behind its end."""
    # A tariff may repeat for 9999 years: only the turns around now are unrolled.
    round_ns = last_ns - first_ns
    found: list[Span] = []
    # The turn before this one too: an interval that began in it may still run.
    turn = max((now_ns - first_ns) // round_ns - 1, 0) if round_ns > 0 else 0
    most_ns = min(until_ns, max(now_ns, first_ns) + HORIZON_NS)
    while len(found) < MOST_SPANS:
        shift_ns = turn * round_ns
        if first_ns + shift_ns >= most_ns:
            break
        for span in spans:
            if span.start_ns + shift_ns < until_ns:
                end_ns = min(span.end_ns + shift_ns, until_ns)
                found.append(Span(span.start_ns + shift_ns, end_ns, span.payloads))
        turn += 1
        if round_ns <= 0:
            break
    return found
