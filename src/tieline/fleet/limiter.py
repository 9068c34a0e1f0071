"""The fleet limiter: how much power all commands together may move in any 60 seconds, on each feeder and in all.

It knows nothing of why a command was made, so that neither a fault of the optimiser nor somebody who took it over can
swing more than this. A hijacked fleet of high-wattage devices that moves at once can trip a grid; one that is held to a
slope can be followed by the grid's own reserves.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import Fleet
from tieline.resource.identity import Kind, Purpose
from tieline.times import FOREVER_NS, MINUTE_NS

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
WINDOW_NS = MINUTE_NS
NEVER_NS = -(2**62)
SYSTEM_FRAC, FEEDER_FRAC = 0.5, 0.75
"""Of the whole span of ratings, down to up. Half of it lets a fleet of storage go from rest to full, not reverse."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What commands moved at one instant (W): on each feeder, and in all."""

    at_ns: int
    feeder_w: Floats
    system_w: float


class FleetLimiter:
    """Counts what was moved, and says which of some commands may still leave now."""

    def __init__(self, fleet: Fleet, system_w: float | None = None, feeder_w: Floats | None = None) -> None:
        """Make a limiter.

        Args:
            fleet: Whose rows.
            system_w: Most that all commands of 60 s may move together (W); None: half the span of all ratings, and no
                less than one device may move.
            feeder_w: The same for each feeder, in the order of `feeders`, and last for rows of none; None: three
                quarters of each one's span, and no less than one device may move.
        """
        self.feeders = [group.id for group in fleet.groups_of(Kind.FEEDER)]
        self.feeder_of = _feeder_of(fleet)
        span_w = fleet.max_inject_w + fleet.max_absorb_w
        spans_w = self._by_feeder(self.feeder_of, span_w)
        # A device that is all of its feeder, or most of it, must be able to go from one end to the other, and back.
        alone_w = np.zeros(len(self.feeders) + 1)
        np.maximum.at(alone_w, self.feeder_of, span_w)
        most_w = max(SYSTEM_FRAC * float(span_w.sum()), float(alone_w.max(initial=0.0)))
        self.system_w = most_w if system_w is None else system_w
        self.feeder_w: Floats = np.maximum(FEEDER_FRAC * spans_w, alone_w) if feeder_w is None else feeder_w
        self._moved: deque[Moved] = deque()
        self._held_ns = np.full(len(fleet), NEVER_NS)
        self._since_ns = np.full(len(fleet), NEVER_NS)

    def _by_feeder(self, feeder: NDArray[np.int64], values: Floats) -> Floats:
        return np.bincount(feeder, values, len(self.feeders) + 1).astype(np.float64)

    def spent(self, now_ns: int) -> tuple[Floats, float]:
        """Return what was moved within the last 60 s: on each feeder, and in all (W).

        What is later than now was moved before the clock was set back, and counts from now on: else it would hold
        everybody up for as long as the clock lost.
        """
        if self._moved and self._moved[-1].at_ns > now_ns:
            self._moved = deque(replace(moved, at_ns=min(moved.at_ns, now_ns)) for moved in self._moved)
        while self._moved and self._moved[0].at_ns <= now_ns - WINDOW_NS:
            self._moved.popleft()
        feeder_w = np.zeros(len(self.feeders) + 1)
        for moved in self._moved:
            feeder_w += moved.feeder_w
        return feeder_w, math.fsum(moved.system_w for moved in self._moved)

    def next_room_ns(self, now_ns: int) -> int:
        """Return when the oldest move that still counts will count no more; `FOREVER_NS`: none does."""
        self.spent(now_ns)
        return self._moved[0].at_ns + WINDOW_NS if self._moved else FOREVER_NS

    def note(self, rows: Rows, moves_w: Floats, now_ns: int) -> None:
        """Count commands that leave."""
        self.spent(now_ns)
        feeder_w = self._by_feeder(self.feeder_of[rows], moves_w)
        self._moved.append(Moved(now_ns, feeder_w, float(moves_w.sum())))
        self._held_ns[rows] = NEVER_NS

    def hold(self, rows: Rows, now_ns: int) -> None:
        """Note who was held back: who was a whole window through is passed by nobody of its level (`allows`)."""
        anew = self._held_ns[rows] <= now_ns - 2 * WINDOW_NS
        self._since_ns[rows[anew]] = now_ns
        self._held_ns[rows] = now_ns

    def room_ns(self, row: int, move_w: float, now_ns: int) -> int:
        """Return when a move of a row (W) will have its room if nobody else moves meanwhile; now: it has."""
        (feeder_w, system_w), feeder = self.spent(now_ns), int(self.feeder_of[row])
        over_w = max(feeder_w[feeder] + move_w - self.feeder_w[feeder], system_w + move_w - self.system_w)
        at_ns = now_ns
        for moved in self._moved:
            if over_w <= 0.0:
                break
            at_ns, feeder_w, system_w = moved.at_ns + WINDOW_NS, feeder_w - moved.feeder_w, system_w - moved.system_w
            over_w = max(feeder_w[feeder] + move_w - self.feeder_w[feeder], system_w + move_w - self.system_w)
        return at_ns

    def allows(self, rows: Rows, moves_w: Floats, order: NDArray[np.int64], is_free: Mask, now_ns: int) -> Mask:
        """Return which commands may leave now; the others have to wait.

        The strongest first, of one level the least moves first: nobody waits for the sake of a larger one that has to
        wait itself. So that the larger isn't passed for ever, who was held back for a whole window comes before those
        of its level that were not, the longest first. Who moves more than is ever allowed keeps nobody waiting.

        Args:
            rows: Whom they are for; shape (n,).
            moves_w: How far each moves its device (W, 0 or more).
            order: Which come first where not all may: the least.
            is_free: Commands that never wait: a tightening by an authority of the grid. They count all the same.
            now_ns: Now.
        """
        spent_feeder_w, spent_w = self.spent(now_ns)
        feeder = self.feeder_of[rows]
        spent_feeder_w = spent_feeder_w + self._by_feeder(feeder[is_free], moves_w[is_free])
        spent_w += float(moves_w[is_free].sum())
        in_all_w = self._by_feeder(feeder, np.where(is_free, 0.0, moves_w))
        if spent_w + float(in_all_w.sum()) <= self.system_w and (spent_feeder_w + in_all_w <= self.feeder_w).all():
            return np.ones(len(rows), np.bool_)
        allowed = is_free | (moves_w <= 0.0)
        waits = np.flatnonzero(~allowed & (moves_w <= np.minimum(self.feeder_w[feeder], self.system_w)))
        is_fresh = (self._held_ns[rows] <= now_ns - 2 * WINDOW_NS) | (self._since_ns[rows] > now_ns - WINDOW_NS)
        turn = np.where(is_fresh, FOREVER_NS, self._since_ns[rows])
        waits = waits[np.lexsort((rows[waits], moves_w[waits], turn[waits], order[waits], feeder[waits]))]
        running_w = np.cumsum(moves_w[waits])
        first = np.r_[True, feeder[waits][1:] != feeder[waits][:-1]] if len(waits) else np.zeros(0, np.bool_)
        before_w = np.maximum.accumulate(np.where(first, running_w - moves_w[waits], 0.0)) if len(waits) else running_w
        room_w = self.feeder_w[feeder[waits]] - spent_feeder_w[feeder[waits]]
        waits = waits[running_w - before_w <= room_w]
        waits = waits[np.lexsort((rows[waits], moves_w[waits], turn[waits], order[waits]))]
        waits = waits[np.cumsum(moves_w[waits]) <= self.system_w - spent_w]
        allowed[waits] = True
        return allowed


def _feeder_of(fleet: Fleet) -> NDArray[np.int64]:
    """Return the index of each row's feeder among the fleet's feeders; their count for rows of none."""
    names = {group.id: at for at, group in enumerate(fleet.groups_of(Kind.FEEDER))}
    above = np.full(len(fleet.groups) + 1, len(names), np.int64)
    for at, group in enumerate(fleet.groups):
        if group.kind is Kind.FEEDER:
            above[at] = names[group.id]
        elif group.parent >= 0:
            above[at] = above[group.parent]  # a bus or transformer beneath a feeder; parents stand first
    parents = fleet.parents.get(Purpose.ELECTRICAL)
    return np.full(len(fleet), len(names), np.int64) if parents is None else above[parents]
