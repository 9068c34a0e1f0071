"""Meter readings as they were kept, made into means of five minutes: what a served pool is settled by.

A reading of power holds until the next one of its device, for fifteen minutes at most. An interval counts as metered
where readings hold over four fifths of it; it is never filled in from elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tieline.resource.point import code
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.store.series import Historian, Wal
from tieline.times import MINUTE_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
STEP_NS = 5 * MINUTE_NS
HOLDS_NS = 15 * MINUTE_NS
LEAST_FRAC = 0.8
PIECES = HOLDS_NS // STEP_NS + 1
"""How many intervals one reading can reach into."""
CHUNK, FEW = 20_000, 1_000


@dataclass(frozen=True, slots=True)
class KeptReadings:
    """The log and the historian of a server, read beside its work."""

    wal: Wal
    historian: Historian
    writer: Executor | None
    """The executor that appends to the log: what moves the log must stand in its line."""

    async def gather(self) -> None:
        """Move what is in the log into the historian, so that one place has all."""
        await asyncio.get_running_loop().run_in_executor(self.writer, self.historian.compact, self.wal)

    async def power_w(self, rows: Rows, start_ns: int, end_ns: int) -> Floats:
        """Return the mean power of each row in each interval (W; NaN: not metered); shape (rows, intervals)."""
        return await asyncio.get_running_loop().run_in_executor(None, self._power_w, rows, start_ns, end_ns)

    def _power_w(self, rows: Rows, start_ns: int, end_ns: int) -> Floats:
        parts = [self._of(rows[at : at + CHUNK], start_ns, end_ns) for at in range(0, len(rows), CHUNK)]
        return np.concatenate(parts) if parts else np.zeros((0, (end_ns - start_ns) // STEP_NS))

    def _of(self, rows: Rows, start_ns: int, end_ns: int) -> Floats:
        table = self.historian.read(rows.tolist(), [code("power_w")], start_ns - HOLDS_NS, end_ns)
        # A few rows at a time: one pass over all of them would hold up the server beside it.
        row, parts = table["row"].to_numpy(), []
        for at in range(0, len(rows), FEW):
            few = rows[at : at + FEW]
            first, last = np.searchsorted(row, few[0]), np.searchsorted(row, few[-1], "right")
            parts.append(interval_means(table.slice(first, last - first), few, start_ns, end_ns))
        return np.concatenate(parts)


def interval_means(table: pa.Table, rows: Rows, start_ns: int, end_ns: int) -> Floats:
    """Return the mean of each row's readings in each interval, by the time that each holds (NaN: not metered).

    Args:
        table: Readings of one point (`store.series.SCHEMA`); of two for the same instant the one that came last counts.
        rows: The rows to return, ascending; shape (n,).
        start_ns: Where the first interval begins.
        end_ns: Where the last ends.
    """
    count, steps = len(rows), (end_ns - start_ns) // STEP_NS
    names = ("row", "value", "quality", "taken_at_ns", "received_at_ns")
    row, value, quality, taken, received = (table[name].to_numpy() for name in names)
    good = np.isfinite(value) & ((quality & int(UNFIT_FOR_DISPATCH)) == 0) & np.isin(row, rows)
    row, value, taken, received = row[good], value[good], taken[good], received[good]
    order = np.lexsort((received, taken, row))
    row, value, taken = row[order], value[order], taken[order]
    at = np.searchsorted(rows, row)
    until = np.minimum(taken + HOLDS_NS, end_ns)
    follows = row[1:] == row[:-1]
    until[:-1] = np.where(follows, np.minimum(until[:-1], taken[1:]), until[:-1])
    first = (taken - start_ns) // STEP_NS
    held_ns, sum_w = np.zeros(count * steps), np.zeros(count * steps)
    for piece in range(PIECES):
        step = first + piece
        begins = start_ns + step * STEP_NS
        part_ns = np.minimum(until, begins + STEP_NS) - np.maximum(taken, begins)
        inside = (part_ns > 0) & (step >= 0) & (step < steps)
        cell = (at * steps + step)[inside]
        held_ns += np.bincount(cell, part_ns[inside], count * steps)
        sum_w += np.bincount(cell, part_ns[inside] * value[inside], count * steps)
    metered = held_ns >= LEAST_FRAC * STEP_NS
    means = np.where(metered, sum_w / np.where(metered, held_ns, 1.0), np.nan)
    return means.reshape(count, steps)


def named(names: Iterable[str], most: int = 5) -> str:
    """Return a few names and how many more there are.

    >>> named(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
