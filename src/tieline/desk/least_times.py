"""Least times of calls: what is on or off stays called, and let go, for as long as its compressor asks.

A call that ends in the minute after it began saves nothing, and a room that was let go is called again before it could
cool. So who was told to stop or to run goes on as told until the least time of its device is over (`Fleet.min_hold_s`),
whoever lets it go, and is not called for as long after it was let go. Limits, and an owner who opts out, come first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.times import SECOND_NS

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


def stays_told(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows that are on or off were told so too short a time ago to be let go."""
    last, holds = state.commands, state.claims.holds
    told = np.isfinite(last.target_w[rows]) & (last.valid_until_ns[rows] > now_ns)
    mask: Mask = told & state.is_switched[rows] & (holds.until_ns[rows] > now_ns)
    return mask


def just_let_go(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows that are on or off were let go too short a time ago to be called."""
    last = state.commands
    least_ns = (state.fleet.min_hold_s[rows] * SECOND_NS).astype(np.int64)
    runs = np.isnan(last.target_w[rows]) | (last.valid_until_ns[rows] <= now_ns)
    since_ns = now_ns - last.let_go_ns[rows]  # below 0: the clock was set back
    mask: Mask = state.is_switched[rows] & runs & (since_ns >= 0) & (since_ns < least_ns)
    return mask
