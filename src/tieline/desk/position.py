"""What authorities above the market leave a pool to promise, told to the reservation book (rule R18).

When levels 1 to 4 take capacity, the book derates the pool for as long as they hold it, and names the promises that
lose cover: the weakest product, the newest reservation first. When they give it back the derating ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.agreed import ENERGY
from tieline.desk.ends import least_within_w
from tieline.desk.entry import Entry
from tieline.desk.facts import CapacityDerated
from tieline.desk.modes import barred
from tieline.desk.packed import Shortened
from tieline.desk.state import DeskState
from tieline.fleet.firm import firm_w
from tieline.fleet.ledger import SLOT_NS, Ledger, Shortfall
from tieline.fleet.pooled import from_rest
from tieline.ids import derive
from tieline.resource.claim import ClaimKind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import DAY_NS, FOREVER_NS

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
MOVED_W, MOVED_FRAC = 1_000.0, 0.01
LEAST_NS = 3 * SLOT_NS
"""For how long a derating holds at least: a lease of minutes that is renewed again and again is one derating."""
REACH_NS = DAY_NS
"""Over how long it is learnt how often a device can be reached."""


def learn_reach(state: DeskState, passed_ns: int) -> None:
    """Blend into each row's share of time in reach whether it can be seen now."""
    seen = (state.fleet.quality & int(UNFIT_FOR_DISPATCH)) == 0
    state.reach_frac += (seen - state.reach_frac) * -np.expm1(-passed_ns / REACH_NS)


def keep_firm(state: DeskState, pool: str, rows: Rows, eligible: Mask) -> None:
    """Tell the book what the pool's leaves can be counted on for (P95): new promises keep within it."""
    capacity = state.ledger.capacities.get(pool)
    if capacity is not None:
        reach_frac = state.reach_frac[rows[eligible]]
        up_frac, down_frac = (
            firm_w(side_w, reach_frac) / float(side_w.sum()) if side_w.sum() > 0 else 1.0
            for side_w in from_rest(state.fleet, rows[eligible])
        )
        state.ledger.set_firm(pool, up_frac * capacity.up_w, down_frac * capacity.down_w)


def decide_derating(state: DeskState, pool: str, rows: Rows, eligible: Mask, cause: str, now_ns: int) -> list[Entry]:
    """Return the fact that derates a pool, or ends a derating; none where what is left hardly moved."""
    capacity = state.ledger.capacities.get(pool)
    if capacity is None:
        return []
    fracs = _left_fracs(state, rows, eligible, now_ns)
    before, until_ns = state.derated.get(pool, ((1.0, 1.0), FOREVER_NS))
    end_ns = _until_ns(state, rows, now_ns)
    sizes_w = (capacity.up_w, capacity.down_w)
    least_w = max(MOVED_W, MOVED_FRAC * max(sizes_w))
    lost_w = max((1.0 - frac) * size_w for frac, size_w in zip(fracs, sizes_w, strict=True))
    moved_w = max(abs(frac - was) * size_w for frac, was, size_w in zip(fracs, before, sizes_w, strict=True))
    runs_out = lost_w >= MOVED_W and until_ns - now_ns < SLOT_NS and end_ns > until_ns
    ends = min(fracs) >= 1.0 and min(before) < 1.0
    if moved_w < least_w and not (runs_out or ends):
        return []
    up_w, down_w = fracs[0] * capacity.up_w, fracs[1] * capacity.down_w
    short = shortened(state.ledger, pool, up_w, down_w, now_ns, end_ns)
    fact = CapacityDerated(pool, cause, up_w, down_w, now_ns, end_ns, short)
    # Two beats of one instant may differ: what the second finds is a record of its own.
    name = derive("derated", pool, cause, now_ns, state.revision)
    return [Entry(name, fact, pool, (cause,) if cause else ())]


def _left_fracs(state: DeskState, rows: Rows, eligible: Mask, now_ns: int) -> tuple[float, float]:
    """Return the shares of what a pool gives from rest, up and down, that authorities above the market leave to it."""
    mine = rows[eligible]
    low_w, high_w = state.claims.bounds_above(rows, Level.RELIABILITY, now_ns, with_timers=False)
    low_w = least_within_w(state, rows, low_w)
    free = ~state.opted_out[mine] & state.lasts(ENERGY, mine) & ~barred(state)[mine]
    whole, left = from_rest(state.fleet, mine), from_rest(state.fleet, mine, low_w[eligible], high_w[eligible])
    up, down = (
        float(left_w[free].sum()) / float(whole_w.sum()) if whole_w.sum() > 0 else 1.0
        for whole_w, left_w in zip(whole, left, strict=True)
    )
    return up, down


def _until_ns(state: DeskState, rows: Rows, now_ns: int) -> int:
    """Return until when authorities above the market hold what they hold now: the last of their leases.

    A lease that was renewed when it ends makes a new derating, so that tomorrow is not derated by today's limit.
    """
    mine = np.zeros(len(state.fleet), np.bool_)
    mine[rows] = True
    last_ns = 0
    for batch, alive in state.claims.batches():
        if (
            last_ns < batch.end_ns < FOREVER_NS and Level.SAFETY <= batch.level < Level.RELIABILITY
            and state.claims.holds_at(batch, now_ns) and batch.kind in (ClaimKind.LIMIT, ClaimKind.GATE)
            and np.count_nonzero(mine[batch.rows] & alive)
        ):  # fmt: skip
            last_ns = batch.end_ns
    if last_ns:
        return max(last_ns, now_ns + LEAST_NS)
    return FOREVER_NS  # an opt-out without end, or nothing any more: what was derated before ends from now on


def shortened(
    ledger: Ledger, pool: str, up_w: float, down_w: float, start_ns: int, end_ns: int
) -> tuple[Shortened, ...]:
    """Return which promises a derating would leave without cover, each told once over the slots that lack it."""
    trial = ledger.deratings.get(pool)
    lacking = ledger.derate(pool, up_w, down_w, start_ns, start_ns, end_ns)
    ledger.deratings[pool] = trial or []  # only tried: the fact will do it
    found: dict[str, list[Shortfall]] = {}
    for shortfall in lacking:
        found.setdefault(shortfall.booking, []).append(shortfall)
    return tuple(
        Shortened(
            name, min(s.slot for s in found[name]) * SLOT_NS, (max(s.slot for s in found[name]) + 1) * SLOT_NS,
            max(s.up_w for s in found[name]), max(s.down_w for s in found[name]),
        )
        for name in found
    )  # fmt: skip
