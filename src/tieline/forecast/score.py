"""What a forecast was worth: WAPE, skill against a floor, pinball loss, coverage. What has no reading is left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def wape(forecast: Floats, actual: Floats) -> float:
    """Return the sum of absolute errors over the sum of absolute values; NaN where that is zero.

    >>> wape(np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    0.25
    """
    both = np.isfinite(forecast) & np.isfinite(actual)
    size = float(np.abs(actual[both]).sum())
    return float(np.abs(forecast[both] - actual[both]).sum()) / size if size > 0 else float("nan")


def skill(forecast: Floats, actual: Floats, floor: Floats) -> float:
    """Return how much better than a floor a forecast was over the same hours: 1 perfect, 0 no better, below 0 worse."""
    both = np.isfinite(forecast) & np.isfinite(floor) & np.isfinite(actual)
    theirs = float(np.abs(floor[both] - actual[both]).sum())
    ours = float(np.abs(forecast[both] - actual[both]).sum())
    return 1.0 - ours / theirs if theirs > 0 else 0.0


def pinball(quantiles: Floats, actual: Floats, levels: Floats) -> float:
    """Return the mean pinball loss of quantiles, shape (..., levels), against values, shape (...): lower is better."""
    off = actual[..., None] - quantiles
    loss = np.maximum(levels * off, (levels - 1.0) * off)
    return float(loss[np.isfinite(loss)].mean()) if np.isfinite(loss).any() else float("nan")


def coverage(low: Floats, high: Floats, actual: Floats) -> float:
    """Return the share of values that lie within their band; NaN where there is none."""
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(actual)
    inside = (low <= actual) & (actual <= high)
    return float(inside[known].mean()) if known.any() else float("nan")
