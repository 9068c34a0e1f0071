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
from tieline.fleet.columns import places
from tieline.fleet.settling import ClaimBatch
from tieline.resource.level import Level

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
Caps = tuple[Floats, Floats]
OWED_W = 1.0
"""Nobody is told a cap for less."""


class Own(NamedTuple):
    """Between what limits of their own leave rows (W), and between what a group's limit can push them; shape (n,).

    Infinite where a device's ratings alone bound it.
    """

    low_w: Floats
    high_w: Floats
    least_w: Floats
    most_w: Floats

    def at(self, rows: Rows) -> Own:
        """Return that of some rows."""
        return Own(*(each[rows] for each in self))

    def of(self, rows: Rows) -> Own | None:
        """Return that of some rows; None where no limit of its own bounds any of them."""
        mine = self.at(rows)
        return mine if any(np.isfinite(each).any() for each in mine) else None

    def firm(self, low_w: Floats, high_w: Floats) -> tuple[Floats, Floats]:
        """Return caps (W) as arbitration leaves them beside limits that hold whatever the group needs."""
        return np.minimum(low_w, self.most_w), np.maximum(high_w, self.least_w)

    def is_owed(self, caps_w: Caps, wish_w: Caps) -> bool:
        """Return whether caps, low and high (W), keep any row from what a limit of its own has it do at least, or at
        most, as far as it is to by caps that are wished."""
        up_w = np.minimum(self.low_w, wish_w[1]) - caps_w[1]
        down_w = caps_w[0] - np.maximum(self.high_w, wish_w[0])
        return bool((up_w > OWED_W).any() or (down_w > OWED_W).any())

    def kept_to(self, power_w: Floats, is_load: Mask, able_w: Floats) -> Floats:
        """Return powers (W) as those limits leave them: nobody makes a load draw, or gives more than he can."""
        raised_w = np.maximum(power_w, np.minimum(self.low_w, able_w))
        kept_w: Floats = np.where(is_load, raised_w, np.minimum(raised_w, self.high_w))
        return kept_w


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

    rows = places(np.arange(len(state.fleet)))
    found = state.claims.bounds_by(rows, is_own, level, now_ns)
    if found is None:
        return None
    (least_w, most_w), (low_w, high_w) = found
    absorb_w, inject_w = state.fleet.max_absorb_w, state.fleet.max_inject_w
    return Own(
        np.where(low_w > -absorb_w, low_w, -np.inf), np.where(high_w < inject_w, high_w, np.inf),
        np.where(least_w > -absorb_w, least_w, -np.inf), np.where(most_w < inject_w, most_w, np.inf),
    )  # fmt: skip
