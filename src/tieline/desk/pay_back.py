"""What rows that were called, and are not, take of a pool's delivery: what others are called for beside the owed.

Theory of operation. A load takes back what it missed as soon as it is let go, and its meter tells so. Two things no
meter tells in time. What goes on and off by itself draws its mean on the whole: who runs is set off against who rests
meanwhile. But a room that was let go a moment ago does not rest: it is warm by then, goes on as soon as its compressor
may, and draws all of its rating for minutes. Of 40 simulated rooms that were let go after calls of 3 to 38 minutes each
was on within two minutes. Until its meter had time to tell, it is taken to be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.desk.tracking import gained_w, held_w
from tieline.fleet.columns import KIND_CODE, or_0, places
from tieline.resource.identity import Kind
from tieline.times import MINUTE_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
COMES_ON_NS = 3 * MINUTE_NS
"""So long after a room was let go its meter has told whether it came on."""
RUNS_FRAC = 0.5
"""What draws more of its rating than this runs."""
_ROOM = KIND_CODE[Kind.THERMOSTAT]


def pays_back_w(state: DeskState, rows: Rows, share_w: Floats, side: float, now_ns: int) -> float:
    """Return what rows that can't be called, or are not, take of a pool's delivery now (W, 0 or more).

    Those that pay back a call tell it by their meters; those that are held to it take no less than what holds them.
    """
    return together_w(state, rows, takes_back_w(state, rows, share_w, side, now_ns))


def together_w(state: DeskState, rows: Rows, takes_w: Floats) -> float:
    """Return what rows that take back so much each (W) do together (W, 0 or more).

    What goes on and off by itself draws its mean on the whole: who runs is set off against who rests meanwhile.
    """
    on_off = state.is_switched[rows]
    return float(np.maximum(takes_w[~on_off], 0.0).sum() + max(float(takes_w[on_off].sum()), 0.0))


def takes_back_w(state: DeskState, rows: Rows, share_w: Floats, side: float, now_ns: int) -> Floats:
    """Return what each row that is not called takes of a pool's delivery now (W); below 0 one that is on or off, runs
    freely and rests."""
    up_w, down_w = takes_back_both_w(state, rows, share_w, now_ns)
    return up_w if side > 0.0 else down_w


def takes_back_both_w(state: DeskState, rows: Rows, share_w: Floats, now_ns: int) -> tuple[Floats, Floats]:
    """Return what `takes_back_w` does of a delivery upward, and downward (W)."""
    rows = places(rows)
    last, silent = state.commands, (np.abs(share_w) > 1.0) | _tells_of_before(state, rows, now_ns)
    gains_w, holds_w = gained_w(state, rows, share_w, now_ns), held_w(state, rows, share_w, now_ns)
    rests = state.is_switched[rows] & (holds_w == 0.0)
    rests &= np.isnan(last.target_w[rows]) | (last.valid_until_ns[rows] <= now_ns)
    comes = rests & ~silent & (gains_w != 0.0) & comes_on(state, rows, now_ns)
    whole_w = -state.fleet.max_absorb_w[rows] - state.base_w[rows]

    def takes_w(side: float) -> Floats:
        moved_w, by_hold_w = np.where(silent, 0.0, side * gains_w), side * holds_w
        moved_w = np.where(comes, np.minimum(moved_w, side * whole_w), moved_w)
        found: Floats = -np.where(rests, moved_w, np.minimum(moved_w, by_hold_w))
        return found

    return takes_w(1.0), takes_w(-1.0)


def comes_on(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rooms rest by their meters, but were let go so short a time ago that they are about to run."""
    fleet = state.fleet
    since_ns = now_ns - state.commands.let_go_ns[rows]  # below 0: the clock was set back
    mask: Mask = (fleet.kinds[rows] == _ROOM) & (since_ns >= 0) & (since_ns < COMES_ON_NS)
    mask &= or_0(fleet.power_w[rows]) > -RUNS_FRAC * fleet.max_absorb_w[rows]
    return mask


def _tells_of_before(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which stores' meters tell what a command made them do that is over, or is not the last one."""
    last, base_w = state.commands, state.base_w[rows]
    by_cap = (base_w < last.low_w[rows]) | (base_w > last.high_w[rows])
    unread = state.fleet.taken_at_ns[rows] <= last.since_ns[rows]
    # Stores alone: what a house or a car takes after a call is its pay back, whatever was told it meanwhile.
    stores = state.fleet.energy_wh[rows] > 0
    mask: Mask = stores & (last.valid_until_ns[rows] > now_ns) & (by_cap | unread)
    return mask
