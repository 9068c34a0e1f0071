"""What the leaves of a pool can be counted on for: the sum that holds 95 times of 100 (P95 firm capacity)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EXACT_LEAVES = 12
Z95 = 1.6448536269514722
"""The 95th percentile of the standard normal distribution."""


def firm_w(power_w: Floats, reach_frac: Floats, confidence_frac: float = 0.95) -> float:
    """Return the power that at least `confidence_frac` of all cases reach.

    A leaf gives all that it has with the probability that it can be reached, else nothing, each by itself. A handful is
    counted case by case; of more the sum is taken as normal, 1.645 standard deviations below its mean.

    Args:
        power_w: What each leaf can give; shape (n,), W, 0 or more.
        reach_frac: How often each could be reached of late, 0 to 1.
        confidence_frac: 0.95 where more than a handful of leaves is there.

    >>> firm_w(np.array([100.0]), np.array([0.9]))
    0.0
    >>> round(firm_w(np.full(10_000, 5e3), np.full(10_000, 0.98)) / 5e7, 3)
    0.978
    """
    if len(power_w) <= EXACT_LEAVES:
        return _counted(power_w, reach_frac, confidence_frac)
    mean_w = float((power_w * reach_frac).sum())
    deviation_w = math.sqrt(float((power_w**2 * reach_frac * (1.0 - reach_frac)).sum()))
    return min(max(mean_w - Z95 * deviation_w, 0.0), float(power_w.sum()))


def _counted(power_w: Floats, reach_frac: Floats, confidence_frac: float) -> float:
    sums, chances = np.zeros(1), np.ones(1)
    for watts, chance in zip(power_w, reach_frac, strict=True):
        sums = np.concatenate([sums, sums + watts])
        chances = np.concatenate([chances * (1.0 - chance), chances * chance])
    order = np.argsort(-sums, kind="stable")
    reached = np.cumsum(chances[order])
    at = int(np.searchsorted(reached, confidence_frac - 1e-12))
    return float(sums[order][min(at, len(sums) - 1)])
