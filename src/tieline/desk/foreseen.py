"""What a pool can give at an hour to come: what offers are held against, and what is likely to come of an award.

Theory of operation. Of an hour that begins within an hour what devices can do at this moment tells most: `headroom`,
the measure that dispatch goes by; a house that is cooled gives that for as long as its walls last. Of an hour further
off this moment tells little: a store is filled for it meanwhile, a house that rests now may be cooled then. There, as
in the offers of a day ahead, loads give what they are foretold to draw or typically give, and stores their power; kinds
of which neither is known give what they can now. Either way within the limits that are told to be in force by then.
Who can't be reached now is out for the hour; further off each is there as often as it was of late. An owner who is out
stays out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.desk.agreed import ENERGY
from tieline.desk.beside import left_beside
from tieline.desk.charging import ONE_WAY_FRAC
from tieline.desk.ends import least_within_w
from tieline.desk.modes import barred
from tieline.desk.offering import TYPICAL_SHARE, what_it_gives
from tieline.desk.redispatch import headroom, kept_frac, left_wh
from tieline.desk.state import DeskState
from tieline.fleet.able import SUSTAIN_H, stored_wh, takes_wh
from tieline.fleet.columns import KIND_CODE, among
from tieline.fleet.pooled import from_rest
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import HOUR_NS

if TYPE_CHECKING:
    from tieline.desk.pool_desk import PoolDesk

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
NEAR_NS = HOUR_NS
"""What begins within this is foreseen by what devices can do now."""
WALLS_H, WARMER_FRAC = 0.26, 2.0 / 22.0
"""What a house gives that may grow 2 degC warmer: for so many hours its rating as its walls warm, and of its rating so
much for as long as it stays warmer. Of simulated houses on a hot day it is 0.35 over an hour, and 0.21 over two."""
LOADS_FRAC = 0.1
"""By so much (one deviation) loads together may give more or less than they can now."""
HOUSE, LOAD = KIND_CODE[Kind.THERMOSTAT], KIND_CODE[Kind.INTERRUPTIBLE_LOAD]
_TYPICAL = among(tuple(KIND_CODE[kind] for kind in TYPICAL_SHARE))
LoadFrac = Callable[[int], Floats | None]
"""What part of what it typically gives each row of a fleet can give at an instant, as loads are foretold; None: all."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreseen:
    """What each row of a pool can do at an hour to come; shape (n,).

    Attributes:
        power_w: How far it can move from what it would do uncalled, if it is there (W, 0 or more).
        energy_wh: How much energy that can come to as the hour begins (Wh; inf: nothing runs out).
        now_w: How far it could by what it can do at this moment.
        seen: Whether it can be reached now.
        reach_frac: How often it could be reached of late, 0 to 1.
        is_near: Whether this is what it can do now.
        is_load: Whether it holds no energy that it gives back.
        is_foretold: Whether loads are foretold, and not what they typically give.
        limits_ns: The instant whose limits say why some can't; 0: that at which the hour begins.
    """

    power_w: Floats
    energy_wh: Floats
    now_w: Floats
    seen: Mask
    reach_frac: Floats
    is_near: bool
    is_load: Mask
    is_foretold: bool = False
    limits_ns: int = 0


def foreseen(
    state: DeskState,
    pool: PoolDesk,
    start_ns: int,
    end_ns: int,
    now_ns: int,
    load_frac: LoadFrac | None = None,
    side: float = 1.0,
) -> Foreseen:
    """Return what each row of a pool can do from `start_ns` on until `end_ns`, as far as is known now.

    Of what it could take (`side` below 0) nothing is foretold: it is what it can take now.
    """
    rows, at_ns = pool.rows, max(start_ns, now_ns)
    is_near = at_ns - now_ns < NEAR_NS
    seen = (state.fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0
    may = pool.eligible & ~state.opted_out[rows] & state.lasts(ENERGY, rows) & ~barred(state)[rows]
    may &= state.missed_until_ns[rows] <= at_ns
    reach_frac = np.clip(state.reach_frac[rows], 0.0, 1.0)
    is_load = state.fleet.energy_wh[rows] <= 0.0
    room = headroom(state, rows, may, pool.price, SUSTAIN_H, at_ns)
    if side < 0.0:
        down_w = np.where(may, room.down_w, 0.0)
        return Foreseen(down_w, takes_wh(state.fleet, rows), down_w, seen, reach_frac, is_near, is_load)
    now_wh = _lasting_wh(state, rows, left_wh(state, rows, now_ns), (end_ns - at_ns) / HOUR_NS, now_ns)
    if is_near:
        up_w, renewed = room.up_w, _renewed(state, at_ns, now_ns)[rows]
        if renewed.any():
            held_w = headroom(state, rows, may, pool.price, SUSTAIN_H, now_ns).up_w
            up_w = np.where(renewed, np.minimum(up_w, held_w), up_w)
        turns_w, limits_ns = _in_turn_w(state, rows, may & seen, up_w, now_wh), now_ns if renewed.any() else 0
        return Foreseen(turns_w, now_wh, up_w, seen, reach_frac, True, is_load, limits_ns=limits_ns)
    frac = None if load_frac is None else load_frac(at_ns)
    typical_w, energy_wh = _typical(state, pool, at_ns, now_ns, frac)
    known = _TYPICAL[state.fleet.kinds[rows]]
    low_w, high_w = state.claims.bounds_above(rows, Level.MARKET, at_ns, with_timers=False)
    free_w = np.minimum(typical_w, from_rest(state.fleet, rows, least_within_w(state, rows, low_w), high_w)[0])
    power_w = np.where(known, np.where(may, free_w, 0.0), room.up_w)
    power_w = left_beside(state, rows, power_w, Level.MARKET, at_ns)
    energy_wh = np.where(known, energy_wh, now_wh)
    if frac is None:  # a load that is interrupted gives what it draws: nothing says that this becomes less
        power_w = np.where(state.fleet.kinds[rows] == LOAD, np.maximum(power_w, room.up_w), power_w)
    return Foreseen(power_w, energy_wh, room.up_w, seen, reach_frac, False, is_load, frac is not None)


def _renewed(state: DeskState, at_ns: int, now_ns: int) -> Mask:
    """Return which rows of the fleet limits above the market hold now that end by an instant unless they are renewed,
    and were renewed before: a lease, as over DNP3, is renewed for as long as the limit is meant to hold."""
    found = np.zeros(len(state.fleet), np.bool_)
    leases = {
        live.claims for live in state.asks.values()
        if live.ask.kind is ClaimKind.LIMIT and live.ask.level < Level.MARKET and live.start_ns < live.ask.start_ns
        and live.ask.start_ns <= now_ns < live.ask.end_ns <= at_ns
    }  # fmt: skip
    if leases:
        for batch, alive in state.claims.batches():
            if batch.id in leases:
                found[batch.rows[alive]] = True
    return found


def _in_turn_w(state: DeskState, rows: Rows, may: Mask, up_w: Floats, lasting_wh: Floats) -> Floats:
    """Return what each row gives (W) where houses take turns: together what those that can now give, each its part of
    that by the energy it has; the next is called as one has grown warm, and that one again once it has cooled."""
    house = may & (state.fleet.kinds[rows] == HOUSE)
    each_wh = np.where(house, lasting_wh, 0.0)
    whole_wh = float(each_wh.sum())
    if whole_wh <= 0.0:
        return up_w
    return np.where(house, float(up_w[house].sum()) * each_wh / whole_wh, up_w)


def _lasting_wh(state: DeskState, rows: Rows, held_wh: Floats, hours: float, now_ns: int) -> Floats:
    """Return how much energy each row can give over so many hours: of a house what its walls have left of it, too."""
    house = state.fleet.kinds[rows] == HOUSE
    if not house.any():
        return held_wh
    rated_w, draws_w = state.fleet.max_absorb_w[rows], np.maximum(-state.base_w[rows], 0.0)
    called_h = np.maximum(now_ns - state.responses.uncalled_ns[rows], 0) / HOUR_NS
    called_h = np.where(state.responses.called[rows], np.minimum(called_h, 24.0), 0.0)
    whole_wh = rated_w * (WALLS_H + WARMER_FRAC * (hours + called_h))
    left: Floats = np.where(house, np.maximum(whole_wh - draws_w * called_h, WARMER_FRAC * rated_w * hours), held_wh)
    return left


def _typical(state: DeskState, pool: PoolDesk, at_ns: int, now_ns: int, frac: Floats | None) -> tuple[Floats, Floats]:
    """Return what each row typically gives (W), and what its store holds by then if it is filled meanwhile (Wh)."""
    fleet, rows = state.fleet, pool.rows
    may = np.zeros(len(fleet), np.bool_)
    may[rows] = pool.eligible
    power_w, held_wh = (each[rows] for each in what_it_gives(fleet, may))
    if frac is not None:
        power_w = power_w * frac[rows]
    size_wh, told = fleet.energy_wh[rows], np.isfinite(stored_wh(fleet, rows))
    # Where prices are foretold the desk fills them in cheap hours before; else nothing does that is known of.
    fills_h = (at_ns - now_ns) / HOUR_NS if pool.forecast else 0.0
    fills_wh = np.where(told, fleet.max_absorb_w[rows] * ONE_WAY_FRAC**2 * fills_h, 0.0)
    filled_wh = np.minimum(held_wh + fills_wh, np.maximum(size_wh, held_wh))
    kept_wh = np.maximum(kept_frac(state, rows, at_ns), 0.0) * size_wh
    return power_w, np.where(np.isfinite(held_wh), np.maximum(filled_wh - kept_wh, 0.0), np.inf)
