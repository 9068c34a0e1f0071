"""Where a command leaves a device: its target, or what it does uncalled within its limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.fleet.holding import followed_low_w, stands_within_w

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]


def end_w(state: DeskState, rows: Rows, target_w: Floats, low_w: Floats, high_w: Floats) -> Floats:
    """Return the power at which a command leaves each row (W): its target, or its base within the limits."""
    goal_w = np.where(np.isnan(target_w), state.base_w[rows], target_w)
    within_w: Floats = np.minimum(np.maximum(goal_w, low_w), high_w)
    return within_w


def uncalled_w(state: DeskState, rows: Rows, low_w: Floats, high_w: Floats) -> Floats:
    """Return what each row does within limits while nobody calls it (W): its base, as far as they let it.

    What is on or off draws all of its rating or nothing: by its link a limit below that rating switches it off, however
    little it would draw. So a limit below six amperes stops a charger.
    """
    return stands_within_w(state.fleet, rows, state.base_w[rows], low_w, high_w, state.is_switched[rows])


def least_within_w(state: DeskState, rows: Rows, low_w: Floats) -> Floats:
    """Return how far down each row can be within lower ends (W): 0 for a load that one leaves no room to run."""
    return followed_low_w(state.fleet, rows, low_w, state.is_switched[rows])


def last_end_w(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return where each row's last command left it (W), or its base where none is in force."""
    last = state.commands
    was_w = end_w(state, rows, last.target_w[rows], last.low_w[rows], last.high_w[rows])
    return np.where(last.valid_until_ns[rows] > now_ns, was_w, state.base_w[rows])
