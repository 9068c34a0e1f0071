"""Forecasts on disk: a folder with a Parquet file for each time that some were made, written once and never changed."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tieline.errors import ConfigError
from tieline.forecast.known import Issue, newest
from tieline.store.whole_file import whole
from tieline.times import from_ns, iso

SCHEMA = pa.schema(
    [
        ("series", pa.string()), ("start_ns", pa.int64()), ("step_ns", pa.int64()), ("known_at_ns", pa.int64()),
        ("readings_until_ns", pa.int64()), ("model", pa.string()), ("unit", pa.string()), ("mean", pa.float64()),
        ("levels", pa.list_(pa.float64())), ("quantiles", pa.list_(pa.float64())),
    ]
)  # fmt: skip


def keep(folder: Path, issue: Issue) -> Path:
    """Write an issue into a folder and return its file; the same once more changes nothing.

    Raises:
        ConfigError: Another forecast of one of its series and steps was known at the same instant.
    """
    table = _table(issue)
    at = from_ns(issue.known_at_ns).strftime("%Y%m%dT%H%M%S.%f") + "Z"
    path = folder / f"{at}-{_digest(table)}.parquet"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    mine = set(zip(table["series"].to_pylist(), table["start_ns"].to_pylist(), strict=True))
    for other in sorted(folder.glob(f"{at}-*.parquet")):
        theirs = _read(other)
        both = mine & set(zip(theirs["series"].to_pylist(), theirs["start_ns"].to_pylist(), strict=True))
        if both:
            series, start_ns = min(both)
            raise ConfigError(
                f"{other}: known_at = {iso(issue.known_at_ns)}: holds another forecast of {series!r} at "
                f"{iso(start_ns)}: give a later instant; what was known is never overwritten"
            )
    with whole(path) as part:
        pq.write_table(table, part, compression="zstd", write_page_checksum=True)
    return path


def as_known(folder: Path, at_ns: int, series: str | None = None, start_ns: int | None = None) -> pa.Table:
    """Return what was known at an instant, by series and start: of each the newest forecast then.

    Args:
        folder: Where forecasts are kept.
        at_ns: The instant that asks.
        series: This one alone.
        start_ns: From this start on.

    Raises:
        ConfigError: The folder holds no forecast, or a file can't be read.
    """
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise ConfigError(f"{folder}: holds no forecast: give a folder that `tieline forecast --out` wrote to")
    latest = from_ns(at_ns).strftime("%Y%m%dT%H%M%S.%f") + "Z"
    asked = [path for path in paths if path.name.partition("-")[0] <= latest]
    table = pa.concat_tables([SCHEMA.empty_table(), *(_read(path) for path in asked)])
    names = table["series"].to_numpy(zero_copy_only=False)
    wanted = np.ones(len(names), np.bool_) if series is None else names == series
    if start_ns is not None:
        wanted &= table["start_ns"].to_numpy() >= start_ns
    table = table.filter(pa.array(wanted))
    _, code = np.unique(names[wanted].astype(str), return_inverse=True)
    rows = newest(code, table["start_ns"].to_numpy(), table["known_at_ns"].to_numpy(), at_ns)
    return table.take(pa.array(rows))


def _table(issue: Issue) -> pa.Table:
    count, steps = issue.mean.shape
    every = count * steps
    rows = {
        "series": np.repeat(np.array(issue.series, object), steps).tolist(),
        "start_ns": np.tile(issue.starts_ns, count), "step_ns": np.full(every, issue.step_ns),
        "known_at_ns": np.full(every, issue.known_at_ns), "readings_until_ns": np.full(every, issue.readings_until_ns),
        "model": np.repeat(np.array(issue.models, object), steps).tolist(), "unit": [issue.unit] * every,
        "mean": issue.mean.reshape(-1), "levels": [issue.levels.tolist()] * every,
        "quantiles": issue.quantiles.reshape(every, -1).tolist(),
    }  # fmt: skip
    return pa.table(rows, SCHEMA)


def _digest(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return blake2b(sink.getvalue(), digest_size=6).hexdigest()


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(f"{path}: {reason}: put the file back from a copy, or move it away") from None
    if table.schema.names != SCHEMA.names:
        raise ConfigError(
            f"{path}: columns {', '.join(table.schema.names)[:120]}: it is no file of forecasts: move it away"
        )
    return table.cast(SCHEMA)
