"""What limits of its own leave a device beneath a group's limit: shares are made within it, by the rule of arbitration.

A share that arbitration does not let a device take is none: a store that the group counts on to charge, and that may
not, charges nothing, and the roofs that were let give what it was to take are beyond the group's end. So a row that may
not be pushed below an end of its own counts there, and one that may give no more than its own high end counts at that.
Limits of the same level, or a stronger one, hold whatever the group needs. Those of weaker ones give way to the
group's, as in arbitration, but no sooner than must be: once all others are at their least.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tieline.desk.scopes import live_ask
from tieline.desk.state import DeskState, LiveAsk
from tieline.fleet.settling import ClaimBatch
from tieline.resource.level import Level

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Own(NamedTuple):
    """Between what limits of their own leave rows (W), and between what a group's limit can push them; shape (n,).

    Infinite where a device's ratings alone bound it.
    """

    low_w: Floats
    high_w: Floats
    least_w: Floats
    most_w: Floats

    def of(self, rows: Rows) -> Own | None:
        """Return that of some rows; None where no limit of its own bounds any of them."""
        mine = Own(*(each[rows] for each in self))
        return mine if any(np.isfinite(each).any() for each in mine) else None

    def clipped(self, power_w: Floats) -> Floats:
        """Return powers (W) as those limits leave them."""
        clipped: Floats = np.minimum(np.maximum(power_w, self.low_w), self.high_w)
        return clipped


def own_of(state: DeskState, beside: Iterable[LiveAsk], level: Level, now_ns: int) -> Own | None:
    """Return what limits leave each row of the fleet beside those of some groups; None where there are no others.

    Args:
        state: The desk's.
        beside: The limits on groups, whose shares are made.
        level: Of the one that is shared out.
        now_ns: Now.
    """
    groups = {live.record for live in beside}

    def is_own(batch: ClaimBatch) -> bool:
        live = live_ask(state, batch)
        return live is None or live.record not in groups

    rows = np.arange(len(state.fleet), dtype=np.int32)
    found = state.claims.bounds_by(rows, is_own, level, now_ns)
    if found is None:
        return None
    (least_w, most_w), (low_w, high_w) = found
    absorb_w, inject_w = state.fleet.max_absorb_w, state.fleet.max_inject_w
    return Own(
        np.where(low_w > -absorb_w, low_w, -np.inf), np.where(high_w < inject_w, high_w, np.inf),
        np.where(least_w > -absorb_w, least_w, -np.inf), np.where(most_w < inject_w, most_w, np.inf),
    )  # fmt: skip


def barred_says(state: DeskState, resource: str, low_w: float, high_w: float, level: Level, now_ns: int) -> str:
    """Say that limits of their own keep the devices of a group from what a limit asks (W); empty: they don't."""
    fleet, rows = state.fleet, state.fleet.leaves(resource)
    groups = [live for live in state.asks.values() if len(fleet.leaves(live.ask.resource)) > 1]
    own = own_of(state, groups, level, now_ns) if len(rows) > 1 else None
    if own is None:
        return ""
    least_w = float(np.maximum(own.least_w[rows], -fleet.max_absorb_w[rows]).sum())
    most_w = float(np.minimum(own.most_w[rows], fleet.max_inject_w[rows]).sum())
    if least_w <= high_w and most_w >= low_w:
        return ""
    return (
        f"it can't be met: limits of their own leave the devices of {resource} {least_w:.0f} to {most_w:.0f} W "
        f"together, and {low_w:.0f} to {high_w:.0f} W is asked"
    )
