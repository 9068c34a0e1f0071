"""What a pool, and each group beneath it, can still do: the sums of what its rows can.

Availability is recomputed, never stored as truth: it is what the rows' headroom (limits, opt-outs, misses, telemetry
and eligibility counted) adds up to at this moment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Available:
    """Power up and down (W, 0 or more) and how many resources stand behind it; shape (groups,)."""

    up_w: Floats
    down_w: Floats
    resources: NDArray[np.int64]


def by_group(up_w: Floats, down_w: Floats, may_serve: NDArray[np.bool_], group_of: Rows, groups: int) -> Available:
    """Return what each group can do; a row in no group (-1) counts nowhere.

    Args:
        up_w: How far each row can rise (W); shape (n,).
        down_w: How far it can fall (W).
        may_serve: Which rows may be called.
        group_of: The group of each row, such as its feeder.
        groups: How many groups there are.

    >>> by_group(np.array([5.0, 3.0]), np.zeros(2), np.array([True, True]), np.array([1, 1], np.int32), 2).up_w
    array([0., 8.])
    """
    counts = may_serve & (group_of >= 0)
    at = group_of[counts]
    return Available(
        np.bincount(at, up_w[counts], groups).astype(np.float64),
        np.bincount(at, down_w[counts], groups).astype(np.float64),
        np.bincount(at, minlength=groups).astype(np.int64),
    )
