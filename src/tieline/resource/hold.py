"""Device hold timers: what a machine must stay at for a while after it was switched (rule R12).

A compressor that was stopped may not start for minutes, an engine that was started has to run: such timers are physics
to levels 2 to 10, and give way to a safety lock-out alone.
"""

from __future__ import annotations

from tieline.resource.identity import Kind
from tieline.resource.setpoint import Bounds

HOLD_TIMER = "device:hold-timer"
"""Who limits a resource while its timer runs; no claim has this id."""

MIN_HOLD_S: dict[Kind, float] = {
    Kind.THERMOSTAT: 180.0,
    Kind.WATER_HEATER: 60.0,
    Kind.PROCESS_LINE: 900.0,
    Kind.MECHANICAL_STORAGE: 30.0,
    Kind.BACKUP_GENERATOR: 300.0,
    Kind.BIOMASS: 900.0,
    Kind.CHP: 600.0,
}
"""Least time on or off (s) where a device's own profile says nothing; kinds left out have none.

Three minutes is the usual anti-short-cycle delay of a compressor, so that its pressures even out before it restarts.
"""

SWITCHED = frozenset({Kind.THERMOSTAT, Kind.WATER_HEATER})
"""What is on or off: held to less than its draw it is off, so a limit on many is kept by how many may be on."""

LEAST_CHARGE_W = 1_380.0
"""6 A at 230 V: told less, a charger must stop (IEC 61851-1, control pilot)."""

ON_FRAC = 0.05
"""From this share of its rating on a resource counts as on."""


def is_on(power_w: float, rating: Bounds) -> bool:
    """Return whether a resource at this power counts as on."""
    size_w = rating.high_w if power_w >= 0 else -rating.low_w
    return power_w != 0 and abs(power_w) >= ON_FRAC * size_w


def held_within(power_w: float, rating: Bounds) -> Bounds:
    """Return what a timer leaves of the rating after a switch to `power_w`: off stays off, on stays on and its way.

    >>> held_within(0.0, Bounds(-4000.0, 0.0))
    Bounds(low_w=0.0, high_w=0.0)
    >>> held_within(-3000.0, Bounds(-4000.0, 0.0))
    Bounds(low_w=-4000.0, high_w=-200.0)
    """
    if not is_on(power_w, rating):
        return Bounds(0.0, 0.0)
    if power_w > 0:
        return Bounds(min(ON_FRAC * rating.high_w, rating.high_w), rating.high_w)
    return Bounds(rating.low_w, max(ON_FRAC * rating.low_w, rating.low_w))


def switches(power_w: float, former_w: float | None, rating: Bounds) -> bool:
    """Return whether a command to `power_w` starts the timer; `former_w` is the one before it (None: it ran free)."""
    return former_w is None or is_on(power_w, rating) != is_on(former_w, rating) or power_w * former_w < 0
