"""Which difference of a group's caps is worth a command: not each watt that its meters move by."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.counted_loads import COUNTED, rule_of
from tieline.desk.ports import Ask
from tieline.desk.state import DeskState

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
MOVES_FRAC, SWAPS_FRAC, NESTED_FRAC = 0.005, 0.05, 0.0002
"""Caps are placed afresh when their sum moves by the first share of the group's rating, or when by the second share of
that sum they change places: then one leaf lies idle below its cap while another is held at its own. Where groups share
devices the third share is enough."""


def differ(
    state: DeskState,
    rows: Rows,
    new: tuple[Floats, Floats],
    old: tuple[Floats, Floats],
    least_frac: float,
    swaps_frac: float = SWAPS_FRAC,
) -> bool:
    """Return whether caps differ from others by so much, and by 1 W, that they are to be placed anew."""
    size_w = float((state.fleet.max_inject_w + state.fleet.max_absorb_w)[rows].sum())
    pairs = [(to[np.isfinite(to)], was[np.isfinite(to)]) for to, was in zip(new, old, strict=True)]
    shift_w = math.fsum(abs(float(to.sum()) - float(was.sum())) for to, was in pairs)
    swap_w = math.fsum(float(np.abs(to - was).sum()) for to, was in pairs)
    caps_w = math.fsum(float(np.abs(was).sum()) for _, was in pairs)
    if shift_w >= max(least_frac * size_w, 1.0):
        return True
    return swap_w >= max(swaps_frac * caps_w, least_frac * size_w, 1.0)


def is_worth(
    state: DeskState, ask: Ask, rows: Rows, new: tuple[Floats, Floats], old: tuple[Floats, Floats], least_frac: float
) -> bool:
    """Return whether caps of a limit are to be placed anew: beyond its limit by any difference, else by a share."""
    if differ(state, rows, new, old, least_frac):
        return True
    return stands_beyond(state, ask, rows) and differ(state, rows, new, old, 0.0, 0.0)


def stands_beyond(state: DeskState, ask: Ask, rows: Rows) -> bool:
    """Return whether a site, a group whose loads count, or one with two ends, stands beyond its limit by its meters:
    then a little of its caps is not too little.

    A limit of 0 W leaves no margin, two ends leave little to each device, and what the caps are off by for less than
    `MOVES_FRAC` would stay for good.
    """
    stands_w = float(state.fleet.power_or_0_w(rows).sum())
    is_beyond = stands_w > ask.high + 1.0 or stands_w < ask.low - 1.0
    has_two_ends = math.isfinite(ask.low) and math.isfinite(ask.high)
    return is_beyond and (has_two_ends or rule_of(state, ask.resource) == COUNTED)
