"""The settings in which a device is told, by key of its topic contract."""

from __future__ import annotations

import math

from tieline.device.profile import Profile
from tieline.device.steps import NOISE
from tieline.device.told import Told
from tieline.links.device.mqtt.contract import Bound
from tieline.resource.identity import Rating


def settings_of(profile: Profile, rating: Rating, bound: Bound, own: float, what: Told) -> dict[str, float]:
    """Return what is told, by key of the contract, in its steps; what the device has no topic for is left out.

    Args:
        profile: Its kind.
        rating: Its nameplate.
        bound: Its topics.
        own: What its owner has set (degC of a device told by temperature).
        what: What it is told.
    """
    found: dict[str, float] = {}
    if profile.told_by == "switch":
        found["is_on"] = float(bool(what.is_on))
    elif profile.told_by == "temperature":
        found["setpoint_c"] = what.setpoint_c
    else:
        power_w = -rating.max_absorb_w if math.isnan(what.power_w) else what.power_w
        found["target_w"] = min(max(power_w, what.low_w), what.high_w)
    return {key: _in_steps(bound, own, key, value, what) for key, value in found.items() if bound.can_tell(key)}


def _in_steps(bound: Bound, own: float, key: str, value: float, what: Told) -> float:
    """Return a setting in the steps of its contract: within its limits, and no further from the owner's."""
    if key == "target_w":
        return bound.rounded(key, value, what.low_w, what.high_w)
    if key != "setpoint_c" or value == own:
        return value
    low, high = min(own, value), max(own, value)
    found = bound.rounded(key, value, low, high)
    return found if low - NOISE <= found <= high + NOISE else own
