"""Groups under whose upper limit loads count at what they draw, as grid operators read a line's net flow.

By default what loads draw makes no room there for who gives, as a load may stop at any moment (`MAY_STOP`). Where the
settings say so (`COUNTED`) those that are heard count, less a margin: the group may then stand above its end from the
moment at which one stops by itself until the beat that its reading calls for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.nested import MARGIN_FRAC, in_force
from tieline.desk.state import DeskState
from tieline.resource.claim import Quantity
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.resource.point import points
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import SECOND_NS

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
MAY_STOP, COUNTED = "may_stop", "counted"
FRESH_NS = round(points()["power_w"].stale_after_s * SECOND_NS)
SURE_FRAC = 1.0 - MARGIN_FRAC
"""So much of what a load draws counts: its meter is off, and it draws now more, now less."""


SAYS = {
    COUNTED: "loads count at what they draw",
    MAY_STOP: "loads count for nothing above, as they may stop",
}


def rule_of(state: DeskState, group: str) -> str:
    """Return how loads count beneath the upper end of a group's limit on net power: `COUNTED` or `MAY_STOP`."""
    is_counted = group in state.counted or state.fleet.kind_of(group) is Kind.SITE
    return COUNTED if is_counted else MAY_STOP


def told_rule(state: DeskState, group: str) -> str:
    """Return `rule_of` a group; empty where a limit counts no load: on one device, or on what a group gives."""
    is_net = state.fleet.holds(group) and state.fleet.kind_of(group) in GROUP_KINDS - {Kind.GENERATION}
    return rule_of(state, group) if is_net else ""


def counted(state: DeskState, group: str, rows: Rows, now_ns: int) -> Mask:
    """Return which rows of a group count at what they draw by the settings: heard, and not too long ago; shape (n,).

    Behind a site's meter they count by rules of their own (R17), which this says nothing of.
    """
    if group not in state.counted:
        return np.zeros(len(rows), np.bool_)
    fleet = state.fleet
    is_fit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    mask: Mask = is_fit & (now_ns - fleet.taken_at_ns[rows] <= FRESH_NS)
    return mask


def stands_above(state: DeskState, now_ns: int) -> bool:
    """Return whether a group whose loads count stands above the upper end of a limit, by its meters."""
    if not state.counted:
        return False
    return any(
        float(np.nansum(state.fleet.known_power_w(state.fleet.leaves(live.ask.resource)))) > live.ask.high + 1.0
        for live in in_force(state, now_ns)
        if live.ask.resource in state.counted and math.isfinite(live.ask.high) and live.ask.quantity is Quantity.P
    )
