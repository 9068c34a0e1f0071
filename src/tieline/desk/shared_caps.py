"""One bound in watts shared out as caps: by what each does, who is spared last, and cars that charge or don't."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.split import split_whole

Floats = NDArray[np.float64]
STEP_FRAC = 0.1
"""So much of its rating more than it does may one that its cap doesn't hold back, before others that are held."""


def share_out(limit_w: float, now_w: Floats, least_w: Floats, most_w: Floats) -> Floats:
    """Return caps that sum to `limit_w` where that is feasible, each in [least, most], as near to `now_w` as can be.

    Where there is room above `now_w` it is given in proportion to what is left up to `most_w`; where there is too
    little, each gives way in proportion to what it can.

    >>> share_out(3.0, np.array([4.0, 2.0]), np.array([0.0, 0.0]), np.array([5.0, 5.0]))
    array([2., 1.])
    """
    total_w = float(now_w.sum())
    if limit_w >= total_w:
        room_w = most_w - now_w
        whole = float(room_w.sum())
        return now_w + room_w * min(1.0, (limit_w - total_w) / whole) if whole > 0 else now_w.copy()
    give_w = now_w - least_w
    whole = float(give_w.sum())
    return now_w - give_w * min(1.0, (total_w - limit_w) / whole) if whole > 0 else now_w.copy()


def share_held(limit_w: float, now_w: Floats, least_w: Floats, most_w: Floats, held: NDArray[np.bool_]) -> Floats:
    """Return the caps of `share_out`, where room goes to those first that their caps hold back.

    The others get a step more than they do, so that they may grow; what is over then is everybody's.

    >>> share_held(5.5, np.array([0.0, 1.0]), np.array([0.0, 0.0]), np.array([5.0, 5.0]), np.array([False, True]))
    array([0.5, 5. ])
    """
    narrow_w = np.where(held, most_w, np.minimum(now_w + STEP_FRAC * np.maximum(most_w, 0.0), most_w))
    caps_w = share_out(limit_w, now_w, least_w, narrow_w)
    return share_out(limit_w, caps_w, least_w, most_w)


def share_sparing(
    limit_w: float,
    now_w: Floats,
    least_w: Floats,
    most_w: Floats,
    spared: NDArray[np.bool_],
    among: NDArray[np.bool_],
    held: NDArray[np.bool_] | None = None,
    first_w: Floats | None = None,
) -> Floats:
    """Return the caps of `share_out` for some rows, where who is spared goes below 0 W only once all others can't.

    A limit of the grid stands above an owner's opt-out, so that it is used where nothing else keeps it, and no sooner.
    Nor does anybody go below an end that only the last need is to push it beyond (`first_w`; -inf: none): who is spared
    is at his least by then. Where it is known who is `held` by his cap the room is shared as by `share_held`.

    >>> rest, ends, all_of = np.zeros(2), (np.array([-5.0, -5.0]), np.array([5.0, 5.0])), np.ones(2, np.bool_)
    >>> share_sparing(-2.0, rest, *ends, np.array([True, False]), all_of, None, np.array([-np.inf, -0.5]))
    array([-1.5, -0.5])
    >>> share_sparing(-8.0, rest, *ends, np.array([True, False]), all_of, None, np.array([-np.inf, -0.5]))
    array([-5., -3.])
    """
    kept_w = np.full(len(now_w), -np.inf) if first_w is None else first_w
    kept_w = np.minimum(kept_w, most_w)[among]
    now_w, least_w, most_w, spared = now_w[among], least_w[among], most_w[among], spared[among]
    first = np.ones(len(now_w), np.bool_) if held is None else held[among]
    soft_w = np.where(spared, np.maximum(least_w, np.minimum(now_w, 0.0)), least_w)
    soft_w, kept_w = np.maximum(soft_w, kept_w), np.maximum(least_w, kept_w)
    caps_w = share_held(limit_w, np.maximum(now_w, soft_w), soft_w, most_w, first)
    for further_w in (kept_w, least_w):
        if (soft_w > further_w).any():
            caps_w, soft_w = share_out(limit_w, caps_w, further_w, most_w), further_w
    return caps_w


def charge_or_not(ceiling_w: Floats, wants_w: Floats, least_charge_w: Floats) -> None:
    """Give what is too little for a car to charge at all to as many as it suffices for, those who want most first."""
    at = np.flatnonzero((least_charge_w > 0) & (ceiling_w < least_charge_w) & (ceiling_w > 0))
    if len(at):
        order = np.lexsort((at, -wants_w[at]))
        ceiling_w[at] = split_whole(float(ceiling_w[at].sum()), least_charge_w[at], order)
