"""The column twin of `resource.grouplimit`: caps that sink at once and grow only into what is free (R16)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.split import split_whole

Floats = NDArray[np.float64]


def moved_caps(
    limit_w: float, wish_w: Floats, held_w: Floats, told_w: Floats, is_whole: NDArray[np.bool_] | None = None
) -> Floats:
    """Return the upper caps (W) that may be placed now; shape (n,); see `resource.grouplimit.moved_caps`."""
    free_w = limit_w - float(held_w.sum())
    from_w = np.minimum(held_w, told_w)
    grows_w = np.maximum(wish_w - from_w, 0.0)
    whole = np.zeros(len(grows_w), np.bool_) if is_whole is None else is_whole
    at = np.flatnonzero(whole & (grows_w > 0))
    fits_w = split_whole(free_w, grows_w[at], np.arange(len(at)))
    free_w -= float(fits_w.sum())
    shared_w = float(grows_w[~whole].sum())
    part_w = grows_w * (min(1.0, max(free_w, 0.0) / shared_w) if shared_w > 0 else 0.0)
    part_w[whole] = 0.0
    part_w[at] = fits_w
    capped: Floats = np.where(grows_w > 0, from_w + part_w, wish_w)
    return capped
