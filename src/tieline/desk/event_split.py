"""Whom a program event calls, and for how much: switched loads wholly or not at all, the others in part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def split_call(gives_w: NDArray[np.float64], is_switched: NDArray[np.bool_], wanted_w: float) -> NDArray[np.float64]:
    """Return each row's part of what is wanted (W): switched rows all or nothing, evenly spread, the others in part."""
    most_w = float(gives_w.sum())
    part = min(1.0, wanted_w / most_w) if most_w > 0 else 0.0
    turns = np.cumsum(is_switched) * part
    whole = is_switched & (np.floor(turns + 0.5) > np.floor(turns - part + 0.5))
    share_w = np.where(whole, gives_w, 0.0)
    while (over_w := float(share_w.sum()) - wanted_w) > 0 and np.count_nonzero(share_w) > 1:
        # Rounding came out above what is wanted: the least that brings it below stays at rest, others fill the gap.
        on = np.flatnonzero(share_w)
        enough = on[share_w[on] >= over_w]
        share_w[enough[share_w[enough].argmin()] if len(enough) else on[share_w[on].argmax()]] = 0.0
    rest_w = float(gives_w[~is_switched].sum())
    left_w = max(min(wanted_w, most_w) - float(share_w.sum()), 0.0)
    if rest_w > 0:
        share_w = np.where(is_switched, share_w, gives_w * min(1.0, left_w / rest_w))
    return share_w
