"""What led to a record or to what holds on a resource, and what followed, as far as it concerns that resource."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from tieline.desk.desk import Desk
from tieline.desk.desk_views import TraceView, WhyView
from tieline.desk.facts import (
    AuthorityChanged,
    ClaimsPlaced,
    CommandsIssued,
    CommandsReported,
    IntervalTracked,
    ReleaseStaged,
    from_record,
)
from tieline.desk.state import DeskState
from tieline.flow.record import Record, Records
from tieline.node import read_words
from tieline.node.runtime import Node
from tieline.node.why import (
    Known,
    command_of,
    in_force,
    of_device,
    of_group,
    of_others,
    of_whole,
    pressed,
)  # fmt: skip
from tieline.node.why_gave import delivered_of, pool_delivered
from tieline.resource.identity import GROUP_KINDS
from tieline.store.trace import trace
from tieline.store.unwritten import WithUnwritten

MOST_STARTS, MOST_OF_START, MOST_EFFECTS = 8, 60, 2_000


def of_record(journal: Records, record: str) -> TraceView:
    """Return what led to a record and what followed. Raises KeyError where there is none."""
    found = trace(journal, record, limit=300, max_depth=12)
    if found is None:
        raise KeyError(record)
    return read_words.trace_view(found)


def why_now(node: Node, journal: Records, intervals: Sequence[IntervalTracked], resource: str, now_ns: int) -> WhyView:
    """Return who controls a resource now and what led to it, also by what is still being written.

    So no limit stands without its cause, though the journal is slow or its database away.

    Args:
        node: Whose state.
        journal: A connection to its journal.
        intervals: As of `told_of`.
        resource: A device or group.
        now_ns: Now.

    Raises:
        KeyError: There is no such resource.
    """
    records = WithUnwritten(journal, node.group.unwritten(), lambda: node.journal.last_seq)
    chain = of_resource(node.state, records, resource, node.desk, now_ns)
    told = told_of(node.state, records, intervals, resource, now_ns)
    return WhyView(chain.start, chain.nodes, chain.edges, chain.is_cut, told)


def of_resource(state: DeskState, journal: Records, resource: str, desk: Desk, now_ns: int) -> TraceView:
    """Return what led to what is in force on a resource, and to its turn; where nothing is, to its last command.

    Raises:
        KeyError: There is no such resource.
    """
    rows = state.fleet.leaves(resource)
    if not len(rows):
        raise KeyError(resource)
    row = int(rows[0])
    starts = [batch.id for batch, _ in of_whole(state, resource, now_ns)] or in_force(state, row, now_ns)
    batch = int(state.commands.batch[row])
    starts = starts[:MOST_STARTS] or ([state.command_batches[batch]] if batch >= 0 else [])
    if state.release_at_ns[row] > 0:  # let go, and told nothing new until its turn
        starts = [state.releases[int(state.release_of[row])], *starts][:MOST_STARTS]
    mine = _Mine(state, resource, rows, desk)
    found = [trace(journal, at, MOST_OF_START, 8, mine.concerns, MOST_EFFECTS, mine.causes_of) for at in starts]
    return read_words.joined([read_words.trace_view(one) for one in found if one is not None])


def told_of(
    state: DeskState, journal: Records, intervals: Sequence[IntervalTracked], resource: str, now_ns: int
) -> dict[str, Any]:
    """Return who controls a resource now and why, the same as `tieline why`, without reading the whole journal.

    Args:
        state: What is decided.
        journal: Where its records are.
        intervals: What was tracked in the last day, oldest first; what was delivered before is not told.
        resource: A device or group that is there.
        now_ns: Now.
    """
    if state.fleet.kind_of(resource) in GROUP_KINDS:
        whole = [batch.id for find in (of_whole, of_others) for batch, _ in find(state, resource, now_ns)]
        gave = (told for fact in reversed(intervals) if (told := pool_delivered(fact, resource)))
        known = Known(
            state, now_ns, _placed(journal, whole), delivered=next(gave, None), kill=_kill(state, journal)
        )  # fmt: skip
        return of_group(journal, known, resource)
    row = state.fleet.row(resource)
    claims = dict.fromkeys(claim.id.partition("/")[0] for claim in state.claims.claims_on(row))
    delivered = (told for fact in reversed(intervals) if (told := delivered_of(fact, row)))
    known = Known(
        state, now_ns, _placed(journal, list(claims)), _command(state, journal, row), next(delivered, None),
        _kill(state, journal),
    )  # fmt: skip
    return of_device(journal, known, resource)


def _kill(state: DeskState, journal: Records) -> dict[str, Any] | None:
    """Return since when the kill switch is pressed and by whom; None: it is not."""
    moved_ns = state.kill_moved_ns
    found = None
    for record in journal.of_kind("AuthorityChanged", moved_ns, moved_ns) if state.is_killed else ():
        fact = from_record(record)
        if isinstance(fact, AuthorityChanged) and fact.what == "kill":
            found = pressed(record, fact)
    return found


def _placed(journal: Records, batches: Sequence[str]) -> dict[str, ClaimsPlaced]:
    facts = [from_record(record) for record in journal.many(batches)]
    return {fact.batch: fact for fact in facts if isinstance(fact, ClaimsPlaced)}


def _command(state: DeskState, journal: Records, row: int) -> dict[str, Any] | None:
    at = int(state.commands.batch[row])
    issued = journal.get(state.command_batches[at]) if at >= 0 else None
    if issued is None:
        return None
    command = command_of(from_record(issued), row, None)
    for _, record in journal.effects_of([issued.id], MOST_EFFECTS):
        command = command_of(from_record(record), row, command)
    return command


@runtime_checkable
class _HasEndPoints(Protocol):
    """A link that knows each row by the name of an end-point."""

    end_points: Mapping[int, Any]


class _Mine:
    """Tells the records of some rows from those of others: one decision commands hundreds, and each link tells each."""

    def __init__(self, state: DeskState, resource: str, rows: NDArray[np.int32], desk: Desk) -> None:
        self._rows = rows
        self._names = {resource, *(state.fleet.id_of(int(row)) for row in rows)}
        for link in desk._links.values():
            if isinstance(link, _HasEndPoints):
                named = [getattr(link.end_points.get(int(row)), "name", None) for row in rows]
                self._names |= {str(getattr(name, "ven", "")) for name in named} - {""}

    def concerns(self, record: Record) -> bool:
        """Return whether a record says something of these rows, or of nobody in particular."""
        if record.kind == read_words.OPENADR:
            thing = msgspec.msgpack.decode(record.body).get("thing") or {}
            targets = thing.get("targets") or ()
            return not targets or not self._names.isdisjoint(targets)
        fact = from_record(record)
        if isinstance(fact, CommandsIssued | CommandsReported | ReleaseStaged):
            return bool(np.isin(fact.rows.array(), self._rows).any())
        return True

    def causes_of(self, record: Record) -> Collection[str] | None:
        """Return which causes of a record hold for these rows; None: all of them, or nobody wrote that down."""
        fact = from_record(record)
        if not isinstance(fact, CommandsIssued | ReleaseStaged) or fact.causes is None:
            return None
        held = fact.causes.held_for(np.isin(fact.rows.array(), self._rows))
        return frozenset(record.caused_by[at] for at in held)
