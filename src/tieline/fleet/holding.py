"""Hold timers in columns: which commands start one, what it leaves, and whom his meter shows to have left it (R12).

The column twin of `resource.hold`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import Fleet
from tieline.fleet.settling import Holds
from tieline.resource.hold import ON_FRAC
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import SECOND_NS

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def is_on(power_w: Floats, inject_w: Floats, absorb_w: Floats) -> Mask:
    """Return which powers count as on."""
    on: Mask = (power_w != 0) & (np.abs(power_w) >= ON_FRAC * np.where(power_w >= 0, inject_w, absorb_w))
    return on


def timers(fleet: Fleet, rows: Rows, target_w: Floats, former_w: Floats) -> tuple[Mask, Floats, Floats]:
    """Return which commands start a hold timer, and the low and high end (W) that it leaves; shape (n,) each.

    Args:
        fleet: Whose rows.
        rows: Whom the commands are for.
        target_w: What they are told (W; NaN: to run freely, which starts none).
        former_w: What they were told before (W; NaN: they ran freely).
    """
    inject_w, absorb_w = fleet.max_inject_w[rows], fleet.max_absorb_w[rows]
    on, was_on = is_on(target_w, inject_w, absorb_w), is_on(former_w, inject_w, absorb_w)
    switched = np.isnan(former_w) | (on != was_on) | (target_w * former_w < 0)
    starts = np.isfinite(target_w) & (fleet.min_hold_s[rows] > 0) & switched
    low_w = np.where(on, np.where(target_w > 0, ON_FRAC * inject_w, -absorb_w), 0.0)
    high_w = np.where(on, np.where(target_w > 0, inject_w, -ON_FRAC * absorb_w), 0.0)
    return starts, low_w, high_w


def contradicts(power_w: Floats, low_w: Floats, high_w: Floats, inject_w: Floats, absorb_w: Floats) -> Mask:
    """Return which measured powers are none of a machine that a timer with these ends (W) holds; shape (n,) each."""
    on = is_on(power_w, inject_w, absorb_w)
    found: Mask = np.where((low_w == 0.0) & (high_w == 0.0), on, ~on | ((power_w > 0) != (high_w > 0)))
    return found


def see(fleet: Fleet, holds: Holds, now_ns: int) -> Rows:
    """Note by their meters who keeps a timer and who has left one, and return the rows that have left theirs now.

    A timer is assumed from what a machine was told. One that was seen to keep it and is then seen to have switched
    back has none, or a shorter one: it holds no more. One that was never seen to keep it is on its way, or disobeys.
    """
    rows = np.flatnonzero((holds.until_ns > now_ns) & ~holds.left).astype(np.int32)
    began_ns = holds.until_ns[rows] - (fleet.min_hold_s[rows] * SECOND_NS).astype(np.int64)
    is_fit = np.isfinite(fleet.power_w[rows]) & ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0)
    rows = rows[is_fit & (fleet.taken_at_ns[rows] > began_ns)]
    off = contradicts(
        fleet.power_w[rows], holds.low_w[rows], holds.high_w[rows], fleet.max_inject_w[rows], fleet.max_absorb_w[rows]
    )
    holds.kept[rows[~off]] = True
    gone: Rows = rows[off & holds.kept[rows]]
    holds.left[gone] = True
    return gone
