"""Whether each store of a home can keep its bounds by itself: what can't is refused before anything is planned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.errors import Infeasible
from tieline.plan import reach
from tieline.plan.home_terms import Battery, Home

Floats = NDArray[np.float64]
OFF_WH = 1e-6


def reachable(home: Home) -> None:
    """Check that battery and cars can reach what they must.

    Raises:
        Infeasible: One can't; it is named with the step, what it needs and what it could have.
    """
    if home.battery is not None:
        _battery(home, home.battery)
    for at, car in enumerate(home.cars):
        stay, per = car.leaves - car.arrives, car.charge_frac * home.hours
        most = stay * per * car.most_w
        if car.need_wh > most + OFF_WH:
            raise Infeasible(
                f"cars[{at}].need_wh = {car.need_wh:g}: in {stay} steps until it leaves at step {car.leaves} it takes "
                f"{most:g} at most: give at most that, a later departure or more power"
            )
        if car.least_w > 0 and car.need_wh > 0:
            fewest = int(np.ceil(car.need_wh / (per * car.most_w) - 1e-9))
            if fewest * per * car.least_w > car.room_wh + OFF_WH:
                raise Infeasible(
                    f"cars[{at}].least_w = {car.least_w:g}: {fewest} steps from it on put in at least "
                    f"{fewest * per * car.least_w:g}, above room_wh, {car.room_wh:g}"
                )


def _battery(home: Home, b: Battery) -> None:
    low, _, gave, at = tight(home, b)
    if abs(gave) > OFF_WH:
        field, limit = ("most_wh", b.most_wh) if gave < 0 else ("least_wh", b.least_wh)
        if gave > 0 and at == low.shape[1] - 1 and b.end_wh > b.least_wh:
            field, limit = "end_wh", b.end_wh
        raise Infeasible(
            f"battery.{field} = {limit:g}: from start_wh, {b.start_wh:g}, it is {abs(gave):g} off that after step "
            f"{at} at full power"
        )


def tight(home: Home, b: Battery) -> tuple[Floats, Floats, float, int]:
    """Return a battery's bounds without dead ends (1, T), by how much one gives way at most, and at which step."""
    steps = len(home.buy_per_wh)
    low, high = np.full((1, steps), b.least_wh), np.full((1, steps), b.most_wh)
    low[0, -1] = max(b.least_wh, b.end_wh)
    gave, where = np.zeros(1), np.zeros(1, np.int64)
    reach.tighten(*_columns(home, b), low, high, gave, where)
    return low, high, float(gave[0]), int(where[0])


def followed_w(home: Home, b: Battery, give_w: Floats) -> Floats:
    """Return what a battery gives (W) when it follows a schedule as nearly as its bounds let it; shape (T,)."""
    low, high, _, _ = tight(home, b)
    moved = np.where(give_w > 0, -give_w / b.discharge_frac, -give_w * b.charge_frac) * home.hours
    power, stored = np.zeros(low.shape), np.zeros(low.shape)
    reach.follow(*_columns(home, b), low, high, (b.start_wh + np.cumsum(moved))[None, :], power, stored)
    followed: Floats = power[0] / home.hours
    return followed


def _columns(home: Home, b: Battery) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Return gain, loss, keep, what a step can take and give, and the start as what flows in first (Wh)."""
    steps = len(home.buy_per_wh)
    drift = np.zeros((1, steps))
    drift[0, 0] = b.start_wh
    gain, loss = np.array([b.charge_frac]), np.array([1 / b.discharge_frac])
    charge, discharge = np.full((1, steps), b.charge_w * home.hours), np.full((1, steps), b.discharge_w * home.hours)
    return gain, loss, np.ones(1), charge, discharge, drift
