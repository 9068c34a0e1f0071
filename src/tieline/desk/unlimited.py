"""What devices would do if no limit held them: told to who must know whether a limit can end.

What counts is what each is told yet, not who asks for it: behind the kill switch a limit that is over holds on by the
commands that it left, until their leases end.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tieline.desk.called_back import asked_w, more_w, with_calls
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
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Uncalled:
    """What is known of a whole fleet at an instant, found once for all groups that are shown, as it is first asked for.
    Nobody writes into it."""

    def __init__(self, state: DeskState, now_ns: int) -> None:
        self._state, self._now_ns = state, now_ns
        self._everyone = places(np.arange(len(state.fleet)))

    @cached_property
    def _sides_w(self) -> tuple[Floats, Floats]:
        return _alone_w(self._state, self._everyone, self._now_ns)

    @cached_property
    def _asked_w(self) -> Floats:
        return asked_w(self._state, self._everyone, self._now_ns)

    def sides_w(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return what each of `rows` would give and draw (W, 0 or more) by what it was told and its meter says."""
        return self._sides_w[0][rows], self._sides_w[1][rows]

    def asked_w(self, rows: Rows) -> Floats:
        """Return what is asked of each of `rows` (W; NaN: nobody names a power)."""
        return self._asked_w[rows]


def unlimited_w(
    state: DeskState, rows: Rows, low_w: float, high_w: float, now_ns: int, known: Uncalled | None = None
) -> float:
    """Return the net power that rows would have together if no limit held them (W, positive into the grid).

    Under a limit that bounds one side, all count at what they would do on that side and at what they do on the other:
    what may yet be drawn makes no room for what feeds in, as it may not come, nor the other way round. One that bounds
    both sides holds both, and one that is over none: all count at what they would do.

    Args:
        state: What is known.
        rows: Whose.
        low_w: The low end of their limit (W); -inf: none.
        high_w: Its high end (W); inf: none.
        now_ns: Now.
        known: What was found of the fleet at this instant; None: it is found of these rows.
    """
    fleet = state.fleet
    imports = low_w > -float(fleet.max_absorb_w[rows].sum())
    exports = high_w < float(fleet.max_inject_w[rows].sum())
    side = 0.0 if imports == exports else 1.0 if exports else -1.0
    gives_w, draws_w = _alone_w(state, rows, now_ns) if known is None else known.sides_w(rows)
    known_w = fleet.power_or_0_w(rows)
    if side:
        now_w = _own_w(state, rows, known_w, now_ns)
        if imports:
            gives_w = np.maximum(now_w, 0.0)
        else:
            draws_w = np.maximum(-now_w, 0.0)
    told_w = None if known is None else known.asked_w(rows)
    gives_w, draws_w = with_calls(state, rows, gives_w, draws_w, side, now_ns, told_w)
    net_w, found_w = gives_w - draws_w, float(gives_w.sum() - draws_w.sum())
    for way in (1.0, -1.0):
        if side in (0.0, way):
            end_w = way * (high_w if way > 0.0 else low_w)
            does_w = float(np.maximum(way * known_w, 0.0).sum())
            bites = does_w >= end_w - (1.0 - NEAR_FRAC) * abs(end_w) if np.isfinite(end_w) else False
            found_w += way * more_w(state, rows, net_w, way, now_ns, bites=bites)
    return found_w


def alone_w(state: DeskState, rows: Rows, now_ns: int, known: Uncalled | None = None) -> tuple[Floats, Floats]:
    """Return what each of `rows` would give and draw (W, 0 or more, shape (n,)) if no limit held it; both are sides.

    One that is called comes to what is asked of it by now. Who was told no limit does what it does, and counts at 0
    where nobody knows that. `known` is what was found of the fleet at this instant (None: it is found of these rows).
    """
    gives_w, draws_w = _alone_w(state, rows, now_ns) if known is None else known.sides_w(rows)
    at = np.flatnonzero(is_told_limit(state, rows, now_ns))
    if len(at):
        told_w = None if known is None else known.asked_w(rows[at])
        gives_w[at], draws_w[at] = with_calls(state, rows[at], gives_w[at], draws_w[at], 0.0, now_ns, told_w)
    return gives_w, draws_w


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
    """Return what each does (W) without what a limit itself makes it do, as it has stores charge: that ends with it."""
    last, base_w = state.commands, state.base_w[rows]
    alive = last.valid_until_ns[rows] > now_ns
    now_w = np.where(alive & (last.high_w[rows] < base_w), np.maximum(now_w, np.minimum(base_w, 0.0)), now_w)
    found: Floats = np.where(alive & (last.low_w[rows] > base_w), np.minimum(now_w, np.maximum(base_w, 0.0)), now_w)
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
