"""Facts about the book of enrolments: that it is another one now, and the end of calls that it bears no more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tieline.contract.enrolment import ProgramEnrolment
from tieline.desk.called import SET_ASIDE
from tieline.desk.enrolled import Enrolled
from tieline.desk.entry import Entry
from tieline.desk.event_stack import SOURCE
from tieline.desk.facts import ClaimsEnded, EnrolmentsTaken
from tieline.desk.packed import Packed
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBatch
from tieline.ids import derive
from tieline.resource.claim import ClaimEnd

SUBJECT = "enrolments"
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


def decide_book(state: DeskState, asked: Mapping[str, ProgramEnrolment] | None, now_ns: int) -> list[Entry]:
    """Return the fact of what of the book of enrolments is other than the desk took last; none where it is the same.

    Args:
        state: What is known.
        asked: All enrolments by id; None: no book is asked, and programs call whom contracts let them call.
        now_ns: Now.
    """
    known = {} if state.enrolled is None else state.enrolled.by_id
    if asked is None:
        if state.enrolled is None:
            return []
        fact = EnrolmentsTaken((), tuple(sorted(known)), False)
        return [Entry(derive("enrolments-left", now_ns), fact, SUBJECT)]
    changed = tuple(one for name, one in sorted(asked.items()) if known.get(name) != one)
    gone = tuple(sorted(known.keys() - asked.keys()))
    if state.enrolled is not None and not changed and not gone:
        return []
    after = Enrolled(state.fleet)
    after.take(asked.values(), ())
    return [Entry(derive("enrolments-taken", after.digest(), now_ns), EnrolmentsTaken(changed, gone), SUBJECT)]


def decide_unenrolled(state: DeskState, out: Mask, now_ns: int) -> list[Entry]:
    """Return the end of what program events call of devices that are enrolled in their program no more.

    One entry for each reason, that names it. Who is wholly out (`out`, shape (n,)) stays the event's behind his gate.
    """
    if state.enrolled is None:
        return []
    entries = []
    for batch, alive in state.claims.batches():
        event = state.events.get(batch.program)
        if batch.source != SOURCE or event is None:
            continue
        gone = alive & ~out[batch.rows] & ~serves_now(state, event.program, batch.rows, now_ns)
        if not gone.any():
            continue
        rows = batch.rows[gone]
        by_reason: dict[str, list[int]] = {}
        whys = state.enrolled.refusals(event.program, rows, now_ns, now_ns + 1, now_ns)
        for row, why in zip(rows.tolist(), whys, strict=True):
            by_reason.setdefault(why.reason, []).append(row)
        entries += [_ended(batch, reason, of, now_ns) for reason, of in by_reason.items()]
    return entries


def _ended(batch: ClaimBatch, reason: str, rows: list[int], now_ns: int) -> Entry:
    packed = Packed.of(np.array(rows, np.int32))
    fact = ClaimsEnded(
        SOURCE, batch.program, batch.quantity.value, ClaimEnd.CANCELLED.value, f"{SET_ASIDE}: {reason}", packed,
        batch.scope,
    )  # fmt: skip
    record = derive("unenrolled", batch.id, now_ns, reason, packed.data)
    return Entry(record, fact, batch.scope or batch.program, (batch.id,))


def serves_now(state: DeskState, program: str, rows: Rows, now_ns: int) -> Mask:
    """Return which of some rows are enrolled in a program at an instant; all, where no book is asked."""
    if state.enrolled is None:
        return np.ones(len(rows), np.bool_)
    return state.enrolled.serves(program, now_ns, now_ns + 1, now_ns)[rows]
