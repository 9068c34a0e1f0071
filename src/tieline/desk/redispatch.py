"""What a pool owes becomes shares of its rows: the market's claims, placed afresh only where they moved."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.desk.agreed import ENERGY
from tieline.desk.base import LEAST_TOLD_W, is_free
from tieline.desk.beside import left_beside, whole_or_none
from tieline.desk.ends import least_within_w
from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsEnded, ClaimsPlaced
from tieline.desk.modes import barred
from tieline.desk.obligation import Obligation, committed_until
from tieline.desk.packed import Packed
from tieline.desk.state import DeskState
from tieline.desk.sun import IS_PLANT
from tieline.fleet.able import SUSTAIN_H, able_w, stored_wh, takes_wh
from tieline.fleet.columns import KIND_CODE, among, or_0, places
from tieline.fleet.split import split_merit
from tieline.ids import derive
from tieline.resource.claim import ClaimEnd, ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import HOUR_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
LostW = dict[str, float]
SOURCE = "desk.market"
MOVED_W = 25.0
MOVED_FRAC = 0.02
CEILING_FRAC = 0.005
"""A claim is placed anew where its target moves by so much, or this share of what it gives: the ceiling of a plant by
less, as the sun under it moves by itself, and what the plant gives with it."""
_IS_CAR = among((KIND_CODE[Kind.EV_CHARGER],))
LEAST_W = 100.0
"""A charger that draws no more than this charges nobody."""
ROUNDS = 4
"""So often a split is tried again at most as others turn out to be held to more than it calls them for."""


@dataclass(frozen=True, slots=True, eq=False)
class Headroom:
    """How far each row of a pool can move from its base; shape (n,), W, 0 or more."""

    rows: Rows
    base_w: Floats
    up_w: Floats
    down_w: Floats
    price: Floats
    may_serve: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """Who gives what: targets (W), the sum that is feasible and what is lacking."""

    rows: Rows
    target_w: Floats
    share_w: Floats
    feasible_w: float
    shortfall_w: float


def headroom(state: DeskState, rows: Rows, may_serve: Mask, price: Floats, hours: float, now_ns: int) -> Headroom:
    """Return what each row can give now, held for so many hours.

    Limits of authorities above the market, opt-outs, misses, poor telemetry and ineligibility all count; energy above
    what an owner keeps back is spread over the commitment, so that no store is empty before, room lasts five minutes.
    """
    base_w = state.base_w[rows]
    free_w, down_w = unlimited(state, rows, hours, now_ns)
    low_w, high_w = state.claims.bounds_above(rows, Level.MARKET, now_ns)
    up_w = whole_or_none(state, rows, np.minimum(free_w, np.maximum(high_w - base_w, 0.0)), free_w)
    up_w = left_beside(state, rows, np.where(may_serve, up_w, 0.0), Level.MARKET, now_ns)
    down_w = np.minimum(down_w, np.maximum(base_w - least_within_w(state, rows, low_w), 0.0))
    return Headroom(rows, base_w, up_w, down_w, price, may_serve)


def standing_w(state: DeskState, pool: str, rows: Rows) -> Floats:
    """Return what a pool's market claims that stand ask of its rows (W from base; 0: none does), as before a start."""
    value_w = np.full(len(state.fleet), np.nan)
    for batch, alive in state.claims.batches():  # none holds for a row beside a newer one
        if batch.source == SOURCE and batch.program == pool:
            value_w[batch.rows[alive]] = batch.value[alive]
    share_w: Floats = np.nan_to_num(value_w[rows] - state.base_w[rows])
    return share_w


def serving(state: DeskState, rows: Rows, eligible: Mask, now_ns: int) -> Mask:
    """Return which rows the market can call now: eligible, seen, in, not left out, not barred by mode."""
    seen = (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    left_in = ~state.opted_out[rows] & state.lasts(ENERGY, rows) & (state.missed_until_ns[rows] <= now_ns)
    mask: Mask = eligible & seen & left_in & ~barred(state)[rows]
    return mask


def unlimited(state: DeskState, rows: Rows, hours: float, now_ns: int) -> tuple[Floats, Floats]:
    """Return how far each row could move from its base (W, 0 or more) if nobody limited it.

    What an owner keeps back of a store is no part of it.
    """
    return _could_w(state, rows, hours, kept_frac(state, rows, now_ns), now_ns)


def kept_frac(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return what an owner keeps back of each store (0 to 1): by his own word now, or by his contract."""
    own = np.maximum(state.claims.most_low(rows, Quantity.SOC_RESERVE, now_ns), 0.0)
    return own if state.agreed is None else np.maximum(own, state.agreed.reserve_frac[rows])


def _could_w(state: DeskState, rows: Rows, hours: float, keeps_frac: Floats, now_ns: int) -> tuple[Floats, Floats]:
    """Return how far each row could move from its base (W) while its store keeps so much (0 to 1).

    A plant rises no further than the sun has it do by itself: its base is that. It is called to less alone. Nor does a
    car give what it drew a minute ago that has left or is full by now: that it draws nothing is its own doing.
    """
    rows = places(rows)
    fleet, base_w = state.fleet, state.base_w[rows]
    moved_w = fleet.power_or_0_w(rows) - base_w
    able_up_w, able_down_w = able_w(fleet, rows)
    up_w, down_w = able_up_w + moved_w, able_down_w - moved_w
    up_w = np.where(IS_PLANT[fleet.kinds[rows]] | _is_done(state, rows, able_up_w, now_ns), 0.0, up_w)
    sustained_w = _left_wh(state, rows, keeps_frac) / max(hours, SUSTAIN_H)
    down_w = np.minimum(down_w, np.maximum(base_w, 0.0) + takes_wh(fleet, rows) / SUSTAIN_H)
    return np.maximum(np.minimum(up_w, sustained_w), 0.0), np.maximum(down_w, 0.0)


def _is_done(state: DeskState, rows: Rows, able_up_w: Floats, now_ns: int) -> Mask:
    """Return which rows are cars that nobody holds and that draw nothing."""
    mask: Mask = _IS_CAR[state.fleet.kinds[rows]] & (able_up_w <= 1.0)
    at = np.flatnonzero(mask)
    if len(at):
        idle = np.abs(state.fleet.power_or_0_w(rows[at])) <= LEAST_W
        mask[at] = idle & is_free(state, rows[at], now_ns)
    return mask


def left_wh(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return what each row can give in all, above what its owner keeps back (Wh; inf: no store, or untold)."""
    return _left_wh(state, rows, kept_frac(state, rows, now_ns))


def _left_wh(state: DeskState, rows: Rows, keeps_frac: Floats) -> Floats:
    size_wh = state.fleet.energy_wh[rows]
    energy_wh = np.maximum(stored_wh(state.fleet, rows) - keeps_frac * size_wh, 0.0)
    found: Floats = np.where(np.isfinite(energy_wh) & (size_wh > 0), or_0(energy_wh), np.inf)
    return found


DNO_LIMIT, OWN_LIMIT, BY_MODE, BY_KILL = "dno_limit", "own_limit", "feeder_mode", "kill_switch"
"""What binds a row: the grid's operator (levels 1 to 3), or its owner, a stronger program or its own timer;
what the mode of its feeder bars; and the kill switch, behind which none can be called."""


def lost_headroom(
    state: DeskState, rows: Rows, eligible: Mask, side: float, hours: float, now_ns: int,
    products: tuple[str, ...] = ENERGY,
) -> LostW:  # fmt: skip
    """Return what took headroom away on the side that is owed (W, by cause), a row counted at its first cause.

    A limit takes the difference that it makes; an opt-out, a silent row and one left out after a miss take all of it.
    While the kill switch is pressed it comes first, and takes all that could be called without it.
    """
    rows = places(rows)
    free = unlimited(state, rows, hours, now_ns)[0 if side >= 0 else 1]
    kept_w = _could_w(state, rows, hours, np.zeros(len(rows)), now_ns)[0 if side >= 0 else 1] - free
    base_w = state.base_w[rows]

    def within_w(bounds: tuple[Floats, Floats]) -> Floats:
        low_w, high_w = least_within_w(state, rows, bounds[0]), bounds[1]
        found_w = np.minimum(free, np.maximum(high_w - base_w if side >= 0 else base_w - low_w, 0.0))
        return whole_or_none(state, rows, found_w, free) if side >= 0 else found_w

    unseen = (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    left, found = eligible.copy(), {}
    held_out = barred(state)[rows]
    if held_out.any():
        found[BY_MODE] = float(free[left & held_out].sum())
        left &= ~held_out
    is_local = state.claims.is_local[rows]
    # What he gives by his own hand serves, and is not lost.
    free = np.where(is_local, np.maximum(_by_hand_w(state, rows, side) - free, 0.0), free)
    for cause, mask in (
        ("opt_out", state.out_of(products, rows)),
        ("offline", unseen),
        *((("foreign_control", is_local),) if is_local.any() else ()),
        ("unresponsive", state.missed_until_ns[rows] > now_ns),
    ):
        found[cause] = float(free[left & mask].sum())
        left &= ~mask
    by_rating_w = within_w((-state.fleet.max_absorb_w[rows], state.fleet.max_inject_w[rows]))
    by_dno_w = within_w(state.claims.limits_above(rows, Level.OWNER_NEED, now_ns))
    by_all_w = within_w(state.claims.bounds_above(rows, Level.MARKET, now_ns))
    if side >= 0:
        by_dno_w, by_all_w = (
            left_beside(state, rows, np.where(left, found_w, 0.0), level, now_ns)
            for found_w, level in ((by_dno_w, Level.OWNER_NEED), (by_all_w, Level.MARKET))
        )
    by_all_w = np.minimum(by_dno_w, by_all_w)
    limits = {
        DNO_LIMIT: float((by_rating_w - by_dno_w)[left].sum()),
        OWN_LIMIT: float((by_dno_w - by_all_w + kept_w)[left].sum()),  # what owners keep in their stores is theirs
    }
    stopped = {BY_KILL: float(by_all_w[left].sum())} if state.is_killed else {}
    return {**stopped, **limits, **found}


def _by_hand_w(state: DeskState, rows: Rows, side: float) -> Floats:
    """Return how far rows that somebody else set could move from their base without that (W): none says so itself."""
    fleet, base_w = state.fleet, state.base_w[rows]
    most_w = np.where(fleet.energy_wh[rows] > 0.0, fleet.max_inject_w[rows], np.maximum(base_w, 0.0))
    found: Floats = np.maximum(most_w - base_w if side >= 0 else base_w + fleet.max_absorb_w[rows], 0.0)
    return found


def allocate(room: Headroom, owed_w: float) -> Allocation:
    """Split what is owed over the rows by merit order; the lack, if any, is named, never hidden."""
    side_w = room.up_w if owed_w >= 0 else room.down_w
    signed_w = np.sign(owed_w) * split_merit(abs(owed_w), np.where(room.may_serve, side_w, 0.0), room.price)
    feasible_w = float(signed_w.sum())
    return Allocation(room.rows, room.base_w + signed_w, signed_w, feasible_w, owed_w - feasible_w)


def allocate_beside(
    room: Headroom, owed_w: float, waiting_w: Floats, staged: Mask, called: Mask | None = None
) -> Allocation:
    """Split what is owed beside what rows give that wait for their turn to come back (W, 0 or more, of each row).

    What those give is taken off the shares of rows that go back at once: one that is `staged` when it is let go would
    wait and go on giving as well. The rest of it is taken off staged rows that are not `called` yet (None: all are).
    Those that wait are called again only where the others can't give what is owed.
    """
    gives_w = float(waiting_w.sum())
    if gives_w <= 0.0:
        return allocate(room, owed_w)
    split = allocate(replace(room, may_serve=room.may_serve & (waiting_w <= 0.0)), owed_w)
    if abs(split.shortfall_w) > gives_w + 1.0:
        return allocate(room, owed_w)
    share_w, over_w = np.abs(split.share_w), gives_w - abs(split.shortfall_w)
    for goes in (~staged,) if called is None else (~staged, staged & ~called):
        whole_w = float(share_w[goes].sum())
        left_w = split_merit(min(max(whole_w - over_w, 0.0), whole_w), np.where(goes, share_w, 0.0), room.price)
        share_w, over_w = np.where(goes, left_w, share_w), max(over_w - whole_w, 0.0)
    share_w *= np.sign(owed_w)
    feasible_w = float(share_w.sum())
    lacks_w = max(abs(owed_w) - abs(feasible_w) - gives_w, 0.0)
    return Allocation(room.rows, room.base_w + share_w, share_w, feasible_w, math.copysign(lacks_w, owed_w))


def allocate_planned(
    room: Headroom, free: Headroom, owed_w: float, waiting_w: Floats, staged: Mask, planned_w: Floats, stores: Mask,
    called: Mask | None = None,
) -> Allocation:  # fmt: skip
    """Split what is owed: stores by a schedule, or less where others go on giving; the rest, and what lacks, by merit.

    Args:
        room: How far each row can move for as long as the commitment lasts.
        free: How far it can move now: a schedule may ask more of a store in a dear hour, as it asks less later.
        owed_w: Above 0.
        waiting_w: What rows give that wait for their turn to come back (W).
        staged: Which rows wait for a turn when they are let go.
        planned_w: What the schedule asks of each row now (W, 0 or more).
        stores: Which rows hold energy: what one gives now it can't give later.
        called: Which rows are called by now; None: all.
    """
    holds = stores & room.may_serve & (waiting_w <= 0.0)
    share_w = np.where(holds, np.minimum(np.maximum(planned_w, 0.0), free.up_w), 0.0)
    asked_w, needs_w = float(share_w.sum()), max(owed_w - float(waiting_w.sum()), 0.0)
    if asked_w > needs_w:
        share_w = split_merit(needs_w, share_w, room.price)  # a few rest: less of each is a command each
        return Allocation(room.rows, room.base_w + share_w, share_w, needs_w, 0.0)
    others = replace(room, up_w=np.where(stores, 0.0, room.up_w))
    more = allocate_beside(others, owed_w - asked_w, waiting_w, staged, called)
    rest_w = max(owed_w - more.feasible_w - float(waiting_w[more.share_w <= 0.0].sum()), 0.0)
    share_w = more.share_w + (split_merit(rest_w, share_w, room.price) if rest_w < asked_w else share_w)
    lacks_w = more.shortfall_w
    if lacks_w > 0.0:
        left_w = np.where(holds, np.maximum(room.up_w - share_w, 0.0), 0.0)
        last_w = split_merit(lacks_w, left_w, room.price)
        share_w, lacks_w = share_w + last_w, lacks_w - float(last_w.sum())
    return Allocation(room.rows, room.base_w + share_w, share_w, float(share_w.sum()), lacks_w)


def beside_held(
    share_out: Callable[[Headroom, float], Allocation], room: Headroom, owed_w: float, held_w: Floats
) -> Allocation:
    """Split what is owed by `share_out`, beside what rows are held to give whether they are called or not.

    Who is called for as much as he is held to is called as anybody. Of the others what they give is taken off what is
    asked of the rest; where that leaves nothing to ask, it is a share: somebody gives what is owed.

    Args:
        share_out: Splits so much over those of some headroom that may serve.
        room: How far each row can move.
        owed_w: What is owed, either way.
        held_w: What each row is held to give on that side (W, 0 or more).
    """
    side, uncalled = math.copysign(1.0, owed_w), np.zeros(len(held_w), np.bool_)
    for _ in range(ROUNDS):
        left_w = side * max(abs(owed_w) - float(held_w[uncalled].sum()), 0.0)
        split = share_out(replace(room, may_serve=room.may_serve & ~uncalled), left_w)
        more = ~uncalled & (held_w > np.abs(split.share_w) + 1.0)
        if not more.any():
            break
        uncalled |= more
    if not uncalled.any() or (np.abs(split.share_w) > 1.0).any():
        return split
    share_w = side * split_merit(abs(owed_w), np.where(uncalled, held_w, 0.0), room.price)
    return Allocation(room.rows, room.base_w + share_w, share_w, float(share_w.sum()), 0.0)


def decide_claims(state: DeskState, obligation: Obligation, split: Allocation, now_ns: int, cause: str) -> list[Entry]:
    """Return the claims that put an allocation into force; rows that hardly moved keep theirs.

    A row that had a share and has none now loses its claim, so that the next valid one holds.
    """
    pool = obligation.pool
    held_w, held_until_ns = state.claims.target_of(split.rows, SOURCE, pool, Quantity.P)
    has_share = np.abs(split.share_w) >= LEAST_TOLD_W
    holds = np.isfinite(held_w)
    near_frac = np.where(IS_PLANT[state.fleet.kinds[split.rows]], CEILING_FRAC, MOVED_FRAC)
    moved = np.abs(split.target_w - or_0(held_w)) > np.maximum(MOVED_W, near_frac * np.abs(split.share_w))
    ends_soon = held_until_ns < obligation.end_ns
    fresh = has_share & (~holds | moved | ends_soon)
    entries: list[Entry] = []
    if fresh.any():
        entries.append(_placed(state, obligation, split, fresh, now_ns, cause))
    gone = holds & ~has_share
    if gone.any():
        rows = split.rows[gone]
        ended = ClaimsEnded(SOURCE, pool, Quantity.P.value, ClaimEnd.SUPERSEDED.value, cause, Packed.of(rows))
        entries.append(Entry(derive("ended", SOURCE, pool, now_ns, cause, state.revision), ended, pool, (cause,)))
    return entries


def _placed(state: DeskState, obligation: Obligation, split: Allocation, fresh: Mask, now_ns: int, cause: str) -> Entry:
    pool = obligation.pool
    version = state.market_versions.get(pool, 0) + 1
    batch = derive("claims", SOURCE, pool, version, cause)
    rows = split.rows[fresh]
    endless = np.full(len(rows), np.inf)
    # The lease outlives the interval, as a lost instruction must not drop a commitment; the next split renews it.
    end_ns = min(max(committed_until(state, pool, now_ns), obligation.end_ns), obligation.end_ns + HOUR_NS // 6)
    fact = ClaimsPlaced(
        batch,
        SOURCE,
        "desk",
        pool,
        int(Level.MARKET),
        0,
        Quantity.P.value,
        ClaimKind.SET.value,
        obligation.because,
        version,
        now_ns,
        now_ns,
        end_ns,
        Packed.of(rows),
        Packed.of(-endless),
        Packed.of(endless),
        Packed.of(split.target_w[fresh]),
    )
    causes = (obligation.because,) if cause == obligation.because else (obligation.because, cause)
    return Entry(batch, fact, pool, causes)
