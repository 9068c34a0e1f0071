"""What every interface shows of some groups, by columns: a large territory shows thousands of them at each beat."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.base import holds_on
from tieline.desk.ends import uncalled_w
from tieline.desk.leeway import leeway_w, power_limits
from tieline.desk.ports import GroupView, Measured, Snapshot
from tieline.desk.state import DeskState
from tieline.desk.unlimited import is_told_limit, unlimited_w
from tieline.fleet.columns import Fleet, places
from tieline.fleet.grouped import LATEST, Groups
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.resource.quality import UNFIT_FOR_DISPATCH, Quality

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]


def snapshot_of(state: DeskState, groups: Groups, now_ns: int) -> Snapshot:
    """Return what every interface shows of some groups: the same values, qualities and times."""
    in_force = power_limits(state, now_ns)
    sums = _sums(state, groups, now_ns) | {"unlimited_w": unlimited_w(state, groups, in_force, now_ns)}
    quality, taken_ns, fit = _worst(state.fleet, groups, now_ns)
    views = []
    for at, name in enumerate(groups.names):
        numbers = {key: float(column[at]) for key, column in sums.items()}
        # Caps of devices that run whole, or can't be reached, may lie beyond it: it is no wider for that.
        least_w, most_w = in_force.get(name, (-math.inf, math.inf))
        numbers["limit_high_w"] = min(numbers["limit_high_w"], most_w)
        numbers["limit_low_w"] = min(max(numbers["limit_low_w"], least_w), numbers["limit_high_w"])
        # Who stands beyond his own cap leaves the others no more than the group has.
        can_w = numbers["available_up_w"], numbers["available_down_w"]
        numbers["available_up_w"] = min(can_w[0], max(numbers["limit_high_w"] - numbers["power_w"], 0.0))
        numbers["available_down_w"] = min(can_w[1], max(numbers["power_w"] - numbers["limit_low_w"], 0.0))
        numbers["resources_reporting"], numbers["is_connected"] = float(fit[at]), float(fit[at] > 0)
        shown, when_ns = quality[at] | Quality.CALCULATED, int(taken_ns[at])
        values = {key: Measured(value, shown, when_ns) for key, value in numbers.items()}
        views.append(GroupView(name, name, values))
    return Snapshot(state.revision, now_ns, tuple(views))


def _sums(state: DeskState, groups: Groups, now_ns: int) -> dict[str, Floats]:
    """Return what is a sum over devices, or their number, of each group."""
    fleet, commands = state.fleet, state.commands
    everyone = places(np.arange(len(fleet)))
    low_w, high_w = state.claims.bounds_above(everyone, Level.MARKET, now_ns)
    power_w = fleet.power_or_0_w()
    up_w, down_w = leeway_w(state, everyone, now_ns)
    live = (commands.valid_until_ns > now_ns) & np.isfinite(commands.target_w)
    soc, full_wh = fleet.column("soc_frac"), fleet.energy_wh
    stores = np.isfinite(soc) & (full_wh > 0)
    held_wh, size_wh = (groups.sums(np.where(stores, each, 0.0)) for each in (soc * full_wh, full_wh))
    count = groups.sizes.astype(np.float64)
    return {
        "power_w": groups.sums(power_w),
        "base_w": groups.sums(state.base_w),
        "available_up_w": groups.sums(up_w),
        "available_down_w": groups.sums(down_w),
        "limit_low_w": groups.sums(low_w),
        "limit_high_w": groups.sums(high_w),
        "target_w": groups.sums(np.where(live, commands.target_w, _unasked_w(state, everyone, now_ns))),
        "resource_count": count,
        "resources_total": count,
        "opt_outs": groups.sums(state.opted_out),
        "soc_frac": np.divide(held_wh, size_wh, out=np.zeros(len(held_wh)), where=size_wh > 0),
        "is_local": (groups.sums(state.claims.is_local) > 0).astype(np.float64),
    }


def _unasked_w(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> Floats:
    """Return what rows do that nobody names a power (W, shape (n,)): what they are read at, else their base.

    One that a limit bounds, or that may not have heard that it was let go, counts at its base as far as its limits let
    it; or where its limit alone holds it.
    """
    fleet, commands = state.fleet, state.commands
    known_w = fleet.known_power_w(rows)
    over = commands.valid_until_ns[rows] <= now_ns
    alone = over | (commands.stage[rows] == int(Stage.DONE))
    alone &= ~is_told_limit(state, rows, now_ns) & np.isfinite(known_w)
    alone &= ((fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) == 0) & ~holds_on(state, rows, known_w)
    low_w, high_w = state.claims.bounds_above(rows, Level.MARKET, now_ns)
    told_low_w = np.where(over, -np.inf, commands.low_w[rows])
    told_high_w = np.where(over, np.inf, commands.high_w[rows])
    base_w = np.minimum(np.maximum(uncalled_w(state, rows, told_low_w, told_high_w), low_w), high_w)
    held_w = commands.held_now_w(now_ns)[rows]
    found: Floats = np.where(alone, known_w, np.where(np.isfinite(held_w), held_w, base_w))
    return found


def _worst(fleet: Fleet, groups: Groups, now_ns: int) -> tuple[list[Quality], Instants, Floats]:
    """Return what `worst_of` says of each group."""
    is_unfit = (fleet.quality & int(UNFIT_FOR_DISPATCH)) != 0
    unfit = groups.sums(is_unfit)
    fit = groups.sizes - unfit
    oldest_ns = groups.least(np.where(is_unfit, LATEST, fleet.taken_at_ns))
    taken_ns = np.where(fit > 0, oldest_ns, groups.most(fleet.taken_at_ns))
    taken_ns = np.where(groups.sizes > 0, taken_ns, now_ns)
    qualities = [
        Quality.INVALID if not some else Quality.QUESTIONABLE if bad / size > 0.1 else Quality.GOOD
        for some, bad, size in zip((fit > 0).tolist(), unfit.tolist(), groups.sizes.tolist(), strict=True)
    ]
    return qualities, taken_ns, fit


def worst_of(fleet: Fleet, rows: NDArray[np.int32], now_ns: int) -> tuple[Quality, int, int]:
    """Return a group's quality, the time of its oldest fit value, and how many rows are fit.

    A sum is as good as what it is made of: where more than a tenth of the rows are unfit for dispatch it is
    QUESTIONABLE, where all are it is INVALID.
    """
    if not len(rows):
        return Quality.INVALID, now_ns, 0
    unfit = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    fit = int((~unfit).sum())
    if fit == 0:
        return Quality.INVALID, int(fleet.taken_at_ns[rows].max()), 0
    quality = Quality.QUESTIONABLE if unfit.mean() > 0.1 else Quality.GOOD
    return quality, int(fleet.taken_at_ns[rows[~unfit]].min()), fit
