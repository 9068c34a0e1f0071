"""Modes and apparent power in columns: the column twin of `resource.mode`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.settling import Live, Mask, Rows, rank_key
from tieline.resource.arbitrate import REMOTE_LEVELS
from tieline.resource.claim import ClaimKind
from tieline.resource.mode import DEFAULT_MODE, Mode, ModeGroup, group_of

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]


def settle_modes(active: Iterable[Live], is_local: Mask) -> dict[ModeGroup, tuple[Codes, Rows]]:
    """Return of each group the mode in force on each row, and the serial of the batch that named it (-1: default).

    Args:
        active: The batches in force now, of which those of kind MODE count.
        is_local: Devices in LOCAL, which remote levels don't reach; shape (n,).
    """
    count = len(is_local)
    found = {
        group: (np.full(count, DEFAULT_MODE[group], np.uint8), np.full(count, -1, np.int32)) for group in ModeGroup
    }
    ranked = sorted((x for x in active if x.batch.kind is ClaimKind.MODE), key=lambda x: rank_key(x.batch))
    for live in reversed(ranked):  # the strongest writes last, so that it stands
        counts = live.alive
        if live.batch.level in REMOTE_LEVELS:
            counts = counts & ~is_local[live.batch.rows]
        for code in np.unique(live.batch.value[counts]):
            rows = live.batch.rows[counts & (live.batch.value == code)]
            mode, by = found[group_of(Mode(int(code)))]
            mode[rows], by[rows] = int(code), live.serial
    return found


def fit_apparent(active_w: Floats, reactive_var: Floats, max_va: Floats, q_first: Mask) -> tuple[Floats, Floats, Mask]:
    """Return both powers within the apparent power, and where one of them gave way to the other; shape (n,) each."""
    over = np.hypot(active_w, reactive_var) > max_va
    first = np.where(q_first, reactive_var, active_w)
    second = np.where(q_first, active_w, reactive_var)
    kept = np.copysign(np.minimum(np.abs(first), max_va), first)
    room = np.sqrt(np.maximum(max_va * max_va - kept * kept, 0.0))
    cut = np.copysign(np.minimum(np.abs(second), room), second)
    new_w = np.where(over, np.where(q_first, cut, kept), active_w)
    new_var = np.where(over, np.where(q_first, kept, cut), reactive_var)
    return new_w, new_var, over
