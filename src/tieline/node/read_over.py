"""The alarms of a pool that gives more than is asked, as what it let go is not back yet, and of a program event that
gets more than was approved, as what is on or off stays: how much, why, until when.

Loads with a rebound come back in turn, and what is on or off stays as told for its least time. Where the market asks
for much less than before, that may be more than all that it asks for. Nobody can end it sooner but by a rebound, or a
compressor's wear; the market can be told of it. Of an event that is told once others that were called for those are
there beside them, and stores were let go: until it ends, or a person cancels it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.event_over import stays_over_w
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.state import DeskState
from tieline.desk.tracking import held_w, waiting_w
from tieline.desk.views import AlarmView
from tieline.ids import derive
from tieline.node.read_alarms import Since
from tieline.node.read_likely import Found
from tieline.times import MINUTE_NS, iso

OVER_FRAC, STAYS_FRAC, LEAST_W = 0.1, 0.08, 1_000.0
"""So much of what is asked, and at least so much, may come beside it unsaid: as much may lack. What is told goes below
less."""
LASTS_NS = 3 * MINUTE_NS
"""A step is over in a minute or two."""
TURNS, LEAST_TIMES = "loads that come back in turn", "loads and stores that their own timers hold"
RESPOND_S = 600
Floats = NDArray[np.float64]


def over_by_reason(state: DeskState, pool: PoolDesk, now_ns: int) -> tuple[dict[str, float], int]:
    """Return what a pool gives beyond what is asked (W, by its reason), and when the last of that is over (ns).

    What is asked of others was lowered to nothing by then, or as far as they can be.
    """
    debt = pool.obligation
    if debt is None or pool.over_w <= 0.0 or state.is_killed:
        return {}, now_ns
    side, rows = (-1.0 if debt.power_w < 0.0 else 1.0), pool.rows
    waits = np.abs(pool.share_w) <= 1.0
    waits_w = np.where(waits, waiting_w(state, rows, pool.share_w, side, now_ns), 0.0)
    held = np.where(waits, np.maximum(side * held_w(state, rows, pool.share_w, now_ns), 0.0), 0.0)
    in_turn = (waits_w > 0.0) & (state.release_at_ns[rows] > now_ns)
    gives_w = np.maximum(waits_w, held)
    whole_w = float(gives_w.sum())
    if whole_w <= 0.0:
        return {}, now_ns
    ends_ns = np.where(in_turn, state.release_at_ns[rows], state.claims.holds.until_ns[rows])
    parts = {TURNS: float(gives_w[in_turn].sum()), LEAST_TIMES: float(gives_w[~in_turn].sum())}
    over_w = min(pool.over_w, whole_w)
    found = {reason: watts * over_w / whole_w for reason, watts in parts.items() if watts > 1.0}
    return found, max(int(ends_ns[gives_w > 1.0].max(initial=now_ns)), now_ns)


def over_delivery(state: DeskState, pool: PoolDesk, since: Since, now_ns: int) -> Found:
    """Return the alarm of a pool that gives over a tenth more than is asked (and 1 kW) as what it let go is not back
    yet, and for how long that must be so.

    Args:
        state: What is known.
        pool: Whose.
        since: When each standing alarm began, by id.
        now_ns: Now.
    """
    found, until_ns = over_by_reason(state, pool, now_ns)
    name, over_w = derive("alarm", "over", pool.pool), sum(found.values())
    if pool.obligation is None:
        return []
    asked_w = abs(pool.obligation.power_w)
    least_frac = STAYS_FRAC if name in since else OVER_FRAC
    if over_w <= max(least_frac * asked_w, LEAST_W):
        return []
    said = ", ".join(f"{watts / 1e3:.1f} kW of {reason}" for reason, watts in found.items())
    title = f"Gives {over_w / 1e3:.1f} kW more than the {asked_w / 1e3:.1f} kW asked: {said}, until {iso(until_ns)}"
    alarm = AlarmView(
        name, 3, pool.pool, title, "What is given beyond is settled at the real-time price",
        "Tell the market that so much more comes until then", RESPOND_S, "/market", 1, since.get(name, now_ns),
    )  # fmt: skip
    return [(alarm, LASTS_NS)]


def event_over(state: DeskState, since: Since, now_ns: int) -> Found:
    """Return the alarm of each program event that gets over a tenth more than was approved (and 1 kW), with all let go
    that may be, and for how long that must be so.

    Args:
        state: What is known.
        since: When each standing alarm began, by id.
        now_ns: Now.
    """
    found: Found = []
    for event, it in state.events.items():
        over_w, stay = stays_over_w(state, event, now_ns)
        name, asked_w = derive("alarm", "event over", event), abs(it.power_w)
        least_frac = STAYS_FRAC if name in since else OVER_FRAC
        if over_w <= max(least_frac * asked_w, LEAST_W):
            continue
        who = f"{stay} devices that are on or off stay as they are" if stay else "none of its devices can give less"
        title = (
            f"Event {it.program} gets {over_w / 1e3:.1f} kW more than the {asked_w / 1e3:.1f} kW asked: {who}, until "
        )
        alarm = AlarmView(
            name, 3, it.group, title + iso(it.end_ns), "Owners go without for more than was approved",
            "Cancel it, and compose one that asks for less, if that is too much", RESPOND_S, "/events", max(stay, 1),
            since.get(name, now_ns),
        )  # fmt: skip
        found.append((alarm, LASTS_NS))
    return found
