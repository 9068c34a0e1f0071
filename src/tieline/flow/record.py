"""A recorded fact and its causes: what the journal holds, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


class Journal(Protocol):
    """Where facts go before anyone acts on them."""

    def append(self, records: Iterable[Record]) -> int:
        """Make the records durable, all or none, and return the sequence number of the last.

        A record whose id is there already is passed over, so that the same message twice has one effect.
        """
        ...

    def replay(self, after_seq: int = 0) -> Iterator[Record]:
        """Yield what was recorded after `after_seq`, oldest first."""
        ...

    def holds(self, record_id: str) -> bool:
        """Return whether a record with this id is there."""
        ...
