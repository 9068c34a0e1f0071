"""Who keeps to no command: where a limit on a group counts it, and what it is told meanwhile.

Theory of operation. A *stray* is heard, and its meter says that it keeps to nothing that it was told: no link carries a
command there, or none was answered and the meter belies them all, or it gave or drew more than it was told once the
time of its kind was over. All are counted alike. Beneath its upper end a limit counts a stray at what it gives, above
its lower end at what it draws, by its meter: what it does the other way helps neither end, as it may stop, but as far
as the other end needs it. Those that obey make room.

Under a limit with one end a stray is told what it was told before, and less where the limit has tightened. Under one
with two ends it may begin to obey at any moment, and what it gave and the others drew to make room is then too much the
other way. So all strays together are told to stand no further from their meters than the others' caps leave to the
other end: whichever of them begin to obey, the group stays within both ends. At the next beat the others have that
much less to make good, and those that are left are told to go on.

A share so near to its meter would hide a stray: `DeskState.strays` keeps who was found, where it stood and what it was
told then. It is one until its meter shows that it keeps a share which is further from where it stood than a meter may
be off by, or no limit holds it any more. What was found so is measured, and learnt anew after a start.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tieline.desk.deaf import deaf, unlinked
from tieline.desk.disobedience import follows, ignoring, is_within
from tieline.desk.state import DeskState
from tieline.fleet.columns import KIND_CODE
from tieline.fleet.split import split_whole
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
LEAVES_FRAC = 0.9
"""Of what the others leave to the other end strays are told so much: what meters are off by is no part of it."""


def strays(state: DeskState, rows: Rows, now_ns: int, keep_to_none: Mask | None = None) -> Mask:
    """Return which rows a limit counts at their meters, as they keep to no command; who can't be reached is none.

    `keep_to_none`: what `keeping_to_none` says of them, where that was found already.
    """
    fit = (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    now = keeping_to_none(state, rows, now_ns) if keep_to_none is None else keep_to_none
    mask: Mask = fit & (now | (state.strays.since_ns[rows] > 0))
    return mask


def keeping_to_none(state: DeskState, rows: Rows, now_ns: int) -> Mask:
    """Return which rows keep to no command by what they do now, whatever they were found to be before."""
    gives, draws = ignoring(state, rows, now_ns)
    return gives | draws | deaf(state, rows, now_ns)


def note_strays(state: DeskState, limits: Iterable[tuple[Rows, tuple[float, float]]], now_ns: int) -> list[Mask]:
    """Note which rows of limits are found to keep to no command now, and which obey again; return what
    `keeping_to_none` says of the rows of each.

    A share of a limit that has tightened since is not one to keep to any more: it is drawn in by its part of that.

    Args:
        state: The desk's.
        limits: Of each in force whom it holds, and its ends (W).
        now_ns: Now.
    """
    found, held = state.strays, list(limits)
    now_low_w, now_high_w = np.full(len(found.since_ns), -np.inf), np.full(len(found.since_ns), np.inf)
    for rows, ends_w in held:
        part_low_w, part_high_w = parts_w(state, rows, ends_w)
        found.part_low_w[rows] = np.maximum(found.part_low_w[rows], part_low_w)
        found.part_high_w[rows] = np.minimum(found.part_high_w[rows], part_high_w)
        low_w, high_w = spans_w(state, rows, ends_w)
        now_low_w[rows], now_high_w[rows] = np.maximum(now_low_w[rows], low_w), np.minimum(now_high_w[rows], high_w)
    return [_note(state, rows, (now_low_w[rows], now_high_w[rows]), now_ns) for rows, _ in held]


def _note(state: DeskState, rows: Rows, spans: tuple[Floats, Floats], now_ns: int) -> Mask:
    found, last, power_w = state.strays, state.commands, state.fleet.power_w[rows]
    low_w, high_w = _within_ratings(state, rows, last.low_w[rows], last.high_w[rows])
    told, was = last.valid_until_ns[rows] > now_ns, found.since_ns[rows] > 0
    tighter_w = np.maximum(spans[0] - found.then_low_w[rows], 0.0), np.maximum(found.then_high_w[rows] - spans[1], 0.0)
    asked_w = _within_ratings(state, rows, found.low_w[rows] + tighter_w[0], found.high_w[rows] - tighter_w[1])
    # As near to what it was told first as any other is, or on the way there and no longer beyond 0 W as it was.
    obeys = is_within(power_w, *asked_w)
    obeys |= follows(state, rows, now_ns) & is_within(power_w, np.minimum(asked_w[0], 0.0), np.maximum(asked_w[1], 0.0))
    found.since_ns[rows[was & obeys]] = 0
    keep_to_none = keeping_to_none(state, rows, now_ns)
    is_new = strays(state, rows, now_ns, keep_to_none) & ~was & told & ~unlinked(state, rows)
    new = rows[is_new]
    found.since_ns[new], found.stood_w[new] = now_ns, power_w[is_new]
    found.low_w[new], found.high_w[new] = low_w[is_new], high_w[is_new]
    found.then_low_w[new], found.then_high_w[new] = spans[0][is_new], spans[1][is_new]
    return keep_to_none


def _within_ratings(state: DeskState, rows: Rows, low_w: Floats, high_w: Floats) -> tuple[Floats, Floats]:
    return np.maximum(low_w, -state.fleet.max_absorb_w[rows]), np.minimum(high_w, state.fleet.max_inject_w[rows])


def forget_strays(state: DeskState, held: Mask) -> None:
    """Forget who was found, where no limit holds it any more (`held`: of each row, whether one does), and of all what
    part of a limit they have."""
    found = state.strays
    found.since_ns[~held] = 0
    found.part_low_w[:], found.part_high_w[:] = -state.fleet.max_absorb_w, state.fleet.max_inject_w


def parts_w(state: DeskState, rows: Rows, ends_w: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return what part of each end of a limit each row has by its rating (W): who stands within is in nobody's way."""
    absorb_w, inject_w = state.fleet.max_absorb_w[rows], state.fleet.max_inject_w[rows]
    parts = []
    for end_w, size_w in ((-ends_w[0], absorb_w), (ends_w[1], inject_w)):
        whole_w = float(size_w.sum())
        parts.append(size_w * (min(max(end_w / whole_w, 0.0), 1.0) if whole_w > 0.0 else 0.0))
    return -parts[0], parts[1]


def spans_w(state: DeskState, rows: Rows, ends_w: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return what part of how far each end is from 0 W each row has by both its ratings (W): by so much as that moves
    a limit has tightened for it."""
    absorb_w, inject_w = state.fleet.max_absorb_w[rows], state.fleet.max_inject_w[rows]
    able_w, least_w, most_w = absorb_w + inject_w, -float(absorb_w.sum()), float(inject_w.sum())
    part = able_w / max(float(able_w.sum()), 1.0)
    low_w, high_w = (part * min(max(end_w, least_w), most_w) for end_w in ends_w)
    return low_w, high_w


def kept_w(told_w: Floats, least_w: Floats, limit_w: float, among: Mask) -> Floats:
    """Return what each is told at most (W) under a limit with one end: what it was told, less its part of what all were
    told beyond the limit, as where that has tightened; each by how far it is above its least.

    >>> kept_w(np.array([3.0, 6.0]), np.zeros(2), 6.0, np.array([True, True]))
    array([2., 4.])
    """
    over_w, can_w = float(told_w[among].sum()) - limit_w, np.maximum(told_w - least_w, 0.0)
    whole_w = float(can_w[among].sum())
    part = min(max(over_w, 0.0) / whole_w, 1.0) if whole_w > 0.0 else 0.0
    return told_w - can_w * part


def shares_w(
    state: DeskState, rows: Rows, away: Mask, caps_w: tuple[Floats, Floats], counted_w: tuple[Floats, Floats],
    ends_w: tuple[float, float],
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the caps of a limit on both ends, with those of strays as near to their meters as the others' caps ask.

    Args:
        state: The desk's.
        rows: Of the group; shape (n,), as all that follows.
        away: Which of them are strays.
        caps_w: The caps of the others, low and high.
        counted_w: The least and the most that each of the others may be at within them.
        ends_w: The limit's.
    """
    if not away.any():
        return caps_w
    fleet, at = state.fleet, np.flatnonzero(away)
    mine, meter_w = rows[at], fleet.power_or_0_w(rows[at])
    least_w, most_w = (float(each[~away].sum()) for each in counted_w)
    low_w, high_w = ends_w
    sizes_w = fleet.max_inject_w[mine], fleet.max_absorb_w[mine]
    stands_w = float(meter_w.sum())
    is_whole, is_car = state.is_switched[mine], fleet.kinds[mine] == KIND_CODE[Kind.EV_CHARGER]
    # Each end has what the others' caps leave; who keeps to none may have to go on to the other side of 0 W.
    down_w = _moves_w(
        meter_w, LEAVES_FRAC * (least_w + stands_w - low_w), most_w + stands_w - high_w, sizes_w[1], is_whole
    )
    up_w = _moves_w(
        -meter_w, LEAVES_FRAC * (high_w - most_w - stands_w), low_w - least_w - stands_w, sizes_w[0], is_whole
    )
    to_w = meter_w - down_w + up_w
    # A car that is left less than it needs at least stops.
    to_w = np.where(is_car & (to_w > -LEAST_CHARGE_W) & (to_w < 0.0), np.maximum(meter_w, -LEAST_CHARGE_W), to_w)
    to_w = np.clip(to_w, -sizes_w[1], sizes_w[0])
    # What stores can hold they are told; nobody makes the sun shine, or a load draw.
    low, high = caps_w[0].copy(), caps_w[1].copy()
    low[at] = np.where(sizes_w[1] <= 0.0, np.minimum(to_w, 0.0), to_w)
    high[at] = np.where(sizes_w[0] <= 0.0, np.maximum(to_w, 0.0), to_w)
    return low, high


def _moves_w(gives_w: Floats, leaves_w: float, needs_w: float, can_w: Floats, is_whole: Mask) -> Floats:
    """Return how much less each is to give (W): all that it gives, and what is needed beyond by those that can draw,
    but no more together than is left to them; what is on or off goes wholly or not at all."""
    gives_w, left_w = np.maximum(gives_w, 0.0), max(leaves_w, 0.0)
    moves_w = np.zeros(len(gives_w))
    at = np.flatnonzero(is_whole)
    moves_w[at] = split_whole(left_w, gives_w[at], np.arange(len(at)))
    left_w -= float(moves_w.sum())
    part_w = np.where(is_whole, 0.0, gives_w)
    whole_w = float(part_w.sum())
    moves_w += part_w * (min(left_w / whole_w, 1.0) if whole_w > 0.0 else 0.0)
    more_w, able_w = min(left_w - whole_w, needs_w - float(moves_w.sum())), np.where(is_whole, 0.0, can_w)
    able_sum_w = float(able_w.sum())
    if more_w > 0.0 and able_sum_w > 0.0:
        moves_w += able_w * min(more_w / able_sum_w, 1.0)
    return moves_w
