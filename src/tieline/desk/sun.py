"""What plants would give now if nobody held them: by their own meters, else as the sun of their neighbours goes.

Theory of operation. What drives a plant is the sun, not itself: a base that lags it would count each minute's rise as
given by whoever is called. So a plant that runs freely has what it gives now as its base, and so has one that stands
below what it was told at most: it gives all that it can. One that is held has what its meter says the sun would let it
give beside that, if its meter tells. If not, its base goes as those of its neighbours do that are known: of its feeder,
or of all where there are none. Where nobody is known it stands as it was last.
A hybrid site gives its sun by itself. Called, its meter shows sun and store together, so its base goes by neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import KIND_CODE, among
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import SECOND_NS

if TYPE_CHECKING:
    from tieline.desk.state import DeskState

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
IS_PLANT = among((KIND_CODE[Kind.PV],))
IS_SUN = among((KIND_CODE[Kind.PV], KIND_CODE[Kind.HYBRID_SITE]))
NEAR_FRAC, NEAR_W = 0.1, 150.0
"""So near to what it was told at most a plant may be held by that: a share of it, or what its meter may be off by."""
SETTLES_NS = 10 * SECOND_NS
"""An inverter gives what it is told within so long; read before, it may be on its way."""
TELLS_W = 50.0
"""A meter that says once that the sun would let it give so much more tells it always; others say 0, or nothing."""
STEP_FRAC_PER_S = 0.1 / 60.0
"""By so much of its rating a second a held plant is let come back from a cloud, where no neighbour shows the sky."""
OWN_S, OWN_FRACS = 600.0, (0.05, 5.0)
"""Within so long what a roof gives beside others is learnt: the sun goes round it by two degrees, and clouds' edges
pass. It is held to within these shares."""
LATELY_S = 3_600.0
"""What a plant gave before a cloud is forgotten with this time constant."""
LEAST_FRAC = 0.02
"""Of plants that give less of their ratings together nothing can be told of others: it is night, or they are out."""


@dataclass
class Suns:
    """What was seen of the sun behind each row; shape (n,). Measured, not decided.

    `tells`: its meter says what the sun would let it give. `is_known`: its last reading, if there was one, told
    what it would give. `own_frac` is what it gives of its rating, as a share of what its neighbours give of theirs:
    roofs differ (NaN: never seen). `lately_w` is what it gave at most lately: what it may come back to from a cloud.
    """

    tells: Mask
    is_known: Mask
    own_frac: Floats
    lately_w: Floats

    @staticmethod
    def empty(count: int) -> Suns:
        """Return columns of rows of which nothing was seen."""
        return Suns(np.zeros(count, np.bool_), np.ones(count, np.bool_), np.full(count, np.nan), np.zeros(count))


def take(state: DeskState, rows: Rows, watts: Floats, free: Mask, now_ns: int) -> None:
    """Take power that was read (W) of rows that the sun drives into their base.

    Args:
        state: What is known.
        rows: Whose; `IS_SUN` each.
        watts: Their power; it is in the columns already.
        free: Which run freely.
        now_ns: Now.
    """
    fleet, suns = state.fleet, state.suns
    plants, up_w = IS_PLANT[fleet.kinds[rows]], fleet.available_up_w[rows]
    settled = fleet.taken_at_ns[rows] - state.commands.since_ns[rows] >= SETTLES_NS
    most_w = _told_most_w(state, rows, now_ns)
    near_w = np.where(np.isfinite(most_w), np.maximum(NEAR_W, NEAR_FRAC * most_w), 0.0)
    suns.tells[rows] |= plants & (up_w > TELLS_W)
    tells = suns.tells[rows] & np.isfinite(up_w)
    by_power = settled & (free | (plants & ~tells & (watts < most_w - near_w)))
    known = (by_power | tells) & np.isfinite(watts)
    # What its own grid functions hold back of a plant that nobody calls no call brings: it gives what it gives.
    would_w = np.where(by_power, watts, np.minimum(watts + up_w, fleet.max_inject_w[rows]))
    suns.is_known[rows] = known
    state.base_w[rows[known]] = would_w[known]


def take_one(state: DeskState, row: int, watts: float, free: bool, now_ns: int) -> None:
    """Take the power that was read of one row: the same rule as in columns, which cost ten times as much for one."""
    fleet, suns, last = state.fleet, state.suns, state.commands
    plant, up_w = bool(IS_PLANT[fleet.kinds[row]]), float(fleet.available_up_w[row])
    settled = fleet.taken_at_ns[row] - last.since_ns[row] >= SETTLES_NS
    if plant and up_w > TELLS_W:
        suns.tells[row] = True
    tells = bool(suns.tells[row]) and math.isfinite(up_w)
    by_power = bool(settled) and free
    if settled and not free and plant and not tells:
        most_w = float(_told_most_w(state, np.array([row], np.int32), now_ns)[0])
        near_w = max(NEAR_W, NEAR_FRAC * most_w) if math.isfinite(most_w) else 0.0
        by_power = watts < most_w - near_w
    known = (by_power or tells) and math.isfinite(watts)
    suns.is_known[row] = known
    if known:
        state.base_w[row] = watts if by_power else min(watts + up_w, float(fleet.max_inject_w[row]))


def _told_most_w(state: DeskState, rows: Rows, now_ns: int) -> Floats:
    """Return the most that each row was told, or took to be told, that it may give (W; inf: all that it can)."""
    last = state.commands
    told_w = np.fmin(last.target_w[rows], last.high_w[rows])
    took_w = np.fmin(last.leased_w[rows], last.leased_high_w[rows])
    told_w = np.where(last.valid_until_ns[rows] > now_ns, told_w, np.inf)
    most_w = np.minimum(told_w, np.where(last.leased_until_ns[rows] > now_ns, took_w, np.inf))
    found: Floats = np.where(most_w < state.fleet.max_inject_w[rows], most_w, np.inf)
    return found


def keeps_down(state: DeskState, rows: Rows, share_w: Floats) -> Mask:
    """Return which plants are called to less and stand no higher than they were told, however little sun is left."""
    most_w = state.commands.target_w[rows] + NEAR_W  # NaN, no target, is never kept
    mask: Mask = IS_PLANT[state.fleet.kinds[rows]] & (share_w < 0.0) & (state.fleet.power_w[rows] <= most_w)
    return mask


def follow(state: DeskState, seconds: float, now_ns: int) -> None:
    """Have the base of rows that are held go by that of neighbours whose sun is known.

    Args:
        state: What is known.
        seconds: How long ago that was done last.
        now_ns: Now.
    """
    fleet, suns = state.fleet, state.suns
    rows = np.flatnonzero(IS_SUN[fleet.kinds]).astype(np.int32)
    fit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    is_known = fit & suns.is_known[rows]
    known, held = rows[is_known], rows[fit & ~is_known]
    sky = _Sky.of(state, known[IS_PLANT[fleet.kinds[known]]])
    _note_own(state, known, sky, seconds)
    if len(held):
        _follow(state, held, sky, seconds, now_ns)
    suns.lately_w[rows] = np.maximum(state.base_w[rows], suns.lately_w[rows] * np.exp(-seconds / LATELY_S))


def _note_own(state: DeskState, known: Rows, sky: _Sky, seconds: float) -> None:
    """Note how what rows give compares with what their neighbours do, where there are any by day."""
    suns, level_frac = state.suns, sky.level_frac[state.limiter.feeder_of[known]]
    tells = (sky.count[state.limiter.feeder_of[known]] > 1) & (level_frac > LEAST_FRAC)
    rows, level_frac = known[tells], level_frac[tells]
    is_frac = np.clip(state.base_w[rows] / np.maximum(state.fleet.max_inject_w[rows] * level_frac, 1e-9), *OWN_FRACS)
    was_frac = suns.own_frac[rows]
    suns.own_frac[rows] = np.where(
        np.isnan(was_frac), is_frac, was_frac - (is_frac - was_frac) * np.expm1(-seconds / OWN_S)
    )


def _follow(state: DeskState, held: Rows, sky: _Sky, seconds: float, now_ns: int) -> None:
    """Have the base of held rows be their own share of what is known around them."""
    last, feeder, rated_w = state.commands, state.limiter.feeder_of[held], state.fleet.max_inject_w[held]
    is_w, plants = state.base_w[held], IS_PLANT[state.fleet.kinds[held]]
    would_w = _own_frac(state, held) * rated_w * sky.level_frac[feeder]
    back_w = np.where(plants, is_w + STEP_FRAC_PER_S * rated_w * seconds, is_w)
    # Other feeders don't show that a cloud left this one: it is let come back by steps. Nor does anything where nobody
    # is known: as those that are called would have more between them one of them is let give more, and is seen. A limit
    # alone lets nobody be seen by that.
    called = np.isfinite(last.target_w[held]) & (last.valid_until_ns[held] > now_ns)
    blind_w = np.where(called, back_w, is_w)
    far_w = np.where(np.isnan(would_w), blind_w, np.minimum(would_w, back_w))
    would_w = np.where(sky.is_near[feeder], would_w, far_w)
    least_w = np.where(plants, state.fleet.power_or_0_w(held), 0.0)
    state.base_w[held] = np.clip(would_w, least_w, np.maximum(rated_w, least_w))


def _own_frac(state: DeskState, rows: Rows) -> Floats:
    found: Floats = np.nan_to_num(state.suns.own_frac[rows], nan=1.0)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Sky:
    """What known plants would give of their ratings, by feeder and last of none (NaN: nobody tells); how many of them
    tell it, and whether they are of that feeder, or of all."""

    level_frac: Floats
    count: NDArray[np.int64]
    is_near: Mask

    @staticmethod
    def of(state: DeskState, rows: Rows) -> _Sky:
        """Return that of known plants by their bases."""
        feeder_of, feeders = state.limiter.feeder_of[rows], len(state.limiter.feeders) + 1
        each_w = state.base_w[rows], _own_frac(state, rows) * state.fleet.max_inject_w[rows]
        gives_w, full_w = (np.bincount(feeder_of, one, feeders) for one in each_w)
        count = np.bincount(feeder_of, minlength=feeders)
        whole_frac = float(gives_w.sum()) / max(float(full_w.sum()), 1e-9) if len(rows) else np.nan
        is_near = count > 0
        level_frac = np.where(is_near, gives_w / np.maximum(full_w, 1e-9), whole_frac)
        return _Sky(level_frac, np.where(is_near, count, len(rows)), is_near)
