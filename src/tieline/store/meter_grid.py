"""The grid that a meter's readings stand on: how long its interval is, and which row doesn't fit it.

The length is the commonest distance between readings, so that a row that is one too many can't halve it. A gap is a
multiple of it. A stretch that is read at another length, as after an exchange of the meter, is refused: which of its
readings stand for how long isn't in the file then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.times import DAY_NS, MINUTE_NS, iso

Instants = NDArray[np.int64]
STEPS_NS = tuple(minutes * MINUTE_NS for minutes in (1, 5, 10, 15, 30, 60))
ALLOWED = "1, 5, 10, 15, 30 or 60 minutes"


def step_of(who: str, starts_ns: Instants, rows: Instants) -> int:
    """Return how long an interval of a meter is (ns): the commonest distance of its readings.

    Args:
        who: File and meter, for a refusal.
        starts_ns: Where readings begin, rising, each once; shape (n,).
        rows: The row of each in its file; shape (n,).

    Raises:
        ConfigError: There is one reading alone, no usual length, a row off the grid of the others (between two
            readings, or beside them), or a stretch of another length; the row is named.
    """
    if len(starts_ns) < 2:
        raise ConfigError(f"{who}: one reading says nothing of its interval's length: give a whole window")
    apart = np.diff(starts_ns)
    lengths, counts = np.unique(apart, return_counts=True)
    # Of two that are as common the shorter: the longer is then a gap of it, or the row that is off the grid is named.
    step_ns = int(lengths[np.argmax(counts)])
    if step_ns not in STEPS_NS:
        k = int(np.flatnonzero(apart == step_ns)[0])
        raise ConfigError(
            f"{who}: rows {rows[k]} and {rows[k + 1]}: {step_ns / 60e9:g} minutes apart, as most are, so that they "
            f"overlap or their length is unusual: give intervals of {ALLOWED}"
        )
    _require_one_length(who, starts_ns, rows, step_ns)
    _require_one_grid(who, starts_ns, rows, step_ns)
    return step_ns


def _require_one_length(who: str, starts_ns: Instants, rows: Instants, step_ns: int) -> None:
    """Raise ConfigError where a day or more is read at another length than the rest."""
    apart = np.diff(starts_ns)
    edges = np.flatnonzero(np.diff(apart)) + 1
    firsts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(apart)]])
    long = (starts_ns[ends] - starts_ns[firsts] >= DAY_NS) & (ends - firsts > 1)
    other = np.flatnonzero(long & (apart[firsts] != step_ns) & np.isin(apart[firsts], STEPS_NS))
    if not len(other):
        return
    first, end = int(firsts[other[0]]), int(ends[other[0]])
    has, most = int(apart[first]) // MINUTE_NS, step_ns // MINUTE_NS
    raise ConfigError(
        f"{who}: rows {rows[first]} to {rows[end]}: {has} minute intervals from {iso(int(starts_ns[first]))} to "
        f"{iso(int(starts_ns[end]))}, most are {most}: give each length in a file of its own; where readings only "
        f"lack, rows with an empty kwh"
    )


def _require_one_grid(who: str, starts_ns: Instants, rows: Instants, step_ns: int) -> None:
    """Raise ConfigError naming the first row that is off the grid on which most stand."""
    offsets, of, counts = np.unique(starts_ns % step_ns, return_inverse=True, return_counts=True)
    if len(offsets) == 1:
        return
    off = np.flatnonzero(of != np.argmax(counts))
    at = int(off[0])
    minutes, grid = step_ns // MINUTE_NS, int(offsets[np.argmax(counts)])
    overlapped = np.flatnonzero((np.abs(starts_ns - starts_ns[at]) < step_ns) & (of == np.argmax(counts)))
    which = f"it overlaps row {rows[overlapped[0]]}" if len(overlapped) else f"they begin {grid / 60e9:g} minutes past"
    more = f", and {len(off) - 1} more rows" if len(off) > 1 else ""
    raise ConfigError(
        f"{who}: row {rows[at]}{more}: start = {iso(int(starts_ns[at]))}: off the grid of its {minutes} minute "
        f"intervals ({which}): leave it out, or give one grid"
    )
