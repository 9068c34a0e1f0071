"""Who is heard and takes no command: no link carries one there, or none was answered and the meter belies them all.

A limit on a group counts such a device where its meter says that it is, at both ends: what is told it holds it nowhere,
so a part of the limit that was kept for it nobody would use, and those that obey would lack it. What it is told stays
as it is, or sinks to what it counts at: should it hear it after all, it goes no further than that. One that never
answers and stands within what it was told may have heard it, as answers are lost, too: it keeps its part (R16).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.disobedience import NOISE_FRAC, NOISE_W, soon_ns
from tieline.desk.extents import by_itself_w
from tieline.desk.state import TOOK, DeskState
from tieline.resource.claim import Quantity
from tieline.resource.command import Stage
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]


def unlinked(state: DeskState, rows: Rows) -> Mask:
    """Return which rows no link tells a power, where any link tells one."""
    carried = state.carries.get(Quantity.P)
    return np.zeros(len(rows), np.bool_) if carried is None else ~carried[rows]


def deaf(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows are heard, and have no link, or never answered and stand beyond what they were told last."""
    last, fit = state.commands, (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    belied = _is_silent(state, rows, now_ns) & _belies(state, rows, last.low_w[rows], last.high_w[rows])
    mask: Mask = fit & (unlinked(state, rows) | belied)
    return mask


def goes_alone(state: DeskState, rows: Rows, now_ns: int) -> tuple[Mask, Floats, Floats]:
    """Return which rows hold nothing that they were told, and the least and most (W) that each may be at by itself.

    Of those that never answered only who stands beyond the loosest that they were told of late, too: others may have
    heard the one and not the other. One that took a command that holds still may go where that leaves it.
    """
    last, power_w, no_link = state.commands, np.nan_to_num(state.fleet.power_w[rows]), unlinked(state, rows)
    took_none = no_link | (last.leased_until_ns[rows] <= now_ns)
    loosest = _belies(state, rows, last.eased_low_w[rows], last.eased_high_w[rows])
    alone: Mask = deaf(state, rows, now_ns) & (no_link | loosest)
    low_w, high_w = by_itself_w(state, rows, now_ns)
    low_w, high_w = np.where(took_none, power_w, low_w), np.where(took_none, power_w, high_w)
    return alone, np.minimum(low_w, power_w), np.maximum(high_w, power_w)


def _is_silent(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows answered neither their last command, nor the one before while the last is on its way, though
    they were first told a limit longer ago than their kind needs."""
    last, stage = state.commands, state.commands.stage[rows]
    had_time = state.fleet.taken_at_ns[rows] - last.eased_ns[rows] >= soon_ns(state, rows)
    waits = (stage < int(Stage.ACCEPTED)) | (stage == int(Stage.UNCONFIRMED))
    mask: Mask = (last.valid_until_ns[rows] > now_ns) & had_time & waits & (last.answers(rows) != TOOK)
    return mask


def _belies(state: DeskState, rows: Rows, low_w: Floats, high_w: Floats) -> Mask:
    """Return which rows stand further beyond bounds (W) than a meter may be off."""
    power_w = state.fleet.power_w[rows]
    low_w, high_w = (
        np.maximum(low_w, -state.fleet.max_absorb_w[rows]),
        np.minimum(high_w, state.fleet.max_inject_w[rows]),
    )
    off_w, end_w = np.maximum(power_w - high_w, low_w - power_w), np.where(power_w > high_w, high_w, low_w)
    mask: Mask = off_w > np.maximum(NOISE_W, NOISE_FRAC * np.abs(end_w))
    return mask
