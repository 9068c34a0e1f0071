"""Powers and settings in the steps that a device can hold: never wider than what was asked."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

NOISE = 1e-6
"""Of a step: what floating point may lack of a whole one."""


def steps_within(value: float, step: float, low: float = -math.inf, high: float = math.inf) -> int:
    """Return the number of steps nearest to a value within limits: an upper one counts down, a lower one up.

    Where no step lies within them it is the one beside them that is nearer to 0, so that less flows either way.

    >>> steps_within(5_000.0, 16.7, high=5_000.0), steps_within(-1_999.6, 1.0, low=-1_999.6)
    (299, -1999)
    >>> steps_within(4_990.0, 100.0), steps_within(4_990.0, 100.0, low=4_910.0, high=4_990.0)
    (50, 49)
    """
    count = round(value / step)
    most = math.inf if math.isinf(high) else math.floor(high / step + NOISE)
    least = -math.inf if math.isinf(low) else math.ceil(low / step - NOISE)
    if least > most:
        return int(min(most, least, key=abs))
    return int(min(max(count, least), most))


def steps_within_rows(
    value: NDArray[np.float64], step: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what `steps_within` does of each row; NaN where the value is. All arrays have shape (n,)."""
    with np.errstate(invalid="ignore", over="ignore"):
        most, least = np.floor(high / step + NOISE), np.ceil(low / step - NOISE)
        found: NDArray[np.float64] = np.minimum(np.maximum(np.rint(value / step), least), most)
        beside = np.where(np.abs(least) < np.abs(most), least, most)
    return np.where((least > most) & ~np.isnan(value), beside, found)
