"""What the preview of a program event tells in sentences: that it gets nothing, and whom an unknown program calls."""

from __future__ import annotations

from collections.abc import Mapping

from tieline.desk.agreed import DEMAND_RESPONSE
from tieline.desk.event_split import Shared
from tieline.desk.programs import ProgramEvent
from tieline.desk.state import DeskState


def says_unknown(state: DeskState, event: ProgramEvent, by_kind: Mapping[str, int]) -> str:
    """Return that no contract of its group names an event's program, and whom it calls all the same; "": one names it.

    A program's name is anybody's words, and none narrows down whom it calls but by what contracts say of it.

    Args:
        state: The desk's.
        event: Its program and group.
        by_kind: How many of each kind it would call.
    """
    most_first = sorted(by_kind.items(), key=lambda item: -item[1])
    called = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in most_first) or "nobody now"
    if state.agreed is None:
        why, whom = f"no contract knows the program {event.program!r}: there are none here", "everything eligible"
        return f"{why}, and {whom} in {event.group} is called whatever its kind: {called}"
    names = state.agreed.of_rows(state.fleet.leaves(event.group))
    for contract in (state.agreed.contract(name) for name in names):
        terms = None if contract is None else contract.terms_at(event.start_ns)
        if terms is not None and event.program in terms.products:
            return ""
    whom = f"everything is called that a contract lets be called for {DEMAND_RESPONSE[0]}"
    whom += " or that has none" if state.agreed.serves_others else ""
    return f"no contract in {event.group} knows the program {event.program!r}: {whom}, whatever its kind: {called}"


def warning_of(found: Shared, asked_w: float, is_killed: bool) -> str:
    """Return what to tell who would submit an event that gets nothing by what is known now, or "" where it gets some.

    It may still be submitted: devices that are a limit's or another's now may be free when it begins.
    """
    if is_killed:
        return "the kill switch is pressed: nothing that it asks reaches a device"
    if len(found.rows):
        return ""
    why = [
        f"{count} {words}"
        for count, words in (
            (found.limited, "under a limit that takes what they would give"),
            (found.scheduled, "that fill up for awards meanwhile"), (found.opted_out, "opted out"),
            (found.unagreed, "whose contracts don't let it call them"),
            (found.unseen, "out of reach"),
        )
        if count
    ]  # fmt: skip
    return (
        f"nobody could give any of the {abs(asked_w) / 1e3:.1f} kW now: "
        f"{', '.join(why) or 'none of the group has anything to give'}"
    )
