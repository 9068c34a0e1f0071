"""Whom a program event calls, and for how much: switched loads wholly or not at all, the others in part."""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.desk.beside import held_by_limits, left_beside, whole_or_none
from tieline.desk.charging import planned
from tieline.desk.ends import least_within_w
from tieline.desk.engine_calls import IS_ENGINE
from tieline.desk.event_stack import SOURCE, Layer, beneath_w, layers
from tieline.desk.event_tracking import SHORT_H
from tieline.desk.least_draw import whole_draws
from tieline.desk.least_times import just_let_go
from tieline.desk.modes import barred
from tieline.desk.redispatch import unlimited
from tieline.desk.state import DeskState
from tieline.desk.tracking import bounded_base_w
from tieline.fleet.holding import least_draw_w
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH

NOBODY = np.zeros(0, np.int32)


def split_call(gives_w: NDArray[np.float64], is_switched: NDArray[np.bool_], wanted_w: float) -> NDArray[np.float64]:
    """Return each row's part of what is wanted (W): switched rows all or nothing, evenly spread, the others in part."""
    most_w = float(gives_w.sum())
    part = min(1.0, wanted_w / most_w) if most_w > 0 else 0.0
    turns = np.cumsum(is_switched) * part
    whole = is_switched & (np.floor(turns + 0.5) > np.floor(turns - part + 0.5))
    share_w = np.where(whole, gives_w, 0.0)
    while (over_w := float(share_w.sum()) - wanted_w) > 0 and np.count_nonzero(share_w) > 1:
        # Rounding came out above what is wanted: the least that brings it below stays at rest, others fill the gap.
        on = np.flatnonzero(share_w)
        enough = on[share_w[on] >= over_w]
        share_w[enough[share_w[enough].argmin()] if len(enough) else on[share_w[on].argmax()]] = 0.0
    rest_w = float(gives_w[~is_switched].sum())
    left_w = max(min(wanted_w, most_w) - float(share_w.sum()), 0.0)
    if rest_w > 0:
        share_w = np.where(is_switched, share_w, gives_w * min(1.0, left_w / rest_w))
    return share_w


def added_up_w(share_w: NDArray[np.float64], wanted_w: float) -> float:
    """Return what shares come to (W): what is wanted, where the rounding of so many parts alone stands between."""
    sum_w = float(share_w.sum())
    return wanted_w if math.isclose(sum_w, wanted_w, rel_tol=1e-12) else sum_w


class Shared(Struct, frozen=True):
    """Who serves an event: rows, each one's share and target (W), the most they could give, and who was passed over."""

    rows: NDArray[np.int32]
    share_w: NDArray[np.float64]
    target_w: NDArray[np.float64]
    most_w: float
    opted_out: int
    unseen: int
    limited: int
    scheduled: int
    unagreed: int = 0


def shares(
    state: DeskState,
    group: str,
    power_w: float,
    now_ns: int,
    until_ns: int = 0,
    apart_from: NDArray[np.int32] = NOBODY,
    stack: list[Layer] | None = None,
    barred_by_contract: NDArray[np.bool_] | None = None,
    engines: NDArray[np.bool_] | None = None,
) -> Shared:
    """Return how an event's power is shared out over the devices of its group, apart from some that it has.

    Those that their contracts don't let it call (`barred_by_contract`, of the group's; None: none) are passed over.
    Of backup engines only those serve that a rule lets it call (`engines`, of the group's; None: none).

    Stores that are to fill up for awards before `until_ns` are the market's then, and are passed over as well.

    What a device gives is counted from its base within stronger limits, as it is measured later. Devices that a
    stronger claim moves, or a limit holds, are passed over: what they give is that claim's. What other events call is
    theirs (`stack`; None: those that run): this one stands upon it. A switched load gives all or nothing, so some give
    all of it.
    """
    fleet, side = state.fleet, float(np.sign(power_w))
    rows = fleet.leaves(group)
    unseen = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    out = state.opted_out[rows]
    unagreed = np.zeros(len(rows), np.bool_) if barred_by_contract is None else barred_by_contract
    base_w = bounded_base_w(state, rows, Level.PROGRAM, now_ns)
    gives_w = could_w(state, rows, base_w, side, now_ns)
    settled = state.claims.arbitrate(now_ns, rows)
    is_taken = (settled.winner >= 0) & (state.claims.level_of(settled.winner) < int(Level.PROGRAM))
    may = state.may_serve("demand_response", rows) & ~IS_ENGINE[fleet.kinds[rows]]
    may = (may if engines is None else may | engines) & ~barred(state, SOURCE)[rows] & ~unagreed
    limited = np.isin(rows, held_by_limits(state, side, Level.PROGRAM, now_ns))
    scheduled = np.isin(rows, planned(state, now_ns, until_ns))
    is_taken |= limited | scheduled
    # A cap of a stronger claim may leave a device nothing to give, without a group's limit that bites.
    free_w = unlimited(state, rows, SHORT_H, now_ns)[0 if side > 0 else 1]
    limited |= (free_w > 1.0) & (gives_w <= 1.0) & may
    under_w = beneath_w(layers(state) if stack is None else stack, rows, base_w, side)
    gives_w, base_w = np.maximum(gives_w - under_w, 0.0), base_w + side * under_w
    serves = ~unseen & ~out & ~is_taken & (gives_w > 1.0) & may & ~np.isin(rows, apart_from)
    serves &= ~just_let_go(state, rows, now_ns)
    rows, gives_w, base_w = rows[serves], gives_w[serves], base_w[serves]
    is_switched, least_w = state.is_switched[rows], least_draw_w(fleet, rows)
    share_w = split_call(gives_w, is_switched, abs(power_w))
    share_w = whole_draws(share_w, base_w, least_w, gives_w, side, np.where(is_switched, 0.0, gives_w), beyond_w=0.0)
    called = share_w > 0
    share_w = side * share_w[called]
    return Shared(
        rows[called], share_w, base_w[called] + share_w, float(gives_w.sum()), int(out.sum()), int(unseen.sum()),
        int(limited.sum()), int(scheduled.sum()), int((unagreed & ~out).sum()),
    )  # fmt: skip


def could_w(
    state: DeskState, rows: NDArray[np.int32], base_w: NDArray[np.float64], side: float, now_ns: int
) -> NDArray[np.float64]:
    """Return how far each row can move from its bounded base on a side within what stronger levels allow (W)."""
    up_w, down_w = unlimited(state, rows, SHORT_H, now_ns)
    low_w, high_w = state.claims.bounds_above(rows, Level.PROGRAM, now_ns)
    least_w, most_w = state.base_w[rows] - down_w, state.base_w[rows] + up_w
    least_w = np.maximum(least_w, least_within_w(state, rows, low_w))
    free_w = np.minimum(most_w, high_w) - base_w if side > 0 else base_w - least_w
    if side > 0:
        free_w = whole_or_none(state, rows, np.maximum(free_w, 0.0), most_w - base_w)
        free_w = left_beside(state, rows, free_w, Level.PROGRAM, now_ns)
    return np.maximum(free_w, 0.0)
