"""Readings into columns, one after the other in machine code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
Flags = NDArray[np.uint32]


@compiled
def take_in_order(
    rows: NDArray[np.int32],
    read: tuple[Floats, Instants, Instants, Flags],
    column: Floats,
    taken: Instants,
    beside: tuple[Instants, Instants, Flags],
    is_power: bool,
) -> int:
    """Write readings of one point, oldest first; return how many came late, and are passed over.

    Late is one taken before what its row holds. But if what it holds was taken after this one came, our clock was set
    back since, and the older one is newer.

    Args:
        rows: The row of each reading.
        read: Its value (SI), when it was taken and received (ns), and its quality.
        column: The point's column, a value for each row of the fleet.
        taken: When each of those was taken (ns).
        beside: What power has beside its column for each row: taken, received (ns), quality.
        is_power: Whether the point is power.
    """
    values, when, received, quality = read
    taken_ns, received_ns, flags = beside
    late = 0
    for at in range(len(rows)):
        row = rows[at]
        if when[at] < taken[row] and taken[row] <= received[at]:
            late += 1
            continue
        column[row] = values[at]
        taken[row] = when[at]
        if is_power:
            taken_ns[row], received_ns[row], flags[row] = when[at], received[at], quality[at]
    return late
