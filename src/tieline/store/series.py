"""Measurements on disk: a write-ahead log of Arrow batches, and an hourly historian in Parquet.

A batch is appended to the open segment and is durable after `sync`; a torn tail (a cut in the middle of a write) is
left out when the log is read again. `compact` turns whole segments into one Parquet file an hour, sorted by resource
row, point and time, and then removes them: at every instant each reading is in the log or in the historian.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tieline.resource.batch import Readings
from tieline.store.journal import StoreError
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
LOOKS = 3
"""How often a segment that grows while it is read is read again before it counts as whole."""
_FIELDS = ("rows", "points", "values", "quality", "taken_at_ns", "received_at_ns")


def joined(batches: list[Readings]) -> pa.RecordBatch:
    """Return readings as one Arrow batch of `SCHEMA`: a batch costs the same for one row as for thousands."""
    columns = [np.concatenate([getattr(readings, name) for readings in batches]) for name in _FIELDS]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=SCHEMA)


def _sum(batch: pa.RecordBatch) -> int:
    check = 0
    for column in batch.columns:
        check = zlib.crc32(column.buffers()[1] or b"", check)
    return check


def sync_folder(folder: Path, sync: Callable[[int], None] = os.fsync) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)


class Wal:
    """The log of one data folder; `append` makes all that it is given durable with one fsync."""

    def __init__(self, folder: Path, sync: Callable[[int], None] = os.fsync) -> None:
        """Open the log; the segment that was open before is left as it is, and a new one is begun at the first append.

        Args:
            folder: Where the segments are.
            sync: Makes a file or folder durable by its descriptor.
        """
        self._folder, self._sync = folder, sync
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.stem) for path in folder.glob("*.arrows")]
        self._number = max(numbers, default=0)
        self._file: int | None = None
        self._size = 0
        self._sink = io.BytesIO()
        self._writer: Any = None
        self.synced = 0

    def append(self, batches: Iterable[Readings]) -> int:
        """Write the readings, make them durable, and return how many were made durable since the start.

        Raises:
            StoreError: The disk is full or gone; nothing of this call is kept, and the next call begins a new segment.
        """
        try:
            if self._file is None or self._size > SEGMENT_BYTES:
                self._roll()
            batch = joined(list(batches))
            # The sum tells a batch that a power cut left half written from one that was synced.
            self._writer.write_batch(batch, custom_metadata={"crc32": str(_sum(batch))})
            self._write_out()
        except OSError as error:
            self._give_up()
            raise StoreError(f"{self._folder}: {error.strerror or error}: readings were not kept") from error
        self.synced += batch.num_rows
        return self.synced

    def _write_out(self) -> None:
        assert self._file is not None
        raw = self._sink.getbuffer()
        done = 0
        while done < len(raw):
            done += os.write(self._file, raw[done:])
        self._sync(self._file)
        self._size += done
        raw.release()
        self._sink.seek(0)
        self._sink.truncate()

    def _roll(self) -> None:
        self.close()
        self._number += 1
        path = self._folder / f"{self._number:08d}.arrows"
        self._file, self._size = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), 0
        self._sink = io.BytesIO()
        self._writer = pa.ipc.new_stream(self._sink, SCHEMA)
        sync_folder(self._folder, self._sync)  # the name of a new segment must last as well

    def _give_up(self) -> None:
        """Cut off what was half written; a segment that failed once is never written again."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._size)
        except OSError as error:  # a torn tail is left out when the segment is read
            del error
        os.close(self._file)
        self._file = self._writer = None

    def close(self) -> None:
        """End the open segment."""
        if self._file is not None:
            os.close(self._file)
            self._file = self._writer = None

    def segments(self) -> list[Path]:
        """Return the segments, oldest first, the open one last."""
        return sorted(self._folder.glob("*.arrows"))


def read_segment(path: Path) -> pa.Table:
    """Return what a segment holds, without a torn tail."""
    return _read(path)[0]


def cut_of(path: Path) -> tuple[int, int, int] | None:
    """Return where a segment is cut, its size (both in bytes), and how many readings stand before; None: it is whole.

    A cut just between two batches leaves no trace here.
    """
    for _ in range(LOOKS):
        before = path.stat().st_size
        table, end = _read(path)
        size = path.stat().st_size
        if end == size:
            return None
        if size == before:  # else somebody is writing just now
            return end, size, table.num_rows
    return None


def _read(path: Path) -> tuple[pa.Table, int]:
    """Return the readings of a segment's whole batches, and where the last of them ends."""
    found: list[pa.RecordBatch] = []
    end = 0
    with path.open("rb") as raw:
        try:
            with pa.ipc.open_stream(raw) as stream:
                end = raw.tell()
                while True:
                    batch, extra = stream.read_next_batch_with_custom_metadata()
                    if extra is not None and int(extra["crc32"]) != _sum(batch):
                        break
                    found.append(batch)
                    end = raw.tell()
        except (StopIteration, pa.ArrowInvalid, OSError):
            pass
    return pa.Table.from_batches(found, schema=SCHEMA), end


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
        with part.open("rb") as written:
            os.fsync(written.fileno())  # the log goes only after its readings last here
        part.replace(path)
        sync_folder(self._folder)

    def hours(self) -> list[int]:
        """Return the hours (since 1970 UTC) that there are files of, oldest first."""
        return sorted(int(path.stem) for path in self._folder.glob("*.parquet") if path.stem.lstrip("-").isdigit())

    def forget(self, before_ns: int) -> int:
        """Delete the hours that end at or before an instant, and return how many those were."""
        over = [hour for hour in self.hours() if (hour + 1) * HOUR_NS <= before_ns]
        for hour in over:
            (self._folder / f"{hour}.parquet").unlink(missing_ok=True)
        return len(over)

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
