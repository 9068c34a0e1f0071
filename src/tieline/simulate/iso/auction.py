"""The day-ahead auction of one hour: our curve against the real clearing price.

The real price P cleared a system of tens of GW without us. Each MW of ours that is taken pushes the most expensive
unit out, so that the price falls by a small share of itself: P(q) = P - SHARE * |P| * q. SHARE = 0.02 % a MW is our
assumption: one MW is 0.002 % of a system of 45 GW, with a price ten times as elastic as the load. We are paid P(q).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SHARE_PER_MW = 0.0002


def clear(curve: Sequence[tuple[float, float]], price: float) -> tuple[float, float]:
    """Return (MW awarded, clearing price $/MWh) for a curve of (MW, $/MWh) steps.

    Every step that is cheaper than the price it would leave is taken; the marginal step is taken in part. The award
    grows with the price and never clears below what its last step asked.

    >>> clear([(2.0, 30.0), (3.0, 90.0)], 50.0)
    (2.0, 49.98)
    """
    slope = SHARE_PER_MW * abs(price)
    taken_mw = 0.0
    for step_mw, asked in sorted(curve, key=lambda step: step[1]):
        if asked > price - slope * taken_mw:
            break
        room_mw = (price - asked) / slope - taken_mw if slope > 0 else step_mw
        taken_mw += min(step_mw, max(room_mw, 0.0))
        if room_mw < step_mw:
            break
    return taken_mw, price - slope * taken_mw


def supplied(curve: Sequence[tuple[float, float]], price: float) -> float:
    """Return the MW that a curve offers at or below a price."""
    return math.fsum(step_mw for step_mw, asked in curve if asked <= price)
