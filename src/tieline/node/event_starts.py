"""When an event of people may begin: the past can't be called any more, and nobody plans years ahead."""

from __future__ import annotations

from tieline.desk.screens import ComposeEvent
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, FOREVER_NS, MINUTE_NS, iso

GRACE_NS = MINUTE_NS
"""An event of "now" is composed by what a page showed last: that is a little old when it comes here."""
AHEAD_NS = 400 * DAY_NS
"""The next season is composed this year; a start beyond it is a slip of a digit."""


def refusal_of_start(wish: ComposeEvent, now_ns: int) -> Refusal | None:
    """Return why an event can't begin when it is to, or None.

    Who composes one that began an hour ago reads of power that was never asked: the hour would be missing from it.
    """
    if not 0 <= wish.start_ns <= FOREVER_NS:
        return None  # what is no instant at all is the desk's to refuse
    if wish.start_ns > now_ns + AHEAD_NS:
        until = f"{iso(now_ns + AHEAD_NS)} or earlier"
        return Refusal("the event's start lies too far ahead", "start_ns", iso(wish.start_ns), until)
    if wish.start_ns >= now_ns - GRACE_NS:
        return None
    return Refusal("the event's start lies in the past", "start_ns", iso(wish.start_ns), f"{iso(now_ns)} or later")
