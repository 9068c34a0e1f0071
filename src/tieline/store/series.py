"""Measurements on disk: a write-ahead log of Arrow batches, and an hourly historian in Parquet.

A batch is appended to the open segment and is durable after `sync`; a torn tail (a cut in the middle of a write) is
left out when the log is read again. `compact` turns whole segments into one Parquet file an hour, sorted by resource
row, point and time, and then removes them: at every instant each reading is in the log or in the historian.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tieline.resource.batch import Readings
from tieline.times import HOUR_NS

SCHEMA = pa.schema(
    [
        ("row", pa.int32()),
        ("point", pa.uint16()),
        ("value", pa.float64()),
        ("quality", pa.uint32()),
        ("taken_at_ns", pa.int64()),
        ("received_at_ns", pa.int64()),
    ]
)
SEGMENT_BYTES = 64 * 1024 * 1024


def to_batch(readings: Readings) -> pa.RecordBatch:
    """Return readings as an Arrow batch of `SCHEMA`."""
    columns = (
        readings.rows, readings.points, readings.values, readings.quality, readings.taken_at_ns, readings.received_at_ns
    )  # fmt: skip
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=SCHEMA)


class Wal:
    """The log of one data folder; `append` makes all that it is given durable with one fsync."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.stem) for path in folder.glob("*.arrows")]
        self._number = max(numbers, default=0)
        self._file: Any = None
        self._writer: Any = None
        self.synced = 0

    def append(self, batches: Iterable[Readings]) -> int:
        """Write the readings, make them durable, and return how many were made durable since the start.

        Raises:
            OSError: The disk is full or gone; nothing of this call counts as kept.
        """
        if self._writer is None or self._file.tell() > SEGMENT_BYTES:
            self._roll()
        for readings in batches:
            self._writer.write_batch(to_batch(readings))
            self.synced += len(readings.rows)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.synced

    def _roll(self) -> None:
        self.close()
        self._number += 1
        self._file = open(self._folder / f"{self._number:08d}.arrows", "wb")  # noqa: SIM115  open for the segment's life
        self._writer = pa.ipc.new_stream(self._file, SCHEMA)
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)  # the name of a new segment must last as well
        finally:
            os.close(handle)

    def close(self) -> None:
        """End the open segment."""
        if self._writer is not None:
            self._writer.close()
            self._file.close()
            self._writer = self._file = None

    def segments(self) -> list[Path]:
        """Return the segments, oldest first, the open one last."""
        return sorted(self._folder.glob("*.arrows"))


def read_segment(path: Path) -> pa.Table:
    """Return what a segment holds, without a torn tail."""
    found: list[pa.RecordBatch] = []
    with path.open("rb") as raw:
        try:
            with pa.ipc.open_stream(raw) as stream:
                while True:
                    found.append(stream.read_next_batch())
        except (StopIteration, pa.ArrowInvalid, OSError):
            pass
    return pa.Table.from_batches(found, schema=SCHEMA)


class Historian:
    """Hourly Parquet files, sorted by (row, point, taken_at_ns)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def compact(self, wal: Wal) -> int:
        """Move the log's closed segments into the historian, and return how many readings that were.

        A file is written whole beside its place and then renamed; a segment goes only after all its hours are there.
        The same reading twice (after a kill in between) is kept once.
        """
        wal.close()
        moved = 0
        for path in wal.segments():
            table = read_segment(path)
            hours = pc.unique(pc.floor(pc.divide(table["taken_at_ns"], HOUR_NS)))
            for hour in sorted(int(value.as_py()) for value in hours):
                of_hour = pc.equal(pc.floor(pc.divide(table["taken_at_ns"], HOUR_NS)), hour)
                self._merge(hour, table.filter(of_hour))
            moved += table.num_rows
            path.unlink()
        return moved

    def _merge(self, hour: int, fresh: pa.Table) -> None:
        path = self._folder / f"{hour}.parquet"
        whole = pa.concat_tables([pq.read_table(path), fresh]) if path.exists() else fresh
        whole = whole.sort_by([("row", "ascending"), ("point", "ascending"), ("taken_at_ns", "ascending")])
        keys = np.rec.fromarrays([whole[name].to_numpy() for name in ("row", "point", "taken_at_ns", "received_at_ns")])
        first = np.ones(len(keys), np.bool_)
        first[1:] = keys[1:] != keys[:-1]
        part = path.with_suffix(".part")
        pq.write_table(whole.filter(pa.array(first)), part, compression="zstd")
        part.replace(path)

    def read(self, rows: Sequence[int], points: Sequence[int], start_ns: int, end_ns: int) -> pa.Table:
        """Return the readings of rows and points in [start, end), sorted by row, point and time."""
        found = [SCHEMA.empty_table()]
        for hour in range(start_ns // HOUR_NS, -(-end_ns // HOUR_NS)):
            path = self._folder / f"{hour}.parquet"
            if path.exists():
                wanted = [("row", "in", list(rows)), ("point", "in", list(points))]
                found.append(pq.read_table(path, filters=wanted))
        table = pa.concat_tables(found)
        inside = pc.and_(pc.greater_equal(table["taken_at_ns"], start_ns), pc.less(table["taken_at_ns"], end_ns))
        return table.filter(inside).sort_by(
            [("row", "ascending"), ("point", "ascending"), ("taken_at_ns", "ascending")]
        )
