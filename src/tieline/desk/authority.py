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
from tieline.ids import derive
from tieline.resource.claim import Refusal

SLACK_W = 1.0
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
    as it will go there. Where its power is not known only the safe power itself passes.
    """
    if not state.is_killed:
        return np.ones(len(rows), np.bool_)
    ends_w = np.where(np.isnan(target_w), state.base_w[rows], target_w)
    ends_w = np.minimum(np.maximum(ends_w, low_w), high_w)
    passes: Mask = np.abs(ends_w - state.fleet.safe_w[rows]) <= _far_w(state, rows) + SLACK_W
    return passes


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
