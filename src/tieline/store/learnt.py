"""What a desk has learnt of each device by listening: kept in one file of columns, written whole and read at a start.

It is neither a decision, which the journal has, nor a measurement, which the log has: what a device would draw without
us is gone once it is called, and no later reading tells it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tieline.store import checked

Columns = Mapping[str, NDArray[Any]]
_MAGIC = b"TLLEARN1"
_ABOUT = b"tieline"


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the columns were so (ns), of how many devices, and the hash of their names in order."""

    at_ns: int
    count: int
    names: str


def names_of(ids: Sequence[str], count: int) -> str:
    """Return the hash of the first names of a registry: a later import appends to them."""
    digest = blake2b(digest_size=16)
    for at in range(0, count, 10_000):
        digest.update("\n".join([*ids[at : min(at + 10_000, count)], ""]).encode())
    return digest.hexdigest()


def save(path: Path, columns: Columns, about: About) -> None:
    """Write columns, shape (count,) each, all or nothing, durable when it returns. Raises OSError."""
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    table = table.replace_schema_metadata({_ABOUT: msgspec.json.encode(about)})
    body = io.BytesIO()
    pq.write_table(table, body, compression="zstd", compression_level=1)
    checked.write(path, _MAGIC, body.getvalue())


def load(path: Path, ids: Sequence[str]) -> tuple[About, dict[str, NDArray[Any]]] | None:
    """Return what was saved, its rows the first of `ids`; None where nothing was.

    Raises:
        ValueError: The file is damaged, or of other devices.
    """
    if not path.exists():
        return None
    try:
        table = pq.read_table(io.BytesIO(checked.body_of(path.read_bytes(), _MAGIC)))
        about = msgspec.json.decode((table.schema.metadata or {}).get(_ABOUT, b""), type=About)
    except (pa.ArrowException, OSError, ValueError) as error:  # msgspec's are ValueErrors, too
        raise ValueError(f"unreadable: {error}") from error
    if about.count != table.num_rows or about.count > len(ids) or about.names != names_of(ids, about.count):
        raise ValueError("of other devices than the registry names")
    return about, {name: np.array(table[name].to_numpy()) for name in table.column_names}
