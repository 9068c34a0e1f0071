"""Split one target over many rows: by merit order, or even by weight. The column twin of `resource.split`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
