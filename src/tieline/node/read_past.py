"""The console of a past instant: the same screens over the state, measurements and journal as they were known then."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from tieline.desk.desk_views import KeptSpan
from tieline.desk.ports import LinkHealth
from tieline.desk.state import DeskState
from tieline.desk.views import AlarmView
from tieline.flow.record import Record, Records
from tieline.node.contracting import bind
from tieline.node.read_hours import Hours
from tieline.node.reader import NodeReader
from tieline.node.record import Frame, state_at
from tieline.node.runtime import Node
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, iso

MOST_PAST = 4


class JournalThen:
    """Implements `flow.record.Records` over a journal as it was: what was recorded after a number isn't there yet."""

    def __init__(self, journal: Records, seq: int) -> None:
        """Look at a journal up to a record; its connection is shared."""
        self._journal, self.last_seq = journal, seq
        self.last_hash = b""

    def replay(self, after_seq: int = 0) -> Iterator[Record]:
        """Yield what had been recorded after a number, oldest first."""
        return takewhile(lambda record: record.seq <= self.last_seq, self._journal.replay(after_seq))

    def holds(self, record_id: str) -> bool:
        """Return whether a record with this id was there."""
        return self.get(record_id) is not None

    def get(self, record_id: str) -> Record | None:
        """Return the record of an id, or None."""
        return next(iter(self.many([record_id])), None)

    def many(self, ids: Sequence[str]) -> list[Record]:
        """Return the records of some ids, oldest first; those that were not there are left out."""
        return self._past(self._journal.many(ids))

    def about(
        self, subject: str, kinds: Sequence[str] = (), since_ns: int = 0, until_ns: int = 2**63 - 1
    ) -> list[Record]:
        """Return the records about a resource, pool or peer, oldest first."""
        return self._past(self._journal.about(subject, kinds, since_ns, until_ns))

    def of_kind(self, kind: str, since_ns: int = 0, until_ns: int = 2**63 - 1, after_seq: int = 0) -> Iterator[Record]:
        """Yield the records of a kind after a number, oldest first."""
        found = self._journal.of_kind(kind, since_ns, until_ns, after_seq)
        return takewhile(lambda record: record.seq <= self.last_seq, found)

    def causes_of(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the ids that caused each of some records."""
        return {record.id: record.caused_by for record in self.many(ids)}

    def effects_of(self, ids: Sequence[str], limit: int) -> list[tuple[str, Record]]:
        """Return (cause id, record) for what had followed from some records."""
        return [
            (cause, record) for cause, record in self._journal.effects_of(ids, limit) if record.seq <= self.last_seq
        ]

    def seq_at(self, at_ns: int) -> int:
        """Return the number of the last record of an instant or before; 0: none is so old."""
        return min(self._journal.seq_at(at_ns), self.last_seq)

    def verify(self) -> int | None:
        """Return the number of the first record that is not as it was written, or None where all are."""
        bad = self._journal.verify()
        return bad if bad is not None and bad <= self.last_seq else None

    def _past(self, records: list[Record]) -> list[Record]:
        return [record for record in records if record.seq <= self.last_seq]


@dataclass(frozen=True, slots=True)
class _Still:
    """A clock that stands."""

    at_ns: int

    def now_ns(self) -> int:
        return self.at_ns


class PastReader(NodeReader):
    """Reads one past instant; it samples nothing, and nothing can be done through it."""

    def __init__(self, live: NodeReader, frame: Frame, state: DeskState) -> None:
        """Make the reader of a frame.

        Args:
            live: The reader of now, for what never changes (order of cells, model, names).
            frame: What was measured then.
            state: What had been decided then, from `state_at`.
        """
        node = live.node
        agreed = node.state.agreed
        bind(state, None if agreed is None else agreed.anew(), frame.at_ns)
        state.counted, state.site_stale_ns = node.state.counted, node.state.site_stale_ns
        pools = {
            name: replace(pool, share_w=frame.shares[name].astype(np.float64), available=frame.available[name])
            for name, pool in node.cycle.pools.items()
            if name in frame.shares
        }
        journal = JournalThen(live.journal, frame.seq)
        then = SimpleNamespace(
            state=state, journal=journal, clock=_Still(frame.at_ns), cycle=SimpleNamespace(pools=pools, beats=0),
            desk=node.desk, after_beat=[], group=node.group, load_frac={},
        )  # fmt: skip
        super().__init__(cast(Node, cast(Any, then)), replace(live.sources, what_if=None), journal)
        self._order, self._grid, self._stood = live._order, frame.grid, frame.alarms
        self._samples = deque((x for x in live._samples if x.at_ns <= frame.at_ns), maxlen=live._samples.maxlen)
        whole = {at: mean for at, mean in live.hours.means.items() if at + HOUR_NS <= frame.at_ns}
        self.hours = Hours(live.hours.zone, whole)  # the hour that ran then has gone on since
        self._book.raised.extend(at for at in live._book.raised if at <= frame.at_ns)

    def _healths(self) -> dict[str, LinkHealth]:
        """Return what the links had said by then, never what they say now."""
        return self.node.state.health

    def _alarms(self) -> list[AlarmView]:
        """Return the alarms that stood then, as they were shown."""
        return list(self._stood)

    def _once(self, name: str, make: Any) -> object:
        """Return a view that is made once: nothing moves in the past."""
        if name not in self._kept.views:
            self._kept.views[name] = make()
        return self._kept.views[name]


class Past:
    """Finds the readers of past instants, and keeps the last few."""

    def __init__(self, live: NodeReader) -> None:
        self._live = live
        self._made: dict[int, asyncio.Future[DeskState]] = {}

    def span(self) -> KeptSpan:
        """Return from when until when instants can be shown, and at which step."""
        frames = self._live.record.frames
        if not frames:
            return KeptSpan(None, None, self._live.record.step_ns)
        return KeptSpan(frames[0].at_ns, frames[-1].at_ns, self._live.record.step_ns)

    async def at(self, at_ns: int) -> PastReader | Refusal:
        """Return the reader of the last instant kept at or before `at_ns`; the replay runs beside the loop."""
        frame = self._live.record.before(at_ns)
        if frame is None:
            first_ns = self.span().first_ns
            kept = "none is kept yet" if first_ns is None else f"{iso(first_ns)} or later"
            return Refusal("nothing was kept of that instant", "as_of", iso(at_ns), kept)
        made = self._made.get(frame.at_ns)
        if made is None or (made.done() and made.exception() is not None):
            while len(self._made) >= MOST_PAST:
                self._made.pop(next(iter(self._made)))
            # Shared by all who look at this instant: who goes away meanwhile must not stop it for the others.
            loop = asyncio.get_running_loop()
            made = self._made[frame.at_ns] = loop.run_in_executor(None, self._replayed, frame)
        return PastReader(self._live, frame, await asyncio.shield(made))

    def _replayed(self, frame: Frame) -> DeskState:
        """Return the state of a frame; in a thread, with a connection of its own."""
        node = self._live.node
        journal = node.journal.reader()
        try:
            return state_at(node.state, journal, frame)
        finally:
            journal.close()
