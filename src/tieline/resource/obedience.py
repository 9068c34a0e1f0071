"""Whether a device does what a command asks: one rule for every read-back, whatever wire told it.

A command asks for a power (its target), or leaves a device free within limits; limits outrank a target. How near is
near enough is each reader's own, as meters differ; what is measured is the same for all: the way from where a device
stands to the nearest power that its command allows. `astray` is the readable rule, `astray_w` the same in columns.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SLACK_W, SLACK_FRAC = 250.0, 0.15
"""So far off may be what obeys, where no profile of the device says how well it follows: a share of what was asked, or
what small devices and their meters are off by."""


def astray(power_w: float, target_w: float, low_w: float, high_w: float) -> float:
    """Return how far a power is from the nearest that a command allows (W; above 0: too high, NaN: nothing known).

    A command that asks for nothing is obeyed by any power, even by one that nobody knows.

    >>> astray(3815.0, math.nan, -math.inf, 0.0), astray(-500.0, math.nan, -2000.0, 0.0)
    (3815.0, 0.0)
    >>> astray(900.0, 2000.0, -math.inf, 1000.0)
    -100.0
    """
    wanted_w = power_w if math.isnan(target_w) else target_w
    if math.isnan(target_w) and math.isinf(low_w) and math.isinf(high_w):
        return 0.0
    return power_w - min(max(wanted_w, low_w), high_w)


def astray_w(power_w: Floats, target_w: Floats, low_w: Floats, high_w: Floats) -> Floats:
    """Return the same for each row; shapes as `power_w`."""
    free = np.isnan(target_w)
    found: Floats = power_w - np.minimum(np.maximum(np.where(free, power_w, target_w), low_w), high_w)
    asks = ~free | np.isfinite(low_w) | np.isfinite(high_w)
    return np.where(asks, found, 0.0)


def slack_w(power_w: Floats, off_w: Floats) -> Floats:
    """Return how far off rows may be that obey, by what was asked of them: where they are, less how far astray."""
    found: Floats = np.maximum(SLACK_W, SLACK_FRAC * np.abs(power_w - off_w))
    return found
