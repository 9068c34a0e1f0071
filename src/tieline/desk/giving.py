"""Caps on what devices give under a limit on a feeder's generation: no taking makes anybody's giving good."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.beside import called_up, giving_way, own_w
from tieline.desk.extents import by_itself_w
from tieline.desk.nested import MARGIN_FRAC
from tieline.desk.own_limits import Own
from tieline.desk.shared_caps import share_held
from tieline.desk.state import DeskState
from tieline.desk.strays import kept_w, strays
from tieline.desk.told import as_told
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


def giving_caps(
    state: DeskState, rows: Rows, ends: tuple[float, float], now_ns: int, own: Own | None = None
) -> tuple[Floats, Floats]:
    """Return caps on what devices give: what they take is free, and makes nobody else's giving good."""
    inject_w, (low_w, high_w) = state.fleet.max_inject_w[rows], ends
    low, high = np.full(len(rows), low_w if low_w > 0 else -math.inf), np.full(len(rows), math.inf)
    if high_w < float(inject_w.sum()):
        now_w = np.maximum(np.nan_to_num(state.fleet.known_power_w(rows)), 0.0)
        lost, ignores = (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0, strays(state, rows, now_ns)
        # One that can't be reached counts at what it may give by itself, and is told what the limit leaves to it.
        alone_w = np.where(lost, np.maximum(by_itself_w(state, rows, now_ns)[1], 0.0), np.where(ignores, now_w, 0.0))
        least_w = np.zeros(len(rows))
        if own is not None:  # what one may not give is room for the others
            inject_w = np.where(lost | ignores, inject_w, np.minimum(inject_w, np.maximum(own.high_w, 0.0)))
            now_w = np.where(lost | ignores, now_w, np.minimum(now_w, inject_w))
            least_w = np.where(lost | ignores, 0.0, np.clip(own.least_w, 0.0, inject_w))
        most_w = np.where(lost | ignores, 0.0, inject_w)
        holds = ~(lost | ignores)
        told_w, held = as_told(state, rows, now_w, inject_w, holds, now_ns)
        # What another limit has one draw makes no room here for what its neighbours give.
        told_w = np.where(holds, np.maximum(told_w, 0.0), 0.0)
        left_w = max(high_w * (1.0 - MARGIN_FRAC) - float(alone_w.sum()), 0.0)
        own_by_w = np.where(holds, np.maximum(own_w(state, rows, now_ns), 0.0), 0.0)
        told_w = giving_way(left_w, told_w, own_by_w, holds & called_up(state, rows, now_ns))
        shares_w = share_held(left_w, np.maximum(told_w, least_w), least_w, most_w, held)
        high = np.where(lost, np.minimum(alone_w, max(high_w, 0.0)), shares_w)
        told_w = np.clip(np.minimum(state.commands.high_w[rows], inject_w), 0.0, None)
        kept = np.minimum(kept_w(told_w, 0.0 * now_w, max(high_w, 0.0), ~lost), now_w)
        high = np.where(ignores, np.minimum(kept, max(high_w, 0.0)), high)
    return low, high
