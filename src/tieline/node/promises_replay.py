"""What a second reading of the journal shows: the same state, and commands within what the claims of then allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tieline.desk.facts import CommandsIssued, Fact, from_record
from tieline.desk.state import DeskState
from tieline.flow.record import Record
from tieline.node.promise import Promise, promise
from tieline.node.rebuilt import Law, state_of
from tieline.times import iso

if TYPE_CHECKING:
    from tieline.node.stage import Stage

MOST_BATCHES, ROWS_OF_BATCH = 200, 3
"""Of so many batches of commands, evenly over the time, so many devices each are settled anew."""
WITHIN = "no command leaves rating or stronger limits"


@dataclass(slots=True)
class Looked:
    """How far commands stood from what the claims of then allowed (W); every so many batches are settled anew."""

    every: int = 1
    issued: int = 0
    settled: int = 0
    worst_w: float = 0.0
    where: str = ""

    def look(self, state: DeskState, fact: Fact) -> None:
        """Settle some rows of a batch by the scalar rule, from the claims alone, and hold the commands against it."""
        if not isinstance(fact, CommandsIssued):
            return
        self.issued += 1
        if self.issued % self.every:
            return
        rows, target_w = fact.rows.array(), fact.target_w.array()
        named = np.flatnonzero(np.isfinite(target_w))
        for at in (
            np.unique(named[np.linspace(0, len(named) - 1, ROWS_OF_BATCH).astype(np.int64)]) if len(named) else ()
        ):
            row = int(rows[at])
            if state.claims.is_local[row]:
                continue  # what a device reports of its own switch is no record
            off_w = _beyond_w(state, row, float(target_w[at]), fact.issued_ns)
            self.settled += 1
            if off_w > self.worst_w:
                self.worst_w, self.where = off_w, f"{state.fleet.id_of(row)} at {iso(fact.issued_ns)}"


class ReadsAlong(Protocol):
    """Replays the journal while it grows (`replay_aside`)."""

    def follow(self, last_seq: int) -> None:
        """Read along as far as a record."""
        ...

    def again(self, last_seq: int) -> Again:
        """Return what the journal tells up to a record."""
        ...


@dataclass(frozen=True, slots=True)
class Again:
    """The state that the journal tells, its hash as at the last record, and what was looked at on the way."""

    state: DeskState
    digest: str
    looked: Looked


def _beyond_w(state: DeskState, row: int, target_w: float, now_ns: int) -> float:
    """Return how far a target lies beyond what the claims of then allow (W), and beyond the device's own timer.

    A timer against which a limit stands leaves nothing that keeps both: then the limit is told (R12).
    """
    claims = state.claims
    timed = claims.explain(row, now_ns).setpoint.bounds
    has_timer = claims.holds.until_ns[row] > now_ns
    limited = claims.explain(row, now_ns, timers=False).setpoint.bounds if has_timer else timed
    by_limit_w = max(limited.low_w - target_w, target_w - limited.high_w, 0.0)
    if timed.low_w > limited.high_w or timed.high_w < limited.low_w:
        return by_limit_w
    return max(by_limit_w, timed.low_w - target_w, target_w - timed.high_w)


def read_again(stage: Stage, along: ReadsAlong | None = None) -> Again:
    """Replay the journal into an empty state, and look at commands on the way; who read along has done so already."""
    journal, place = stage.node.journal, stage.territory
    if along is not None:
        return along.again(journal.last_seq)
    looked = Looked(max(sum(1 for _ in journal.of_kind("CommandsIssued")) // MOST_BATCHES, 1))
    state = state_of(place.fleet, Law(place.jurisdiction), journal, looked.look)
    return Again(state, state.digest(), looked)


def within_bounds(stage: Stage, records: list[Record], again: Again) -> Promise:
    """No command leaves the rating or the limits that it carries; nor, where settled anew, those of stronger claims."""
    fleet, worst_w, count, looked = stage.territory.fleet, 0.0, 0, again.looked
    for record in records:
        fact = from_record(record)
        if not isinstance(fact, CommandsIssued):
            continue
        rows, target_w = fact.rows.array(), fact.target_w.array()
        named = np.isfinite(target_w)
        low_w = np.maximum(fact.low_w.array(), -fleet.max_absorb_w[rows])
        high_w = np.minimum(fact.high_w.array(), fleet.max_inject_w[rows])
        off_w = np.maximum(np.maximum(low_w - target_w, target_w - high_w), 0.0)[named]
        worst_w = max(worst_w, float(off_w.max(initial=0.0)))
        count += len(rows)
    evidence = (
        f"{count} commands, worst {worst_w} W; {looked.settled} of them settled anew from their claims, "
        f"worst {looked.worst_w:.3g} W {looked.where}".rstrip()
    )
    return promise(WITHIN, worst_w <= 1e-6 and looked.worst_w <= 1.0, evidence, count > 0)
