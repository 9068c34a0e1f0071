"""How far devices can move now: what they say themselves, else what follows from nameplate, power and stored energy.

The column twin of `device.able`, for devices that tell their power and no more. Where comfort or a driver's need would
have to be known (a room that could be cooled further, a car) nothing is taken for granted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import KIND_CODE, Fleet, or_0, places
from tieline.resource.identity import Kind

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
SUSTAIN_H = 1.0 / 12.0
"""What a store gives must last for one market interval of five minutes."""
FULL_FRAC, LARGER_FRAC = 0.995, 1.05
CAN_STOP = np.array(
    [KIND_CODE[kind] for kind in (Kind.THERMOSTAT, Kind.WATER_HEATER, Kind.INTERRUPTIBLE_LOAD, Kind.SHIFTABLE_LOAD)],
    np.uint8,
)


def stored_wh(fleet: Fleet, rows: Rows) -> Floats:
    """Return the energy that each row can give (Wh; NaN: it told neither that nor its state of charge)."""
    told_wh = fleet.energy_available_wh[rows]
    by_soc_wh: Floats = np.where(np.isnan(told_wh), fleet.column("soc_frac")[rows] * fleet.energy_wh[rows], told_wh)
    return by_soc_wh


def takes_wh(fleet: Fleet, rows: Rows) -> Floats:
    """Return what each row's store can take until it is full (Wh; inf: no store, or nobody knows).

    Of one that tells more than its registry has it hold, nobody knows how large it is.
    """
    rows = places(rows)
    size_wh, held_wh = fleet.energy_wh[rows], stored_wh(fleet, rows)
    known = (size_wh > 0) & np.isfinite(held_wh) & (held_wh <= size_wh * LARGER_FRAC)
    found: Floats = np.where(known, np.maximum(size_wh - or_0(held_wh), 0.0), np.inf)
    return found


def able_w(fleet: Fleet, rows: Rows) -> tuple[Floats, Floats]:
    """Return how far the power of each row can rise and fall (W, 0 or more); 0 where that can't be known.

    A store of which nobody knows how full it is can't be called; a load that can stop gives what it draws; the sun and
    engines can be held below what they give, not lifted above.
    """
    rows = places(rows)
    up_w, down_w = fleet.available_up_w[rows], fleet.available_down_w[rows]
    untold_up, untold_down = np.isnan(up_w), np.isnan(down_w)
    if not (untold_up.any() or untold_down.any()):
        return up_w, down_w
    power_w, kinds, size_wh = fleet.power_w[rows], fleet.kinds[rows], fleet.energy_wh[rows]
    held_wh = stored_wh(fleet, rows)
    stores, knows = size_wh > 0, np.isfinite(held_wh)
    gives_w = np.minimum(fleet.max_inject_w[rows], or_0(held_wh) / SUSTAIN_H)
    most_w = np.where(stores, gives_w, np.where(np.isin(kinds, CAN_STOP), 0.0, power_w))
    takes_w = np.where(held_wh >= FULL_FRAC * size_wh, 0.0, fleet.max_absorb_w[rows])
    least_w = np.where(stores, -takes_w, np.minimum(power_w, 0.0))
    known = np.isfinite(power_w) & (knows | ~stores) & ~(fleet.column("is_local")[rows] > 0.5)
    rises_w = np.where(known, np.maximum(most_w - power_w, 0.0), 0.0)
    falls_w = np.where(known, np.maximum(power_w - least_w, 0.0), 0.0)
    return np.where(untold_up, rises_w, up_w), np.where(untold_down, falls_w, down_w)
