"""Caps of a group's limit that sink at once, and grow only into what no device may still hold (R16)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tieline.desk.nested import MARGIN_FRAC, Within
from tieline.desk.own_limits import Own
from tieline.desk.ports import Ask
from tieline.desk.seen import Seen
from tieline.desk.state import DeskState
from tieline.fleet.grouplimit import moved_caps
from tieline.fleet.holding import goes_on_whole, least_draw_w
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
ROUNDED_W = 1e-3
"""Sums are off by no more than this."""
STARTS_FRAC = 1.1
"""A charger that keeps a part begins, and no more, where its cap rises to no more than this share of what it needs."""


def grown_where_free(
    state: DeskState, rows: Rows, ask: Ask, wish: tuple[Floats, Floats], now_ns: int, within: Within | None = None,
    seen: Seen | None = None, own: Own | None = None,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return caps that sink at once and grow only into what no leaf may still hold (R16).

    What limits of their own have rows do at least (`own`) is owed to them before anybody else grows, and in one step;
    where the group can't keep its limit beside that, nobody is waited for.

    One that no command holds, as when a limit has just come, holds what it does: it need not stop before it may go on.
    One that can't be reached holds what its limit counts it at: of a cap that it never acknowledged nobody would
    hear that it is over, and the others would wait for that as long as it is away. So does one that keeps to no command
    (`desk.strays`): nothing says that it holds, or ever held, what it was let do; it may keep to what it is told now.
    """
    low, high = wish
    fleet, last = state.fleet, state.commands
    lapsed, default_w, now_w = last.valid_until_ns[rows] <= now_ns, fleet.default_w[rows], fleet.power_w[rows]
    lost = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    seen = seen or Seen(state, rows, now_ns)
    (gives_w, draws_w), away = seen.unheard_w, seen.away
    least_w, most_w = np.fmin(low, now_w), np.fmax(high, now_w)
    least_draws_w = np.where(away, 0.0, least_draw_w(fleet, rows))
    if np.isfinite(high).all():
        leased_w = np.minimum(last.leased_high_w[rows], fleet.max_inject_w[rows])
        held_w = np.where(lost, gives_w, np.where(lapsed, np.fmax(default_w, now_w), leased_w))
        held_w = np.where(away, most_w, held_w)
        told_w = np.where(lapsed, held_w, last.high_w[rows])
        counted_w, told_w = np.where(away, held_w, high), np.where(away, held_w, told_w)
        grows = Owing(ask.high, None if own is None else own.low_w).grown
        grown = grows(max(ask.high, float(counted_w.sum())), counted_w, held_w, told_w)
        high = np.where(away, high, grown)
    if np.isfinite(low).all():
        leased_w = np.maximum(last.leased_low_w[rows], -fleet.max_absorb_w[rows])
        held_w = np.where(lost, -draws_w, np.where(lapsed, np.fmin(default_w, now_w), leased_w))
        held_w = np.where(away, least_w, held_w)
        told_w = np.where(lapsed, held_w, last.low_w[rows])
        # What the caps keep as a margin is the limit's: where a watt lacks a heater would else wait for good.
        margin_w = MARGIN_FRAC * min(float(fleet.max_absorb_w[rows].sum()), abs(ask.low))
        counted_w, told_w = np.where(away, held_w, low), np.where(away, held_w, told_w)
        # What is on and is to stay so grows by nothing: no command held it, and a part of its rating would stop it.
        stays = lapsed & ~(lost | away) & (low <= -fleet.max_absorb_w[rows])
        stays &= goes_on_whole(fleet, rows, state.is_switched[rows])
        counted_w = np.where(stays, now_w, counted_w)
        limit_w = max(-ask.low, float(-counted_w.sum()) + margin_w)
        keeps_part = within is not None or bool(np.isfinite(high).all())
        owing = Owing(-ask.low, None if own is None else -own.high_w)
        was_w, whole = (-held_w, -told_w), state.is_switched[rows]
        grown = -begun(limit_w, -counted_w, was_w, whole, least_draws_w, keeps_part, owing)
        low = np.where(away | stays, low, grown)
    is_load = fleet.max_inject_w[rows] <= 0.0
    goes_on = is_load & ~(away | lost | lapsed | state.is_switched[rows])
    draws_w = np.where(goes_on, np.fmax(now_w, last.low_w[rows]), np.inf)
    return uncrossed(low, high, wish, state.is_switched[rows], is_load, draws_w, least_draws_w)


class Owing(NamedTuple):
    """What a limit owes to rows before anybody else grows (W; -inf: nothing; None: to nobody), and its own end (W)."""

    end_w: float
    least_w: Floats | None

    def grown(
        self, limit_w: float, wish_w: Floats, held_w: Floats, told_w: Floats, is_whole: Mask | None = None
    ) -> Floats:
        """Return the caps of `moved_caps`, where what is owed grows first, all of it in one step.

        Till that is free nobody grows. Where what all wish is beyond the end there is nothing to wait for.

        >>> owing = Owing(4.0, np.array([1.0, -np.inf, -np.inf]))
        >>> owing.grown(4.0, np.array([2.0, 2.0, 0.0]), np.array([0.0, 0.0, 3.5]), np.zeros(3))
        array([0., 0., 0.])
        >>> owing.grown(4.0, np.array([2.0, 2.0, 0.0]), np.array([0.0, 0.0, 1.5]), np.zeros(3))
        array([1.5, 1. , 0. ])
        >>> owing.grown(5.0, np.array([1.0, 0.0, 4.0]), np.array([0.0, 0.0, 4.0]), np.array([0.0, 0.0, 4.0]))
        array([1., 0., 4.])
        """
        if self.least_w is not None:
            from_w = np.minimum(held_w, told_w)
            told_w = np.maximum(np.minimum(wish_w, self.least_w), from_w)
            waits = float(np.maximum(held_w, told_w).sum()) > max(limit_w, float(held_w.sum())) + ROUNDED_W
            if waits and float(wish_w.sum()) <= self.end_w + ROUNDED_W:
                return np.minimum(wish_w, from_w)
            held_w = np.maximum(held_w, told_w)
        return moved_caps(limit_w, wish_w, held_w, told_w, is_whole)


NOBODY = Owing(np.inf, None)


def begun(
    limit_w: float, wish_w: Floats, was_w: tuple[Floats, Floats], is_whole: Mask, least_w: Floats, keeps_part: bool,
    owing: Owing = NOBODY,
) -> Floats:  # fmt: skip
    """Return what each may draw (W) on the way to what is wished: a car begins with its least, before others grow.

    A part of that is nothing to it, and nobody else would have it: till it fits the car has nothing. Where other limits
    hold the devices as well, or another end does (`keeps_part`), it keeps the part, or they would take it for one that
    is to have none.

    Args:
        limit_w: What all may draw together.
        wish_w: What each is to; shape (n,), as all that follows.
        was_w: What each may still hold, and was told last.
        is_whole: Who is on or off.
        least_w: The least that each draws where it draws anything (0: none such).
        keeps_part: As above.
        owing: What comes first.

    >>> none, least_w = np.zeros(2, np.bool_), np.array([1380.0, 0.0])
    >>> begun(4000.0, np.array([2000.0, 2000.0]), (np.array([0.0, 1000.0]),) * 2, none, least_w, False)
    array([2000., 2000.])
    >>> begun(2000.0, np.array([2000.0, 2000.0]), (np.array([0.0, 1000.0]),) * 2, none, least_w, False)
    array([   0., 2000.])
    """
    held_w, told_w = was_w
    starts = (least_w > 0.0) & (wish_w >= least_w) & (np.minimum(held_w, told_w) < least_w)
    if keeps_part:
        starts &= wish_w <= STARTS_FRAC * least_w
        return owing.grown(limit_w, np.where(starts, least_w, wish_w), held_w, told_w, is_whole | starts)
    first_w = owing.grown(limit_w, np.where(starts, least_w, wish_w), held_w, told_w, is_whole | starts)
    waits = starts & (first_w < least_w - 1.0)
    first_w = np.where(waits, 0.0, first_w)
    return owing.grown(limit_w, np.where(waits, 0.0, wish_w), np.maximum(held_w, first_w), first_w, is_whole)


def uncrossed(
    low: Floats, high: Floats, wish: tuple[Floats, Floats], is_whole: Mask, is_load: Mask, draws_w: Floats,
    least_w: Floats | float = 0.0,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return caps of which none is crossed: a limit on both ends may ask a leaf to draw that may not grow to draw yet.

    It stays where the end that may not grow holds it, and the others make up for it, as far as they can, or the group
    would stand beyond its limit until that end has grown. What is on or off (`is_whole`) can't make up a part, and what
    loads are told to draw they may stop to draw: they make up for what others give too much once nobody else can. What
    that leaves, loads make up that are to draw less: they go on at what they draw until the others may give less
    (`draws_w`: within what they were told; inf: not one of them). Who may draw his least (`least_w`) makes up no more
    than leaves him that: a part of it would stop him (IEC 61851-1).

    >>> low, high = np.array([-0.5, -5.0, -4.0]), np.array([-1.5, -1.0, 0.0])
    >>> none, is_load = np.zeros(3, np.bool_), np.array([False, False, True])
    >>> uncrossed(low, high, (np.array([-2.0, -5.0, -4.0]), high), none, is_load, np.full(3, np.inf))[1]
    array([-0.5, -2. ,  0. ])
    >>> low, high, wish = np.array([3.0, -1.0]), np.array([2.0, 0.0]), np.array([1.0, -1.0])
    >>> uncrossed(low, high, (wish, high), none[1:], is_load[1:], np.array([np.inf, -4.0]))
    (array([ 3., -1.]), array([ 3., -1.]))
    >>> uncrossed(low + 1.0, high, (wish, high), none[1:], is_load[1:], np.array([np.inf, -4.0]))
    (array([ 4., -2.]), array([ 4., -2.]))
    """
    crossed = low > high
    if not crossed.any():
        return low, high
    by_low = crossed & (low > wish[0])
    to_high, to_low = np.where(by_low, low, high), np.where(crossed & ~by_low, high, low)
    floor_w = np.maximum(-to_high, np.where(-to_low >= least_w, least_w, 0.0))
    made_low = -made_up(-to_low, -low, floor_w, is_whole, np.zeros(len(low), np.bool_))
    made_high = made_up(to_high, high, np.where(is_load, np.minimum(made_low, draws_w), made_low), is_whole, is_load)
    return np.minimum(made_low, made_high), made_high


def made_up(caps: Floats, wished: Floats, least: Floats, is_whole: Mask, last: Mask) -> Floats:
    """Return caps whose sum is no more than that of `wished`, by what others can sink to their least, some last."""
    over_w, can_w = np.where(np.isfinite(caps), np.maximum(caps - wished, 0.0), 0.0), np.maximum(caps - least, 0.0)
    can_w = np.where(np.isfinite(can_w) & (over_w <= 0.0) & ~is_whole, can_w, 0.0)
    left_w = float(over_w.sum())
    for sinks_w in (np.where(last, 0.0, can_w), np.where(last, can_w, 0.0)):
        whole_w = float(sinks_w.sum())
        part = min(1.0, left_w / whole_w) if whole_w > 0.0 else 0.0
        caps, left_w = caps - sinks_w * part, left_w - whole_w * part
    return caps
