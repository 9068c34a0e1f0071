"""A recorded fact and its causes: what the journal holds, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from tieline.errors import Unrecordable

MOST_SUBJECT_BYTES = 2_048
"""Of a subject, in UTF-8: PostgreSQL keeps up to 2,704 bytes of a row in an index."""
MOST_BODY_BYTES = 256 * 2**20
"""Of a body: PostgreSQL takes a value of 1 GB, and two letters for each byte."""
_PLAIN = MOST_SUBJECT_BYTES // 4
"""So many characters are never too many bytes."""
_ENCODE = msgspec.msgpack.Encoder().encode


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


def subject_of(text: str) -> str:
    r"""Return a text as the subject of a record: as it is, but where no database could keep it, escaped and cut.

    NUL and halves of pairs of UTF-16 are escaped; what is longer than `MOST_SUBJECT_BYTES` ends with a hash of all of
    it, so that two of them differ. Done twice it changes nothing more.

    >>> subject_of("battery-1"), subject_of("a" + chr(0)), len(subject_of("e" * 5_000))
    ('battery-1', 'a\\u0000', 2048)
    """
    if len(text) <= _PLAIN and text.isprintable():
        return text
    kept = "".join([f"\\u{ord(one):04x}" if _is_unkept(one) else one for one in text])
    raw = kept.encode()
    if len(raw) <= MOST_SUBJECT_BYTES:
        return kept
    mark = f"#{blake2b(text.encode(errors='surrogatepass'), digest_size=15).hexdigest()}"
    return raw[: MOST_SUBJECT_BYTES - len(mark)].decode(errors="ignore") + mark


def fault_of(record: Record) -> str:
    """Return why a database can't keep a record by what it holds, the same for each database; empty: it can."""
    subject, size = record.subject, len(record.body)
    if len(subject) <= _PLAIN and size <= MOST_BODY_BYTES and subject.isprintable() and record.id.isprintable():
        return ""  # nearly always
    if len(subject.encode(errors="surrogatepass")) > MOST_SUBJECT_BYTES:
        return f"a subject of {len(subject)} characters: give at most {MOST_SUBJECT_BYTES} bytes"
    if size > MOST_BODY_BYTES:
        return f"a body of {size} bytes: give at most {MOST_BODY_BYTES}"
    for name, text in (("id", record.id), ("subject", subject)):
        if bad := next(filter(_is_unkept, text), ""):
            return f"U+{ord(bad):04X} in its {name}: give text of whole characters without NUL"
    return ""


def _is_unkept(one: str) -> bool:
    return one == "\0" or "\ud800" <= one <= "\udfff"


def recorded(
    record_id: str, kind: str, subject: str, recorded_at_ns: int, caused_by: tuple[str, ...], fact: Any
) -> Record:
    """Return a fact as a record that each database can keep; `subject` may be anybody's words.

    Raises:
        Unrecordable: A text of the fact holds half of a pair of UTF-16, or a number has more than 64 bits.
    """
    try:
        made = Record(record_id, kind, subject_of(subject), recorded_at_ns, caused_by, _ENCODE(fact))
    except UnicodeEncodeError as error:
        text = error.object[max(error.start - 20, 0) : error.end].encode(errors="backslashreplace").decode()
        raise Unrecordable(f"{kind}: {text!r} holds half of a character: give text that is Unicode") from None
    except OverflowError as error:
        raise Unrecordable(f"{kind}: {error}: give whole numbers of at most 64 bits") from None
    if fault := fault_of(made):
        raise Unrecordable(f"{kind}: {fault}")
    return made


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
