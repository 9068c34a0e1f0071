"""Room under a group's limit for those that are called: what it leaves beside what the group would do by itself.

A store that is called takes no room of a plant's: what it gives then the plant loses, the group gives no more, and the
sun is lost. So caps are shared out by what each would give if nobody called it, those that are called have what is
left, and no more than that counts as what a market or an event can call there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.counted_loads import counted, falls_back
from tieline.desk.shared_caps import STEP_FRAC
from tieline.desk.state import DeskState
from tieline.desk.stopping import stopping_w
from tieline.desk.wants import NEAR_FRAC, would_w
from tieline.fleet.columns import KIND_CODE, or_0
from tieline.fleet.settling import ClaimBatch
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


def called_up(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows are told to give more than they would by themselves."""
    last = state.commands
    # NaN, no target, is never above the base.
    mask: Mask = (last.valid_until_ns[rows] > now_ns) & (last.target_w[rows] > state.base_w[rows] + 1.0)
    return mask


def own_w(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return what each of `rows` would give if nobody called it, and no upper limit held it (W).

    A plant that stands at its cap gives what its meter says that the sun would let it, or what it gave lately. One that
    stays below its cap may come back to that by a step.
    """
    fleet, last, base_w = state.fleet, state.commands, state.base_w[rows]
    inject_w, now_w = fleet.max_inject_w[rows], fleet.power_or_0_w(rows)
    cap_w = np.minimum(last.high_w[rows], inject_w)
    held = (last.valid_until_ns[rows] > now_ns) & (cap_w < inject_w)
    held &= now_w >= cap_w - (1.0 - NEAR_FRAC) * np.abs(cap_w)
    sun = fleet.kinds[rows] == KIND_CODE[Kind.PV]
    gives_w = now_w + np.where(sun, or_0(fleet.available_up_w[rows]), 0.0)
    lately_w = np.where(sun, np.maximum(base_w, state.suns.lately_w[rows]), base_w)
    back_w = np.where(sun, np.minimum(lately_w, now_w + STEP_FRAC * inject_w), now_w)
    gives_w = np.maximum(gives_w, np.where(held & ~state.suns.tells[rows], lately_w, np.where(held, base_w, back_w)))
    # An engine or a store that was called a while ago may still be on its way down: that is the call's, not its own.
    is_others = called_up(state, rows, now_ns) | ((state.rebounds_until_ns[rows] > now_ns) & ~sun)
    own: Floats = np.where(is_others, base_w, np.minimum(gives_w, np.maximum(inject_w, now_w)))
    return own


def giving_way(left_w: float, gives_w: Floats, own_by_w: Floats, called: Mask) -> Floats:
    """Return what each counts at (W) as an upper limit is shared out: its own, then who is called with what is left.

    Where not all that the others would give has room they grow as far as they can, and those that are called rest.

    >>> giving_way(3.5, np.array([2.0, 2.0, 1.0]), np.array([0.0, 0.0, 3.0]), np.array([True, True, False]))
    array([0.25, 0.25, 3.  ])
    """
    if not called.any():
        return gives_w
    counts_w = np.where(called, np.minimum(own_by_w, gives_w), gives_w)
    for grows_w in (np.where(called, 0.0, own_by_w - counts_w), np.where(called, gives_w - counts_w, 0.0)):
        whole_w, room_w = float(grows_w.sum()), left_w - float(counts_w.sum())
        counts_w = counts_w + grows_w * (min(max(room_w / whole_w, 0.0), 1.0) if whole_w > 0.0 else 0.0)
    return counts_w


def held_by_limits(state: DeskState, side: float, level: Level, now_ns: int) -> Rows:
    """Return the rows of group limits stronger than a level that bite, on the side of what would be asked of them.

    Such a group would draw more than its import limit (asked for more power into the grid: side above 0), or give more
    than its export limit, by itself: what one device gives up is room for its neighbours, and the group gives nothing.
    What an export limit leaves of more power into the grid has a measure of its own, `left_beside`.
    Under a limit that is far off, or with a cap that binds one device alone, the others give what they give.
    What a group would do is what its meters say, and what those want beside it that are held at their caps.
    """
    found = [np.zeros(0, np.int32)]
    for batch, alive in state.claims.batches():
        is_limit = batch.kind is ClaimKind.LIMIT and batch.level < level and len(batch.rows) > 1
        if not is_limit or not batch.start_ns <= now_ns < batch.end_ns:
            continue
        rows = batch.rows[alive]
        cap_w = side * (batch.low[alive] if side > 0 else batch.high[alive])
        if would_w(state, rows, side, now_ns) > float(np.maximum(-cap_w, 0.0).sum()) + 1.0:
            found.append(rows)
    return np.unique(np.concatenate(found))


def whole_or_none(state: DeskState, rows: Rows, up_w: Floats, free_w: Floats) -> Floats:
    """Return how far each of `rows` can rise (W), of `up_w`: what is on or off by all of `free_w`, or not at all."""
    found: Floats = np.where(state.is_switched[rows] & (up_w < free_w - 1.0), 0.0, up_w)
    return found


def left_beside(state: DeskState, rows: Rows, up_w: Floats, level: Level, now_ns: int) -> Floats:
    """Return how far each of `rows` can rise (W), of `up_w`, by what limits on groups above a level leave together.

    Where a group would give more than its limit by itself nobody in it can: what one gives its neighbours lose.
    """
    whole_w = np.zeros(len(state.fleet))
    whole_w[rows] = up_w
    for batch, alive in state.claims.batches():
        is_limit = batch.kind is ClaimKind.LIMIT and batch.level < level and batch.quantity is Quantity.P
        if is_limit and len(batch.rows) > 1 and batch.start_ns <= now_ns < batch.end_ns:
            mine, room_w, draws_w = _room_w(state, batch, alive, now_ns)
            # Who only draws less gives nothing yet; and what an engine's own timer makes it give it gives at any rate.
            stops_w = np.minimum(whole_w[mine], draws_w + _held_up_w(state, mine, now_ns))
            rises_w = whole_w[mine] - stops_w
            if float(rises_w.sum()) > room_w:
                whole_w[mine] = stops_w + _within(state, mine, rises_w, room_w, now_ns)
    return whole_w[rows]


def _within(state: DeskState, rows: Rows, rises_w: Floats, room_w: float, now_ns: int) -> Floats:
    """Return how far rows may rise (W) within room that they share: what is on or off all that it can, or nothing.

    Told a part it would go off, and give more than there is room for. So those that can give a part have the room
    first, and of what they leave whole loads as many as fit: first those that are called, so that none goes on and off.
    """
    switched = state.is_switched[rows] & (rises_w > 0.0)
    smooth_w = np.where(switched, 0.0, rises_w)
    found_w = smooth_w * min(1.0, room_w / max(float(smooth_w.sum()), 1e-9))
    left_w = room_w - float(found_w.sum())
    at = np.flatnonzero(switched)
    for k in at[np.argsort(~called_up(state, rows[at], now_ns), kind="stable")].tolist():
        if rises_w[k] <= left_w + 1.0:
            found_w[k] = rises_w[k]
            left_w -= float(rises_w[k])
    return found_w


def _held_up_w(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return what each row must give above its base by its own timer (W)."""
    holds = state.claims.holds
    low_w = np.where(holds.until_ns[rows] > now_ns, holds.low_w[rows], -np.inf)
    held_w: Floats = np.maximum(low_w - state.base_w[rows], 0.0)
    return held_w


def _room_w(state: DeskState, batch: ClaimBatch, alive: Mask, now_ns: int) -> tuple[Rows, float, Floats]:
    """Return whom a group's upper limit binds together, the power that it leaves to call of them (W; inf: any), and
    what of each row's draw it says nothing of (W)."""
    fleet, most_w = state.fleet, state.fleet.max_inject_w[batch.rows]
    bound = alive & (most_w > 0.0)
    rows, cap_w = batch.rows[bound], np.minimum(batch.high, most_w)[bound]
    if not (cap_w < most_w[bound]).any():
        return rows, np.inf, np.zeros(len(rows))
    kind = fleet.kind_of(batch.scope) if fleet.holds(batch.scope) else None
    by_w = own_w(state, rows, now_ns)
    draws_w = np.maximum(-by_w, 0.0) if kind is Kind.GENERATION else np.zeros(len(rows))
    by_w = by_w + draws_w
    # One that can't be reached has its cap, whatever it does.
    by_w = np.where((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0, cap_w, by_w)
    room_w = float(cap_w.sum() - by_w.sum())
    if kind is not Kind.SITE and (batch.scope not in state.counted or falls_back(state, batch.scope, now_ns)):
        return rows, max(room_w, 0.0), draws_w
    # Where what loads draw counts, one that stops takes the room that it made: the caps go by what it draws now, or was
    # told to at most, and what it would draw uncalled is what it rises from.
    loads = batch.rows[alive & (most_w <= 0.0)]
    loads = loads if kind is Kind.SITE else loads[counted(state, batch.scope, loads, now_ns)]
    counted_w = np.maximum(fleet.power_or_0_w(loads), stopping_w(state, loads, now_ns))
    room_w += float((counted_w - own_w(state, loads, now_ns)).sum())
    return batch.rows[alive], max(room_w, 0.0), np.zeros(int(alive.sum()))
