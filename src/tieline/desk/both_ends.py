"""A limit on both ends: no step towards one of them that would break the other if some who are told it don't follow.

Theory of operation. Against the upper end a load counts for nothing, as it may stop: so loads are told to draw less,
and stores to draw in their place. If they answer later, or never, the group stands beyond its lower end by all that
the stores draw beside loads that draw still; if the stores don't answer, beyond its upper one. So all that are told
to draw less, or give more, move no further together than the upper end has room for by the meters as they are now,
and all that are told the contrary no further than the lower one has: whoever follows, the group is within both. At
the next beat the meters say who did, and the rest of the way goes on from there. A group that stands beyond an end
may come back across its whole band, and no further. What is on or off stays on within both where one that would have
to go is more than the ends are apart: told a part of its rating it would stop, so it is told all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.growing import made_up
from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE
from tieline.fleet.holding import goes_on_whole
from tieline.fleet.split import split_whole
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
SLACK_W, SLACK_FRAC = 3.0, 0.005
"""A group stands at an end that it is off by no more than this, and this share of its ratings."""


@dataclass(frozen=True, eq=False)
class Moving:
    """Whom a limit moves: their power (W), who may be told a step, who goes on or off, and who can draw; shape (n,).

    What calls are about to stop of what loads draw (`stops_w`, in all) is made up for in the same beat. A group that is
    off an end by no more than `slack_w` stands at it. Who is not to go off keeps a low cap of `on_w` at least: what it
    does, or where it is on or off its rating, of which a part would stop it.
    """

    now_w: Floats
    on_w: Floats
    among: Mask
    is_whole: Mask
    can_draw: Mask
    stops_w: float
    slack_w: float


def moving_of(state: DeskState, rows: Rows, among: Mask, low_w: Floats, stops_w: Floats) -> Moving:
    """Return whom a limit moves, with those cars taken as on or off that would stop if they drew less.

    Args:
        state: The desk's.
        rows: Of the group; shape (n,), as all that follows.
        among: Who is heard, and keeps to commands as far as is known.
        low_w: The low caps that are wished.
        stops_w: What loads are told to give at least that calls are about to stop (W; -inf: not one of them).
    """
    fleet = state.fleet
    now_w, absorb_w = fleet.power_or_0_w(rows), fleet.max_absorb_w[rows]
    cars = (fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]) & (now_w < 0.0) & (low_w > now_w)
    whole = state.is_switched[rows] | (cars & ((now_w > -2.0 * LEAST_CHARGE_W) | (low_w > -LEAST_CHARGE_W)))
    stopped_w = float(np.maximum(np.minimum(stops_w, 0.0) - now_w, 0.0)[np.isfinite(stops_w)].sum())
    slack_w = SLACK_W + SLACK_FRAC * float((fleet.max_inject_w[rows] + absorb_w).sum())
    on_w = np.where(goes_on_whole(fleet, rows, state.is_switched[rows]), -absorb_w, now_w)
    return Moving(now_w, on_w, among, whole, absorb_w > 0.0, stopped_w, slack_w)


def within_both(caps_w: tuple[Floats, Floats], moving: Moving, ends_w: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return caps (W), low and high, that ask of all together no further step than the other end has room for now.

    Nor may others draw more, or give more, than their meters leave room for, on account of a step not done yet.

    >>> moving = Moving(*[np.array([-3.0, -5.0])] * 2, *np.array([[True] * 2, [False] * 2, [True] * 2]), 0.0, 0.0)
    >>> within_both((np.array([-8.0, 0.0]), np.array([-8.0, 0.0])), moving, (-12.0, -8.0))
    (array([-7., -5.]), array([-7., -1.]))
    """
    (low, high), now_w, (low_w, high_w) = caps_w, moving.now_w, ends_w
    stands_w = float(now_w.sum())
    ups_w = np.where(moving.among, np.maximum(low - now_w, 0.0), 0.0)
    ups_w = np.where(moving.is_whole & (ups_w > 0.0), np.maximum(ups_w, -now_w), ups_w)  # told a part, it stops
    downs_w = np.where(moving.among, np.maximum(now_w - high, 0.0), 0.0)
    is_below, is_above = stands_w < low_w - moving.slack_w, stands_w > high_w + moving.slack_w
    steps_w = np.where(moving.is_whole & _stays_on(ups_w, moving, high_w - low_w, is_below | is_above), 0.0, ups_w)
    rises_w = _stepped(steps_w, high_w - stands_w, moving, is_below)
    # Where the least that can go off is too much at once, others make up for it.
    over_w = stands_w + max(float(rises_w.sum()), moving.stops_w) - high_w
    if is_above and high_w >= 0.0:
        # What gives beyond the upper end gives less at once, though loads that are to draw less may be late.
        over_w = max(over_w, float(np.maximum(now_w, 0.0)[moving.among].sum()) - high_w)
    sinks_w = _stepped(downs_w, max(stands_w - low_w, over_w), moving, is_above)
    kept_w = np.where(rises_w > 0.0, now_w + rises_w, moving.on_w)
    new_low = np.where(rises_w < ups_w, kept_w, low)
    new_high = np.where(sinks_w < downs_w, now_w - sinks_w, high)
    none = np.zeros(len(now_w), np.bool_)
    may_give_w = np.where(moving.among, np.minimum(np.maximum(now_w, new_low), new_high), new_high)
    new_high = made_up(new_high, high, may_give_w, moving.is_whole, none)
    draws = moving.among & moving.can_draw & np.isfinite(new_low)
    comes_w = np.where(moving.among, np.minimum(now_w, new_high), now_w)
    mores_w = np.where(draws, np.maximum(np.minimum(comes_w, moving.on_w) - new_low, 0.0), 0.0)
    left_w = _stepped(mores_w, float(comes_w.sum()) - low_w, moving, False) if (ups_w > 0.0).any() else mores_w
    new_low = np.where(left_w < mores_w, comes_w - left_w, new_low)
    return np.minimum(new_low, new_high), new_high


def _stays_on(ups_w: Floats, moving: Moving, band_w: float, is_beyond: bool) -> bool:
    """Return whether what is on or off stays on as the group is within both ends: one that is to go is more than they
    are apart, so that no store can make up for it, and without it the others would go for nothing."""
    return not is_beyond and float(ups_w[moving.is_whole].max(initial=0.0)) > band_w


def _stepped(moves_w: Floats, most_w: float, moving: Moving, is_beyond: bool) -> Floats:
    """Return steps (W, 0 or more) of no more together; what is on or off goes wholly or not at all, as many as fit.

    Of a group that stands beyond the end that they lead away from, one goes if none fits: no part of it would do.
    """
    found_w, left_w = np.zeros(len(moves_w)), max(most_w, 0.0)
    if float(moves_w.sum()) <= left_w:
        return moves_w
    at = np.flatnonzero(moving.is_whole & (moves_w > 0.0))
    if len(at):
        found_w[at] = split_whole(left_w, moves_w[at], np.arange(len(at)))
        if is_beyond and not found_w.any() and not (moves_w[~moving.is_whole] > 0.0).any():
            least = at[np.argmin(moves_w[at])]
            found_w[least] = moves_w[least]
        left_w = max(left_w - float(found_w.sum()), 0.0)
    part_w = np.where(moving.is_whole, 0.0, moves_w)
    whole_w = float(part_w.sum())
    return found_w + part_w * (min(left_w / whole_w, 1.0) if whole_w > 0.0 else 0.0)
