"""Readings of many meters by day: hot as memory-mapped blocks, cold as Parquet, a file a day, a column an interval.

Both are read by interval and by part, so that an event touches its own hours of its like days and nothing else. A cold
file has a column `meter` and a column for each interval, `kwh_0000` and so on; a row group is a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from tieline.errors import ConfigError

Block = NDArray[np.float32]
METERS = b"tieline.meters"
"""Key of a file's hash of its meters' names, so that a million names are not compared for each day."""
PART = 50_000
"""Meters in a part: large enough for long reads, and no power of two, whose strides would share a few cache lines."""


def column(interval: int, per_day: int) -> str:
    """Return the name of an interval's column: its time of day.

    >>> column(67, 96)
    'kwh_1645'
    """
    minutes = interval * 1440 // per_day
    return f"kwh_{minutes // 60:02d}{minutes % 60:02d}"


def parts_of(meters: int) -> list[slice]:
    """Return the parts of so many meters."""
    return [slice(at, min(at + PART, meters)) for at in range(0, meters, PART)]


class HotDays:
    """Memory-mapped day blocks in a folder: `DAY.npy`, float32, shape (intervals, meters)."""

    def __init__(self, folder: Path) -> None:
        """Open all days of a folder. Raises ConfigError for one that is no such block."""
        self._days: dict[date, Block] = {}
        for path in sorted(folder.glob("*.npy")):
            try:
                block = np.load(path, mmap_mode="r")
                self._days[date.fromisoformat(path.stem)] = block
            except (ValueError, OSError) as error:
                raise ConfigError(f"{path}: {error}: give a day block, YYYY-MM-DD.npy") from None
            if block.dtype != np.float32 or block.ndim != 2:
                raise ConfigError(f"{path}: {block.dtype} of shape {block.shape}: give float32, (intervals, meters)")

    def size(self, part: int) -> int:
        """Return how many meters a part has."""
        at = parts_of(next(iter(self._days.values())).shape[1])[part]
        return int(at.stop) - int(at.start)

    def read(self, day: date, intervals: Sequence[int], part: int, into: Block) -> bool:
        """Fill in these intervals of a day for a part's meters, shape (k, m); false: no such day."""
        block = self._days.get(day)
        if block is None:
            return False
        at = parts_of(block.shape[1])[part]
        for k, interval in enumerate(intervals):
            into[k] = block[interval, at]
        return True


class ColdDays:
    """Parquet day files in a folder: `DAY.parquet`, a column an interval, a row group a part."""

    def __init__(self, folder: Path) -> None:
        """Open all days of a folder.

        Raises:
            ConfigError: There is no day, a file is none, or has other meters, another order or other intervals than the
                first.
        """
        self._days: dict[date, Path] = {}
        first: tuple[Path, list[int], bytes, list[str]] | None = None
        for path in sorted(folder.glob("*.parquet")):
            try:
                meta = pyarrow.parquet.read_metadata(path)
                self._days[date.fromisoformat(path.stem)] = path
            except (ValueError, OSError, pa.ArrowException) as error:
                told = str(error).splitlines()[0]
                raise ConfigError(f"{path}: {told}: give a day of meters, YYYY-MM-DD.parquet") from None
            names = [name for name in meta.schema.names if name.startswith("kwh_")]
            groups = [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]
            mine = (path, groups, _meters_hash(path, meta), names)
            if first is None:
                first = mine
            if groups != first[1]:
                raise ConfigError(f"{path}: {sum(groups)} meters: give those of {first[0].name}, {sum(first[1])}")
            if mine[2:] != first[2:]:
                what = "meters" if mine[2] != first[2] else "intervals"
                raise ConfigError(f"{path}: other {what} than {first[0].name} has: give the same in the same order")
        if first is None or first[3] != [column(k, len(first[3])) for k in range(len(first[3]))] or not first[3]:
            raise ConfigError(f"{folder}: no days of meters: give YYYY-MM-DD.parquet with meter,kwh_0000,...")
        self._first, self._sizes = first[0], first[1]
        self.per_day, self.parts = len(first[3]), len(first[1])

    def meters(self) -> pa.ChunkedArray:
        """Return the names of all meters, in their order."""
        return pyarrow.parquet.read_table(self._first, columns=["meter"])["meter"]

    def size(self, part: int) -> int:
        """Return how many meters a part has."""
        return self._sizes[part]

    def read(self, day: date, intervals: Sequence[int], part: int, into: Block) -> bool:
        """Fill in these intervals of a day for a part's meters, shape (k, m); false: no such day."""
        path = self._days.get(day)
        if path is None:
            return False
        names = [column(k, self.per_day) for k in intervals]
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read_row_group(part, columns=names, use_threads=False)
        for k, name in enumerate(names):
            into[k] = table[name].to_numpy()
        return True


def _hash_of(meters: pa.Array | pa.ChunkedArray) -> bytes:
    return blake2b("\n".join(meters.to_pylist()).encode(), digest_size=12).hexdigest().encode()


def _meters_hash(path: Path, meta: pyarrow.parquet.FileMetaData) -> bytes:
    """Return the hash of a file's meters in their order: as it was written, or made from its column."""
    if "meter" not in meta.schema.names:
        raise ConfigError(f"{path}: column meter is missing: give meter,kwh_0000,...")
    kept: bytes | None = (meta.metadata or {}).get(METERS)
    return kept or _hash_of(pyarrow.parquet.read_table(path, columns=["meter"])["meter"])


def write_hot(folder: Path, day: date, block: Block) -> None:
    """Write a day block, shape (intervals, meters)."""
    np.save(folder / f"{day}.npy", block)


def write_cold(folder: Path, day: date, block: Block, meters: Sequence[str] | pa.Array) -> None:
    """Write a day as Parquet: a column an interval, a row group a part."""
    names = [column(k, len(block)) for k in range(len(block))]
    column_of = meters if isinstance(meters, pa.Array) else pa.array(meters)
    table = pa.table({"meter": column_of, **{name: pa.array(row) for name, row in zip(names, block, strict=True)}})
    table = table.replace_schema_metadata({METERS: _hash_of(column_of)})
    pyarrow.parquet.write_table(
        table, folder / f"{day}.parquet", row_group_size=PART, compression="none", use_dictionary=False,
        write_statistics=False,
    )  # fmt: skip
