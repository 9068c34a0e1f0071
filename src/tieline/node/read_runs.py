"""What each device goes by at an instant: the one rule of the overview, of a group's page, of a device's and of `why`.

Whoever nobody names a power for doesn't run freely by that alone: its last command may stand still, a limit may leave
it one power, none, or push it, and of one that nobody hears nobody knows.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tieline.desk.state import DeskState
from tieline.fleet.settling import Settled
from tieline.node.read_held import held_off
from tieline.node.read_wait import stands, unreleased
from tieline.resource.quality import UNFIT_FOR_DISPATCH


class Runs(IntEnum):
    """What a device goes by; the first that is true."""

    NAMED = 0
    AT_LIMIT = 1
    BY_HAND = 2
    ON_LAST = 3
    LOST = 4
    OFF = 5
    BY_TIMER = 6
    UNRELEASED = 7
    FREELY = 8


SAYS = {
    Runs.ON_LAST: "goes on as told last", Runs.AT_LIMIT: "held by a limit", Runs.OFF: "held off by a limit",
    Runs.BY_TIMER: "held off by its own timer", Runs.BY_HAND: "set by somebody else",
    Runs.LOST: "out of reach", Runs.UNRELEASED: "let go without an answer", Runs.FREELY: "runs freely",
}  # fmt: skip
"""Of those whom nobody names a power for, in the order in which an operator is told."""
GROUP_SAYS = {
    Runs.ON_LAST: "go on as they were told last", Runs.AT_LIMIT: "are held by a limit",
    Runs.OFF: "are held off by a limit", Runs.BY_TIMER: "are held off by their own timers",
    Runs.BY_HAND: "are set by somebody else", Runs.LOST: "are out of reach",
    Runs.UNRELEASED: "were let go and did not confirm it",
}  # fmt: skip
"""The same of several: of a group's free devices those that don't run freely."""


def runs_of(state: DeskState, settled: Settled, now_ns: int) -> NDArray[np.uint8]:
    """Return what each row of a settlement goes by, as `Runs`; shape (m,)."""
    fleet, rows = state.fleet, settled.rows
    # By what claims leave it: a device's own timer is no limit of anybody.
    low_w, high_w = settled.told_low_w, settled.told_high_w
    has_span = fleet.max_inject_w[rows] + fleet.max_absorb_w[rows] > 0.0
    at_limit = ((low_w == high_w) & has_span) | (low_w > 0.0) | (high_w < 0.0)
    at_limit |= np.isfinite(state.commands.held_now_w(now_ns)[rows])
    is_free = settled.winner < 0
    is_lost = (fleet.taken_at_ns[rows] > 0) & ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0)
    off, by_timer = held_off(state, rows, low_w), off_by_timer(state, settled)
    found = np.full(len(rows), int(Runs.FREELY), np.uint8)
    ways = (
        (Runs.UNRELEASED, unreleased(state, rows, now_ns)),
        (Runs.BY_TIMER, by_timer),
        (Runs.OFF, off),
        (Runs.LOST, is_lost),
    )
    told = (Runs.ON_LAST, stands(state, settled, now_ns)), (Runs.BY_HAND, state.claims.is_local[rows])
    for way, mask in (*ways, *told, (Runs.AT_LIMIT, at_limit), (Runs.NAMED, ~is_free)):
        found[mask] = int(way)
    return found


def off_by_timer(state: DeskState, settled: Settled) -> NDArray[np.bool_]:
    """Return which loads of a settlement their own timers hold off, and no limit of anybody (R12); shape (m,)."""
    rows = settled.rows
    mask: NDArray[np.bool_] = held_off(state, rows, settled.low_w) & ~held_off(state, rows, settled.told_low_w)
    return mask


def counts_of(found: NDArray[np.uint8]) -> dict[Runs, int]:
    """Return how many go by each, those of whom there is none left out."""
    counts = np.bincount(found, minlength=len(Runs))
    return {way: int(counts[way]) for way in Runs if counts[way]}
