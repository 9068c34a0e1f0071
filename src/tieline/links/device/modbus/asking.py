"""What a SunSpec device is to be asked, in the terms of its control model 704."""

from __future__ import annotations

import math

from tieline.device.told import Told
from tieline.links.device.modbus.held import Held
from tieline.links.device.modbus.own_power import held_w


def is_bound(what: Told) -> bool:
    """Return whether a limit is among it that model 704 doesn't know, which limits what is given alone."""
    return not math.isinf(what.low_w) or what.high_w < 0.0


def is_held(what: Told) -> bool:
    """Return whether it is such a limit alone: a device is held at a power then that nobody asked for."""
    return math.isnan(what.power_w) and is_bound(what)


def share_of(what: Told, full_w: float) -> float:
    """Return the upper limit as a share of a device's own WMax (W); 1: none."""
    is_limited = not math.isinf(what.high_w) and full_w > 0
    return min(max(what.high_w / full_w, 0.0), 1.0) if is_limited else 1.0


def asked_of(what: Told, full_w: float, left_s: float, own_w: float = math.nan) -> Held:
    """Return what to write. Model 704 limits what is given alone: that a device must draw, or how much, is a target.

    Args:
        what: What the device is told.
        full_w: The device's own WMax (W), of which its limit is a share.
        left_s: For how long (s).
        own_w: What it does by itself (W; NaN: not known).
    """
    target_w = held_w(own_w, what.low_w, what.high_w) if is_held(what) else what.power_w
    return Held(target_w, share_of(what, full_w), left_s, what.low_w, what.high_w)
