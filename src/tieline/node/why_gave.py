"""How `tieline why` tells what a device or a pool gave in the last interval that was counted, and over which of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tieline.desk.facts import IntervalTracked
from tieline.times import iso


def delivered_of(fact: object, row: int) -> dict[str, Any] | None:
    """Return what a row gave in a tracked interval; None: it has no part in it."""
    if not isinstance(fact, IntervalTracked):
        return None
    at = np.flatnonzero(fact.rows.array() == row)
    if not len(at):
        return None
    return {**_over(fact), "above_base_w": float(fact.row_w.array()[at[0]])}


def pool_delivered(fact: object, pool: str) -> dict[str, Any] | None:
    """Return what a pool was asked and gave in a tracked interval, and why it lacked; None: it is of no such."""
    if not isinstance(fact, IntervalTracked) or fact.pool != pool:
        return None
    return {
        **_over(fact), "asked_w": fact.asked_w, "delivered_w": fact.delivered_w, "causes": fact.causes,
        "withheld": fact.withheld, "uncalled_w": fact.uncalled_w, "devices": len(fact.rows.array()),
    }  # fmt: skip


def _over(fact: IntervalTracked) -> dict[str, Any]:
    """Return over which time an interval tells, and what of that was not counted."""
    gaps = [[iso(at_ns) for at_ns in gap] for gap in fact.uncounted]
    return {"start": iso(fact.start_ns), "end": iso(fact.end_ns), "uncounted": gaps}
