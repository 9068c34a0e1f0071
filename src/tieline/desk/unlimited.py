"""What devices would do if no limit held them: told to who must know whether a limit can end.

What counts is what each is told yet, not who asks for it: behind the kill switch a limit that is over holds on by the
commands that it left, until their leases end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.called_back import Calls, asked_w, lasts_w, with_calls
from tieline.desk.state import DeskState
from tieline.desk.wants import (
    FOLLOWS_NS,
    NEAR_FRAC,
    PROBES_FRAC,
    RESTS_NS,
    STARTS_NS,
    WANTS_FRAC,
    may_take_w,
    with_waiting_cars,
    would_give_w,
)
from tieline.fleet.columns import KIND_CODE, places
from tieline.fleet.grouped import Groups
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
NOTHING_W = np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """What limits in force bind, by rows of the fleet, shape (n,): `side` 1 of one that bounds what is given alone, -1
    what is drawn alone, 0 both or nothing; whom any binds; and who is in a group that is at the end of its limit on a
    side. `own`: on which side alone a group is bound by a limit of its own (1, -1), by its place."""

    side: Floats
    any: Mask
    bites: dict[float, Mask]
    own: dict[int, float]


def unlimited_w(state: DeskState, groups: Groups, limits: Mapping[str, tuple[float, float]], now_ns: int) -> Floats:
    """Return the net power that each group would come to if no limit held its devices (W, positive into the grid).

    That is in the minutes after all limits ended at once, whosever they are and whichever group they are on: its own,
    those of groups in it, around it or across it. Calls go on, and what they bring back counts in each group that has
    the devices. So a group comes to the sum of its parts, wherever the limits are; but for what is sold and asked of
    nobody yet, which counts whole in each group that could give it.

    Where limits bound one side alone, all whom they bind count at what they would do on that side and at what they do
    on the other: what may yet be drawn makes no room for what feeds in, as it may not come, nor the other way round.
    Under limits that bound both sides, or none, all count at what they would do. A group with a limit of its own on one
    side counts all its devices by that, whatever limits in it bound.

    Args:
        state: What is known.
        groups: Which groups; shape of the result (G,).
        limits: The limit in force of each resource that has one (W: low, high; infinite: none).
        now_ns: Now.
    """
    everyone = places(np.arange(len(state.fleet)))
    held = _held(state, groups, limits)
    binds = held.any | is_told_limit(state, everyone, now_ns)
    if not binds.any():
        return groups.sums(state.fleet.power_or_0_w())
    alone = Alone.of(state, everyone, binds, now_ns)
    calls = Calls.of(state, binds, held.bites, now_ns)
    gives_w, draws_w = alone.by(held.side)
    found = calls.with_more_w(groups, gives_w - draws_w, held.side)
    for side in set(held.own.values()):
        gives_w, draws_w = alone.by(whole := np.full(len(everyone), side))
        at = [place for place, own in held.own.items() if own == side]
        found[at] = calls.with_more_w(groups, gives_w - draws_w, whole)[at]
    return found


def _held(state: DeskState, groups: Groups, limits: Mapping[str, tuple[float, float]]) -> _Held:
    fleet, place_of = state.fleet, {name: place for place, name in enumerate(groups.names)}
    gives, draws = np.zeros(len(fleet), np.bool_), np.zeros(len(fleet), np.bool_)
    bites, own = {side: np.zeros(len(fleet), np.bool_) for side in (1.0, -1.0)}, dict[int, float]()
    known_w = fleet.power_or_0_w() if limits else NOTHING_W
    for name, (low_w, high_w) in limits.items():
        place = place_of.get(name)
        if place is None and not fleet.holds(name):
            continue
        rows = fleet.leaves(name) if place is None else groups.leaves[place]
        imports = low_w > -float(fleet.max_absorb_w[rows].sum())
        exports = high_w < float(fleet.max_inject_w[rows].sum())
        draws[rows] |= imports
        gives[rows] |= exports
        if place is not None and imports != exports:
            own[place] = 1.0 if exports else -1.0
        for side, end_w in ((1.0, high_w), (-1.0, -low_w)):
            does_w = float(np.maximum(side * known_w[rows], 0.0).sum())
            if np.isfinite(end_w) and does_w >= end_w - (1.0 - NEAR_FRAC) * abs(end_w):
                bites[side][rows] = True
    return _Held(gives.astype(np.float64) - draws, gives | draws, bites, own)


@dataclass(frozen=True, slots=True, eq=False)
class Alone:
    """What each of some rows would give and draw without a limit, whatever is asked of it, what it does without what a
    limit makes it do, and what is asked of those that one binds (NaN: nothing); W, shape (n,)."""

    gives_w: Floats
    draws_w: Floats
    own_w: Floats
    asked_w: Floats
    stores: Mask

    @staticmethod
    def of(state: DeskState, rows: Rows, binds: Mask, now_ns: int) -> Alone:
        """Find it; `binds`: whom of `rows` a limit binds."""
        at, asks_w, known_w = np.flatnonzero(binds), np.full(len(rows), np.nan), state.fleet.power_or_0_w(rows)
        gives_w, draws_w = _alone_w(state, rows, now_ns)
        if len(at):
            asks_w[at] = asked_w(state, rows[at], now_ns)
            # A store that is called on behind its limit as well gives and draws no more than it holds and has room for.
            for way, does_w, lasts in zip((1.0, -1.0), (gives_w, draws_w), lasts_w(state, rows[at]), strict=True):
                does_w[at] = np.minimum(does_w[at], np.maximum(lasts, way * known_w[at]))
        own_w = _own_w(state, rows, known_w, now_ns)
        return Alone(gives_w, draws_w, own_w, asks_w, state.fleet.energy_wh[rows] > 0)

    def by(self, side: Floats) -> tuple[Floats, Floats]:
        """Return what each gives and draws, calls as well: with 1 as much as may come into the grid, with -1 as much as
        may be drawn, with 0 what is likely."""
        gives_w = np.where(side < 0.0, np.maximum(self.own_w, 0.0), self.gives_w)
        draws_w = np.where(side > 0.0, np.maximum(-self.own_w, 0.0), self.draws_w)
        return with_calls(self.asked_w, gives_w, draws_w, side, self.stores)


def _alone_w(state: DeskState, rows: Rows, now_ns: int) -> tuple[Floats, Floats]:
    """Return the same by what each was told and its meter says, whatever is asked of it."""
    fleet = state.fleet
    now_w = fleet.power_or_0_w(rows)
    gives_w, draws_w = np.maximum(now_w, 0.0), np.maximum(-now_w, 0.0)
    at = np.flatnonzero(is_told_limit(state, rows, now_ns))
    if len(at):
        held = rows[at]
        unknown = ((fleet.quality[held] & int(UNFIT_FOR_DISPATCH)) != 0) | np.isnan(fleet.power_w[held])
        held_w = np.where(unknown, state.base_w[held], fleet.power_w[held])
        own_w = _own_w(state, held, held_w, now_ns)
        gives_w[at] = np.maximum(would_give_w(state, held, np.minimum(held_w, own_w), now_ns), 0.0)
        draws_w[at] = _would_draw_w(state, held, -np.maximum(held_w, own_w), now_ns)
    return gives_w, draws_w


def is_told_limit(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which of `rows` have a command in force that bounds them; shape (n,)."""
    fleet, last = state.fleet, state.commands
    bound = (last.low_w[rows] > -fleet.max_absorb_w[rows]) | (last.high_w[rows] < fleet.max_inject_w[rows])
    mask: Mask = bound & (last.valid_until_ns[rows] > now_ns)
    return mask


def _own_w(state: DeskState, rows: Rows, now_w: Floats, now_ns: int) -> Floats:
    """Return what each does (W) without what a limit itself makes it do, as it has stores charge: that ends with it.

    What goes further than its limit asks for, and had the time to follow, does that by itself.
    """
    last, base_w = state.commands, state.base_w[rows]
    alive, follows = last.valid_until_ns[rows] > now_ns, now_ns - last.since_ns[rows] < FOLLOWS_NS
    low_w, high_w = last.low_w[rows], last.high_w[rows]
    made = (
        alive & (high_w < base_w) & (follows | (now_w >= np.where(high_w > 0.0, NEAR_FRAC, 2.0 - NEAR_FRAC) * high_w))
    )
    now_w = np.where(made, np.maximum(now_w, np.minimum(base_w, 0.0)), now_w)
    made = alive & (low_w > base_w) & (follows | (now_w <= np.where(low_w < 0.0, NEAR_FRAC, 2.0 - NEAR_FRAC) * low_w))
    found: Floats = np.where(made, np.minimum(now_w, np.maximum(base_w, 0.0)), now_w)
    return found


def _would_draw_w(state: DeskState, rows: Rows, draw_w: Floats, now_ns: int) -> Floats:
    """Return what each of `rows` would draw (W, 0 or more) in the moment that its limit lets it go.

    Rooms that grew warm and tanks that grew cold begin together then, whatever share of them would run else; and a car
    goes on as it did before. One that waits to come back by stages counts as if it came at once.
    """
    fleet, last = state.fleet, state.commands
    absorb_w, base_draw_w = fleet.max_absorb_w[rows], -state.base_w[rows]
    stores = fleet.energy_wh[rows] > 0
    # Let go of a call by stages, it has no need by itself that a limit holds down.
    staged = (state.release_at_ns[rows] > now_ns) & np.isfinite(last.target_w[rows])
    kept_down = (last.low_w[rows] > 1.0 - absorb_w) & ~staged
    cap_w = np.minimum(-last.low_w[rows], absorb_w)
    bites = kept_down & (draw_w >= cap_w - (1.0 - NEAR_FRAC) * np.abs(cap_w))
    waits = kept_down & ~bites & ~stores & (now_ns - last.since_ns[rows] < FOLLOWS_NS)
    probes_w = np.where(stores, draw_w, np.minimum(draw_w + PROBES_FRAC * absorb_w, absorb_w))
    found = np.where(bites, np.maximum(probes_w, base_draw_w), draw_w)
    found = np.where(waits, np.maximum(np.maximum(cap_w, draw_w), base_draw_w), found)
    is_car = fleet.kinds[rows] == KIND_CODE[Kind.EV_CHARGER]
    told_w, room_w = -last.target_w[rows], fleet.available_down_w[rows]
    # What its car may take a charger says, or what it took before; of one that came since, a guess.
    asks_w = np.where(bites | waits, np.maximum(draw_w + may_take_w(state, rows, draw_w, now_ns), base_draw_w), draw_w)
    takes_w = np.where(np.isfinite(room_w), np.maximum(draw_w, 0.0) + room_w, asks_w)
    found = np.where(kept_down & is_car, np.where(takes_w >= LEAST_CHARGE_W, takes_w, draw_w), found)
    found = np.where(kept_down & is_car, with_waiting_cars(state, rows, found, now_ns), found)
    by_cap = kept_down & is_car & (told_w >= cap_w - 1.0)  # told as much as its cap, it is held by that
    called = np.isfinite(told_w) & ~staged & ~by_cap
    found = np.where(called, np.where(stores, told_w, np.minimum(found, told_w)), found)
    # One that is called to stop as well counts: the call may end before the limit's room is needed.
    switched = state.is_switched[rows]
    known = switched & (base_draw_w > WANTS_FRAC * absorb_w) & (now_ns - state.idle_ns[rows] >= RESTS_NS)
    held_off = switched & (last.low_w[rows] > -0.5 * absorb_w) & ~staged
    begins = known & ~held_off & ~called & ~staged & (now_ns - last.since_ns[rows] < STARTS_NS)
    found = np.where(switched & ~called, draw_w, found)
    found = np.where(begins, np.maximum(draw_w, base_draw_w), found)
    found = np.where(held_off & known, absorb_w, found)
    return np.clip(found, 0.0, np.maximum(absorb_w, draw_w))
