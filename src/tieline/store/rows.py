"""Rows of the journal's table: how a record becomes one, its hash of the chain, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from tieline.errors import InvariantError
from tieline.flow.record import Record
from tieline.store.index import key_of

GENESIS = b"\0" * 16
_encode = msgspec.msgpack.Encoder().encode
causes_in = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_NO_CAUSE = _encode(())
Row = tuple[int, str, str, str, int, bytes, bytes]


def chain(before: bytes, row: Row) -> bytes:
    """Return the hash of a record: of the hash before it, its number and all that it holds."""
    return blake2b(before + _encode(row), digest_size=16).digest()


def chained(items: list[Record], seq: int, last: bytes) -> tuple[list[tuple[Any, ...]], bytes]:
    """Return the rows of records that follow number `seq`, each with its hash, and the hash of the last."""
    rows: list[tuple[Any, ...]] = []
    for item in items:
        seq += 1
        causes = _encode(item.caused_by) if item.caused_by else _NO_CAUSE
        row = (seq, item.id, item.kind, item.subject, item.recorded_at_ns, causes, item.body)
        last = blake2b(last + _encode(row), digest_size=16).digest()  # `chain`, without a call for each record
        rows.append((*row, last))
    return rows, last


def effects_in(items: list[Record], seq: int, keys: dict[str, int]) -> Iterator[tuple[int, int]]:
    """Yield (cause key, effect seq); `keys` keeps the keys that are known."""
    for item in items:
        seq += 1
        for cause in dict.fromkeys(item.caused_by):
            key = keys.get(cause)
            if key is None:
                key = keys[cause] = key_of(cause)
            yield key, seq


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
