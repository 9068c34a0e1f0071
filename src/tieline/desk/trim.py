"""What a pool learnt that it gives too little or too much, and by whom.

What others make good for rows that lag is no help once less is owed and those are called for less, or not at all: asked
for on top of it, it would be given as well. While as much is owed it counts whole: where loads take turns, those who
are called now lag as those did who were called before them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.desk.redispatch import MOVED_FRAC, MOVED_W, ROUNDS, Allocation

if TYPE_CHECKING:
    from tieline.desk.pool_desk import PoolDesk

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEFT_FRAC = 1e-9
CALLED_W = 1.0
"""A share of no more than this calls nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """So much more (W; below 0: less) is asked of a pool; each row lacked its `part` of it as it was asked `share_w`.

    Both have the shape of the pool's rows; `part` adds up to 1. None: it is put to nobody, and counts whole.
    `owed_w` is what the pool owed then (W).
    """

    power_w: float = 0.0
    part: Floats | None = None
    share_w: Floats | None = None
    owed_w: float = 0.0

    def counts_w(self, share_w: Floats, most_w: float, owed_w: float) -> float:
        """Return how much of it counts for other shares of what is owed now (W), `most_w` of either sign at most.

        A row that is asked half of what it was asked lacks half. Who was not called then lacks as before: what it does
        has nothing to do with calls.
        """
        power_w, is_less = self.power_w, abs(owed_w) < abs(self.owed_w) - MOVED_W
        if is_less and self.part is not None and self.share_w is not None and self.part.shape == share_w.shape:
            then_w = np.abs(self.share_w)
            was_called = then_w > CALLED_W
            left = np.minimum(np.abs(share_w), then_w) / np.where(was_called, then_w, 1.0)
            power_w *= float((self.part * np.where(was_called, left, 1.0)).sum())
        return min(max(power_w, -most_w), most_w)

    def without(self, rows: Mask) -> Learnt:
        """Return what is left of it without some of the pool's rows, as what they gave too little or too much is over.

        What is put to nobody stays whole.
        """
        if self.part is None or self.part.shape != rows.shape or not self.part[rows].any():
            return self
        left = float(self.part[~rows].sum())
        if left <= LEFT_FRAC:
            return NOTHING
        return replace(self, power_w=left * self.power_w, part=np.where(rows, 0.0, self.part) / left)


def learnt(power_w: float, share_w: Floats, row_w: Floats, owed_w: float) -> Learnt:
    """Return what is to be asked beside what is owed, put to the rows that came short of their shares, each by how far.

    Args:
        power_w: How much (W, positive into the grid); below 0 it is put to those that went beyond.
        share_w: What was asked of each row (W).
        row_w: What it gave (W).
        owed_w: What the pool owed (W).
    """
    lacks_w = np.maximum(np.sign(power_w) * (share_w - row_w), 0.0)
    whole_w = float(lacks_w.sum())
    return Learnt(power_w, lacks_w / whole_w, share_w, owed_w) if whole_w > 0.0 else Learnt(power_w)


NOTHING = Learnt()


def split_by_called(pool: PoolDesk, share_out: Callable[[], Allocation], most_w: float, owed_w: float) -> Allocation:
    """Return a split that asks, beside what is owed, what was learnt of those alone that it calls, and so far.

    Args:
        pool: Its `trim_w` is what the first split asks, and then what the last one asked.
        share_out: Splits what the pool owes with its trim.
        most_w: So much of either sign is asked at most.
        owed_w: What is owed: for less than a claim is placed anew for it is not split anew.
    """
    near_w, split_ns, split = max(MOVED_W, MOVED_FRAC * abs(owed_w)), pool.split_ns, share_out()
    for _ in range(ROUNDS):
        trim_w = pool.learnt.counts_w(split.share_w, most_w, owed_w)
        if abs(pool.trim_w) - abs(trim_w) <= near_w:
            break
        pool.trim_w, pool.split_ns = trim_w, split_ns
        split = share_out()
    return split
