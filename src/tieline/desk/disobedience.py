"""Who stands beyond a limit that he was told, by his own meter, whatever his link said of the command.

A link that reads a setting back has seen a setting: that an inverter holds the register of a limit does not say that it
keeps it. So what the desk knows of a limit is judged once more by the meter, by the same rule as every read-back
(`resource.obedience`), after the time that the slowest kind needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.response import seconds_to_reach
from tieline.desk.state import DeskState
from tieline.resource.command import Stage
from tieline.resource.obedience import SLACK_W, astray_w
from tieline.times import MINUTE_NS, SECOND_NS

Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
BEYOND_FRAC = 0.25
KEEPS_NS = 5 * MINUTE_NS
"""How long a device has to keep a limit: a compressor's own timer counts three minutes, thermostats take four."""


def beyond(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows stand beyond a limit that they were told, and had time to keep, whatever they answered.

    Where its link read the power back a device has the time of its kind, and no more. Rule R12: a machine that a timer
    of its own holds where it is has not disobeyed; but none has to feed in where nothing may: it can open its breaker.
    """
    fleet, commands, holds = state.fleet, state.commands, state.claims.holds
    power_w, free = np.nan_to_num(fleet.power_w[rows]), np.full(len(rows), np.nan)
    low_w = np.maximum(commands.low_w[rows], -fleet.max_absorb_w[rows])
    high_w = np.minimum(commands.high_w[rows], fleet.max_inject_w[rows])
    off_w = astray_w(power_w, free, low_w, high_w)
    stands = np.abs(off_w) > np.maximum(SLACK_W, BEYOND_FRAC * np.abs(power_w - off_w))
    since_ns = fleet.taken_at_ns[rows] - commands.since_ns[rows]
    had_time = (since_ns >= KEEPS_NS) | (is_read_back(state, rows) & (since_ns >= soon_ns(state, rows)))
    is_timed = (holds.until_ns[rows] > now_ns) & (power_w >= holds.low_w[rows]) & (power_w <= holds.high_w[rows])
    is_timed &= (power_w <= 0.0) | (high_w > 0.0)
    found: Mask = stands & had_time & ~is_timed & (commands.valid_until_ns[rows] > now_ns)
    return found


def soon_ns(state: DeskState, rows: Rows) -> NDArray[np.float64]:
    """Return how long after its command each row gives in full (ns)."""
    found: NDArray[np.float64] = seconds_to_reach(state, rows) * SECOND_NS
    return found


def is_read_back(state: DeskState, rows: Rows) -> Mask:
    """Return which rows took their last command and were read back as something else."""
    commands = state.commands
    mask: Mask = (commands.stage[rows] == int(Stage.UNCONFIRMED)) & np.isfinite(commands.observed_w[rows])
    return mask
