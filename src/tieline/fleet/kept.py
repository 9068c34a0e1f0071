"""Bounds that were asked for a moment ago: a beat asks for those of each pool several times, under few levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Asked = tuple[int, int, int, bool]
"""How much had moved by then, below which level, when (ns), with timers or without."""
KEPT = 6


@dataclass(frozen=True, slots=True, eq=False)
class _Bounds:
    asked: Asked
    rows: Rows
    low_w: Floats
    high_w: Floats


class KeptBounds:
    """The last few answers; what is kept is read-only, so that whoever has it can't change the next one's."""

    def __init__(self) -> None:
        self._last: list[_Bounds] = []

    def of(self, asked: Asked, rows: Rows) -> tuple[Floats, Floats] | None:
        """Return the bounds (W) of rows, where just these were asked for; shape as `rows`."""
        for last in self._last:
            if last.asked == asked and np.array_equal(last.rows, rows):
                return last.low_w, last.high_w
        return None

    def keep(self, asked: Asked, rows: Rows, low_w: Floats, high_w: Floats) -> tuple[Floats, Floats]:
        """Keep an answer, and return it."""
        low_w.flags.writeable = high_w.flags.writeable = False
        self._last = [_Bounds(asked, rows.copy(), low_w, high_w), *self._last[: KEPT - 1]]
        return low_w, high_w
