"""The records with those that are decided and still being written: what a state that is ahead of its journal rests on.

Theory of operation. A decision stands in the state at once and in the journal a moment later; while the journal's
database is away, not before it is back. Who reads both together would find limits in force that no record has. So what
waits to be written is read after what is written, in the order in which it will be. What the journal took in between is
told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import msgspec

from tieline.flow.record import Record, Records, subject_of

LAST_NS = 2**63 - 1


class WithUnwritten:
    """Implements `flow.record.Records` over a journal and what waits to be written to it."""

    def __init__(self, journal: Records, unwritten: Sequence[Record], last_seq: Callable[[], int]) -> None:
        """Look at a journal, and at what follows its last record, oldest first; what is in both is the journal's.

        `last_seq` gives the number of the last record that is written. It is asked last: what is written meanwhile has
        no greater one than those that follow.
        """
        written = {record.id for record in journal.many([record.id for record in unwritten])}
        fresh = {record.id: record for record in unwritten if record.id not in written}
        first = last_seq() + 1
        self._journal, self._written_seq = journal, first - 1
        self._fresh = {name: msgspec.structs.replace(fresh[name], seq=first + at) for at, name in enumerate(fresh)}

    @property
    def last_seq(self) -> int:
        """Number of the last record, written or not; 0: none."""
        return self._written_seq + len(self._fresh)

    @property
    def last_hash(self) -> bytes:
        """Hash of the last record that is written."""
        return self._journal.last_hash

    def replay(self, after_seq: int = 0) -> Iterator[Record]:
        """Yield what was recorded after `after_seq`, oldest first."""
        written = self._but_fresh(self._journal.replay(after_seq))
        return chain(written, (record for record in self._fresh.values() if record.seq > after_seq))

    def holds(self, record_id: str) -> bool:
        """Return whether a record with this id is there."""
        return record_id in self._fresh or self._journal.holds(record_id)

    def get(self, record_id: str) -> Record | None:
        """Return the record of an id, or None."""
        return self._fresh.get(record_id) or self._journal.get(record_id)

    def many(self, ids: Sequence[str]) -> list[Record]:
        """Return the records of some ids, oldest first; those that are not there are left out."""
        asked = set(ids)
        written = self._journal.many([name for name in ids if name not in self._fresh])
        return [*written, *(record for name, record in self._fresh.items() if name in asked)]

    def about(
        self, subject: str, kinds: Sequence[str] = (), since_ns: int = 0, until_ns: int = LAST_NS
    ) -> list[Record]:
        """Return the records about a resource, pool or peer, oldest first."""
        written = self._but_fresh(self._journal.about(subject, kinds, since_ns, until_ns))
        subject = subject_of(subject)
        found = (record for record in self._within(since_ns, until_ns) if record.subject == subject)
        return [*written, *(record for record in found if not kinds or record.kind in kinds)]

    def of_kind(self, kind: str, since_ns: int = 0, until_ns: int = LAST_NS, after_seq: int = 0) -> Iterator[Record]:
        """Yield the records of a kind after a number, oldest first."""
        written = self._but_fresh(self._journal.of_kind(kind, since_ns, until_ns, after_seq))
        fresh = (one for one in self._within(since_ns, until_ns) if one.kind == kind and one.seq > after_seq)
        return chain(written, fresh)

    def causes_of(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the ids that caused each of some records."""
        written = self._journal.causes_of([name for name in ids if name not in self._fresh])
        return {**written, **{name: self._fresh[name].caused_by for name in ids if name in self._fresh}}

    def effects_of(self, ids: Sequence[str], limit: int) -> list[tuple[str, Record]]:
        """Return (cause id, record) for what followed from some records, at most `limit` of them."""
        causes = set(ids)
        written = self._journal.effects_of(ids, limit)
        found = [(cause, record) for cause, record in written if record.id not in self._fresh]
        found += [(cause, one) for one in self._fresh.values() for cause in one.caused_by if cause in causes]
        return found[:limit]

    def seq_at(self, at_ns: int) -> int:
        """Return the number of the last record of an instant or before; 0: none is so old."""
        return max([self._journal.seq_at(at_ns), *(record.seq for record in self._within(0, at_ns))])

    def verify(self) -> int | None:
        """Return the number of the first written record that is not as it was written, or None where all are."""
        return self._journal.verify()

    def _within(self, since_ns: int, until_ns: int) -> Iterator[Record]:
        return (record for record in self._fresh.values() if since_ns <= record.recorded_at_ns <= until_ns)

    def _but_fresh(self, written: Iterator[Record] | Sequence[Record]) -> Iterator[Record]:
        return (record for record in written if record.id not in self._fresh)
