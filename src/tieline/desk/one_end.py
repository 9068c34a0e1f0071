"""The caps that keep one end of a group's limit: what each may give at most, and what each may draw."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.beside import giving_way
from tieline.desk.charge_turns import Charging, least_or_nothing
from tieline.desk.least_draw import is_between
from tieline.desk.nested import MARGIN_FRAC
from tieline.desk.shared_caps import charge_or_not, share_out, share_sparing
from tieline.desk.together import KEPT_W
from tieline.fleet.split import split_whole

Floats = NDArray[np.float64]


def kept_on(keeps: NDArray[np.bool_], does_w: Floats, wishes_w: Floats, least_w: Floats, limit_w: float) -> Floats:
    """Return the least that each can do (W): so much of what it wishes, within all limits, as what all do has room for.

    What one wishes less than it does, as another came, is room for that one; the rest of `least_w` stands.
    """
    keeps = keeps & (wishes_w > 0.0)
    base_w = np.where(keeps, np.minimum(wishes_w, does_w), does_w)
    room_w = limit_w - MARGIN_FRAC * abs(limit_w) - float(base_w.sum())
    if room_w < -KEPT_W:
        return least_w
    more_w = np.where(keeps, wishes_w - base_w, 0.0)
    whole_w = float(more_w.sum())
    more_w *= min(1.0, max(room_w, 0.0) / whole_w) if whole_w > 0.0 else 0.0
    return np.where(keeps, np.maximum(least_w, base_w + more_w), least_w)


def drawn_less(does_w: Floats, holds: NDArray[np.bool_], lack_w: float) -> Floats:
    """Return what each does (W) once stores draw as much less as the group lacks to its lower end, as far as they can.

    What they draw beyond that end makes no room below the upper one: who was told to go on drawing for others that then
    give nothing would hold the group there.

    >>> drawn_less(np.array([-3.0, -1.0, 0.0]), np.array([True, True, False]), 2.0)
    array([-1.5, -0.5,  0. ])
    """
    draws_w = np.where(holds, np.maximum(-does_w, 0.0), 0.0)
    whole_w = float(draws_w.sum())
    part = min(max(lack_w, 0.0) / whole_w, 1.0) if whole_w > 0.0 else 0.0
    return does_w + draws_w * part


def upper_caps(
    limit_w: float,
    told: tuple[Floats, NDArray[np.bool_], Floats, NDArray[np.bool_]],
    counted_w: Floats,
    leasts: tuple[Floats, Floats],
    most: tuple[NDArray[np.bool_], Floats],
    alone_w: Floats,
    spared: NDArray[np.bool_],
    floor_w: float = -math.inf,
) -> Floats:
    """Return upper caps (W) that keep the sum of what gives within the limit.

    What can't give is counted at `counted_w` and left free, so that a load may stop. Only what is
    beyond all stores and generators at their least is laid on the loads, as a draw that they must keep. What the other
    end needs (`floor_w`) they may always give: where that is more, no store is told to draw before all others are at
    their least, as it would draw against loads that only might stop.

    The least that each may give is told twice: where nobody need go further, as by a weaker limit of its own, and at
    all; the most with who can give by his rating.
    """
    (now_w, held, own_by_w, called), lost = told, np.isfinite(alone_w)
    (first_w, least_w), (gives, most_w) = leasts, most
    holds, loads = gives & ~lost, ~gives & ~lost
    # No wider than the limit: a margin below 0 W would tell a store to draw.
    margin_w = MARGIN_FRAC * min(float(np.maximum(most_w, 0.0).sum()), abs(limit_w))
    left_w = limit_w - margin_w - float(alone_w[lost].sum()) - float(counted_w[loads].sum())
    if floor_w > left_w:
        left_w, spared = floor_w, spared | (least_w < 0)
    high = np.where(lost, np.nan_to_num(alone_w), most_w)
    now_w = now_w.copy()
    now_w[holds] = giving_way(left_w, now_w[holds], own_by_w[holds], called[holds])
    high[holds] = share_sparing(left_w, np.clip(now_w, least_w, most_w), least_w, most_w, spared, holds, held, first_w)
    lack_w = float(least_w[holds].sum()) - left_w
    if lack_w > 0:
        draws_w = np.clip(now_w, least_w, most_w)[loads]
        high[loads] = share_out(float(counted_w[loads].sum()) - lack_w, draws_w, least_w[loads], most_w[loads])
    return high


def lower_caps(
    limit_w: float,
    now_w: Floats,
    base_w: Floats,
    leasts: tuple[Floats, Floats],
    most: tuple[NDArray[np.bool_], Floats],
    alone_w: Floats,
    wanted: tuple[Floats, NDArray[np.int64]],
    charging: Charging,
    spared: NDArray[np.bool_],
) -> Floats:
    """Return the most that each may draw (W, positive: drawn), so that the sum keeps the limit.

    Rows that can't draw follow their base and are counted at what they do; where room is left when all
    others are at their most, they get it too. `wanted` is what each wants, which comes before room for more, and the
    rows that are on or off in order of their turn: what they would get in parts goes to as many as fit, and what is
    over to those that can take a part. A charger draws nothing or its least at least (`charging`): as many as fit, in
    turn, and what that leaves is the others'.
    """
    (first_w, least_w), (draws, most_w) = leasts, most
    lost = np.isfinite(alone_w)
    holds, others = draws & ~lost, ~draws & ~lost
    margin_w = MARGIN_FRAC * min(float(np.maximum(most_w, 0.0).sum()), abs(limit_w))
    left_w = limit_w - margin_w - float(alone_w[lost].sum()) - float(now_w[others].sum())
    # Nobody can make the sun shine: what can't draw has no cap below 0, which would tell it to give.
    ceiling = np.where(lost, np.nan_to_num(alone_w), np.clip(base_w, 0.0, np.maximum(most_w, 0.0)))
    wants_w, turns = np.clip(wanted[0], least_w, most_w), wanted[1]
    ceiling[holds] = share_sparing(left_w, wants_w, least_w, most_w, spared, holds, None, first_w)
    if len(on_or_off := turns[holds[turns]]):
        parts = holds.copy()
        parts[on_or_off] = False
        # What nobody is known to want is theirs first: who is off can't show that it would run.
        whole_w = max(float(ceiling[on_or_off].sum()), left_w - float(wants_w[parts].sum()))
        fits_w = split_whole(whole_w + 1e-6, most_w[on_or_off], np.arange(len(on_or_off)))  # sums are rounded
        ceiling[on_or_off] = fits_w
        ceiling[parts] = share_sparing(
            left_w - float(fits_w.sum()), wants_w, least_w, most_w, spared, parts, None, first_w
        )
    if charging.turns is None:
        charge_or_not(ceiling, wants_w, charging.least_w)
    elif is_between(-ceiling, charging.least_w)[holds].any():
        floor_w, top_w = least_or_nothing(ceiling, wants_w, least_w, most_w, charging.least_w, charging.turns)
        parts = holds & ~np.isin(np.arange(len(holds)), on_or_off)
        rest_w = left_w - float(ceiling[holds & ~parts].sum())
        ceiling[parts] = share_sparing(
            rest_w, np.clip(wants_w, floor_w, top_w), floor_w, top_w, spared, parts, None, first_w
        )
    spare_w = left_w - float(ceiling[holds].sum())
    room_w = np.where(others, most_w - ceiling, 0.0)
    whole_w = float(room_w.sum())
    return ceiling + room_w * min(1.0, spare_w / whole_w) if spare_w > 0 and whole_w > 0 else ceiling
