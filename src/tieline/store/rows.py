"""Rows of the journal's table: how a record becomes one, its hash of the chain, how it is written, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain as joined
from itertools import islice
from typing import Any, Protocol

import msgspec

from tieline.errors import InvariantError
from tieline.flow.record import Record
from tieline.store.index import key_of

GENESIS = b"\0" * 16
_encode = msgspec.msgpack.Encoder().encode
causes_in = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_NO_CAUSE = _encode(())
Row = tuple[int, str, str, str, int, bytes, bytes]
COLUMNS = "seq,id,kind,subject,recorded_at_ns,caused_by,body"
WIDE, _WIDTH = 100, 8
"""Rows a statement, and values a row: any SQLite takes 999 values a statement."""
_INTO, _ONE = f"INSERT INTO record ({COLUMNS},hash) VALUES ", f"({','.join('?' * _WIDTH)})"
INSERT, _INSERT_WIDE = _INTO + _ONE, _INTO + ",".join([_ONE] * WIDE)


class Connection(Protocol):
    """What the journal needs of a connection; sqlite3's and apsw's have it."""

    def execute(self, sql: str, bindings: Sequence[Any] = ..., /) -> Any:
        """Run one statement and return its rows."""
        ...

    def executemany(self, sql: str, bindings: Iterable[Sequence[Any]], /) -> Any:
        """Run one statement for each row of bindings."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def chain(before: bytes, row: Row) -> bytes:
    """Return the hash of a record: of the hash before it, its number and all that it holds."""
    return blake2b(before + _encode(row), digest_size=16).digest()


class Chained:
    """The rows of records that follow number `seq`, each with its hash, made as they are asked for.

    None outlives the statement that takes it, so that a batch of ten thousand gives the garbage collector nothing to
    walk through. What is bytes comes as a bytearray: sqlite3 asks of every `bytes` object whether something would
    rather stand for it, which costs more than to write the row. Journals hold the same either way.
    """

    def __init__(self, items: list[Record], seq: int, last: bytes) -> None:
        """Take the records; `last` is the hash of number `seq`, and once all rows were taken that of the last."""
        self._items, self._seq, self.last = items, seq, last

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        seq, last = self._seq, self.last
        for item in self._items:
            seq += 1
            causes = bytearray(_encode(item.caused_by) if item.caused_by else _NO_CAUSE)
            row = (seq, item.id, item.kind, item.subject, item.recorded_at_ns, causes, bytearray(item.body))
            last = blake2b(last + _encode(row), digest_size=16).digest()  # `chain`, without a call for each record
            yield (*row, bytearray(last))
        self.last = last


def insert_by_hundreds(db: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows into SQLite, a hundred a statement: to start and end one costs a third of writing a row."""
    values = joined.from_iterable(rows)
    while part := tuple(islice(values, WIDE * _WIDTH)):
        count = len(part) // _WIDTH
        if count == WIDE:
            db.execute(_INSERT_WIDE, part)
        else:
            db.executemany(INSERT, zip(*[iter(part)] * _WIDTH, strict=True))


def effects_in(items: list[Record], seq: int, keys: dict[str, int]) -> dict[int, list[int]]:
    """Return the effects of each cause among records that follow number `seq`: cause key, numbers in order.

    `keys` holds the keys that are known.
    """
    found: defaultdict[str, list[int]] = defaultdict(list)
    for item in items:
        seq += 1
        causes = item.caused_by
        for cause in causes if len(causes) < 2 else dict.fromkeys(causes):
            found[cause].append(seq)
    return {(keys[cause] if cause in keys else key_of(cause)): seqs for cause, seqs in found.items()}


def row_of(row: Sequence[Any]) -> Row:
    return int(row[0]), row[1], row[2], row[3], int(row[4]), bytes(row[5]), bytes(row[6])


def record_of(row: Sequence[Any]) -> Record:
    try:
        return Record(row[1], row[2], row[3], int(row[4]), causes_in(row[5]), bytes(row[6]), int(row[0]))
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise InvariantError(f"record {row[0]} was changed: {error}: see `tieline doctor`") from error


def parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
