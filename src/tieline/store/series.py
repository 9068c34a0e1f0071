"""Measurements on disk: a write-ahead log of Arrow batches, and an hourly historian in Parquet.

A batch is appended to the open segment and is durable after `sync`; a torn tail (a cut in the middle of a write) is
left out when the log is read again. `compact` turns closed segments into one Parquet file an hour, sorted by resource
row, point and time, and then removes them: at every instant each reading is in the log or in the historian. A segment
or hour that is damaged is never removed: what can be read of it is moved, and the file set aside.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tieline.resource.batch import Readings
from tieline.store.journal import StoreError
from tieline.store.narrow import FILE_MODE, make_narrow
from tieline.store.segment import ASIDE, SCHEMA, Tell, aside_says, joined, look_at, set_aside, sum_of
from tieline.store.whole_file import sync_folder
from tieline.times import HOUR_NS

SEGMENT_BYTES = 64 * 1024 * 1024


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
        # A number is never given twice, or a segment that was put back would meet another of its name.
        names = (*folder.glob("*.arrows"), *folder.glob(f"*{ASIDE}"))
        self._number = self._found = max((int(path.stem.partition("-")[0]) for path in names), default=0)
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
            self._writer.write_batch(batch, custom_metadata={"crc32": str(sum_of(batch))})
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
        self._file, self._size = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), 0
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

    def may_be_torn(self, path: Path) -> bool:
        """Return whether a cut end of a segment is no damage: it was open when the last server ended, or is ours.

        A cut end of an older one was there, and told of, before this log was opened, or came since.
        """
        return int(path.stem) >= self._found

    def segments(self) -> list[Path]:
        """Return the segments, oldest first, the open one last."""
        return sorted(self._folder.glob("*.arrows"))


class Historian:
    """Hourly Parquet files, sorted by (row, point, taken_at_ns)."""

    def __init__(self, folder: Path, tell: Tell | None = None) -> None:
        """Open the hours of a folder; `tell` hears once of each file that is found damaged."""
        self._folder, self._tell, self._told = folder, tell, set[str]()
        folder.mkdir(parents=True, exist_ok=True)

    def compact(self, wal: Wal) -> int:
        """Move the log's closed segments into the historian, and return how many readings that were.

        A file is written whole beside its place and then renamed; a segment goes only after all its hours are there.
        The same reading twice (after a kill in between) is kept once. A segment that can't be read wholly is set aside.

        Raises:
            OSError: The disk is full or gone. Nothing is lost: what was not moved is in the log still.
        """
        wal.close()
        moved = 0
        for path in wal.segments():
            segment = look_at(path)
            hour_of = pc.floor(pc.divide(segment.table["taken_at_ns"], HOUR_NS))
            for hour in sorted(int(value.as_py()) for value in pc.unique(hour_of)):
                self._merge(hour, segment.table.filter(pc.equal(hour_of, hour)))
            moved += segment.table.num_rows
            if segment.holes or (segment.lost and not wal.may_be_torn(path)):
                self._say(aside_says(set_aside(path)))
            else:
                path.unlink()
        return moved

    def _merge(self, hour: int, fresh: pa.Table) -> None:
        path = self._folder / f"{hour}.parquet"
        if path.exists():
            before = self._of_hour(path)
            if before is None:
                set_aside(path)
            else:
                fresh = pa.concat_tables([before, fresh])
        whole = fresh.sort_by([("row", "ascending"), ("point", "ascending"), ("taken_at_ns", "ascending")])
        keys = np.rec.fromarrays([whole[name].to_numpy() for name in ("row", "point", "taken_at_ns", "received_at_ns")])
        # Of two that one body says of one instant the last counts, as it does where it is shown (the sort is stable).
        last = np.ones(len(keys), np.bool_)
        last[:-1] = keys[1:] != keys[:-1]
        part = path.with_suffix(".part")
        try:
            make_narrow(part)
            pq.write_table(whole.filter(pa.array(last)), part, compression="zstd", write_page_checksum=True)
            with part.open("rb") as written:
                os.fsync(written.fileno())  # the log goes only after its readings last here
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)  # on a full disk half an hour's file would take the room that is left
        sync_folder(self._folder)

    def _of_hour(self, path: Path, wanted: list[tuple[str, str, list[int]]] | None = None) -> pa.Table | None:
        """Return what a file holds; None where it is damaged, which is told."""
        try:
            return pq.read_table(path, filters=wanted, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            if not path.exists():  # its time was over just now
                return None
            self._say(hour_says(path, error))
            return None

    def _say(self, says: str) -> None:
        if self._tell is not None and says not in self._told:
            self._told.add(says)
            self._tell(says)

    def faults(self, damaged: dict[int, Exception]) -> list[str]:
        """Say which hours can't be opened (`damaged`), which were set aside, and what to do."""
        faults = [hour_says(self._folder / f"{hour}.parquet", why) for hour, why in damaged.items()]
        return faults + [
            f"{path.parent.name}/{path.name} = 'unreadable': was set aside, and what came later is in "
            f"{path.stem.partition('-')[0]}.parquet: stop the server and move it away: its readings can be taken out "
            f"of a backup with `tieline export readings`"
            for path in sorted(self._folder.glob(f"*{ASIDE}"))
        ]

    def damaged(self, *, pages: bool = False) -> dict[int, Exception]:
        """Return the hours that can't be read, and why: by their footers alone, or by every page's checksum."""
        found: dict[int, Exception] = {}
        for hour in self.hours():
            try:
                path = self._folder / f"{hour}.parquet"
                pq.read_metadata(path)
                if pages:
                    pq.read_table(path, page_checksum_verification=True)
            except FileNotFoundError:
                continue
            except (pa.ArrowException, OSError) as error:
                found[hour] = error
        return found

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
                of_hour = self._of_hour(path, [("row", "in", list(rows)), ("point", "in", list(points))])
                found.append(SCHEMA.empty_table() if of_hour is None else of_hour)
        table = pa.concat_tables(found)
        inside = pc.and_(pc.greater_equal(table["taken_at_ns"], start_ns), pc.less(table["taken_at_ns"], end_ns))
        return table.filter(inside).sort_by(
            [("row", "ascending"), ("point", "ascending"), ("taken_at_ns", "ascending")]
        )


def hour_faults(folder: Path, *, pages: bool = False) -> list[str]:
    """Say which hours of a folder can't be read, and what to do; none where there is no historian yet."""
    if not folder.is_dir():
        return []
    historian = Historian(folder)
    return historian.faults(historian.damaged(pages=pages))


def hour_says(path: Path, why: Exception) -> str:
    """Say that an hour of the historian can't be read, and what to do."""
    reason = " ".join(str(why).replace("'", "").split())[:120]
    return (
        f"{path.parent.name}/{path.name} = 'unreadable': {reason}: its {path.stat().st_size if path.exists() else 0} "
        f"bytes are left out: stop the server and put the file back from a backup; without one move it away"
    )
