"""One segment of the readings' log: batches of Arrow's stream format, each with a sum over its columns.

Theory of operation. Each batch is a message of its own: four bytes FF, the length of its description, the description
(with the sum and the length of the body), and the body (Arrow columnar format, encapsulated messages). A power cut can
only tear the end, and what is torn was never acknowledged. A hole before the end is damage: there the reader looks for
the next four bytes from which a whole batch can be read whose sum holds, and goes on. So a changed byte costs the batch
that it is in, wherever it is, and how many bytes were passed over is known.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tieline.resource.batch import Readings

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
LOOKS = 3
"""How often a segment that grows while it is read is read again before it counts as whole."""
ASIDE = ".damaged"
"""How the name ends of a damaged file that was set aside: nobody reads it any more, and nobody deletes it."""
Tell = Callable[[str], None]
_FIELDS = ("rows", "points", "values", "quality", "taken_at_ns", "received_at_ns")
_WIDTHS = [field.type.bit_width // 8 for field in SCHEMA]
_HEAD = SCHEMA.serialize().to_pybytes()
_FRAME = re.compile(rb"\xff\xff\xff\xff(?=..\0\0)", re.DOTALL)  # a description is far shorter than 64 KiB


def joined(batches: list[Readings]) -> pa.RecordBatch:
    """Return readings as one Arrow batch of `SCHEMA`: a batch costs the same for one row as for thousands."""
    columns = [np.concatenate([getattr(readings, name) for readings in batches]) for name in _FIELDS]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=SCHEMA)


def sum_of(batch: pa.RecordBatch) -> int:
    """Return the sum over a batch's columns."""
    check = 0
    for column in batch.columns:
        check = zlib.crc32(column.buffers()[1] or b"", check)
    return check


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """What a segment holds, and what of it can't be read: `holes` before a batch that can, `cut_at` to its end."""

    table: pa.Table
    size: int
    holes: tuple[tuple[int, int], ...]
    cut_at: int

    @property
    def lost(self) -> int:
        """How many bytes can't be read."""
        return sum(end - start for start, end in self.holes) + self.size - self.cut_at


def read_segment(path: Path) -> pa.Table:
    """Return what can be read of a segment, before and after what can't."""
    return look_at(path).table


def look_at(path: Path) -> Segment:
    """Return a segment as it is now; what is being written just now may show as a cut end."""
    raw = path.read_bytes()
    found: list[pa.RecordBatch] = []
    holes: list[tuple[int, int]] = []
    end = 0
    for start, batch, after in _batches(raw):
        if start > end:
            holes.append((end, start))
        if batch is not None:
            found.append(batch)
        end = after
    return Segment(pa.Table.from_batches(found, schema=SCHEMA), len(raw), tuple(holes), end)


def damage_of(path: Path) -> Segment | None:
    """Return a segment that can't be read wholly; None: it is whole. A cut between two batches leaves no trace here."""
    for _ in range(LOOKS):
        before = path.stat().st_size
        segment = look_at(path)
        if not segment.lost:
            return None
        if segment.holes or path.stat().st_size == before == segment.size:  # else somebody is writing just now
            return segment
    return None


def _batches(raw: bytes) -> Iterator[tuple[int, pa.RecordBatch | None, int]]:
    """Yield where each whole batch starts, the batch, and where it ends; the stream's own head first, without one."""
    at = 0
    for batch, after in _in_order(raw):
        yield at, batch, after
        at = after
    while frame := _FRAME.search(raw, at):
        at = frame.start()
        found = _batch_at(raw, at)
        if found is None:
            at += 1
            continue
        yield at, *found
        at = found[1]


def _in_order(raw: bytes) -> Iterator[tuple[pa.RecordBatch | None, int]]:
    """Yield batches and where they end, up to the first that is not whole: all of them, nearly always."""
    source = pa.BufferReader(raw)
    try:
        with pa.ipc.open_stream(source) as stream:
            if not stream.schema.equals(SCHEMA):
                return
            at = source.tell()
            if any(_batch_at(raw, frame.start()) for frame in _FRAME.finditer(raw, 4, at)):
                return  # a head said to be longer swallowed batches
            yield None, at
            while True:
                batch, extra = stream.read_next_batch_with_custom_metadata()
                if not _is_whole(batch, extra) or source.tell() != _end_of(raw, at, batch):
                    return
                at = source.tell()
                yield batch, at
    except (StopIteration, pa.ArrowException, ValueError, EOFError, OSError):
        return


def _batch_at(raw: bytes, at: int) -> tuple[pa.RecordBatch, int] | None:
    """Return the batch whose message begins at a byte, and where it ends; None: none that is whole does."""
    source = pa.BufferReader(pa.py_buffer(raw).slice(at))
    try:
        message = pa.ipc.read_message(source)
        if message.type != "record batch":
            return None
        with pa.ipc.open_stream(_HEAD + raw[at : at + source.tell()]) as stream:
            batch, extra = stream.read_next_batch_with_custom_metadata()
    except (StopIteration, pa.ArrowException, ValueError, EOFError, OSError):
        return None
    return (batch, _end_of(raw, at, batch)) if _is_whole(batch, extra) else None


def _end_of(raw: bytes, at: int, batch: pa.RecordBatch) -> int:
    """Return where a batch's message ends by its columns: a body said to be longer would swallow what follows."""
    body: int = sum(-(-width * batch.num_rows // 8) * 8 for width in _WIDTHS)
    return at + 8 + int.from_bytes(raw[at + 4 : at + 8], "little") + body


def _is_whole(batch: pa.RecordBatch, extra: Any) -> bool:
    """Return whether a batch is as it was written: every column as long as the batch, and the sum holds."""
    for column, width in zip(batch.columns, _WIDTHS, strict=True):
        values = column.buffers()[1]
        if column.null_count or len(column) != batch.num_rows or values is None:
            return False
        if values.size != width * batch.num_rows:
            return False
    return extra is not None and extra.get(b"crc32") == str(sum_of(batch)).encode()


def set_aside(path: Path) -> Path:
    """Give a damaged file a name that says so, which nobody reads or deletes, and return its path."""
    target, count = path.with_suffix(ASIDE), 1
    while target.exists():
        count += 1
        target = path.with_name(f"{path.stem}-{count}{ASIDE}")
    path.rename(target)
    return target


# --- what to tell of it -----------------------------------------------------------------------------------------------


def faults_of(folder: Path, look: Callable[[Path], Segment | None] = damage_of) -> list[str]:
    """Say which segments of a log can't be read wholly, how much of each can, what is lost, and what to do."""
    faults = []
    for path in sorted(folder.glob("*.arrows")):
        try:
            segment = look(path)
        except FileNotFoundError:  # a server moved it meanwhile
            continue
        if segment is not None:
            faults.append(damage_says(path, segment))
    return [*faults, *aside_faults(folder)]


def aside_faults(folder: Path) -> list[str]:
    """Say which segments were set aside, and what to do."""
    return [aside_says(path) for path in sorted(folder.glob(f"*{ASIDE}"))]


def damage_says(path: Path, segment: Segment) -> str:
    """Say what of a segment can't be read, and what to do."""
    name, rows = f"{path.parent.name}/{path.name}", segment.table.num_rows
    if not segment.holes:
        return (
            f"{name} = 'cut at byte {segment.cut_at} of {segment.size}': {rows} readings before it remain: stop the "
            f"server and put the file back from a backup; without one start it: it keeps these"
        )
    also = f" and at {len(segment.holes) - 1} more places" if segment.holes[1:] else ""
    return (
        f"{name} = 'damaged at byte {segment.holes[0][0]}{also}': {rows} readings around it remain, "
        f"{segment.lost} of {segment.size} bytes are lost: stop the server and put the file back from a backup; "
        f"without one start it: it keeps these and sets the file aside as {path.stem}{ASIDE}"
    )


def aside_says(path: Path) -> str:
    """Say what was lost of a segment that was set aside, and what to do."""
    segment = look_at(path)
    return (
        f"{path.parent.name}/{path.name} = '{segment.lost} of {segment.size} bytes lost': its other "
        f"{segment.table.num_rows} readings are in the historian: stop the server and put the file from a backup there "
        f"as {path.stem.partition('-')[0]}.arrows, then move this one away; "
        f"without a backup move it away: those bytes are gone"
    )
