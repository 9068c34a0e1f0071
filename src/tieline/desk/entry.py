"""A decision before it is recorded: the fact, its id, whom it is about, and what it was caused by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from tieline.desk.facts import Fact, to_record
from tieline.flow.record import Record


class Entry(Struct, frozen=True):
    """One fact with its place in the journal; the id is derived from its inputs, so that it is recorded once."""

    id: str
    fact: Fact
    subject: str
    caused_by: tuple[str, ...] = ()

    def record(self, now_ns: int) -> Record:
        """Return the entry as a record of the journal. Raises Unrecordable where no record can hold it."""
        return to_record(self.fact, self.id, self.subject, now_ns, self.caused_by)


class Recorder(Protocol):
    """Makes records durable; the rim implements it (group commit)."""

    def ready(self) -> None:
        """Do nothing where records can be kept. Raises LinkDown: not now; nothing may be decided."""
        ...

    async def append(self, records: Iterable[Record]) -> int:
        """Return once the records are durable, with the sequence number of the last."""
        ...
