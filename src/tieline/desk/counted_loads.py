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
from tieline.desk.ports import Ask
from tieline.desk.state import DeskState
from tieline.resource.claim import Quantity
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.resource.point import points
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import SECOND_NS

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
MAY_STOP, COUNTED, SHARED, SITE = "may_stop", "counted", "shared", "site"
"""`SHARED` is no setting: they would count, but limits share devices, and one has a lower end (`falls_back`). `SITE`:
behind a site's connection they count while their readings are fresh (`is_stale`)."""
FRESH_NS = round(points()["power_w"].stale_after_s * SECOND_NS)
SURE_FRAC = 1.0 - MARGIN_FRAC
"""So much of what a load draws counts: its meter is off, and it draws now more, now less."""
SETTING = "`loads` of [limits] in tieline.toml"
SITE_SETTING = "`site_stale_s` of [limits] in tieline.toml"
SAYS = {
    COUNTED: f"loads count at what they draw, by {SETTING}",
    SHARED: "loads count for nothing, as it shares devices with another limit, and one of both has a lower end",
    MAY_STOP: f"loads count for nothing, as they may stop: {SETTING} can have them count",
    SITE: f"loads count at what they draw while they tell it often enough, else for nothing: {SITE_SETTING} says how "
    "old a reading may be",
}
LINE_KINDS = (Kind.FEEDER, Kind.SUBSTATION, Kind.TRANSFORMER, Kind.BUS)
"""Groups with a line of their own, whose net flow is what a grid operator limits. Elsewhere nothing flows together."""


def rule_of(state: DeskState, group: str) -> str:
    """Return how loads count beneath the upper end of a group's limit on net power: `COUNTED` or `MAY_STOP`."""
    is_counted = group in state.counted or state.fleet.kind_of(group) is Kind.SITE
    return COUNTED if is_counted else MAY_STOP


def falls_back(state: DeskState, group: str, now_ns: int) -> bool:
    """Return whether loads count for nothing beneath a group's limit though the settings have them count there.

    Limits hold devices of it together, one of them at a lower end too: what each leaves to whom moves with what loads
    draw, and might hold another beyond an end for some beats.
    """
    if group not in state.counted:
        return False
    fleet, mine = state.fleet, np.zeros(len(state.fleet), np.bool_)
    left = [
        (live.ask, fleet.leaves(live.ask.resource))
        for live in in_force(state, now_ns)
        if live.ask.quantity is Quantity.P
    ]
    mine[fleet.leaves(group)] = True
    found: list[tuple[Ask, Rows]] = []
    while more := [one for one in left if mine[one[1]].any()]:
        found, left = [*found, *more], [one for one in left if not mine[one[1]].any()]
        for _, rows in more:
            mine[rows] = True
    has_low = any(ask.low > -float(fleet.max_absorb_w[rows].sum()) for ask, rows in found)
    return len(found) > 1 and has_low


def told_rule(state: DeskState, ask: Ask, now_ns: int) -> str:
    """Return how loads count beneath a limit: as `rule_of` its group, `SHARED`, or `SITE`; empty where it counts none,
    on one device or on what a group gives."""
    group = ask.resource
    if state.fleet.holds(group) and state.fleet.kind_of(group) is Kind.SITE:
        return SITE
    if not state.fleet.holds(group) or state.fleet.kind_of(group) not in GROUP_KINDS - {Kind.GENERATION}:
        return ""
    return SHARED if falls_back(state, group, now_ns) else rule_of(state, group)


def uncounted_says(state: DeskState, ask: Ask, now_ns: int) -> str:
    """Say what loads draw that makes no room beneath a limit for who gives, and where that is set; empty: nothing."""
    fleet, rule = state.fleet, told_rule(state, ask, now_ns)
    if rule not in (MAY_STOP, SHARED, SITE):
        return ""
    rows = fleet.leaves(ask.resource)
    rows = rows[fleet.max_inject_w[rows] <= 0.0]
    if rule == SITE:
        rows = rows[is_stale(state, rows, now_ns)]
    known_w = fleet.known_power_w(rows)
    is_known = not len(known_w) or not np.isnan(known_w).all()  # else none of them was ever heard
    draws_w = float(np.nansum(np.maximum(-known_w, 0.0)))
    if is_known and draws_w <= 1.0:
        return ""
    if rule == SITE:
        some = ", ".join(fleet.id_of(row) for row in rows[:3].tolist()) + (" and others" if len(rows) > 3 else "")
        return (
            f"the draw of {some}{f' ({draws_w:.0f} W now)' if is_known else ''} makes no room beneath it, as readings "
            f"of that come more rarely than every {state.site_stale_ns / SECOND_NS:g} s or are older: have it told "
            f"more often, or raise {SITE_SETTING}"
        )
    drawn = f"what the loads of {ask.resource} draw" + (f" ({draws_w:.0f} W now)" if is_known else "")
    if rule == SHARED:
        return f"{drawn} makes no room beneath it, as it shares devices with another limit, and one has a lower end"
    return f"{drawn} makes no room beneath it, as they may stop: {SETTING} can have it count"


def cuts_says(state: DeskState, ask: Ask, now_ns: int) -> str:
    """Say so where an asked limit cuts who gives while loads draw that count for nothing; empty: it does not."""
    fleet = state.fleet
    if not told_rule(state, ask, now_ns):
        return ""
    rows = fleet.leaves(ask.resource)
    others = rows[fleet.max_inject_w[rows] > 0.0]
    is_cut = float(np.nansum(fleet.known_power_w(others))) > ask.high * (1.0 - MARGIN_FRAC)
    return uncounted_says(state, ask, now_ns) if is_cut and len(others) else ""


def is_stale(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return whose readings are too old to count behind a site's connection (R17), or come too rarely: what is fresh at
    one beat and too old at the next would move the others to and fro; shape (n,)."""
    fleet, oldest_ns = state.fleet, state.site_stale_ns
    mask: Mask = (now_ns - fleet.taken_at_ns[rows] > oldest_ns) | (fleet.heard_every_ns[rows] > oldest_ns)
    return mask


def counted(state: DeskState, group: str, rows: Rows, now_ns: int) -> Mask:
    """Return which rows of a group count at what they draw by the settings: heard, and not too long ago; shape (n,).

    Behind a site's meter they count by rules of their own (`is_stale`), which this says nothing of.
    """
    if group not in state.counted or falls_back(state, group, now_ns):
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
