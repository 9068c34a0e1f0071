"""Whose turn it is to charge where a limit has less than all cars need at least (IEC 61851-1: six amperes, or nothing).

A part of what a car needs at least is nothing to it, and nobody else would have that part. So as many as fit have their
least or more, the others nothing, and they take turns: who charges goes on for a turn, then makes room for who was held
off longest. Of a charger whose car nobody knows of, as it draws nothing and tells nothing, each has its turn by the
clock, and no room that another wants.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tieline.desk.charge_columns import NO_CAR
from tieline.desk.disobedience import NOISE_W
from tieline.desk.state import DeskState
from tieline.desk.wants import TRIED_NS, TRY_NS, TURN_NS, TURNS_FRAC, first_part
from tieline.fleet.columns import first_true
from tieline.fleet.holding import least_draw_w
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
SUMS_W = 1e-6
"""What floating point makes of a sum of caps (W)."""


class Charging(NamedTuple):
    """The least that each row draws where it draws anything (W, 0: none such), and the places of those that have one,
    who is first in turn first (None: by what they want alone, and what is over stays: a limit with two ends)."""

    least_w: Floats
    turns: Ints | None


def charging_of(state: DeskState, rows: Rows, draw_w: Floats, wants_w: Floats, most_w: Floats, now_ns: int) -> Charging:
    """Return whose turn it is to charge, of `rows`.

    First are those that charge and have not done so for a turn, or may begin; then of those held off for a turn as many
    as a part of those that charged for one can make room for, who waited longest first; then who charges on, who began
    last first; then who waits. Who may charge and doesn't, though his car had the time to begin, comes after them, and
    who is known to want nothing last.

    Args:
        state: The desk's.
        rows: Of a limit.
        draw_w: What each draws (W); shape as `rows`.
        wants_w: What each wants to draw (W).
        most_w: The most that it may draw: what another limit leaves it, as that may yet grow, is what it needs here.
        now_ns: Now.
    """
    least_w, last = np.minimum(least_draw_w(state.fleet, rows), most_w), state.commands
    at = np.flatnonzero(least_w > 0.0)
    mine, size_w = rows[at], least_w[at]
    alive = last.valid_until_ns[mine] > now_ns
    held_off, draws = alive & (last.low_w[mine] > 1.0 - size_w), draw_w[at] >= 0.5 * size_w
    wants = (wants_w[at] > NOISE_W) | (draw_w[at] > NOISE_W)
    on, since_ns, began_ns = draws & ~held_off, last.since_ns[mine], state.charges.began_ns[mine]
    ran = on & (began_ns > 0) & (now_ns - began_ns >= TURN_NS)
    begins = alive & ~held_off & ~draws & (now_ns - began_ns < TRIED_NS)
    has_waited = held_off & wants & (now_ns - since_ns >= TURN_NS)
    on_w, ran_w = float(size_w[on].sum()), float(size_w[ran].sum())
    due = first_part(has_waited, since_ns, at.astype(np.float64), size_w, min(TURNS_FRAC * on_w, ran_w - 1.0))
    passes = ~held_off & ~draws & ~begins
    rank = first_true((~wants, due, passes & alive, ran, on | begins), (5, 1, 4, 2, 0), 3)
    # Who is known to want nothing has its turn by the clock; the others by who began last, or waits longest.
    count = max(len(at), 1)
    by_clock = (np.arange(len(at)) - now_ns // TRY_NS) % count
    later = first_true((rank == 5, ran), (by_clock, -began_ns), since_ns)
    order: Ints = at[np.lexsort((at, later, rank))]
    return Charging(least_w, order)


def note_charging(state: DeskState, rows: Rows, now_ns: int) -> None:
    """Note of `rows` since when each charges, or may, and whether it is seen to, though its car had time to begin."""
    size_w, fleet, last = least_draw_w(state.fleet, rows), state.fleet, state.commands
    is_car = (size_w > 0.0) & ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0)
    rows, size_w, known = rows[is_car], size_w[is_car], state.charges
    draws, alive = -fleet.power_or_0_w(rows) >= 0.5 * size_w, last.valid_until_ns[rows] > now_ns
    may = alive & (last.low_w[rows] <= 1.0 - size_w)
    # Where nobody was seen to charge, a car that comes begins its turn then.
    goes_on = (known.began_ns[rows] > 0) & ~(draws & (known.seen_ns[rows] == NO_CAR))
    known.began_ns[rows] = np.where(may | (draws & ~alive), np.where(goes_on, known.began_ns[rows], now_ns), 0)
    unused = may & ~draws & (now_ns - known.began_ns[rows] >= TRIED_NS)
    known.seen_ns[rows[draws]], known.seen_ns[rows[unused]] = now_ns, NO_CAR


def least_or_nothing(
    ceiling_w: Floats, wants_w: Floats, least_w: Floats, most_w: Floats, charge_w: Floats, turns: Ints
) -> tuple[Floats, Floats]:
    """Return the least and the most that each may draw (W) so that none is left between nothing and its least draw.

    Those of the cars that want to charge go on, or begin, in turn, as many as their ceilings together suffice for; of
    those that are known to want nothing as many as what is left beside all that is wanted.

    Args:
        ceiling_w: What each would have if it could take any part; shape (n,), as all that follows.
        wants_w: What each wants.
        least_w: The least that each can draw.
        most_w: The most.
        charge_w: The least that each draws where it draws anything.
        turns: The places of those that have such a least, who is first in turn first.
    """
    floor_w, top_w, at = least_w.copy(), most_w.copy(), turns
    size_w, wants = charge_w[at], wants_w[at] > NOISE_W
    goes, can = least_w[at] >= size_w, most_w[at] >= size_w
    for among in (wants & ~goes, ~wants & ~goes):
        some = np.flatnonzero(among & can)
        part_w = float(ceiling_w[at[among]].sum()) + SUMS_W
        goes[some] = np.cumsum(size_w[some]) <= part_w
    floor_w[at] = np.where(goes, np.maximum(least_w[at], size_w), least_w[at])
    top_w[at] = np.where(goes, most_w[at], np.maximum(least_w[at], 0.0))
    return floor_w, top_w
