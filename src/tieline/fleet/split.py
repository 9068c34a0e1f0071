"""Split one target over many rows: by merit order, or even by weight. The column twin of `resource.split`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def split_merit(target_w: float, headroom_w: Floats, price: Floats, order: Ints | None = None) -> Floats:
    """Give each row its share of a target, cheapest row first; ties go to the lower row.

    Args:
        target_w: What is owed (W, 0 or more).
        headroom_w: How far each row can still move; shape (n,), W, 0 or more.
        price: What each row asks; shape (n,), currency per MWh.
        order: The rows by price, where the caller keeps it.

    Returns:
        The shares; shape (n,), W. They add up to `target_w`, or to all the headroom if that is less.

    Raises:
        ValueError: The arrays differ in shape, or the target is negative or not finite.

    >>> split_merit(5.0, np.array([4.0, 4.0]), np.array([30.0, 20.0]))
    array([1., 4.])
    """
    if headroom_w.shape != price.shape:
        raise ValueError(f"headroom {headroom_w.shape} and price {price.shape} differ in shape")
    if not 0.0 <= target_w < np.inf:
        raise ValueError(f"target {target_w} W: give a finite power, 0 or more")
    if order is None:
        order = np.argsort(price, kind="stable")
    share_w: Floats = _fill(target_w, headroom_w, order)
    return share_w


@compiled
def _fill(target_w: float, headroom_w: Floats, order: Ints) -> Floats:
    share_w = np.zeros(len(headroom_w))
    left_w = target_w
    for k in order:
        if left_w <= 0.0:
            break
        if headroom_w[k] > 0.0:
            share_w[k] = min(headroom_w[k], left_w)
            left_w -= share_w[k]
    return share_w


def split_even(target_w: float, headroom_w: Floats, weight: Floats) -> Floats:
    """Give each row a share in proportion to its weight, none more than its headroom (weighted water-filling).

    The level L solves sum(min(headroom, L * weight)) = target; it is found exactly by sorting the ratios at which rows
    are full.

    Returns:
        The shares; shape (n,), W. They add up to `target_w`, or to all the headroom of weighted rows if that is less.

    >>> split_even(6.0, np.array([1.0, 10.0]), np.array([1.0, 1.0]))
    array([1., 5.])
    """
    if headroom_w.shape != weight.shape:
        raise ValueError(f"headroom {headroom_w.shape} and weight {weight.shape} differ in shape")
    active = (weight > 0) & (headroom_w > 0)
    share_w = np.zeros(len(headroom_w))
    room_w, mass = headroom_w[active], weight[active]
    if not len(room_w) or target_w <= 0:
        return share_w
    if target_w >= room_w.sum():
        share_w[active] = room_w
        return share_w
    full_at = room_w / mass
    order = np.argsort(full_at, kind="stable")
    filled_w = np.concatenate(([0.0], np.cumsum(room_w[order])[:-1]))
    open_mass = mass.sum() - np.concatenate(([0.0], np.cumsum(mass[order])[:-1]))
    reaches = filled_w + full_at[order] * open_mass
    first = int(np.searchsorted(reaches, target_w, side="left"))
    level = (target_w - filled_w[first]) / open_mass[first]
    share_w[active] = np.minimum(room_w, level * mass)
    return share_w


def split_whole(target_w: float, size_w: Floats, order: Ints) -> Floats:
    """Give rows that are on or off their whole size while it fits; see `resource.split.split_whole`.

    Args:
        target_w: What they may have together (W).
        size_w: What each takes when on (W, 0 or more); shape (n,).
        order: The rows, who is first in turn first; shape (n,).

    >>> split_whole(7.0, np.array([4.0, 4.0, 2.0]), np.array([0, 1, 2]))
    array([4., 0., 2.])
    """
    if size_w.shape != order.shape:
        raise ValueError(f"sizes {size_w.shape} and order {order.shape} differ in shape")
    share_w: Floats = _fit(target_w, size_w, order)
    return share_w


@compiled
def _fit(target_w: float, size_w: Floats, order: Ints) -> Floats:
    share_w = np.zeros(len(size_w))
    left_w = target_w
    for k in order:
        if size_w[k] <= left_w:
            share_w[k] = size_w[k]
            left_w -= size_w[k]
    return share_w


MOST_CHOSEN, PARTS = 64, 2**20
"""Of so many loads around the last that goes on all choices are looked at; sizes are told apart by a millionth."""


def split_beside(target_w: float, size_w: Floats, is_whole: Mask, order: Ints) -> Floats:
    """Share a target out so that its sum comes as near as can be: some rows have all of their size or none of it.

    What those have is as near to their part as leaves a rest that the others can take, each by its size; where nobody
    can take a rest, whichever sum of whole sizes is nearest. Who is first in turn goes first.

    Args:
        target_w: What they are to have together (W, 0 or more; no more than all sizes).
        size_w: The most that each can have (W, 0 or more); shape (n,).
        is_whole: Who has all of its size or nothing; shape (n,).
        order: The whole rows, who is first in turn first.

    >>> split_beside(5000.0, np.array([2000.0, 2000.0, 4000.0]), np.array([True, True, False]), np.array([0, 1]))
    array([2000.,    0., 3000.])
    """
    share_w, smooth_w = np.zeros(len(size_w)), np.where(is_whole, 0.0, size_w)
    whole_w, rest_w = float(size_w[order].sum()), float(smooth_w.sum())
    if whole_w + rest_w <= 0.0:
        return share_w
    wants_w = target_w * whole_w / (whole_w + rest_w)
    ends_w = np.cumsum(size_w[order])
    first = max(min(int(np.searchsorted(ends_w, wants_w)) - MOST_CHOSEN // 2, len(order) - MOST_CHOSEN), 0)
    on_w = float(size_w[order[:first]].sum())
    among = order[first : first + MOST_CHOSEN]
    chosen = _nearest_sum(size_w[among], wants_w - on_w, (target_w - rest_w - on_w, target_w - on_w))
    share_w[order[:first]], share_w[among[chosen]] = size_w[order[:first]], size_w[among[chosen]]
    left_w = min(max(target_w - float(share_w.sum()), 0.0), rest_w)
    return share_w + (smooth_w * (left_w / rest_w) if rest_w > 0.0 else 0.0)


def _nearest_sum(size_w: Floats, wants_w: float, within_w: tuple[float, float]) -> Mask:
    """Return whose sizes add up to what lies nearest to an interval (W), and then to a power in it; the first first."""
    part_w = float(size_w.sum()) / PARTS
    chosen = np.zeros(len(size_w), np.bool_)
    if part_w <= 0.0:
        return chosen
    parts, sums = np.rint(size_w / part_w).astype(np.int64).tolist(), [1]  # bit k of a sum: k parts can be had
    for size in parts:
        sums.append(sums[-1] | sums[-1] << size)
    at = max(int(wants_w / part_w), 0)
    below = (sums[-1] & ((1 << at + 1) - 1)).bit_length() - 1
    above = sums[-1] >> at + 1
    found = [below, *([at + (above & -above).bit_length()] if above else [])]

    def misses(sum_: int) -> tuple[float, float]:
        far_w = max(within_w[0] - sum_ * part_w, sum_ * part_w - within_w[1], 0.0)
        # What sizes were rounded by is no miss, or it would decide between two that are as near.
        return (0.0 if far_w < len(parts) * part_w else far_w), abs(sum_ * part_w - wants_w)

    left = min(found, key=misses)
    for k in range(len(parts) - 1, -1, -1):
        if not sums[k] >> left & 1:
            chosen[k], left = True, left - parts[k]
    return chosen
