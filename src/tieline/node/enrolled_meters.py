"""Whether all meters of an event were enrolled in its program through it: who wasn't is in no statement of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tieline.contract.enrolment import ProgramEnrolment, State
from tieline.errors import ConfigError
from tieline.node.contracting import book_in, contracts_in
from tieline.store.meter_files import EventFile
from tieline.times import FOREVER_NS, iso

MOST_TOLD = 20
"""So many meters are told with their reasons."""


def require_enrolled(
    book: Path | None, contracts: Path | None, program: str, event: EventFile, meters: Iterable[str]
) -> None:
    """Do nothing where each meter's location is enrolled in a program from an event's start to its end.

    Args:
        book: The book of enrolments; None: none is asked.
        contracts: Contracts, whose locations name their meters.
        program: Under which the event was called.
        event: It.
        meters: All that are to be settled.

    Raises:
        ConfigError: A meter isn't enrolled through it, each with its reason; or contracts lack.
    """
    if book is None:
        return
    if contracts is None:
        raise ConfigError(f"--enrolments {book}: give --contracts as well: their locations name the meters")
    meter_of = {place.id: place.meter for place in contracts_in(contracts).locations.values()}
    found: dict[str, list[ProgramEnrolment]] = {}
    for one in book_in(book).enrolments.values():
        if one.program == program and one.location in meter_of:
            found.setdefault(meter_of[one.location], []).append(one)
    wrong = [
        f"meter {meter or '(without a name)'}: {why}"
        for meter in meters
        if (why := _why_not(found.get(meter, []), program, event))
    ]
    if wrong:
        rest = f"; and {len(wrong) - MOST_TOLD} more" if wrong[MOST_TOLD:] else ""
        mend = "give meters without them, or a book in which they are enrolled"
        raise ConfigError(f"--enrolments {book}: {'; '.join(wrong[:MOST_TOLD])}{rest}: {mend}")


def _why_not(its: list[ProgramEnrolment], program: str, event: EventFile) -> str:
    """Return why no enrolment of a location holds through an event; empty: one does."""
    whys = [_why_not_by(one, event) for one in sorted(its, key=lambda one: one.starts_ns)]
    return "" if "" in whys else whys[-1] if whys else f"not enrolled in {program}"


def _why_not_by(one: ProgramEnrolment, event: EventFile) -> str:
    if not (one.starts_ns <= event.start_ns and event.end_ns <= one.ends_ns):
        until = "for good" if one.ends_ns == FOREVER_NS else f"until {iso(one.ends_ns)}"
        return f"enrolled in {one.program} from {iso(one.starts_ns)} {until}"
    within = [step.at_ns for step in one.steps if event.start_ns < step.at_ns < event.end_ns]
    for at_ns in (event.start_ns, *within):
        if (state := one.state_at(at_ns)) is not State.ACTIVE:
            return f"its enrolment in {one.program} was {state.value.replace('_', ' ')} at {iso(at_ns)}"
    return ""
