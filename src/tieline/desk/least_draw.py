"""What draws nothing or at least so much: chargers, which a control pilot of less than six amperes stops (IEC 61851-1).

A target between the two is one that no car can follow: it would stand at 0 and count as one that failed. So whoever
shares power out has each charger stop or draw its least at least, and lets others make up for it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tieline.desk.base import LEAST_TOLD_W
from tieline.desk.on_or_off import LEFT_FRAC
from tieline.desk.redispatch import MOVED_W, Allocation, Headroom
from tieline.fleet.split import split_merit

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
SLACK_W = 1e-6


def is_between(power_w: Floats, least_w: Floats) -> Mask:
    """Return which powers (W; NaN: none) lie between nothing and the least draw; shape (n,).

    >>> is_between(np.array([-823.0, 0.0, -1380.0, -823.0]), np.array([1380.0, 1380.0, 1380.0, 0.0]))
    array([ True, False, False, False])
    """
    mask: Mask = (power_w < -SLACK_W) & (power_w > -least_w + SLACK_W)
    return mask


def resolved_w(target_w: Floats) -> Floats:
    """Return targets (W; NaN: none) as devices can tell them apart: less than half a watt either way is 0.

    A base and a share that make up for it add up to what floating point leaves of them, and not to 0.

    >>> resolved_w(np.array([-4.5e-13, 0.4, -2.5, np.nan]))
    array([ 0. ,  0. , -2.5,  nan])
    """
    found: Floats = np.where(np.abs(target_w) < LEAST_TOLD_W, 0.0, target_w)
    return found


def drawable_w(target_w: Floats, least_w: Floats, low_w: Floats, high_w: Floats) -> Floats:
    """Return targets (W; NaN: none) that can be followed: 0 for one between nothing and the least draw.

    Where a limit has it draw (`high_w` below 0) it is the least draw instead, as far as the other end lets it.

    >>> least_w = np.full(3, 1380.0)
    >>> drawable_w(np.array([-823.0, -823.0, -3000.0]), least_w, np.full(3, -7000.0), np.array([0.0, -500.0, 0.0]))
    array([    0., -1380., -3000.])
    """
    must = (high_w < 0.0) & (low_w <= -least_w)
    made_w = np.where(must, -least_w, np.minimum(np.maximum(0.0, low_w), high_w))
    found: Floats = np.where(is_between(target_w, least_w), made_w, target_w)
    return found


def whole_draws(
    share_w: Floats, base_w: Floats, least_w: Floats, most_w: Floats, side: float, smooth_w: Floats,
    beyond_w: float = np.inf,
) -> Floats:  # fmt: skip
    """Return shares (W, 0 or more, on a side) by which no row is left between nothing and its least draw.

    Each stops, or draws its least, so that all together come as near as they can to what they gave before: what is too
    much others give less, and what is too little others give more, as far as they can.

    Args:
        share_w: What each gives; shape (n,).
        base_w: What each does uncalled.
        least_w: The least draw of each (0: none such).
        most_w: The most that each can give.
        side: 1.0: they draw less, or give more; -1.0 the other way.
        smooth_w: Up to where each of the others may go that can give any part (0: not one of them).
        beyond_w: By how much all together may give more than before (W).

    >>> whole_draws(np.full(2, 2000.0), np.full(2, -3000.0), np.full(2, 1380.0), np.full(2, 3000.0), 1.0, np.zeros(2))
    array([3000., 1620.])
    """
    at = np.flatnonzero((share_w > SLACK_W) & is_between(base_w + side * share_w, least_w))
    if not len(at):
        return share_w
    least, base, most_w_at = least_w[at], base_w[at], most_w[at]
    # Upward it is let draw its least, or stopped; downward it stays as it is, or draws its least.
    fewer_w = np.maximum(-least - base, 0.0) if side > 0.0 else np.zeros(len(at))
    full_w = -base if side > 0.0 else base + least
    more_w = np.where(full_w <= most_w_at + SLACK_W, full_w, fewer_w)
    wanted_w, adds_w = float(share_w[at].sum()), np.maximum(more_w - fewer_w, 0.0)
    sums_w = float(fewer_w.sum()) + np.concatenate([[0.0], np.cumsum(adds_w)])
    count = min(int(np.searchsorted(sums_w, wanted_w - SLACK_W)), len(at))
    others_w = np.where(least_w > 0.0, 0.0, smooth_w)
    gives_w = np.where(others_w > 0.0, np.minimum(share_w, others_w), 0.0)
    over_w = max(float(sums_w[count]) - wanted_w - float(gives_w.sum()), 0.0)
    if count and over_w > min(wanted_w - float(sums_w[count - 1]), beyond_w) + SLACK_W:
        count -= 1
    found_w = share_w.copy()
    found_w[at] = np.where(np.arange(len(at)) < count, more_w, fewer_w)
    over_w = float(sums_w[count]) - wanted_w
    if over_w > 0.0:
        return found_w - _part_of(over_w, gives_w)
    return found_w + _part_of(-over_w, np.maximum(others_w - gives_w, 0.0))


def followable(split: Allocation, room: Headroom, least_w: Floats, is_smooth: Mask, side: float) -> Allocation:
    """Return a split of what is owed, on a side (1.0, -1.0), in which nobody is left between nothing and least draw.

    What that leaves lacking whoever can give a part gives, dear as it may be, but for what is too little to call him.

    Args:
        split: Who gives what.
        room: How far each row can move.
        least_w: The least draw of each row (W, 0: none such).
        is_smooth: Which of the others can give any part; those that cost more than who was called are called last.
        side: Which way is owed.
    """
    most_w = np.where(room.may_serve, room.up_w if side > 0.0 else room.down_w, 0.0)
    share_w, called = side * split.share_w, np.abs(split.share_w) > SLACK_W
    dearest = float(room.price[called].max(initial=-np.inf))
    smooth_w = np.where(is_smooth & (called | (room.price <= dearest)), np.maximum(most_w, share_w), 0.0)
    base_w = split.target_w - split.share_w
    found_w = whole_draws(share_w, base_w, least_w, most_w, side, smooth_w)
    if found_w is share_w:
        return split
    rest_w = float(share_w.sum()) - float(found_w.sum())
    if rest_w > max(MOVED_W, LEFT_FRAC * float(share_w.sum())):
        rises_w = np.where(is_smooth, np.maximum(most_w - found_w, 0.0), 0.0)
        found_w = found_w + split_merit(min(rest_w, float(rises_w.sum())), rises_w, room.price)
    gives_w, short_w = float(found_w.sum()), abs(split.shortfall_w) + float(share_w.sum())
    return replace(
        split, target_w=base_w + side * found_w, share_w=side * found_w, feasible_w=side * gives_w,
        shortfall_w=side * max(short_w - gives_w, 0.0),
    )  # fmt: skip


def _part_of(watts: float, most_w: Floats) -> Floats:
    """Return so much (W) put to rows alike, by the most that each can take of it."""
    whole_w = float(most_w.sum())
    return most_w * (min(watts / whole_w, 1.0) if whole_w > 0.0 else 0.0)
