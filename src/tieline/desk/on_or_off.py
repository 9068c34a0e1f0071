"""What is on or off, a heater or a pump, gives all that it can or nothing; who can give a part makes up for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tieline.desk.redispatch import MOVED_FRAC, MOVED_W, Allocation, Headroom
from tieline.fleet.split import split_merit

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEFT_FRAC = 0.005
"""So much of what is owed may be left lacking rather than have anybody called for it."""


def whole(split: Allocation, room: Headroom, is_switched: Mask, is_smooth: Mask) -> Allocation:
    """Return a split of what is owed, upward, in which what is on or off gives all it can, or nothing.

    Told a part it would go to the nearer of both, and the pool would give as much more or less. So others that are
    called give less beside it, the dearest first; or, where they give no more than it would too much, those that cost
    no more make up for it, as far as they can, and whoever costs more for what lacks then. Nobody is switched for a
    little that whoever can give a part makes up for, dear as it may be: it would be called and let go by turns.
    """
    share_w, up_w = split.share_w.copy(), room.up_w
    asked_w, (small_w, little_w) = float(share_w.sum()), _least_w(split)
    parts = np.flatnonzero(is_switched & (share_w > 1e-6) & (share_w < up_w - 1.0))
    anybody = is_smooth & room.may_serve

    def can_rise_w(among: Mask) -> Floats:
        return np.where(among, np.maximum(up_w - share_w, 0.0), 0.0)

    for at in parts:
        lack_w, over_w = float(share_w[at]), float(up_w[at] - share_w[at])
        sinks_w, rises_w = np.where(is_smooth, share_w, 0.0), can_rise_w(anybody & (room.price <= room.price[at]))
        left_over_w = max(over_w - float(sinks_w.sum()), 0.0)
        left_lack_w = max(lack_w - float(rises_w.sum()), 0.0)
        worth_w = little_w if lack_w - float(can_rise_w(anybody).sum()) <= small_w else small_w
        if lack_w > worth_w and (left_over_w, over_w) <= (left_lack_w, lack_w):
            share_w -= split_merit(over_w - left_over_w, sinks_w, -room.price)
            share_w[at] = up_w[at]
        else:
            share_w[at] = 0.0
            share_w += split_merit(lack_w - left_lack_w, rises_w, room.price)
    if not len(parts):
        return split
    if (rest_w := asked_w - float(share_w.sum())) > small_w:
        rises_w = can_rise_w(anybody)
        share_w += split_merit(min(rest_w, float(rises_w.sum())), rises_w, room.price)
    base_w, feasible_w = split.target_w - split.share_w, float(share_w.sum())
    lacks_w = max(split.shortfall_w + float(split.share_w.sum()) - feasible_w, 0.0)
    return replace(split, target_w=base_w + share_w, share_w=share_w, feasible_w=feasible_w, shortfall_w=lacks_w)


def _least_w(split: Allocation) -> tuple[float, float]:
    """Return what is too little to call anybody for, and to switch anybody for where others can give it (W)."""
    return max(MOVED_W, LEFT_FRAC * split.feasible_w), max(MOVED_W, MOVED_FRAC * split.feasible_w)
