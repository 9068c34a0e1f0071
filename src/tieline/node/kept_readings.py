"""Meter readings as they were kept, made into means of five minutes: what a served pool is settled by.

A reading of power holds until the next one of its device, for fifteen minutes at most. An interval counts as metered
where readings hold over four fifths of it; it is never filled in from elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tieline.fleet.columns import Fleet
from tieline.resource.point import code
from tieline.resource.quality import UNFIT_FOR_SETTLEMENT, Quality
from tieline.store.series import Historian, Wal
from tieline.times import MINUTE_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Counts = NDArray[np.int64]
STEP_NS = 5 * MINUTE_NS
HOLDS_NS = 15 * MINUTE_NS
LEAST_FRAC = 0.8
BEYOND = "beyond what their devices are rated for"
PIECES = HOLDS_NS // STEP_NS + 1
"""How many intervals one reading can reach into."""
CHUNK, FEW = 20_000, 1_000


class Hours(Protocol):
    """Where readings are read from: the historian, or whoever stands before it."""

    def read(self, rows: Sequence[int], points: Sequence[int], start_ns: int, end_ns: int) -> pa.Table:
        """Return the readings of rows and points in [start, end), sorted by row, point and time."""
        ...


@dataclass(frozen=True, slots=True)
class KeptReadings:
    """The log and the historian of a server, read beside its work."""

    wal: Wal
    historian: Historian
    writer: Executor | None
    """The executor that appends to the log: what moves the log must stand in its line."""
    fleet: Fleet
    """Whose ratings what was kept before is held against, too."""

    async def gather(self) -> None:
        """Move what is in the log into the historian, so that one place has all."""
        await asyncio.get_running_loop().run_in_executor(self.writer, self.historian.compact, self.wal)

    async def seen(self, rows: Rows, start_ns: int, end_ns: int) -> Seen:
        """Return what each row's meter saw in each interval, and how many readings nobody may settle by."""
        hours = self.historian
        return await asyncio.get_running_loop().run_in_executor(None, means, hours, self.fleet, rows, start_ns, end_ns)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What meters saw: `power_w`, shape (rows, intervals), is the mean (NaN: not metered).

    `left_out`, shape (rows, 2), counts the readings that are not fit to settle by, and those of them that are beyond
    what their point or device can be.
    """

    power_w: Floats
    left_out: Counts


def means(hours: Hours, fleet: Fleet, rows: Rows, start_ns: int, end_ns: int) -> Seen:
    """Return what each row's meter saw in each interval; `rows` rise."""
    parts = [_means(hours, fleet, rows[at : at + CHUNK], start_ns, end_ns) for at in range(0, len(rows), CHUNK)]
    if not parts:
        return Seen(np.zeros((0, (end_ns - start_ns) // STEP_NS)), np.zeros((0, 2), np.int64))
    return Seen(np.concatenate([p.power_w for p in parts]), np.concatenate([p.left_out for p in parts]))


def _means(hours: Hours, fleet: Fleet, rows: Rows, start_ns: int, end_ns: int) -> Seen:
    table = hours.read(rows.tolist(), [code("power_w")], start_ns - HOLDS_NS, end_ns)
    row, quality = table["row"].to_numpy(), table["quality"].to_numpy()
    beyond = fleet.is_beyond_rating(row, table["value"].to_numpy())
    quality = np.where(beyond, quality | np.uint32(Quality.OUT_OF_RANGE), quality)
    table = table.set_column(table.schema.get_field_index("quality"), "quality", pa.array(quality))
    unfit = ((quality & int(UNFIT_FOR_SETTLEMENT)) != 0) & (table["taken_at_ns"].to_numpy() >= start_ns)
    beyond = (quality & int(Quality.OUT_OF_RANGE)) != 0
    at = np.searchsorted(rows, row)
    left_out = np.stack([np.bincount(at[mask], minlength=len(rows)) for mask in (unfit, unfit & beyond)], 1)
    # A few rows at a time: one pass over all of them would hold up the server beside it.
    parts = []
    for begin in range(0, len(rows), FEW):
        few = rows[begin : begin + FEW]
        first, last = np.searchsorted(row, few[0]), np.searchsorted(row, few[-1], "right")
        parts.append(interval_means(table.slice(first, last - first), few, start_ns, end_ns))
    return Seen(np.concatenate(parts), left_out)


def unfit_says(names: Sequence[str], left_out: Counts) -> str:
    """Say how many readings were left out, and whose; empty: none were.

    Args:
        names: The devices.
        left_out: How many of each, as `Seen.left_out` has it; shape (n, 2).
    """
    count, beyond = left_out.sum(axis=0).tolist() if len(left_out) else (0, 0)
    if not count:
        return ""
    whose = named(names[at] for at in np.flatnonzero(left_out[:, 0]).tolist())
    ratings = f" ({beyond} of them {BEYOND})" if beyond else ""
    return f"{count} readings not fit to settle by were left out{ratings}: {whose}"


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
    good = np.isfinite(value) & ((quality & int(UNFIT_FOR_SETTLEMENT)) == 0) & np.isin(row, rows)
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
