"""What a weather forecast is off by, so that a score on measured temperatures doesn't flatter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KEEP_AN_HOUR = 0.97
"""Errors of temperature forecasts last: what is left of one an hour later."""


def weather_error(shape: tuple[int, int], size_c: float, seed: int) -> Floats:
    """Return errors of a temperature forecast (K), Gaussian with a memory of some thirty hours; shape (days, steps)."""
    rng = np.random.default_rng(seed)
    days, steps = shape
    keep = KEEP_AN_HOUR ** (24.0 / steps)
    drawn = rng.standard_normal(days * steps) * size_c
    off = np.empty(days * steps)
    last = drawn[0]
    for at, fresh in enumerate(drawn):
        last = keep * last + np.sqrt(1 - keep**2) * fresh if at else fresh
        off[at] = last
    return off.reshape(days, steps)
