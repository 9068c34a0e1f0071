"""Messages to and from many devices, in columns: each takes its own time, and some never arrive."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


class Mail:
    """One direction of many links. What a row sends may overtake what it sent before."""

    def __init__(self, tick_s: float) -> None:
        """Make links that deliver at whole ticks (s)."""
        self._tick_s = tick_s
        self._due: dict[int, list[tuple[Rows, NDArray[np.float64]]]] = defaultdict(list)

    def send(self, now_s: float, rows: Rows, columns: Floats, delay_s: Floats) -> None:
        """Send a column of numbers a row; shapes (m,), (k, m), (m,). A delay of `inf` (s) loses it."""
        arrives = np.isfinite(delay_s)
        rows, columns = rows[arrives], columns[:, arrives]
        # What was sent after a tick arrives with the next one at the earliest.
        first = int(round(now_s / self._tick_s)) + 1
        tick = np.maximum(np.ceil((now_s + delay_s[arrives]) / self._tick_s - 1e-9).astype(np.int64), first)
        order = np.argsort(tick, kind="stable")
        found, starts = np.unique(tick[order], return_index=True)
        if not len(rows):
            return
        for at, part in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            self._due[at].append((rows[part], columns[:, part]))

    def arrived(self, now_s: float) -> list[tuple[Rows, Floats]]:
        """Return what arrives at this tick, in the order in which it was sent; each once."""
        return self._due.pop(int(round(now_s / self._tick_s)), [])
