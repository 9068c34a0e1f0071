"""What calls would move devices to that a limit holds to less: program events and what is sold, once the limit ends.

A call's claims stand while a limit bounds them, at the power that they ask: they come back in the second that it ends.
What the call lacks meanwhile comes beside that, as its call or its split is made anew: of those it calls a part may be
called for more by what was seen of them under the limit, and of those it doesn't all that they can. Nobody can foretell
that exactly, so the most counts that it can come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.charging import planned
from tieline.desk.engine_calls import rules_let
from tieline.desk.event_anew import GIVES_FRAC
from tieline.desk.event_contracts import barred_rows
from tieline.desk.event_split import split_call
from tieline.desk.event_stack import SOURCE, beneath_w, layers
from tieline.desk.event_tracking import SHORT_H
from tieline.desk.least_times import just_let_go
from tieline.desk.modes import barred
from tieline.desk.obligation import owed
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.redispatch import standing_w, unlimited
from tieline.desk.state import DeskState
from tieline.desk.sun import IS_PLANT
from tieline.desk.tracking import above_base_w
from tieline.desk.wants import NEAR_FRAC, SOON_NS
from tieline.fleet.able import stored_wh, takes_wh
from tieline.fleet.columns import KIND_CODE, or_0, places
from tieline.fleet.grouped import Groups
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
LASTS_H = 1 / 60
"""What a store can give or take for so long counts as what comes of it: then a line has felt it."""
LATE_FRAC = 1.0 - GIVES_FRAC
"""Of what an event doesn't get under a limit so much may be asked of others as well once that ends: those that follow
late show less than they were asked for, and of those that showed all but so much of it more may be asked."""


@dataclass(frozen=True, slots=True, eq=False)
class _Lack:
    """What an event lacks on its side (W): `unseen_w` of its `power_w`, which those of `rows` that are not `held` may
    be asked for at once. Its claims ask `called` for `share_w` above `from_w`: for what they won't give of that without
    a limit any of `rows` may be asked. `LATE_FRAC` of what it lacks but for that may come beside it."""

    power_w: float
    unseen_w: float
    rows: Rows
    held: Mask
    called: Rows
    from_w: Floats
    share_w: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Sold:
    """What a market is owed on a side (W), what it asks of each row by now (W), whom it may ask for more, and who is in
    a group at the end of its limit; shape of the fleet."""

    power_w: float
    asked_w: Floats
    asks: Mask
    bites: Mask


def asked_w(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return what the claim that decides about each of `rows` asks of it (W; NaN: nobody names a power), shape (n,).

    Limits don't count, nor what a store can't give or take for a minute. A plant can't be lifted: what it is
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
    gives_w, takes_w = lasts_w(state, rows)
    found = np.clip(
        found, -np.minimum(fleet.max_absorb_w[rows], takes_w), np.minimum(fleet.max_inject_w[rows], gives_w)
    )
    return np.where(IS_PLANT[fleet.kinds[rows]] & (found > 0.0), np.nan, found)


def lasts_w(state: DeskState, rows: Rows) -> tuple[Floats, Floats]:
    """Return what each of `rows` can give and draw for a minute by what its store holds (W; inf: unknown)."""
    held_wh, stores = stored_wh(state.fleet, rows), state.fleet.energy_wh[rows] > 0
    gives_w = np.where(stores & np.isfinite(held_wh), or_0(held_wh) / LASTS_H, np.inf)
    return gives_w, np.where(stores, takes_wh(state.fleet, rows) / LASTS_H, np.inf)


def with_calls(asks_w: Floats, gives_w: Floats, draws_w: Floats, side: Floats, stores: Mask) -> tuple[Floats, Floats]:
    """Return what each gives and draws (W, 0 or more) once claims are no more bounded; shape (n,) all of them.

    Args:
        asks_w: What its claims ask of each (W; NaN: nothing).
        gives_w: What each gives without that (W).
        draws_w: And draws (W).
        side: 1: as much as may come into the grid, so no less; -1: as may be drawn; 0: what is likely.
        stores: Which of them are stores.
    """
    up, down = asks_w > gives_w - draws_w, asks_w < gives_w - draws_w
    # A load that is called to stop counts as it would run: the call may end before the room of the limit is needed.
    up &= (side >= 0.0) & (stores | (side > 0.0))
    # A store that is called on the side that counts does that and no more: how far it could go doesn't matter.
    exact = stores & (side * asks_w >= 0.0)
    moved = up | (down & (side <= 0.0)) | exact
    return np.where(moved, np.maximum(asks_w, 0.0), gives_w), np.where(moved, np.maximum(-asks_w, 0.0), draws_w)


@dataclass(frozen=True, slots=True, eq=False)
class Calls:
    """What calls lack by now that any limit bears upon, by side, and how far each row could move for them (W, from its
    base, 0 or more, shape (n,)): what they will ask beside what they ask."""

    state: DeskState
    events: dict[float, list[_Lack]]
    sold: dict[float, list[_Sold]]
    can_w: dict[float, Floats]

    @staticmethod
    def of(state: DeskState, binds: Mask, bites: dict[float, Mask], now_ns: int) -> Calls:
        """Find it.

        Args:
            state: What is known.
            binds: Whom a limit binds, shape (n,): a call that is for none of these lacks what it lacks by other causes.
            bites: By side, who is in a group at the end of its limit: else nothing that is sold waits for its end.
            now_ns: Now.
        """
        events = {side: list(_of_events(state, binds, side, now_ns)) for side in (1.0, -1.0)}
        sold = {side: list(_of_pools(state, binds, bites[side], side, now_ns)) for side in (1.0, -1.0)}
        can_w = dict[float, Floats]()
        if any((*events.values(), *sold.values())):
            everyone = places(np.arange(len(state.fleet)))
            up_w, down_w = unlimited(state, everyone, SHORT_H, now_ns)
            can_w = {1.0: up_w, -1.0: down_w}
        return Calls(state, events, sold, can_w)

    def with_more_w(self, groups: Groups, net_w: Floats, side: Floats) -> Floats:
        """Return what groups come to (W, shape (G,)) of what each row does with what is asked of it (W, shape (n,)).

        Args:
            groups: Which.
            net_w: What each row does with what is asked of it by now (W).
            side: On which side each counts: 1 for what gives more alone, -1 for what draws more, 0 for both.
        """
        sold_w = np.zeros(len(groups.names))
        for way in (1.0, -1.0):
            if not (self.events[way] or self.sold[way]):
                continue
            can_w = self.can_w[way]
            most_w = np.clip(way * (self.state.base_w - net_w) + can_w, 0.0, can_w)
            room_w = np.where(side * way >= 0.0, most_w, 0.0)
            if way > 0.0:
                room_w[IS_PLANT[self.state.fleet.kinds]] = 0.0  # nobody calls the sun up
            more_w = _events_w(self.state, self.events[way], way * net_w, room_w)
            sold_w += way * _sold_w(self.state, groups, self.sold[way], room_w - more_w)
            net_w = net_w + way * more_w
        return groups.sums(net_w) + sold_w


def _events_w(state: DeskState, lacks: Iterable[_Lack], does_w: Floats, room_w: Floats) -> Floats:
    """Return what events may ask of each row beside what they ask by now (W, 0 or more), of the room that it has.

    They ask it as they split what they call (`split_call`): at once what they don't get, of those that no limit holds
    to less than they were asked for, and later of all what those that are called don't give once no limit holds them.

    Args:
        state: What is known.
        lacks: What events lack.
        does_w: What each row does with what is asked of it by now (W, on their side).
        room_w: How far it may be asked to move beside that (W, 0 or more).
    """
    left_w = room_w.copy()
    for lack in lacks:
        has_w, whole = left_w[lack.rows], state.is_switched[lack.rows]
        comes_w = float(np.clip(does_w[lack.called] - lack.from_w, 0.0, lack.share_w).sum())
        later_w = max(lack.power_w - comes_w, 0.0)
        at_once_w = split_call(np.where(lack.held, 0.0, has_w), whole, lack.unseen_w)
        asks_w = np.maximum(at_once_w, split_call(has_w, whole, later_w))
        rest_w = has_w - asks_w
        late_w = min(LATE_FRAC * max(lack.unseen_w - later_w, 0.0), float(rest_w.sum()))
        asks_w += rest_w * (late_w / max(float(rest_w.sum()), 1.0))
        left_w[lack.rows] -= np.minimum(asks_w, has_w)
    return room_w - left_w


def _sold_w(state: DeskState, groups: Groups, lacks: Iterable[_Sold], room_w: Floats) -> Floats:
    """Return the most that markets may ask of each group beside what they ask by now (W, 0 or more), shape (G,)."""
    found = np.zeros(len(groups.names))
    # What is on or off comes as a whole, and a car with its least current: more than is lacking, by one of them.
    whole = state.is_switched | (state.fleet.kinds == KIND_CODE[Kind.EV_CHARGER])
    for lack in lacks:
        has_w = np.where(lack.asks, room_w, 0.0)
        asked_w = np.where(groups.sums(lack.bites) > 0.0, groups.sums(lack.asked_w), float(lack.asked_w.sum()))
        lacks_w = np.maximum(lack.power_w - asked_w, 0.0)
        lacks_w += np.where(lacks_w > 0.0, groups.tops(np.where(whole, has_w, 0.0)), 0.0)
        found += np.minimum(lacks_w, groups.sums(has_w))
    return np.minimum(found, groups.sums(room_w))


def _of_events(state: DeskState, binds: Mask, side: float, now_ns: int) -> Iterator[_Lack]:
    """Yield what program events lack that run or begin soon: who gives what it was asked may be asked for more."""
    near = [
        event for event in state.events.values()
        if event.start_ns <= now_ns + SOON_NS and now_ns < event.end_ns and side * event.power_w > 0.0
        and event.state in (EventState.SCHEDULED, EventState.IN_PROGRESS) and state.fleet.holds(event.group)
    ]  # fmt: skip
    stack = layers(state) if near else []
    of = {layer.event: layer for layer in stack}
    for event in near:
        rows, layer, whole_w = state.fleet.leaves(event.group), of.get(event.id), abs(event.power_w)
        if not binds[rows].any():
            continue
        if layer is None:
            may, none_w = binds[rows] & _may_call(state, event, rows, now_ns), np.zeros(0)
            yield _Lack(whole_w, whole_w, rows[may], np.zeros(int(may.sum()), np.bool_), rows[:0], none_w, none_w)
            continue
        base_w = state.base_w[layer.rows]
        under_w = beneath_w(stack, layer.rows, base_w, side, layer.primacy)
        share_w = np.maximum(side * (layer.value_w - base_w) - under_w, 0.0)
        gives_w = np.clip(side * above_base_w(state, layer.rows) - under_w, 0.0, share_w)
        # Whom no limit binds is on his way, or gives no more with limits or without.
        bound = binds[layer.rows]
        unseen_w = whole_w - float(np.where(bound, gives_w, share_w).sum())
        if unseen_w > 0.0:
            # Others it would have called by now.
            may, less = binds[rows] & _may_call(state, event, rows, now_ns), layer.rows[gives_w < GIVES_FRAC * share_w]
            above = [other.rows for other in stack if other.primacy < layer.primacy]
            if above:
                may &= ~np.isin(rows, np.concatenate(above))
            held, from_w = np.isin(rows[may], less), np.where(bound, side * base_w + under_w, -np.inf)
            yield _Lack(whole_w, unseen_w, rows[may], held, layer.rows, from_w, share_w)


def _may_call(state: DeskState, event: ProgramEvent, rows: Rows, now_ns: int) -> Mask:
    """Return which of `rows` an event may call that no limit holds: as it shares out what it calls (`shares`)."""
    may = rules_let(state, event, rows, now_ns)
    may &= ~state.opted_out[rows] & ~barred(state, SOURCE)[rows] & ~just_let_go(state, rows, now_ns)
    may &= (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    if state.schedules:
        may &= ~np.isin(rows, planned(state, now_ns, event.end_ns))
    bars, _ = barred_rows(state, event, now_ns)
    if bars is not None:
        may &= ~bars
    winner = state.claims.arbitrate(now_ns, rows).winner
    may &= (winner < 0) | (state.claims.level_of(winner) >= int(Level.PROGRAM))
    return may


def _of_pools(state: DeskState, binds: Mask, bites: Mask, side: float, now_ns: int) -> Iterator[_Sold]:
    """Yield what is sold and asked of nobody yet: under a limit that bites, of those in it, who may be the cheapest."""
    soon = [a for a in state.awards.values() if a.start_ns <= now_ns + SOON_NS and now_ns < a.end_ns]
    pools = {award.pool for award in soon} | {pool for pool, _ in state.instructions}
    for pool in sorted(pools):
        if not state.fleet.holds(pool) or not binds[mine := state.fleet.leaves(pool)].any():
            continue
        times = {now_ns, *(award.start_ns for award in soon if award.pool == pool and award.start_ns > now_ns)}
        debts = [debt.power_w for at_ns in times if (debt := owed(state, pool, at_ns)) is not None]
        whole_w = max((side * power_w for power_w in debts), default=0.0)
        if whole_w > 0.0:
            asked_w, asks = np.zeros(len(state.fleet)), np.zeros(len(state.fleet), np.bool_)
            asked_w[mine] = np.maximum(side * standing_w(state, pool, mine), 0.0)
            asks[mine] = _at_cap(state, mine, side, now_ns)
            yield _Sold(whole_w, asked_w, asks, bites)


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
