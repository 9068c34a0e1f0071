"""Loads that the desk stops: behind a limit's meter they count at what they are told, not at what they draw still.

What a load draws makes room for what its neighbours give. One that is called, held off or let stand takes that room
with it, within seconds, and its meter tells it a poll later: so those that give are told in the same beat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.fleet.columns import Floats

Rows = NDArray[np.int32]


def stopping_w(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return the least that each of `rows` was told to give (W; below 0: it may draw so much); -inf: none."""
    last = state.commands
    least_w = np.fmax(last.low_w[rows], last.target_w[rows])  # no target, NaN, says nothing
    found: Floats = np.where(last.valid_until_ns[rows] > now_ns, np.minimum(least_w, 0.0), -np.inf)
    return found


def about_to_stop(state: DeskState, among: Rows, now_ns: int) -> tuple[Rows, Floats]:
    """Return which loads among some rows are about to draw less than they do and were told, and what each row of the
    fleet is told to give at least with that (W; -inf: nothing)."""
    fleet, told_w = state.fleet, np.full(len(state.fleet), -np.inf)
    rows = among[(fleet.max_inject_w[among] <= 0.0) & (fleet.power_or_0_w(among) < -1.0)]
    if not len(rows):
        return rows, told_w
    settled, was_w = state.claims.arbitrate(now_ns, rows), stopping_w(state, rows, now_ns)
    will_w = np.maximum(np.where(settled.winner >= 0, settled.target_w, -np.inf), settled.low_w)
    told_w[rows] = np.maximum(was_w, np.minimum(will_w, 0.0))
    return rows[told_w[rows] > np.maximum(was_w, fleet.power_w[rows]) + 1.0], told_w
