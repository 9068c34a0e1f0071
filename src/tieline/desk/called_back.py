"""What calls would move devices to that a limit holds to less: program events and what is sold, once the limit ends.

A call's claims stand while a limit bounds them, at the power that they ask: they come back in the second that it ends.
What the call lacks meanwhile comes beside that, as its call or its split is made anew: of those it calls a part may be
called for more by what was seen of them under the limit, and of those it doesn't all that they can. Nobody can foretell
that exactly, so the most counts that it can come to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.event_anew import GIVES_FRAC
from tieline.desk.event_stack import beneath_w, layers
from tieline.desk.event_tracking import SHORT_H
from tieline.desk.obligation import owed
from tieline.desk.programs import EventState
from tieline.desk.redispatch import standing_w, unlimited
from tieline.desk.state import DeskState
from tieline.desk.sun import IS_PLANT
from tieline.desk.tracking import above_base_w
from tieline.desk.wants import NEAR_FRAC, SOON_NS
from tieline.fleet.able import SUSTAIN_H, stored_wh, takes_wh
from tieline.fleet.columns import KIND_CODE
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
LATE_FRAC = 0.25
"""Of what an event doesn't get under a limit so much may be asked of others as well once that ends: those that follow
late, as their turn comes in a minute or two, show less than they were asked for, and others are called for it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Lack:
    """What a call lacks on its side (W): `power_w` of what it asks of nobody yet, which any of `rows` may be asked for;
    `unseen_w` of what it doesn't get, which those that are not `held` may be asked for at once. Of that `LATE_FRAC` may
    come beside all of it."""

    power_w: float
    unseen_w: float
    rows: Rows
    held: Rows


def asked_w(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return what the claim that decides about each of `rows` asks of it (W; NaN: nobody names a power), shape (n,).

    Limits don't count, nor what a store can't give for five minutes or take. A plant can't be lifted: what it is
    called to is a ceiling, and no more.
    """
    batches = {
        batch.id: batch for batch, alive in state.claims.batches()
        if batch.kind is ClaimKind.SET and batch.quantity is Quantity.P and alive.any()
    }  # fmt: skip
    found = np.full(len(rows), np.nan)
    if not batches:
        return found
    winner, fleet = state.claims.arbitrate(now_ns, rows).winner, state.fleet
    value_w = np.full(len(fleet), np.nan)
    for serial in np.unique(winner[winner >= 0]).tolist():
        if (batch := batches.get(state.claims.name_of(serial))) is not None:
            value_w[batch.rows] = batch.value
            mine = winner == serial
            found[mine] = value_w[rows[mine]]
    stores, held_wh = fleet.energy_wh[rows] > 0, stored_wh(fleet, rows)
    gives_w = np.where(stores & np.isfinite(held_wh), np.nan_to_num(held_wh) / SUSTAIN_H, np.inf)
    takes_w = np.where(stores, takes_wh(fleet, rows) / SUSTAIN_H, np.inf)
    found = np.clip(
        found, -np.minimum(fleet.max_absorb_w[rows], takes_w), np.minimum(fleet.max_inject_w[rows], gives_w)
    )
    return np.where(IS_PLANT[fleet.kinds[rows]] & (found > 0.0), np.nan, found)


def with_calls(
    state: DeskState, rows: Rows, gives_w: Floats, draws_w: Floats, side: float, now_ns: int,
    told_w: Floats | None = None,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return what each gives and draws (W, 0 or more) once claims are no more bounded, no less than it would anyway.

    Args:
        state: What is known.
        rows: Whose.
        gives_w: What each gives without that (W).
        draws_w: And draws (W).
        side: 1: as much as may come into the grid; -1: as may be drawn; 0: what is likely.
        now_ns: Now.
        told_w: What `asked_w` finds of them; None: it is asked.
    """
    told_w = asked_w(state, rows, now_ns) if told_w is None else told_w
    up, down = told_w > gives_w - draws_w, told_w < gives_w - draws_w
    if side > 0.0:
        down[:] = False
    elif side < 0.0:
        up[:] = False
    # A load that is called to stop counts as it would run: the call may end before the room of the limit is needed.
    up &= (state.fleet.energy_wh[rows] > 0) | (side > 0.0)
    moved = up | down
    return np.where(moved, np.maximum(told_w, 0.0), gives_w), np.where(moved, np.maximum(-told_w, 0.0), draws_w)


def more_w(state: DeskState, rows: Rows, net_w: Floats, side: float, now_ns: int, *, bites: bool) -> float:
    """Return what calls may ask of `rows` beside what they ask by now (W, 0 or more), as they get too little.

    Args:
        state: What is known.
        rows: Whose.
        net_w: What each would do with what is asked of it by now (W).
        side: 1 for what gives more, -1 for what draws more.
        now_ns: Now.
        bites: Whether what they do is bound by their limit: else nothing that is sold waits for its end.
    """
    lacks = [*_of_events(state, side, now_ns), *_of_pools(state, rows, side, now_ns, bites=bites)]
    if not lacks:
        return 0.0
    up_w, down_w = unlimited(state, rows, SHORT_H, now_ns)
    most_w = state.base_w[rows] + (up_w if side > 0.0 else -down_w)
    room_w = np.maximum(side * (most_w - net_w), 0.0)
    # What is on or off comes as a whole, and a car with its least current: more than is lacking, by one of them.
    whole = state.is_switched[rows] | (state.fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER])
    found_w, touched = 0.0, np.zeros(len(rows), np.bool_)
    for lack in lacks:
        asks, held_back = np.isin(rows, lack.rows), np.isin(rows, lack.held)
        free = asks & ~held_back
        one_w = float(room_w[asks & whole].max(initial=0.0))
        later_w = min(lack.power_w + one_w, float(room_w[asks].sum()))
        at_once_w = min(lack.unseen_w + one_w, float(room_w[free].sum()))
        found_w += max(later_w, at_once_w) + LATE_FRAC * lack.unseen_w
        touched |= asks
    return min(found_w, float(room_w[touched].sum()))


def _of_events(state: DeskState, side: float, now_ns: int) -> Iterator[_Lack]:
    """Yield what program events lack that run or begin soon: who gives what it was asked may be asked for more."""
    stack = layers(state)
    of = {layer.event: layer for layer in stack}
    for name, event in state.events.items():
        is_near = event.start_ns <= now_ns + SOON_NS and now_ns < event.end_ns
        is_open = event.state in (EventState.SCHEDULED, EventState.IN_PROGRESS)
        if not (is_open and is_near and side * event.power_w > 0.0 and state.fleet.holds(event.group)):
            continue
        rows, layer, whole_w = state.fleet.leaves(event.group), of.get(name), abs(event.power_w)
        if layer is None:
            yield _Lack(whole_w, whole_w, rows, rows[:0])
            continue
        base_w = state.base_w[layer.rows]
        under_w = beneath_w(stack, layer.rows, base_w, side, layer.primacy)
        share_w = np.maximum(side * (layer.value_w - base_w) - under_w, 0.0)
        gives_w = np.clip(side * above_base_w(state, layer.rows) - under_w, 0.0, share_w)
        less = layer.rows[gives_w < GIVES_FRAC * share_w]
        lacks_w, unseen_w = (max(whole_w - float(each.sum()), 0.0) for each in (share_w, gives_w))
        if unseen_w > 0.0:
            yield _Lack(lacks_w, unseen_w, rows, less)


def _of_pools(state: DeskState, rows: Rows, side: float, now_ns: int, *, bites: bool) -> Iterator[_Lack]:
    """Yield what is sold and not yet asked of anybody; under a limit that bites, of these: they may be the cheapest."""
    soon = [a for a in state.awards.values() if a.start_ns <= now_ns + SOON_NS and now_ns < a.end_ns]
    pools = {award.pool for award in soon} | {pool for pool, _ in state.instructions}
    for pool in sorted(pools):
        if not state.fleet.holds(pool):
            continue
        times = {now_ns, *(award.start_ns for award in soon if award.pool == pool and award.start_ns > now_ns)}
        debts = [debt.power_w for at_ns in times if (debt := owed(state, pool, at_ns)) is not None]
        whole_w, mine = max((side * power_w for power_w in debts), default=0.0), state.fleet.leaves(pool)
        if whole_w > 0.0:
            asked = np.intersect1d(mine, rows).astype(np.int32) if bites else mine
            lacks_w = whole_w - float(np.maximum(side * standing_w(state, pool, asked), 0.0).sum())
            if lacks_w > 0.0:
                yield _Lack(lacks_w, 0.0, mine[_at_cap(state, mine, side, now_ns)], mine[:0])


def _at_cap(state: DeskState, rows: Rows, side: float, now_ns: int) -> Mask:
    """Return which of `rows` a limit holds on a side: others are called as far as they can by now."""
    fleet, last = state.fleet, state.commands
    cap_w = last.high_w[rows] if side > 0.0 else -last.low_w[rows]
    most_w = fleet.max_inject_w[rows] if side > 0.0 else fleet.max_absorb_w[rows]
    does_w = side * np.nan_to_num(fleet.known_power_w(rows))
    mask: Mask = (last.valid_until_ns[rows] > now_ns) & (cap_w < most_w)
    cap_w = np.minimum(cap_w, most_w)  # no end is an infinite one
    mask &= does_w >= cap_w - (1.0 - NEAR_FRAC) * np.abs(cap_w)
    return mask
