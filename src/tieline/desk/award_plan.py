"""The schedule of what is awarded: who gives it at each step to the end, at least cost, with its proven gap.

Theory of operation. Merit order shares out one instant: a store gives no more than its energy spread evenly over what
is sold, and what a dear hour needs may be spent by then. The schedule looks at all steps at once (`plan.pool`): a row
gives at most what it can now, a store no more than it holds above its owner's reserve, each at its own cost, and all
together what is awarded, or as much as they can at a price for what lacks. Dispatch then has each store give what the
schedule says; what loads and engines add to it is the same at any step, and goes by merit as before, as does what
meters, limits and outages of the moment ask beside it (`redispatch.allocate_planned`). Where nothing is known of what a
row will be able to do later it counts as able to do what it can now; so the schedule is made anew every quarter of an
hour, in the minute before: a step that is split once moves its stores once. What meters have shown to be given too
little is asked beside the award at every step, as dispatch will ask it: else stores that make up for it would be empty
before their schedule knew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import AwardPlanned
from tieline.desk.obligation import ENERGY, awarded_w, committed_until
from tieline.desk.packed import Packed
from tieline.desk.planned import Planned
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.desk.redispatch import headroom, left_wh, serving
from tieline.desk.state import DeskState
from tieline.ids import derive
from tieline.plan.executor import Executor
from tieline.plan.pool import PoolPlan, Stores, Terms, plan_pool
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS, floor_ns

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
STEP_NS = 15 * MINUTE_NS
AHEAD_NS, ANEW_NS = 5 * MINUTE_NS, 15 * MINUTE_NS
"""So long before an award begins it is scheduled, and so old is a schedule when it is made anew."""
BEFORE_NS = MINUTE_NS
"""So long before it is that old the next is made: a beat earlier, so that it is there as the step begins."""
SETTLED_NS = 30 * SECOND_NS
"""Stores that were told by what stood before a schedule came have followed by then."""
MOST_STEPS = 96
SLACK_PER_WH = 10_000.0 / 1e6
"""What lacks costs more than whatever any row asks."""
LEAST_W = 1.0
TOLERANCE = 1e-6
"""The gap at which it is good enough: what devices give differs by more."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a schedule is made from, copied, so that the desk goes on meanwhile.

    `up_w` and `cost_per_wh` of each row, `left_wh` what it can give in all (inf: no store); shape (n,). `award_w` of
    each step from `start_ns` on, `beside_w` what is asked beside it; shape (T,). Followed from `from_ns` on.
    """

    pool: str
    awards: tuple[str, ...]
    start_ns: int
    made_ns: int
    rows: Rows
    up_w: Floats
    left_wh: Floats
    cost_per_wh: Floats
    award_w: Floats
    beside_w: Floats
    from_ns: int = 0


def asked(state: DeskState, pool: PoolDesk, now_ns: int) -> Asked | None:
    """Return what a schedule of a pool is to be made from; None: none is needed now.

    One is needed where an award for power runs or is about to begin, and the last schedule knew other awards, or is
    old. An award that asks to draw more than the base goes by merit.
    """
    next_ns = floor_ns(now_ns, ANEW_NS) + ANEW_NS
    waits = pool.obligation is None and awarded_w(state, pool.pool, now_ns) is not None  # after a start
    from_ns = next_ns if next_ns - now_ns <= BEFORE_NS and not waits else now_ns
    mine = [a for a in state.awards.values() if _is_mine(a, pool.pool) and from_ns < a.end_ns]
    first_ns = max(min((a.start_ns for a in mine), default=from_ns), from_ns)
    if not mine or first_ns > from_ns + AHEAD_NS:
        return None
    end_ns = committed_until(state, pool.pool, first_ns)
    awards = tuple(sorted(a.id for a in mine if a.start_ns < end_ns))
    known = pool.planned if pool.following is None else pool.following
    # One that was made before the award began is made again as it begins: who can serve has changed since.
    holds = known is not None and set(awards) <= set(known.awards)
    # Made later, the clock was set back.
    holds &= known is not None and floor_ns(from_ns, ANEW_NS) <= max(known.from_ns, known.made_ns)
    holds &= known is not None and known.made_ns <= now_ns
    if holds and known is not None and from_ns < known.end_ns:
        return None
    start_ns = floor_ns(first_ns, STEP_NS)
    starts = range(start_ns, min(end_ns, start_ns + MOST_STEPS * STEP_NS), STEP_NS)
    award_w = np.array([awarded_w(state, pool.pool, max(at, first_ns)) or 0.0 for at in starts])
    if not (award_w > 0.0).any():
        return None
    serves = serving(state, pool.rows, pool.eligible, now_ns)
    room = headroom(state, pool.rows, serves, pool.price, STEP_NS / HOUR_NS, now_ns)
    can = room.up_w > LEAST_W
    rows = pool.rows[can]
    gives_wh = np.maximum(pool.share_w[can], 0.0) * (from_ns - now_ns) / HOUR_NS
    return Asked(
        pool.pool, awards, start_ns, now_ns, rows, room.up_w[can],
        np.maximum(left_wh(state, rows, now_ns) - gives_wh, 0.0), pool.price[can] / 1e6,
        np.maximum(award_w, 0.0), _beside_w(pool, award_w), from_ns,
    )  # fmt: skip


def follow(pool: PoolDesk, made: Planned, now_ns: int) -> bool:
    """Have a pool follow a schedule that was made; returns whether it is to be split by it at once.

    What was split a moment ago stands until devices had time to follow, and then until a minute's mark: a schedule that
    comes behind it would tell stores twice what once is enough for. Where nothing was split it is followed at once.
    """
    if pool.obligation is None:
        pool.planned, pool.following = made, None
        return True
    if made.from_ns <= now_ns:
        made = replace(made, from_ns=-(-(now_ns + SETTLED_NS) // MINUTE_NS) * MINUTE_NS)
    if pool.planned is None:
        pool.planned = made
    else:
        pool.following = made
    return False


def _beside_w(pool: PoolDesk, award_w: Floats) -> Floats:
    """Return what is asked beside the award (W, 0 or more, of each step): what is given too little of it by the meters
    at any step, as a share of it; what rows pay back after a call at the first alone, as it is soon over."""
    debt = pool.obligation
    if debt is None or debt.power_w <= 0.0:
        return np.zeros(len(award_w))
    beside_w: Floats = max(pool.trim_w, 0.0) / debt.power_w * np.maximum(award_w, 0.0)
    beside_w[0] += max(pool.back_w, 0.0) if award_w[0] > 0.0 else 0.0
    return beside_w


def _is_mine(award: Award, pool: str) -> bool:
    return award.pool == pool and award.product == ENERGY


def planned(of: Asked, executor: Executor) -> tuple[Planned, PoolPlan]:
    """Return what each store gives at each step, and the schedule of all with what is proven of it.

    Those that hold no energy and ask alike are one to it, as what they give at one step is nothing to the next: the
    schedule's last rows. Reads nothing but `of`: any thread may run it.
    """
    steps, hours = len(of.award_w), STEP_NS / HOUR_NS
    holds = np.isfinite(of.left_wh)
    level, which = np.unique(of.cost_per_wh[~holds], return_inverse=True)
    up_w = np.concatenate([of.up_w[holds], np.bincount(which, of.up_w[~holds], len(level))])
    left_wh = np.concatenate([of.left_wh[holds], np.full(len(level), np.inf)])
    energy_wh = np.minimum(left_wh, up_w * hours * steps)
    nothing, whole = np.zeros(len(up_w)), np.ones(len(up_w))
    cost = np.concatenate([of.cost_per_wh[holds], level])
    stores = Stores(energy_wh, nothing, energy_wh, nothing, nothing, up_w, whole, whole, cost)
    terms = Terms(np.zeros(steps), low_w=of.award_w + of.beside_w, slack_per_wh=SLACK_PER_WH)
    found = plan_pool(stores, terms, hours, executor=executor, tolerance=TOLERANCE)
    power_w = np.ascontiguousarray(found.power_w[: int(holds.sum())].T.astype(np.float32))
    return Planned(of.awards, of.start_ns, STEP_NS, of.made_ns, of.rows[holds], power_w, of.from_ns), found


def decide_planned(of: Asked, found: PoolPlan) -> Entry:
    """Return the fact of a schedule."""
    asked_w, lacks_w, price = (Packed.of(part) for part in (of.award_w, found.under_w, found.price_per_wh * 1e6))
    fact = AwardPlanned(
        of.pool, of.awards, of.made_ns, of.start_ns, STEP_NS, len(of.rows), asked_w, lacks_w, price, found.cost,
        found.bound, found.gap_frac,
    )  # fmt: skip
    name = derive("award-plan", of.pool, of.made_ns, *of.awards)
    return Entry(name, fact, of.pool, tuple(derive("award", award) for award in of.awards))
