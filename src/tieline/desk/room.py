"""Who of those whose turn it is to come back may do so now: as many as their feeder has room for.

What was held back for hours returns above what it would have drawn: cars that would long be full, rooms that are all
warm at once. What a feeder's devices would do uncalled is their base; so together they come back only as far as they
then draw no more than that. Whether the grid bears their base is not ours: where it does not, the DNO's limit holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ends import last_end_w
from tieline.desk.state import DeskState
from tieline.desk.wants import STARTS_NS
from tieline.fleet.columns import KIND_CODE
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
SHOWS_FRAC = 0.5
"""One that draws this share of what it was expected to has begun."""
PART = 0.5
"""A device comes back where this part of what it will draw has room: the last one would else never fit."""


def has_room(state: DeskState, rows: Rows, coming: Mask, now_ns: int) -> Mask:
    """Return which of `rows` may come back now, those first whose turn came first.

    Args:
        state: What is known.
        rows: Rows whose turn has come; shape (n,).
        coming: Rows of the fleet that may just have been let go, so that what they will draw does not show yet.
        now_ns: Now.
    """
    feeder_of, none = state.limiter.feeder_of, len(state.limiter.feeders)
    draw_w = _draw_w(state, now_ns)
    will_w = _will_w(state, draw_w)
    last = state.commands
    # Who was let go just now does not show yet what it will draw.
    fresh = coming & np.isnan(last.target_w) & (now_ns - last.since_ns < STARTS_NS) & (draw_w < SHOWS_FRAC * will_w)
    room_w = np.bincount(feeder_of, -state.base_w - np.where(fresh, will_w, draw_w), none + 1)
    adds_w = np.maximum(will_w - draw_w, 0.0)[rows]
    order = np.lexsort((rows, state.release_by_ns[rows], feeder_of[rows]))
    feeder = feeder_of[rows][order]
    total_w = np.cumsum(adds_w[order])
    first = np.searchsorted(feeder, feeder)
    before_w = total_w - adds_w[order] - np.where(first > 0, total_w[first - 1], 0.0)
    fits = np.zeros(len(rows), np.bool_)
    fits[order] = (before_w + PART * adds_w[order] <= room_w[feeder]) | (feeder == none)
    return fits


def _draw_w(state: DeskState, now_ns: int) -> Floats:
    """Return what each device draws (W; below 0: it gives); where nobody knows, where its last command left it."""
    fleet, everyone = state.fleet, np.arange(len(state.fleet), dtype=np.int32)
    unknown = ((fleet.quality & int(UNFIT_FOR_DISPATCH)) != 0) | np.isnan(fleet.power_w)
    draw_w: Floats = -np.where(unknown, last_end_w(state, everyone, now_ns), fleet.power_w)
    return draw_w


def _will_w(state: DeskState, draw_w: Floats) -> Floats:
    """Return what each device that was held is expected to draw once it runs freely (W).

    One that is on or off runs at its size, as it has waited; a charger knows what its car would take.
    """
    fleet = state.fleet
    takes_w = np.minimum(draw_w + np.nan_to_num(fleet.available_down_w), fleet.max_absorb_w)
    charger = fleet.kinds == KIND_CODE[Kind.EV_CHARGER]
    will_w: Floats = np.where(state.is_switched, fleet.max_absorb_w, np.where(charger, takes_w, -state.base_w))
    return will_w
