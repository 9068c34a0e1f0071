"""Exports records to files that others read."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tieline.desk.facts import KINDS
from tieline.desk.packed import Packed
from tieline.errors import ConfigError
from tieline.node.journals import journal_to_read
from tieline.node.plain import finite
from tieline.store.registry import load
from tieline.store.segment import Tell
from tieline.times import FOREVER_NS, iso, parse_iso

SECRETS = frozenset({"password_hash", "token_hashes", "session_hash", "bearerToken"})
"""What a file for others doesn't hold: hashes of passwords and tokens, and the bearer of webhooks."""


def export_records(data: Path, kind: str, target: Path) -> int:
    """Write all records of a kind and return how many.

    Raises:
        ConfigError: An unknown kind, file type or folder.
    """
    if kind not in KINDS:
        raise ConfigError(f"record kind {kind!r} is unknown: give one of readings, {', '.join(KINDS)}")
    journal, rows = journal_to_read(data), []
    ids = load(data / "registry.bin").ids if (data / "registry.bin").is_file() else ()
    for record in journal.of_kind(kind):
        try:
            body = _flat(_shareable(msgspec.msgpack.decode(record.body)), ids)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(f"record {record.seq} was changed: {error}: see `tieline doctor --data {data}`") from None
        head = {"seq": record.seq, "id": record.id, "subject": record.subject, "at": iso(record.recorded_at_ns)}
        told = {f"body.{key}" if key in head else key: value for key, value in body.items()}
        rows.append({**head, "caused_by": " ".join(record.caused_by), **told})
    journal.close()
    _write(rows, target)
    return len(rows)


def export_readings(data: Path, since: str | None, until: str | None, target: Path, tell: Tell) -> int:
    """Write the readings of a stretch of time and return how many; `tell` hears what is damaged.

    Raises:
        ConfigError: No ISO 8601, an unknown file type or folder.
    """
    span = []
    for name, text, left_out in (("--since", since, 0), ("--until", until, FOREVER_NS)):
        try:
            span.append(left_out if text is None else parse_iso(text))
        except ValueError as error:
            raise ConfigError(f"{name} {text!r}: give ISO 8601 with an offset ({error})") from None
    from tieline.store.looking import write_readings

    return write_readings(data, load(data / "registry.bin"), span[0], span[1], target, tell)


def _shareable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: ("held back" if one else "") if key in SECRETS else _shareable(one) for key, one in value.items()}
    return [_shareable(one) for one in value] if isinstance(value, (list, tuple)) else value


def text_of(value: bytes) -> str:
    """Return bytes as people read them: JSON where they are a JSON object or list, else hex.

    So is a record's body or causes, in MessagePack: columns as their values, what is no number as null. What a file for
    others doesn't hold (`SECRETS`) is held back here, too.
    """
    try:
        if value[:1] in (b"{", b"["):
            told = msgspec.json.decode(value)
            shared = _shareable(told)
            return value.decode() if shared == told else _json(shared)
        told = msgspec.msgpack.decode(value)
        return _json(_opened(_shareable(told))) if _is_record(told) else value.hex()
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, MemoryError):
        return value.hex()


def _is_record(told: Any) -> bool:
    """Return whether it is what records are made of: fields by name, or names of causes."""
    if isinstance(told, dict):
        return bool(told) and all(isinstance(key, str) for key in told)
    return isinstance(told, list) and all(isinstance(name, str) for name in told)


def _opened(value: Any) -> Any:
    """Return a value with its packed columns as lists, and other bytes as text."""
    if isinstance(value, dict):
        if value.keys() == {"dtype", "data"}:
            return _column(Packed(**value), ())
        return {key: _opened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_opened(one) for one in value]
    return text_of(value) if isinstance(value, bytes) else value


def _json(value: Any) -> str:
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, default=str)


def _column(packed: Packed, ids: Sequence[str]) -> list[Any]:
    """Return a packed column as values, rows by their resource; NaN (none, free) and infinity (open) as null."""
    values = packed.array()
    if len(ids) and values.dtype.kind in "iu":
        return [ids[row] if row < len(ids) else row for row in values.tolist()]
    if values.dtype.kind != "f":
        return list(values.tolist())
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _flat(body: dict[str, Any], ids: Sequence[str], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in body.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and "dtype" in value:
            flat[name] = json.dumps(_column(Packed(**value), ids if key == "rows" else ()))
        elif isinstance(value, dict):
            flat |= _flat(value, ids, f"{name}.")
        elif isinstance(value, (list, tuple)):
            flat[name] = json.dumps(value, default=str)
        elif key != "type":
            flat[name] = text_of(value) if isinstance(value, bytes) else value
    return flat


def _write(rows: list[dict[str, Any]], target: Path) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if target.suffix == ".csv":
        with target.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, names)
            writer.writeheader()
            writer.writerows(rows)
    elif target.suffix == ".json":
        target.write_text(json.dumps(rows, default=str), encoding="utf-8")
    elif target.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in names}
        pq.write_table(pa.table(columns), target, compression="zstd")
    else:
        raise ConfigError(f"{target}: give a file that ends in .csv, .json or .parquet")
