"""Who is heard and takes no command: no link carries one there, or none was answered and the meter belies them all.

What is told such a device holds it nowhere, so a part of a limit that was kept for it nobody would use, and those that
obey would lack it: `desk.strays` says where a limit counts it. One that never answers and stands within what it was
told may have heard it, as answers are lost, too: it keeps its part (R16).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.disobedience import is_within, soon_ns
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
    low_w = np.maximum(low_w, -state.fleet.max_absorb_w[rows])
    power_w, high_w = state.fleet.power_w[rows], np.minimum(high_w, state.fleet.max_inject_w[rows])
    mask: Mask = np.isfinite(power_w) & ~is_within(power_w, low_w, high_w)
    return mask
