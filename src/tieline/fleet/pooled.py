"""What a pool of many kinds can promise: the power that it gives from rest each way, and how long its stores last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.booking import Capacity, Stores
from tieline.fleet.columns import KINDS, Fleet
from tieline.resource.identity import Kind

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_IS_SUN = np.array([kind is Kind.PV for kind in KINDS])
_IS_ENGINE = np.array([kind in (Kind.BACKUP_GENERATOR, Kind.BIOMASS, Kind.CHP) for kind in KINDS])
_CAN_ONLY_LEAVE = np.array([kind is Kind.INTERRUPTIBLE_LOAD for kind in KINDS])
"""A call interrupts these; none makes them draw more than they do by themselves."""


def from_rest(
    fleet: Fleet, rows: Rows, low_w: Floats | float = -np.inf, high_w: Floats | float = np.inf
) -> tuple[Floats, Floats]:
    """Return by how much calls can move each row, up and down, from where it is uncalled (W, 0 or more); shape (n,).

    A store rests at 0 W and an engine stands: the one gives and takes its power, the other gives. A load may leave all
    that it draws, or draw all that it does not yet. Sun gives what it gives uncalled: it can be called to less alone.

    Args:
        fleet: Whose rows.
        rows: Which.
        low_w: The least that each may be at (W).
        high_w: The most that each may be at (W).
    """
    inject_w, absorb_w, kinds = fleet.max_inject_w[rows], fleet.max_absorb_w[rows], fleet.kinds[rows]
    is_sun, rests = _IS_SUN[kinds], _has_store(fleet, rows) | _IS_ENGINE[kinds]
    least_up_w, most_up_w = np.where(rests | is_sun, 0.0, -absorb_w), np.where(is_sun, 0.0, inject_w)
    most_down_w = np.where(rests, 0.0, inject_w)
    least_down_w = np.where(_IS_ENGINE[kinds] | _CAN_ONLY_LEAVE[kinds], 0.0, -absorb_w)
    return (
        np.maximum(np.minimum(most_up_w, high_w) - np.maximum(least_up_w, low_w), 0.0),
        np.maximum(np.minimum(most_down_w, high_w) - np.maximum(least_down_w, low_w), 0.0),
    )


def capacity_of(fleet: Fleet, rows: Rows) -> Capacity:
    """Return what the rows of a pool that may serve can promise together: what each gives from rest, either way."""
    up_w, down_w = from_rest(fleet, rows)
    has_store = _has_store(fleet, rows)
    most_up_w, most_down_w = float(up_w.sum()), float(down_w.sum())
    if not has_store.any():
        return Capacity(most_up_w, most_down_w)
    give_w, take_w = float(up_w[has_store].sum()), float(down_w[has_store].sum())
    others_up_w, others_down_w = float(up_w[~has_store].sum()), float(down_w[~has_store].sum())
    stores = Stores(float(fleet.energy_wh[rows][has_store].sum()), give_w, take_w, others_up_w, others_down_w)
    return Capacity(most_up_w, most_down_w, stores=stores)


def _has_store(fleet: Fleet, rows: Rows) -> Mask:
    """Return which rows give back what they took; a car or a tank that does not can wait as long as a load."""
    has: Mask = (fleet.energy_wh[rows] > 0) & (fleet.max_inject_w[rows] > 0)
    return has
