"""A recorded fact and its causes: what the journal holds, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct


class Record(Struct, frozen=True):
    """One fact. `id` is derived from its inputs; `caused_by` names the records that led to it.

    `subject` is the resource, pool or peer it is about (empty: none); `body` is msgpack of the fact itself.
    """

    id: str
    kind: str
    subject: str
    recorded_at_ns: int
    caused_by: tuple[str, ...]
    body: bytes
    seq: int = 0


class Records(Protocol):
    """What can be asked of facts that were recorded: of all of them, or of those up to a past one."""

    @property
    def last_seq(self) -> int:
        """Number of the last record; 0: none."""
        ...

    @property
    def last_hash(self) -> bytes:
        """Hash of the last record, which covers all before it."""
        ...

    def replay(self, after_seq: int = 0) -> Iterator[Record]:
        """Yield what was recorded after `after_seq`, oldest first."""
        ...

    def holds(self, record_id: str) -> bool:
        """Return whether a record with this id is there."""
        ...

    def get(self, record_id: str) -> Record | None:
        """Return the record of an id, or None."""
        ...

    def many(self, ids: Sequence[str]) -> list[Record]:
        """Return the records of some ids, oldest first; those that are not there are left out."""
        ...

    def about(
        self, subject: str, kinds: Sequence[str] = (), since_ns: int = 0, until_ns: int = 2**63 - 1
    ) -> list[Record]:
        """Return the records about a resource, pool or peer, oldest first."""
        ...

    def of_kind(self, kind: str, since_ns: int = 0, until_ns: int = 2**63 - 1, after_seq: int = 0) -> Iterator[Record]:
        """Yield the records of a kind after a number, oldest first."""
        ...

    def causes_of(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the ids that caused each of some records."""
        ...

    def effects_of(self, ids: Sequence[str], limit: int) -> list[tuple[str, Record]]:
        """Return (cause id, record) for what followed from some records, at most `limit` of them."""
        ...

    def seq_at(self, at_ns: int) -> int:
        """Return the number of the last record of an instant or before; 0: none is so old."""
        ...

    def verify(self) -> int | None:
        """Return the number of the first record that is not as it was written, or None where all are."""
        ...


class Journal(Records, Protocol):
    """Where facts go before anyone acts on them, whatever database holds it."""

    name: str

    def append(self, records: Iterable[Record]) -> int:
        """Make the records durable, all or none, and return the sequence number of the last.

        A record whose id is there already is passed over, so that the same message twice has one effect.
        """
        ...

    def lacks_room(self) -> str:
        """Return why no room is held for what comes, so that nothing new may be begun; empty: nothing is in the way."""
        ...

    def end_fault(self) -> str:
        """Return what is wrong with the end of the chain, which no hash covers; empty: nothing."""
        ...

    def keep_head(self) -> None:
        """Note the last record beside the journal, where that is kept; one that can't be noted is left as it was."""
        ...

    def reader(self) -> Journal:
        """Return another connection to the same records, to read while this one appends."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
