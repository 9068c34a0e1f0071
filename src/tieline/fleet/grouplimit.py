"""The column twin of `resource.grouplimit`: caps that sink at once and grow only into what is free (R16)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def moved_caps(limit_w: float, wish_w: Floats, held_w: Floats, told_w: Floats) -> Floats:
    """Return the upper caps (W) that may be placed now; shape (n,); see `resource.grouplimit.moved_caps`."""
    free_w = limit_w - float(held_w.sum())
    from_w = np.minimum(held_w, told_w)
    grows_w = np.maximum(wish_w - from_w, 0.0)
    whole_w = float(grows_w.sum())
    part = min(1.0, max(free_w, 0.0) / whole_w) if whole_w > 0 else 0.0
    capped: Floats = np.where(grows_w > 0, from_w + part * grows_w, wish_w)
    return capped
