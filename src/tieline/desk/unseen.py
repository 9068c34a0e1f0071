"""Who was called, took the call and is lost since: it goes on as it was told, till its own timer ends.

A device that can't be heard can't be told to stop either. Were others called for it at once, the pool would give its
share twice for as long as its lease lasts. So it keeps its share until then, and nobody is called for that: if the line
alone is cut, what is owed is given; if the device died with its line, its share lacks for what is left of a lease.
Of a thermostat less counts the longer it is out of sight, as its room may call it back meanwhile. Nothing of it counts
as delivered, as no meter says so: it is a lack of what is offline until readings come. Nor is it declared: where the
market asks for less because of that, nothing more is taken off what the others are called for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.disobedience import soon_ns
from tieline.desk.redispatch import SOURCE, left_in, left_wh
from tieline.desk.response import FOLLOWS_FRAC
from tieline.desk.state import DeskState
from tieline.fleet.able import stored_wh
from tieline.fleet.columns import KIND_CODE, among
from tieline.resource.claim import Quantity
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH, Quality
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
LOST = Quality.COMM_LOST | Quality.NOT_TOPICAL
AHEAD_NS = 30 * SECOND_NS
"""Half a beat: others are called at the beat that is nearest to the end of its lease."""
_IS_ROOM = among((KIND_CODE[Kind.THERMOSTAT],))
ROOM_HALF_NS = 10 * MINUTE_NS
"""After so long out of sight half of what a thermostat gave counts: its room comes first, and a warm one calls it back.
Of 29 that were lost while they were called, in stories of a hot day, 98 % of the power was given in the first three
minutes, 55 % in the seventh to ninth, 39 % in the sixteenth to eighteenth; of stores, loads and engines 98 % and more.
"""


def goes_on_w(state: DeskState, pool: str, rows: Rows, eligible: Mask, share_w: Floats, now_ns: int) -> Floats:
    """Return what each row is held to give above its base (W) that its pool called and that is lost.

    It must have acknowledged what it holds, hold it still, and have followed as it was last seen. What it may have
    heard since counts as well: the least of all. Its share of the last beat says what it was called for, or, after a
    start, the claim that stands.
    """
    found, quality = np.zeros(len(rows)), state.fleet.quality[rows]
    lost = ((quality & int(LOST)) != 0) & ((quality & int(UNFIT_FOR_DISPATCH & ~LOST)) == 0)
    lost &= left_in(state, rows, eligible, now_ns) & (state.commands.leased_until_ns[rows] > now_ns + AHEAD_NS)
    at = np.flatnonzero(lost)
    if len(at):
        claimed_w, _ = state.claims.target_of(rows[at], SOURCE, pool, Quantity.P)
        called_w = np.where(np.abs(share_w[at]) > 1.0, share_w[at], np.nan_to_num(claimed_w - state.base_w[rows[at]]))
        found[at] = _held_w(state, rows[at], called_w, now_ns)
    return found


def _held_w(state: DeskState, rows: Rows, called_w: Floats, now_ns: int) -> Floats:
    """Return what rows out of sight are held to give of what they were called for, above their base (W)."""
    fleet, last, base_w = state.fleet, state.commands, state.base_w[rows]
    side = np.sign(called_w)
    told_w = np.stack([called_w, last.leased_w[rows] - base_w, last.target_w[rows] - base_w])
    # NaN: it may have been let go.
    gives_w = np.maximum(np.nan_to_num(side * told_w, nan=0.0).min(axis=0), 0.0)
    had_time = fleet.taken_at_ns[rows] - last.since_ns[rows] >= soon_ns(state, rows)
    moved_w = side * np.nan_to_num(fleet.power_w[rows] - base_w)
    gives_w = np.where(had_time & (moved_w < FOLLOWS_FRAC * gives_w), 0.0, gives_w)
    # A store gives and takes no more than it could as it was last seen.
    free_wh = np.nan_to_num(fleet.energy_wh[rows] - stored_wh(fleet, rows), nan=np.inf)
    lasts_wh = np.where(side > 0, left_wh(state, rows, now_ns), np.where(fleet.energy_wh[rows] > 0, free_wh, np.inf))
    spent_wh = gives_w * np.maximum(now_ns - fleet.taken_at_ns[rows], 0) / HOUR_NS
    held_w: Floats = side * np.where(spent_wh < lasts_wh, gives_w, 0.0)
    return held_w


def likely_w(state: DeskState, rows: Rows, unseen_w: Floats, now_ns: int) -> Floats:
    """Return what is to be expected of what rows out of sight are held to give (W)."""
    away_ns = np.maximum(now_ns - state.fleet.taken_at_ns[rows], 0)
    found_w: Floats = unseen_w * np.where(_IS_ROOM[state.fleet.kinds[rows]], 0.5 ** (away_ns / ROOM_HALF_NS), 1.0)
    return found_w
