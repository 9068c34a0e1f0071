"""Hold timers in columns: which commands start one, and what it leaves; the column twin of `resource.hold` (R12)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import Fleet
from tieline.resource.hold import ON_FRAC

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def is_on(power_w: Floats, inject_w: Floats, absorb_w: Floats) -> Mask:
    """Return which powers count as on."""
    on: Mask = (power_w != 0) & (np.abs(power_w) >= ON_FRAC * np.where(power_w >= 0, inject_w, absorb_w))
    return on


def nearest_w(target_w: Floats, absorb_w: Floats, is_switched: Mask) -> Floats:
    """Return where rows stand that are told a power (W; NaN: none), as what is on or off goes to the nearer of both.

    >>> nearest_w(np.array([-2900.0, -800.0, -800.0]), np.full(3, 3000.0), np.array([True, True, False]))
    array([-3000.,     0.,  -800.])
    """
    whole_w = np.where(target_w < -0.5 * absorb_w, -absorb_w, 0.0)
    found: Floats = np.where(is_switched & np.isfinite(target_w), whole_w, target_w)
    return found


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
