"""Readings of many meters by day: hot as memory-mapped blocks, cold as Parquet, a file a day, a column an interval.

Both are read by interval and by part, so that an event touches its own hours of its like days and nothing else. A cold
file has a column `meter` and a column for each interval, `kwh_0000` and so on; a row group is a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from tieline.errors import ConfigError

Block = NDArray[np.float32]
PART = 65_536
"""Meters in a part: large enough for long reads, small enough that a part's like days stay near the processor."""


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

    def read(self, day: date, intervals: Sequence[int], part: int) -> Block | None:
        """Return these intervals of a day for a part's meters; shape (k, m)."""
        block = self._days.get(day)
        if block is None:
            return None
        at = parts_of(block.shape[1])[part]
        return np.stack([block[k, at] for k in intervals])


class ColdDays:
    """Parquet day files in a folder: `DAY.parquet`, a column an interval, a row group a part."""

    def __init__(self, folder: Path, per_day: int) -> None:
        """Open all days of a folder.

        Raises:
            ConfigError: A file is no such day, or has other meters or another order of them than the first.
        """
        self._per_day = per_day
        self._days: dict[date, Path] = {}
        groups: list[int] | None = None
        for path in sorted(folder.glob("*.parquet")):
            try:
                meta = pyarrow.parquet.read_metadata(path)
                self._days[date.fromisoformat(path.stem)] = path
            except (ValueError, OSError, pa.ArrowException) as error:
                raise ConfigError(f"{path}: {error}: give a day of meters, YYYY-MM-DD.parquet") from None
            mine = [meta.row_group(k).num_rows for k in range(meta.num_row_groups)]
            if mine != (groups := groups or mine):
                raise ConfigError(f"{path}: {sum(mine)} meters: give those of the first day, {sum(groups)}")

    def read(self, day: date, intervals: Sequence[int], part: int) -> Block | None:
        """Return these intervals of a day for a part's meters; shape (k, m)."""
        path = self._days.get(day)
        if path is None:
            return None
        names = [column(k, self._per_day) for k in intervals]
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read_row_group(part, columns=names, use_threads=False)
        return np.stack([table[name].to_numpy().astype(np.float32, copy=False) for name in names])


def write_hot(folder: Path, day: date, block: Block) -> None:
    """Write a day block, shape (intervals, meters)."""
    np.save(folder / f"{day}.npy", block)


def write_cold(folder: Path, day: date, block: Block, meters: Sequence[str] | pa.Array) -> None:
    """Write a day as Parquet: a column an interval, a row group a part."""
    names = [column(k, len(block)) for k in range(len(block))]
    table = pa.table({"meter": meters, **{name: pa.array(row) for name, row in zip(names, block, strict=True)}})
    pyarrow.parquet.write_table(
        table, folder / f"{day}.parquet", row_group_size=PART, compression="none", use_dictionary=False,
        write_statistics=False,
    )  # fmt: skip
