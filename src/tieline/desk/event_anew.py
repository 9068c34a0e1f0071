"""What an event asks anew while it runs: its plants follow their sun, and others come or go for what it lacks.

What plants give less is bound to their ceilings: as the sun rises under one that stands the event gets too much, as it
sets too little. So at each beat ceilings take what the others leave of what was approved, before anybody is called or
let go for it. What is lacking then is called of others. What is on or off is called only where that comes nearer, or
the next beat would call it again, and as the event begins all of this is done at once: the beat that follows has
nothing to mend that nobody has yet had time to answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.desk.engine_calls import named_engines
from tieline.desk.event_contracts import barred_rows, may_serve_on
from tieline.desk.event_makeup import Shown, counted_w, let_go
from tieline.desk.event_split import NOBODY, could_w, shares
from tieline.desk.event_stack import Layer, beneath_w
from tieline.desk.programs import ProgramEvent
from tieline.desk.redispatch import MOVED_W
from tieline.desk.state import DeskState
from tieline.desk.sun import IS_PLANT
from tieline.desk.tracking import above_base_w, bounded_base_w
from tieline.fleet.split import split_merit
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
LACKS_FRAC, GIVES_FRAC = 0.05, 0.9
"""Others are called where those called lack more than this share of what was approved: bases drift. And who gives so
much of what he was asked may be asked for more."""
FOLLOWS_FRAC = 0.005
"""Ceilings are moved where they are off by this share of what was approved together."""
ROUNDS = 4
"""So often at most what an event begins with is looked at again."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What an event asks: its rows in rising order and their targets (W); shape (n,). `gone`: whom it let go for that,
    and has no more."""

    rows: Rows
    value_w: Floats
    gone: Rows


def asked_first(
    state: DeskState, event: ProgramEvent, rows: Rows, value_w: Floats, stack: list[Layer], primacy: int, now_ns: int
) -> Asked:
    """Return what an event that begins asks, once what its first split lacks is called as it would be at the next beat.

    Args:
        state: What is known.
        event: It.
        rows: Whom the first split calls.
        value_w: And for what (W).
        stack: The events that run.
        primacy: Where it stands among those.
        now_ns: Now.
    """
    own = Layer(event.id, "", float(np.sign(event.power_w)), primacy, rows, value_w)
    for _ in range(ROUNDS):
        more = asked_anew(state, event, own, stack, [], None, now_ns)
        if more is None:
            break
        own = replace(own, rows=more.rows, value_w=more.value_w)
    return Asked(own.rows, own.value_w, NOBODY)


def asked_anew(
    state: DeskState, event: ProgramEvent, own: Layer, stack: list[Layer], under: list[Layer], shown: Shown | None,
    now_ns: int,
) -> Asked | None:  # fmt: skip
    """Return what an event asks from now on, where that is something else than it asks; None: it goes on.

    Those that it has are asked no less but for the sun, and those that do it may be asked for more. Where it gets too
    much, as who was out of sight or a stronger claim's comes back, some are let go.

    Args:
        state: What is known.
        event: It.
        own: What it asks.
        stack: The other events that run, as they are by now.
        under: All events as they were when `own` was placed: what it asks stands upon those beneath it. [] for `stack`.
        shown: What its meters showed.
        now_ns: Now.
    """
    rows, side = own.rows, own.side
    base_w = bounded_base_w(state, rows, Level.PROGRAM, now_ns)
    under_w = beneath_w(under or stack, rows, base_w, side, own.primacy)
    # A limit may hold one to less than it is asked: what that leaves above the base is what comes of it, so that others
    # are called at once. Held beyond its base (a store that has to charge) it gives nothing, whatever it was asked.
    low_w, high_w = state.claims.limits_above(rows, Level.PROGRAM, now_ns)
    share_w = np.maximum(side * (np.clip(own.value_w, low_w, high_w) - base_w) - under_w, 0.0)
    # Whom no contract or enrolment bears gives nothing from now on, whatever the last interval shows: it is no opt-out
    # of some hours, so that others are called at once.
    counts_w = counted_w(rows, share_w, side, shown) * may_serve_on(state, event, rows, now_ns)
    # Nor does the last interval tell what comes of a hand at the device: that stays as the meter says now.
    now_w = np.clip(side * above_base_w(state, rows, base_w + side * under_w), 0.0, share_w)
    counts_w = np.where(state.claims.is_local[rows], now_w, counts_w)
    # Where another event stands upon what it would call, that one's target would no longer hold it.
    above = np.concatenate([NOBODY, *(layer.rows for layer in stack if layer.primacy < own.primacy)])
    free = ~np.isin(rows, above)
    follows = _followed_w(state, event, rows, share_w, counts_w, free, under_w, now_ns)
    value_w = own.value_w
    if follows is not None:
        moved = follows != share_w
        value_w = np.where(moved, base_w + side * (under_w + follows), value_w)
        share_w, counts_w = follows, np.where(moved, follows, counts_w)
    gone = np.zeros(len(rows), np.bool_) if follows is None else (follows <= 0.0) & (own.value_w != value_w)
    lacks_w = abs(event.power_w) - float(counts_w.sum())
    found_rows, found_w, replaced = NOBODY, np.zeros(0), np.zeros(len(rows), np.bool_)
    if lacks_w < -LACKS_FRAC * abs(event.power_w):
        # One that is on or off stays: it would come back on at once, and another could not fill its place.
        gone |= let_go(counts_w, ~state.is_switched[rows] & free & ~gone, -lacks_w)
    elif lacks_w > LACKS_FRAC * abs(event.power_w):
        # Who gives what he was asked for may be asked for more; that stands upon what he is asked for already.
        may_more = ~state.is_switched[rows] & (counts_w >= GIVES_FRAC * share_w) & ~gone
        mine = replace(own, value_w=value_w)
        apart = np.union1d(rows[~may_more], above)
        bars, _ = barred_rows(state, event, now_ns)
        engines = named_engines(state, event, state.fleet.leaves(event.group), now_ns)
        found = shares(state, event.group, side * lacks_w, now_ns, event.end_ns, apart, [*stack, mine], bars, engines)
        comes_w = float(np.abs(found.share_w).sum())
        if comes_w - lacks_w < lacks_w:  # called though it comes no nearer, it would be too much instead
            found_rows, found_w = found.rows, found.target_w
            replaced = np.isin(rows, found_rows)
    if follows is None and not gone.any() and not len(found_rows):
        return None
    stays = ~gone & ~replaced
    all_rows = np.concatenate((rows[stays], found_rows))
    all_w = np.concatenate((value_w[stays], found_w))
    order = np.argsort(all_rows, kind="stable")
    return Asked(all_rows[order], all_w[order], np.setdiff1d(rows[gone], found_rows).astype(np.int32))


def _followed_w(
    state: DeskState, event: ProgramEvent, rows: Rows, share_w: Floats, counts_w: Floats, free: Mask, under_w: Floats,
    now_ns: int,
) -> Floats | None:  # fmt: skip
    """Return the share of each row once plants follow their sun (W, 0 or more); None: their ceilings are near enough.

    Plants have what the others leave of what was approved, each by what its sun has, as they were called. One that does
    not do as it is told, that somebody else has, that opted out or is out of sight, is asked nothing else. Where all
    that could show the sun are held, and their meters don't tell it, one after the other is held instead: one that is
    let go shows it.
    """
    side, fleet = float(np.sign(event.power_w)), state.fleet
    plants = IS_PLANT[fleet.kinds[rows]] & free & ~state.opted_out[rows] & ~state.claims.is_local[rows] & (side < 0.0)
    plants &= ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0) & (counts_w >= GIVES_FRAC * share_w)
    if not plants.any():
        return None
    at = rows[plants]
    base_w = bounded_base_w(state, at, Level.PROGRAM, now_ns)
    room_w = np.maximum(could_w(state, at, base_w, side, now_ns) - under_w[plants], 0.0)
    whole_w, wants_w = float(room_w.sum()), max(abs(event.power_w) - float(counts_w[~plants].sum()), 0.0)
    found = share_w.copy()
    if _shows_sun(state, at):
        found[plants] = room_w * min(wants_w / whole_w, 1.0) if whole_w > 0.0 else 0.0
    else:
        found[plants] = split_merit(wants_w, room_w, np.zeros(len(at)))
    off_w = abs(float((found - share_w).sum()))
    return found if off_w > max(MOVED_W, FOLLOWS_FRAC * abs(event.power_w)) else None


def _shows_sun(state: DeskState, held: Rows) -> bool:
    """Whether plants that are held tell their sun themselves, or some other plant shows it."""
    fit = (state.fleet.quality & int(UNFIT_FOR_DISPATCH)) == 0
    shows = IS_PLANT[state.fleet.kinds] & state.suns.is_known & fit
    shows[held] &= state.suns.tells[held]
    return bool(shows.any())
