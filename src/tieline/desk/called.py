"""Which devices each program event has called and when, for budgets; and what owners said of their contracts.

All of it comes from the facts of events, so that a restart counts the same; nothing is a running total.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.contract.budget import Call
from tieline.contract.consent import Word
from tieline.desk.enrolled import Enrolled
from tieline.desk.facts import ClaimsEnded, ClaimsPlaced, ConsentChanged, EnrolmentsTaken, EventChanged
from tieline.desk.programs import EventState
from tieline.fleet.claims import ClaimBatch
from tieline.resource.claim import ClaimEnd
from tieline.times import DAY_NS

if TYPE_CHECKING:
    from tieline.desk.state import DeskState

SET_ASIDE = "set aside"
"""How the end of claims begins that no contract lets stand."""
ASIDE_NS, MOST_ASIDE, MOST_ASIDE_ROWS = DAY_NS, 4_096, 4_000_000
"""For how long what was set aside is told of, and of how many ends and rows at most."""
_EVENT_ENDS = {
    ClaimEnd.COMPLETED.value: "the event is over",
    ClaimEnd.CANCELLED.value: "the event was cancelled, or the kill switch pressed",
    ClaimEnd.SUPERSEDED.value: "the event let go of it, as it had too much",
}
KEPT_NS = 800 * DAY_NS
"""No budget reaches further back than a season of a year and the one that it is compared with."""


@dataclass
class Called:
    """One event's calls: `known_ns` is when it was decided, `rows` whom it called so far, a bit a row of the fleet."""

    program: str
    start_ns: int
    end_ns: int
    known_ns: int = 0
    rows: bytes = b""
    outs: bytes = b""  # and whose owners took them out while they were called, likewise
    _tally: tuple[bytes, bytes, NDArray[np.int64], NDArray[np.int64]] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def call(self) -> Call:
        """Return it as a budget counts it."""
        return Call(self.start_ns, self.end_ns)

    def has(self, count: int) -> NDArray[np.bool_]:
        """Return which of a fleet's rows it called; shape (count,)."""
        return _bits(self.rows, count)

    def has_out(self, count: int) -> NDArray[np.bool_]:
        """Return which of a fleet's rows were taken out by their owners while it called them; shape (count,)."""
        return _bits(self.outs, count)

    def tally(self, kinds: NDArray[np.uint8], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many rows of each kind it called and how many of those were taken out; shape (count,) each.

        Counted once until one more is called or leaves: of a million rows that takes a while.
        """
        known = self._tally
        if known is None or known[0] is not self.rows or known[1] is not self.outs:
            mine, gone = kinds[self.has(len(kinds))], kinds[self.has_out(len(kinds))]
            each = (np.bincount(of, minlength=count).astype(np.int64) for of in (mine, gone))
            known = self._tally = (self.rows, self.outs, next(each), next(each))
        return known[2], known[3]


def _bits(packed: bytes, count: int) -> NDArray[np.bool_]:
    if not packed:
        return np.zeros(count, np.bool_)
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class SetAside:
    """Claims on some rows that contracts set aside or their event ended: what stood, on whom, when, by which record."""

    batch: ClaimBatch
    rows: NDArray[np.int32]
    at_ns: int
    why: str
    record: str


def note_aside(state: DeskState, record_id: str, fact: ClaimsEnded, at_ns: int) -> None:
    """Note which claims contracts set aside or events end, before they do: `tieline why` tells of them for a day."""
    of_event = state.events.get(fact.program) is not None
    why = _EVENT_ENDS.get(fact.why, "") if of_event else ""
    why = fact.because if fact.because.startswith(SET_ASIDE) else why
    if not why:
        return
    key = (fact.source, fact.program, fact.quantity, fact.scope)
    stood = [
        (batch, batch.rows[alive]) for batch, alive in state.claims.batches()
        if (batch.source, batch.program, batch.quantity.value, batch.scope) == key
    ]  # fmt: skip
    last = state.event_called.get(fact.program) if of_event and fact.rows is None else None
    if last is not None:
        stood = [(last, last.rows)]  # its claims may have run out with it
    for batch, rows in stood:
        mine = rows if fact.rows is None else np.intersect1d(rows, fact.rows.array()).astype(np.int32)
        if len(mine):
            state.set_aside.append(SetAside(batch, mine, at_ns, why, record_id))
    kept = [one for one in state.set_aside[-MOST_ASIDE:] if one.at_ns > at_ns - ASIDE_NS]
    newer = np.cumsum([len(one.rows) for one in reversed(kept)])
    state.set_aside[:] = kept[len(kept) - int(np.searchsorted(newer, MOST_ASIDE_ROWS, side="right")) :]


def take_book(state: DeskState, record_id: str, fact: EnrolmentsTaken) -> None:
    """Take what of the book of enrolments is other than before."""
    if not fact.is_asked:
        state.enrolled = None
        return
    state.enrolled = state.enrolled or Enrolled(state.fleet)
    state.enrolled.take(fact.changed, fact.gone)


def note(state: DeskState, record_id: str, fact: EventChanged | ConsentChanged, at_ns: int) -> None:
    """Note when an event was decided and how long it lasted, or what an owner said of a contract."""
    match fact:
        case EventChanged():
            _note_event(state, fact, at_ns)
        case ConsentChanged():
            said = Word(fact.products, fact.is_given, at_ns, fact.evidence, fact.by, fact.because, record_id)
            words = state.consents.setdefault(fact.contract, [])
            words.append(said)
            if state.agreed is not None:
                state.agreed.hear(fact.contract, words)


def _note_event(state: DeskState, fact: EventChanged, at_ns: int) -> None:
    body = fact.body
    known = state.called.get(fact.event)
    if known is None:
        if fact.state != EventState.SCHEDULED.value:
            return
        known = state.called[fact.event] = Called(
            str(body["program"]), int(body["start_ns"]), int(body["end_ns"]), at_ns
        )
        for name in [name for name, one in state.called.items() if one.end_ns < at_ns - KEPT_NS]:
            del state.called[name]
    known.end_ns = int(body["end_ns"])
    if fact.state in (EventState.CANCELED.value, EventState.LAPSED.value):
        known.end_ns = max(min(known.end_ns, at_ns), known.start_ns)


def note_out(state: DeskState, rows: NDArray[np.int32], at_ns: int) -> None:
    """Note of the events that call some rows at an instant that their owners took them out."""
    for known in state.called.values():
        if known.rows and known.start_ns <= at_ns < known.end_ns:
            count = len(state.fleet)
            mine, out = known.has(count), known.has_out(count)
            out[rows] |= mine[rows]
            known.outs = np.packbits(out).tobytes()


def note_placed(state: DeskState, fact: ClaimsPlaced) -> None:
    """Note whom an event calls, as its claims are placed."""
    known = state.called.get(fact.program)
    if known is not None:
        has = known.has(len(state.fleet))
        has[fact.rows.array()] = True
        known.rows = np.packbits(has).tobytes()
