"""What a program event tells in sentences: which way it asks, that it gets nothing, whom an unknown program calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from tieline.desk.agreed import DEMAND_RESPONSE
from tieline.desk.event_left_out import NOBODY_LEFT_OUT, LeftOut
from tieline.desk.event_split import Shared
from tieline.desk.programs import NEXT, ProgramEvent
from tieline.desk.state import DeskState
from tieline.fleet.columns import Fleet
from tieline.times import MINUTE_NS

MOST_NAMED = 3
"""So many equal events are named."""


def says_asked(power_w: float) -> str:
    """Return in words what an event asks for: its amount has a sign, and no word for the direction.

    >>> says_asked(-1000.0)
    'asks for 1,000 W more consumption, or as much less generation'
    >>> says_asked(25.5)
    'asks for 25.5 W less consumption, or as much more generation'
    """
    amount = f"{abs(power_w):,.1f}".removesuffix(".0")
    load, makes = ("less", "more") if power_w > 0 else ("more", "less")
    return f"asks for {amount} W {load} consumption, or as much {makes} generation"


def says_equal(events: Iterable[ProgramEvent], wish: ProgramEvent) -> str:
    """Return which other events that are not over ask the same, and what all of them together ask for; "": none does.

    Nobody tells a call that was sent twice from two that are meant: both stand, each booked and met for itself.

    Args:
        events: Those of the desk.
        wish: The one that is composed, or stands among them.
    """
    found = [
        event for event in events
        if event.id != wish.id and NEXT[event.state] and abs(event.start_ns - wish.start_ns) < MINUTE_NS
        and abs(event.end_ns - wish.end_ns) < MINUTE_NS
        and (event.program, event.group, event.power_w) == (wish.program, wish.group, wish.power_w)
    ]  # fmt: skip
    if not found:
        return ""
    names = ", ".join(f"{event.id} by {event.composed_by} ({event.state.value})" for event in found[:MOST_NAMED])
    names += f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    stand = "an equal event stands" if len(found) == 1 else f"{len(found)} equal events stand"
    return (
        f"{stand} already: {names}, under the same program, for the same group, minutes and power; each is met for "
        f"itself, so that together it {says_asked((len(found) + 1) * wish.power_w)}: cancel one if it was meant once"
    )


def says_unmet(fleet: Fleet, group: str, power_w: float) -> str:
    """Return that an event asks for more than its devices are rated to move at all, "" where it doesn't.

    From taking all that they can to giving all is as far as they go, wherever they stand. A group with a device whose
    rating nobody knows is held against none.

    Args:
        fleet: Whose devices.
        group: Of whom it asks.
        power_w: What it asks (W).
    """
    rows = fleet.leaves(group)
    inject_w, absorb_w = fleet.max_inject_w[rows], fleet.max_absorb_w[rows]
    moves_w = inject_w + absorb_w
    most_w = float(moves_w.sum())
    if abs(power_w) <= most_w or not (moves_w > 0).all():
        return ""
    return (
        f"it can't be met: {group} is rated for {0.0 - float(absorb_w.sum()):.0f} to {float(inject_w.sum()):.0f} W and "
        f"can move by {most_w:.0f} W at most, which is less than the {abs(power_w):.0f} W asked"
    )


def says_free(free_w: float, can_give_w: float) -> str:
    """Return in words what is free in the book for an event: by ratings, which is not what devices can do now.

    Args:
        free_w: What is promised to nobody (W, 0 or more).
        can_give_w: What devices can move now the way the event asks (W, as signed as the event).

    >>> says_free(30_000.0, -12_500.0)
    'by ratings 30.0 kW are promised to nobody in its hours; of those devices could move 12.5 kW now'
    >>> says_free(2_000.0, 12_500.0)
    'by ratings 2.0 kW are promised to nobody in its hours; devices could move 12.5 kW now'
    """
    of = "of those " if abs(can_give_w) < free_w else ""
    book = f"by ratings {free_w / 1e3:,.1f} kW are promised to nobody in its hours"
    return f"{book}; {of}devices could move {abs(can_give_w) / 1e3:,.1f} kW now"


def says_rebound(rebound_w: float, power_w: float) -> str:
    """Return in words what comes of thermal and shifted loads once an event lets them go.

    Args:
        rebound_w: How much at most (W, 0 or more).
        power_w: What it asks (W); below 0 they have had more, and then draw less.
    """
    if rebound_w < 1:
        return "no thermal or shifted load is called: no rebound"
    how = "comes back" if power_w > 0 else "less is drawn"
    return f"up to {rebound_w / 1e3:.0f} kW {how} after release; it is spread over 30 to 60 min"


def says_awards(state: DeskState, event: ProgramEvent, rows: NDArray[np.int32], share_w: NDArray[np.float64]) -> str:
    """Return how much of what an event would get awards in its hours may take, as the market goes first; "": none.

    Args:
        state: The desk's.
        event: Its hours.
        rows: Whom it would call; shape (n,).
        share_w: What each would give of it (W); shape (n,).
    """
    runs = [a for a in state.awards.values() if a.start_ns < event.end_ns and a.end_ns > event.start_ns]
    owed_w, mine = dict[str, float](), np.zeros(len(rows), np.bool_)
    for award in runs:
        known = state.fleet.holds(award.pool)
        theirs = np.isin(rows, state.fleet.leaves(award.pool)) if known else np.zeros(len(rows), np.bool_)
        if theirs.any():
            owed_w[award.pool] = max(owed_w.get(award.pool, 0.0), abs(award.power_w))
            mine |= theirs
    if not owed_w:
        return ""
    whom = " and ".join(f"{watts / 1e3:,.1f} kW of {pool}" for pool, watts in sorted(owed_w.items()))
    whole_w, taken_w = float(np.abs(share_w).sum()), min(float(np.abs(share_w[mine]).sum()), sum(owed_w.values()))
    return (
        f"awards in its hours stand at up to {whom} and go first: they may take up to {taken_w / 1e3:,.1f} of the "
        f"{whole_w / 1e3:,.1f} kW, as {int(mine.sum()):,} of {len(rows):,} devices are theirs as well"
    )


def says_unknown(state: DeskState, event: ProgramEvent, by_kind: Mapping[str, int]) -> str:
    """Return that no contract of its group names an event's program, and whom it calls all the same; "": one names it.

    Nor is there anything to say where a book of enrolments is asked: nobody else is called. Without one a program's
    name is anybody's words, and none narrows down whom it calls but by what contracts say of it.

    Args:
        state: The desk's.
        event: Its program and group.
        by_kind: How many of each kind it would call.
    """
    if state.enrolled is not None:
        return ""  # the book alone says whom it calls
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


def warning_of(found: Shared, asked_w: float, is_killed: bool, left_out: LeftOut = NOBODY_LEFT_OUT) -> str:
    """Return what to tell who would submit an event that gets nothing by what is known now, or "" where it gets some.

    It may still be submitted: devices that are a limit's or another's now may be free when it begins.
    """
    if is_killed:
        return "the kill switch is pressed: nothing that it asks reaches a device"
    if len(found.rows):
        return ""
    verb, by_limit, nothing = ("give", "takes what they would give", "has anything to give")
    if asked_w < 0:
        verb, by_limit, nothing = ("take", "keeps them from it", "can draw any more or give any less")
    why = [
        f"{count} {words}"
        for count, words in (
            (found.limited, f"under a limit that {by_limit}"),
            (found.scheduled, "that fill up for awards meanwhile"), (found.opted_out, "opted out"),
            (left_out.unenrolled, "that are not enrolled in its program"),
            (left_out.unfit, "of kinds that its program doesn't take"),
            (found.unagreed - left_out.unenrolled - left_out.unfit, "whose contracts don't let it call them"),
            (found.unseen, "out of reach"),
        )
        if count
    ]  # fmt: skip
    return (
        f"nobody could {verb} any of the {abs(asked_w) / 1e3:.1f} kW now: "
        f"{', '.join(why) or f'none of the group {nothing}'}"
    )
