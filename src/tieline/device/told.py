"""What a device is told for a setpoint, and whether what it then does is what was asked."""

from __future__ import annotations

import math

from msgspec import Struct

from tieline.device.profile import Profile
from tieline.resource.identity import Rating
from tieline.resource.obedience import astray


class Told(Struct, frozen=True):
    """The settings of one command; None or NaN: left alone. `is_release` hands the device back to its owner.

    `rests`: it is to draw nothing. `power_w`, `low_w`, `high_w`: W, positive into the grid. `setpoint_c`: degC.
    """

    is_release: bool = False
    rests: bool = False
    power_w: float = math.nan
    low_w: float = -math.inf
    high_w: float = math.inf
    is_on: bool | None = None
    setpoint_c: float = math.nan


class Unable(Struct, frozen=True):
    """Why a device can't be told that."""

    why: str


def told(
    profile: Profile, rating: Rating, target_w: float, low_w: float, high_w: float, own: float = math.nan
) -> Told | Unable:
    """Return what to tell a device.

    Args:
        profile: Its kind.
        rating: Its nameplate.
        target_w: Wanted power (W; NaN: it runs freely within its limits).
        low_w: Least power allowed (W).
        high_w: Greatest power allowed (W).
        own: What its owner has set (NaN: not known): degC of a device told by temperature, 1 or 0 of a switch.
    """
    if math.isnan(low_w) or math.isnan(high_w) or low_w > high_w or math.isinf(target_w):
        return Unable(f"target {target_w:g} W within {low_w:g} W to {high_w:g} W: give finite, ordered powers")
    if profile.told_by == "power":
        return _power(profile, rating, target_w, low_w, high_w)
    runs = _runs(rating.max_absorb_w, target_w, low_w, high_w)
    if profile.told_by == "switch":
        # Handed back it is as its owner had it; one that nobody knows of was on, as most are.
        return Told(is_release=runs is None, rests=runs is False, is_on=own != 0.0 if runs is None else runs)
    if math.isnan(own):
        return Unable("its owner's setpoint is not known yet")
    if runs is None:
        return Told(is_release=True, setpoint_c=own)
    limits, warmer = profile.limits, (profile.mode == "cool") != runs
    if warmer:  # a limit may cut the offset short, but never turns it round
        setpoint_c = max(own, min(own + profile.offset_c, limits.setpoint_high_c))
    else:
        setpoint_c = min(own, max(own - profile.offset_c, limits.setpoint_low_c))
    return Told(rests=not runs, setpoint_c=setpoint_c)


def _power(profile: Profile, rating: Rating, target_w: float, low_w: float, high_w: float) -> Told:
    """Return a power within the limits of the command and of the device; limits that bind nothing are left out."""
    most_w = rating.max_inject_w * profile.limits.inject_frac
    least_w = -rating.max_absorb_w * profile.limits.absorb_frac
    high_w, low_w = max(min(high_w, most_w), least_w), min(max(low_w, least_w), most_w)
    power_w = target_w if math.isnan(target_w) else min(max(target_w, low_w), high_w)
    binds_low, binds_high = low_w > least_w, high_w < most_w
    return Told(
        is_release=math.isnan(target_w) and not binds_low and not binds_high,
        power_w=power_w,
        low_w=low_w if binds_low else -math.inf,
        high_w=high_w if binds_high else math.inf,
    )


def _runs(rated_w: float, target_w: float, low_w: float, high_w: float) -> bool | None:
    """Return whether a load of `rated_w` is to run, is to rest, or (None) may do as it likes.

    A limit outranks the target; where neither on nor off is allowed it rests, as that is the safe side of a load.
    """
    slack_w = 1e-6 * max(rated_w, 1.0)
    if low_w > -rated_w + slack_w:
        return False
    if high_w < -slack_w:
        return True
    return None if math.isnan(target_w) else target_w < -0.5 * rated_w


def complies(profile: Profile, rating: Rating, what: Told, power_w: float) -> bool:
    """Return whether an observed power (W) shows that a device does what it was told.

    "On" and "warmer" are leave to run, not an order: a full tank or a satisfied room draws nothing and complies.
    """
    if what.is_release:
        return True
    near_w = max(profile.near.power_w, profile.near.frac * max(rating.max_absorb_w, rating.max_inject_w))
    low_w = 0.0 if what.rests else what.low_w
    return abs(astray(power_w, what.power_w, low_w, what.high_w)) <= near_w
