"""What authorities above the market leave a pool to promise, told to the reservation book (rule R18).

When levels 1 to 4 take capacity, the book derates the pool for as long as they hold it, and names the promises that
lose cover: the weakest product, the newest reservation first. When they give it back the derating ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import CapacityDerated
from tieline.desk.modes import barred
from tieline.desk.packed import Shortened
from tieline.desk.state import DeskState
from tieline.fleet.firm import firm_w
from tieline.fleet.ledger import SLOT_NS, Ledger, Shortfall
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
    fleet = state.fleet
    span_w = np.where(eligible, fleet.max_inject_w[rows] + fleet.max_absorb_w[rows], 0.0)
    capacity = state.ledger.capacities.get(pool)
    if capacity is not None and span_w.sum() > 0:
        frac = firm_w(span_w, state.reach_frac[rows]) / float(span_w.sum())
        state.ledger.set_firm(pool, frac * capacity.up_w, frac * capacity.down_w)


def decide_derating(state: DeskState, pool: str, rows: Rows, eligible: Mask, cause: str, now_ns: int) -> list[Entry]:
    """Return the fact that derates a pool, or ends a derating; none where what is left hardly moved."""
    capacity = state.ledger.capacities.get(pool)
    if capacity is None:
        return []
    fleet = state.fleet
    low_w, high_w = state.claims.bounds_above(rows, Level.RELIABILITY, now_ns, with_timers=False)
    span_w = np.where(eligible, fleet.max_inject_w[rows] + fleet.max_absorb_w[rows], 0.0)
    left_w = np.where(eligible & ~state.opted_out[rows] & ~barred(state)[rows], high_w - low_w, 0.0)
    frac = float(left_w.sum()) / float(span_w.sum()) if span_w.sum() > 0 else 1.0
    before, until_ns = state.derated.get(pool, (1.0, FOREVER_NS))
    end_ns = _until_ns(state, rows, now_ns)
    size_w = max(capacity.up_w, capacity.down_w)
    least_w = max(MOVED_W, MOVED_FRAC * size_w)
    runs_out = (1.0 - frac) * size_w >= MOVED_W and until_ns - now_ns < SLOT_NS and end_ns > until_ns
    ends = frac >= 1.0 and before < 1.0
    if abs(frac - before) * size_w < least_w and not (runs_out or ends):
        return []
    up_w, down_w = frac * capacity.up_w, frac * capacity.down_w
    short = shortened(state.ledger, pool, up_w, down_w, now_ns, end_ns)
    fact = CapacityDerated(pool, cause, up_w, down_w, now_ns, end_ns, short)
    return [Entry(derive("derated", pool, cause, now_ns), fact, pool, (cause,) if cause else ())]


def _until_ns(state: DeskState, rows: Rows, now_ns: int) -> int:
    """Return until when authorities above the market hold what they hold now: the last of their leases.

    A lease that was renewed when it ends makes a new derating, so that tomorrow is not derated by today's limit.
    """
    mine = np.zeros(len(state.fleet), np.bool_)
    mine[rows] = True
    ends = [
        batch.end_ns
        for batch, alive in state.claims.batches()
        if Level.SAFETY <= batch.level < Level.RELIABILITY and state.claims.holds_at(batch, now_ns)
        and batch.kind in (ClaimKind.LIMIT, ClaimKind.GATE) and (mine[batch.rows] & alive).any()
    ]  # fmt: skip
    leased = [end_ns for end_ns in ends if end_ns < FOREVER_NS]
    if leased:
        return max(*leased, now_ns + LEAST_NS)
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
