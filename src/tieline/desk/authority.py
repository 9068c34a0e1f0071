"""The kill switch: who moves it, and which commands still pass while it is pressed.

Pressing it needs one person, releasing it two. It is a fact of the journal, so that a restart finds it as it was left.
It is asked at the last hop, for each link just before its rows are handed over, as commands may have queued meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import AuthorityChanged
from tieline.desk.people import missing
from tieline.desk.state import DeskState
from tieline.desk.wants import NEAR_FRAC
from tieline.ids import derive
from tieline.resource.claim import Refusal
from tieline.times import MINUTE_NS

SLACK_W, ENDING_NS = 1.0, 2 * MINUTE_NS
Mask = NDArray[np.bool_]
Rows = NDArray[np.int32]
Floats = NDArray[np.float64]


def decide_kill(
    state: DeskState, pressed: bool, by: str, people: Sequence[str], now_ns: int
) -> tuple[list[Entry], Refusal | None]:
    """Return the facts of moving the kill switch, or why it stays; none where it stands so already."""
    if pressed == state.is_killed:
        return [], None
    refusal = None if pressed else missing(people, "the kill switch is released by two people")
    if refusal is not None:
        return [], refusal
    fact = AuthorityChanged("kill", "on" if pressed else "off", by)
    return [Entry(derive("kill", by, now_ns), fact, "")], None


def may_pass(state: DeskState, rows: Rows, target_w: Floats, low_w: Floats, high_w: Floats) -> Mask:
    """Return which commands may leave now: all, or while the kill switch is pressed those in the safe direction.

    That is: the device ends no further from its safe power than it is. One that is let go (NaN) is counted at its base,
    as it will go there; but a limit alone that leaves it no more than it is held to already moves nobody, and counts at
    what the device does: were it barred, the device would be free as its lease ends. A load that its limit holds down
    counts at what a wider one lets it draw, as its base has faded meanwhile. Where its power is not known only the safe
    power itself passes.
    """
    if not state.is_killed:
        return np.ones(len(rows), np.bool_)
    fleet, power_w = state.fleet, np.nan_to_num(state.fleet.power_w[rows])
    held_low_w, held_high_w, is_called = _held(state, rows)
    limits, base_w = np.isnan(target_w) & ~is_called, state.base_w[rows]
    narrows = limits & (low_w >= held_low_w - SLACK_W) & (high_w <= held_high_w + SLACK_W)
    held_down = (held_low_w > -fleet.max_absorb_w[rows]) & (
        power_w <= held_low_w + (1.0 - NEAR_FRAC) * np.abs(held_low_w)
    )
    grows = limits & ~narrows & held_down & (fleet.max_inject_w[rows] <= 0.0)
    free_w = np.where(narrows, power_w, np.where(grows, -fleet.max_absorb_w[rows], base_w))
    ends_w = np.where(np.isnan(target_w), free_w, target_w)
    ends_w = np.minimum(np.maximum(ends_w, low_w), high_w)
    passes: Mask = np.abs(ends_w - fleet.safe_w[rows]) <= _far_w(state, rows) + SLACK_W
    return passes


def _held(state: DeskState, rows: Rows) -> tuple[Floats, Floats, Mask]:
    """Return what rows are held to (W, low and high) by the command that they took and the last that they were told.

    And which of them are told a power. A limit that ends within two beats counts as over: what follows is to be there
    first.
    """
    fleet, last, now_ns = state.fleet, state.commands, state.claims.latest_ns
    took, told = (until[rows] > now_ns + ENDING_NS for until in (last.leased_until_ns, last.valid_until_ns))
    low_w, high_w = -fleet.max_absorb_w[rows], fleet.max_inject_w[rows]
    for alive, each_low_w, each_high_w in (
        (took, last.took_low_w[rows], last.took_high_w[rows]), (told, last.low_w[rows], last.high_w[rows]),
    ):  # fmt: skip
        low_w = np.where(alive, np.maximum(low_w, each_low_w), low_w)
        high_w = np.where(alive, np.minimum(high_w, each_high_w), high_w)
    is_called: Mask = (last.leased_until_ns[rows] > now_ns) & np.isfinite(last.leased_w[rows])
    is_called |= (last.valid_until_ns[rows] > now_ns) & np.isfinite(last.target_w[rows])
    return low_w, high_w, is_called


def passing_w(state: DeskState, rows: Rows) -> tuple[Floats, Floats]:
    """Return the least and the most that rows can be told now (W): any, or behind the kill switch what `may_pass`."""
    if not state.is_killed:
        return np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
    safe_w, far_w = state.fleet.safe_w[rows], _far_w(state, rows)
    return safe_w - far_w, safe_w + far_w


def _far_w(state: DeskState, rows: Rows) -> Floats:
    """Return how far rows are from their safe power (W; 0 where that isn't known)."""
    far_w: Floats = np.nan_to_num(np.abs(state.fleet.power_w[rows] - state.fleet.safe_w[rows]), nan=0.0)
    return far_w
