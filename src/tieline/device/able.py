"""How far a device can move now, from its nameplate and what it last measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tieline.device.profile import Profile
from tieline.resource.identity import Rating

SUSTAIN_H = 1.0 / 12.0  # what is declared must last for one market interval of five minutes
NEARLY = 0.995
IDLE_FRAC = 0.02
"""A charger that draws no more of its rating than this charges no car: its own electronics draw as much."""


def able(profile: Profile, rating: Rating, values: Mapping[str, float], is_local: bool = False) -> dict[str, float]:
    """Return `available_up_w` and `available_down_w` (W, 0 or more); nothing where its power is not known.

    Args:
        profile: Its kind.
        rating: Its nameplate.
        values: Its points (SI); `power_w` at least.
        is_local: Somebody at the device has overruled us, so that nothing can be promised.
    """
    power_w = values.get("power_w", math.nan)
    if math.isnan(power_w):
        return {}
    if is_local:
        return {"available_up_w": 0.0, "available_down_w": 0.0}
    most_w = rating.max_inject_w * profile.limits.inject_frac
    least_w = -rating.max_absorb_w * profile.limits.absorb_frac
    if profile.draws_up_to_set and power_w > -IDLE_FRAC * rating.max_absorb_w:
        least_w = power_w  # as far as anybody knows there is no car
    soc_frac, stored_wh = values.get("soc_frac", math.nan), values.get("energy_available_wh", math.nan)
    if not math.isnan(stored_wh):
        most_w = min(most_w, max(stored_wh, 0.0) / SUSTAIN_H)
    if not math.isnan(soc_frac):
        if soc_frac <= profile.limits.soc_low_frac:
            most_w = 0.0
        if soc_frac >= profile.limits.soc_high_frac * NEARLY:
            least_w = 0.0
    elif most_w > 0 and "energy_available_wh" not in profile.measures:
        # The sun, or a plant that is started by hand: it can be held below what it gives, not lifted above.
        most_w = max(power_w, 0.0)
    return {"available_up_w": max(most_w - power_w, 0.0), "available_down_w": max(power_w - least_w, 0.0)}
