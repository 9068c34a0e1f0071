"""Hold timers, and what draws all or nothing, in columns; the column twin of `resource.hold` (R12).

What is on or off draws its rating or nothing, a charger six amperes at least or nothing (IEC 61851-1): a limit that
leaves one of them less leaves it nothing at all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.resource.hold import LEAST_CHARGE_W, ON_FRAC
from tieline.resource.identity import Kind

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
CHARGER = KIND_CODE[Kind.EV_CHARGER]
OFF_FRAC = 1e-6
"""A limit that is so much of what it draws below that leaves a load that is on or off no room to run."""


def is_on(power_w: Floats, inject_w: Floats, absorb_w: Floats) -> Mask:
    """Return which powers count as on."""
    on: Mask = (power_w != 0) & (np.abs(power_w) >= ON_FRAC * np.where(power_w >= 0, inject_w, absorb_w))
    return on


def goes_on_whole(fleet: Fleet, rows: Rows, is_switched: Mask) -> Mask:
    """Return which rows are on or off, and on: each goes on by a cap of its rating alone, whatever part it draws."""
    power_w = np.minimum(fleet.power_or_0_w(rows), 0.0)
    on: Mask = is_switched & is_on(power_w, fleet.max_inject_w[rows], fleet.max_absorb_w[rows])
    return on


def nearest_w(target_w: Floats, absorb_w: Floats, is_switched: Mask) -> Floats:
    """Return where rows stand that are told a power (W; NaN: none), as what is on or off goes to the nearer of both.

    >>> nearest_w(np.array([-2900.0, -800.0, -800.0]), np.full(3, 3000.0), np.array([True, True, False]))
    array([-3000.,     0.,  -800.])
    """
    whole_w = np.where(target_w < -0.5 * absorb_w, -absorb_w, 0.0)
    found: Floats = np.where(is_switched & np.isfinite(target_w), whole_w, target_w)
    return found


def least_draw_w(fleet: Fleet, rows: Rows) -> Floats:
    """Return the least that each row draws where it can draw a part (W, 0: any part); shape (n,)."""
    found: Floats = np.where(
        fleet.kinds[rows] == CHARGER, np.minimum(LEAST_CHARGE_W, fleet.max_absorb_w[rows]), 0.0
    ).astype(np.float64)
    return found


def followed_low_w(fleet: Fleet, rows: Rows, low_w: Floats, is_switched: Mask) -> Floats:
    """Return how far down each row can be within lower ends (W): 0 where one leaves a load less than it draws at least.

    Args:
        fleet: Whose rows.
        rows: Which; shape (n,).
        low_w: The least that each may be at (W, negative: it draws; infinite: no end).
        is_switched: Which of them draw their rating or nothing.
    """
    needs_w = _needs_w(fleet, rows, is_switched)
    off = (needs_w > 0.0) & (low_w > OFF_FRAC * np.maximum(needs_w, 1.0) - needs_w)
    return np.where(off, np.where(fleet.max_inject_w[rows] > 0.0, np.maximum(low_w, 0.0), 0.0), low_w)


def stands_within_w(
    fleet: Fleet, rows: Rows, power_w: Floats, low_w: Floats, high_w: Floats, is_switched: Mask
) -> Floats:
    """Return where limits leave rows that would be at a power by themselves (W); shape (n,) all of them.

    No limit makes a load draw a part that it can't: it rests, or where it has to draw it draws what it does at least.
    """
    needs_w, low_w = _needs_w(fleet, rows, is_switched), followed_low_w(fleet, rows, low_w, is_switched)
    found: Floats = np.minimum(np.maximum(power_w, low_w), high_w)
    is_part = (found != power_w) & (found < 0.0) & (found > -needs_w)
    return np.where(is_part, np.where(low_w < 0.0, -needs_w, 0.0), found)


def _needs_w(fleet: Fleet, rows: Rows, is_switched: Mask) -> Floats:
    """Return what each row draws at least where it draws anything (W, 0: any part)."""
    return np.where(is_switched, fleet.max_absorb_w[rows], least_draw_w(fleet, rows))


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
