"""The life of a program event: composed, approved by a second person, scheduled, run, and done, cancelled or lapsed."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, structs

from tieline.resource.claim import Refusal
from tieline.times import iso


class EventState(StrEnum):
    """Where an event stands."""

    NEW = "New"
    SUBMITTED = "Submitted"
    DENIED = "Denied"
    APPROVED = "Approved"
    SCHEDULED = "Scheduled"
    IN_PROGRESS = "In Progress"
    COMPLETED = "Completed"
    CANCELED = "Canceled"
    LAPSED = "Lapsed"
    """Its time was over before it began: nobody submitted or approved it by then, or no server ran."""


NEXT: dict[EventState, frozenset[EventState]] = {
    EventState.NEW: frozenset({EventState.SUBMITTED, EventState.CANCELED, EventState.LAPSED}),
    EventState.SUBMITTED: frozenset({EventState.APPROVED, EventState.DENIED, EventState.CANCELED, EventState.LAPSED}),
    EventState.APPROVED: frozenset({EventState.SCHEDULED, EventState.CANCELED, EventState.LAPSED}),
    EventState.SCHEDULED: frozenset({EventState.IN_PROGRESS, EventState.CANCELED, EventState.LAPSED}),
    EventState.IN_PROGRESS: frozenset({EventState.COMPLETED, EventState.CANCELED}),
    EventState.DENIED: frozenset(),
    EventState.COMPLETED: frozenset(),
    EventState.CANCELED: frozenset(),
    EventState.LAPSED: frozenset(),
}


class ProgramEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """A call of a program on a group of resources: so much power (W, a reduction is positive) over an interval.

    `asked` is derived from all that it was composed by, where a key of its sender came with that; empty: none did.
    """

    id: str
    program: str
    group: str
    strategy: str
    start_ns: int
    end_ns: int
    power_w: float
    composed_by: str
    state: EventState = EventState.NEW
    approved_by: str = ""
    why: str = ""
    asked: str = ""


def advance(event: ProgramEvent, to: EventState, by: str, now_ns: int) -> ProgramEvent | Refusal:
    """Return the event after a step of its life, or why it can't take that step.

    Approval needs a second person: who composed an event may not approve it. One whose time is over is neither
    submitted nor approved.
    """
    if to in (EventState.SUBMITTED, EventState.APPROVED) and (
        event.state is EventState.LAPSED or lapses(event, now_ns)
    ):
        return Refusal("the event is over already", "end_ns", iso(event.end_ns), f"after {iso(now_ns)}")
    if to not in NEXT[event.state]:
        allowed = ", ".join(sorted(NEXT[event.state])) or "nothing: it has ended"
        return Refusal("the event can't take that step", "state", f"{event.state} -> {to}", allowed)
    if to in (EventState.APPROVED, EventState.DENIED) and by == event.composed_by:
        return Refusal("a second person must decide", "by", by, f"anyone but {event.composed_by}", rule="two people")
    approver = by if to is EventState.APPROVED else event.approved_by
    return structs.replace(event, state=to, approved_by=approver)


def lapses(event: ProgramEvent, now_ns: int) -> bool:
    """Return whether an event's time is over though it never began."""
    return EventState.LAPSED in NEXT[event.state] and now_ns >= event.end_ns


def check(event: ProgramEvent, now_ns: int) -> Refusal | None:
    """Return why an event can't be composed, or None."""
    if event.end_ns <= event.start_ns:
        return Refusal("an event ends after its start", "end_ns", iso(event.end_ns), f"after {iso(event.start_ns)}")
    if event.end_ns <= now_ns:
        return Refusal("the event lies in the past", "end_ns", iso(event.end_ns), f"after {iso(now_ns)}")
    if not abs(event.power_w) < float("inf"):
        return Refusal("power must be a finite number", "power_w", str(event.power_w), "finite")
    return None
