"""What devices under an upper limit were told, and who is held back by it: what room is shared out by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.disobedience import soon_ns
from tieline.desk.state import DeskState
from tieline.desk.wants import NEAR_FRAC, RESTS_NS
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
PART_FRAC = 0.75
"""Of an equal part, by their ratings: one that is held further down than to this is lifted to it."""


def as_told(
    state: DeskState, rows: Rows, gives_w: Floats, most_w: Floats, holds: Mask, now_ns: int, *, lifts: bool = True
) -> tuple[Floats, Mask]:
    """Return what rows give as far as their caps let them (W), and which of them their caps hold back.

    Room is shared by the first. By what it does, one that gives more than its cap would have that widened at each beat
    until it is found. But one that made room for another that was out of reach would stay at the 0 W that it does now
    for as long as the limit lasts: who is held far below an equal part counts at most of that. One that did not use
    what it was let give has no need of it for a while.

    Args:
        state: The desk's.
        rows: Of a group under one limit.
        gives_w: What they give (W).
        most_w: The most that they can.
        holds: Which of them can hold a cap, and are heard.
        now_ns: Now.
        lifts: Whether room is to go to those first that are held back; else all count as that, by what they do.
    """
    fleet, last = state.fleet, state.commands
    alive = holds & (last.valid_until_ns[rows] > now_ns)
    cap_w = np.minimum(last.high_w[rows], most_w)
    told_w = np.where(alive, np.minimum(gives_w, cap_w), gives_w)
    if not lifts:
        return told_w, np.ones(len(rows), np.bool_)
    held = alive & (cap_w < most_w) & (gives_w >= cap_w - (1.0 - NEAR_FRAC) * np.abs(cap_w))
    size_w = float(most_w[held].sum())
    if size_w > 0.0:
        part_w = PART_FRAC * max(float(told_w[held].sum()) / size_w, 0.0) * most_w
        # A store at rest by itself has no need of a part: it would be taken from what gives.
        part_w = np.where(fleet.energy_wh[rows] > 0.0, np.minimum(part_w, state.base_w[rows]), part_w)
        lifted = held & (told_w < part_w) & (now_ns - state.idle_ns[rows] >= RESTS_NS)
        told_w = np.where(lifted, part_w, told_w)
    return told_w, held


def note_unused(state: DeskState, rows: Rows, now_ns: int) -> None:
    """Note which of `rows` give far less than their caps let them, though they had the time."""
    fleet, last = state.fleet, state.commands
    rows = rows[fleet.max_inject_w[rows] > 0.0]
    cap_w = np.minimum(last.high_w[rows], fleet.max_inject_w[rows])
    seen = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    seen &= (last.valid_until_ns[rows] > now_ns) & np.isfinite(last.high_w[rows])
    seen &= fleet.taken_at_ns[rows] - last.since_ns[rows] >= soon_ns(state, rows)
    state.idle_ns[rows[seen & (cap_w > 0.0) & (fleet.power_or_0_w(rows) < NEAR_FRAC * cap_w)]] = now_ns
