"""A home laid out for the interior point: kW and kWh, one row of power and one for each store at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.plan.home_terms import Home, flat

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WATTS = 1_000.0
DRAW, OVER, FEED, BACK, FIRST = 0, 1, 2, 3, 4
"""Columns of every home: drawn, drawn beyond the cap, fed in, sun held back; then those of its devices."""
BEYOND = 100.0
"""What a kWh beyond the cap costs while the plan is made, in dearest prices: a plan that keeps any is refused."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The program of `plan.home_inner` with every device free between nothing and all; appliances stand in `right`."""

    power: Floats
    store: Ints
    gain: Floats
    keep: Floats
    cost: Floats
    width: Floats
    right: Floats
    offset: Floats
    battery: int
    cars: int
    heaters: int


def columns_of(home: Home, rated_w: float) -> Columns:
    """Return the layout; stores count from their low bounds, which `offset` (T, n) holds.

    Args:
        home: Its meter and those of its devices that are laid out.
        rated_w: What all devices draw or give at most, those that are not laid out as well (`ratings_w`).
    """
    steps, hours = len(home.buy_per_wh), home.hours
    has_battery, cars, heaters = int(home.battery is not None), len(home.cars), len(home.heaters)
    n = has_battery + cars + heaters
    count = FIRST + 2 * has_battery + cars + heaters
    power, store = np.zeros(count), np.zeros(count, np.int64)
    gain, keep = np.zeros((steps, count)), np.ones(n)
    cost, width = np.zeros((steps, count + n)), np.zeros((steps, count + n))
    right, offset, start = np.zeros((steps, n + 1)), np.zeros((steps, n)), np.zeros(n)
    flow = np.zeros((steps, n))
    per = WATTS * hours
    buy, sell = np.asarray(home.buy_per_wh, float) * per, np.asarray(home.sell_per_wh, float) * per
    load, sun = flat(home, home.load_w) / WATTS, flat(home, home.sun_w) / WATTS
    power[:FIRST] = 1.0, 1.0, -1.0, -1.0
    most = float(np.abs(load).max() + sun.max()) + rated_w / WATTS
    cost[:, DRAW], cost[:, FEED] = buy, -sell
    cost[:, OVER] = BEYOND * max(float(np.abs(buy).max()), float(np.abs(sell).max()), 1e-9)
    width[:, DRAW] = np.minimum(flat(home, home.import_w) / WATTS, most)
    width[:, OVER], width[:, BACK] = most, sun
    width[:, FEED] = np.minimum(flat(home, home.export_w) / WATTS, most)
    right[:, 0] = load - sun
    at, i = FIRST, 0
    if home.battery is not None:
        b = home.battery
        power[at], power[at + 1] = -1.0, 1.0
        store[at] = store[at + 1] = 1
        gain[:, at], gain[:, at + 1] = -b.charge_frac * hours, hours / b.discharge_frac
        width[:, at], width[:, at + 1] = b.charge_w / WATTS, b.discharge_w / WATTS
        cost[:, at + 1] = b.wear_per_wh * per
        offset[:, 0], start[0] = b.least_wh / WATTS, b.start_wh / WATTS
        offset[-1, 0] = max(b.least_wh, b.end_wh) / WATTS
        width[:, count] = b.most_wh / WATTS - offset[:, 0]
        at, i = at + 2, 1
    for car in home.cars:
        power[at], store[at], gain[:, at] = -1.0, i + 1, -car.charge_frac * hours
        width[car.arrives : car.leaves, at] = car.most_w / WATTS
        offset[max(car.leaves - 1, 0) :, i] = car.need_wh / WATTS
        width[:, count + i] = car.room_wh / WATTS - offset[:, i]
        at, i = at + 1, i + 1
    for heater in home.heaters:
        power[at], store[at], gain[:, at] = -1.0, i + 1, -flat(home, heater.gain_frac) * hours
        width[:, at] = heater.power_w / WATTS
        keep[i], start[i] = heater.keep_frac, heater.start_wh / WATTS
        offset[:, i] = flat(home, heater.least_wh) / WATTS
        offset[-1, i] = max(offset[-1, i], heater.end_wh / WATTS)
        width[:, count + i] = flat(home, heater.most_wh) / WATTS - offset[:, i]
        flow[:, i] = flat(home, heater.flow_wh) / WATTS
        at, i = at + 1, i + 1
    before = np.vstack([start, offset[:-1]])
    right[:, 1:] = flow + keep * before - offset
    return Columns(power, store, gain, keep, cost, width, right, offset, has_battery, cars, heaters)


def ratings_w(home: Home) -> float:
    """Return what all devices of a home draw or give at most."""
    battery = max(home.battery.charge_w, home.battery.discharge_w) if home.battery else 0.0
    appliances = sum(float(np.max(each.power_w)) for each in home.appliances)
    return battery + sum(car.most_w for car in home.cars) + sum(h.power_w for h in home.heaters) + appliances
