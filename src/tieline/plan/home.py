"""The schedule of one home behind its meter, or of thousands, each with a proven gap or the cause of its refusal.

    minimise    hours * sum_t (buy_t draw_t - sell_t feed_t + wear give_t) + start costs
    subject to  draw_t - feed_t + sun_t = load_t + heaters + appliances + cars + take_t - give_t
                0 <= draw_t <= import_w,  0 <= feed_t <= export_w,  0 <= sun_t <= sun_w
                every store's balance and bounds, every device's levels, least times and deadline

`plan.router` names the engine by what in the data is not convex. Units: W positive into the grid, Wh, any currency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError, Infeasible
from tieline.plan import home_engines
from tieline.plan.home_columns import WATTS
from tieline.plan.home_engines import Found
from tieline.plan.home_finish import energy_cost, meter_of, settled
from tieline.plan.home_reach import reachable
from tieline.plan.home_search import load_kw
from tieline.plan.home_terms import Appliance, Battery, Car, Heater, Home, checked, flat
from tieline.plan.router import Engine, Reason, engine_of, reasons

__all__ = ["Appliance", "Battery", "Car", "Heater", "Home", "HomePlan", "HomeRefused", "plan_home", "plan_homes"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Spread = Callable[[Callable[[Home], Any], Iterable[Home]], Iterable[Any]]
OFF_KW = 1e-6
"""What a plan may lie off a cap by rounding."""
PROVES = ("kernel", "inner")
"""Engines whose answer off a cap proves that there is none within it."""


@dataclass(frozen=True, slots=True, eq=False)
class HomePlan:
    """A schedule that every device of a home can follow, and what is proven of it.

    Powers in W, positive into the grid: `net_w` at the meter, `sun_w` used, `battery_w`, `cars_w` (c, T) and
    `heaters_w` (k, T), `appliances_w` (a, T). Stores in Wh after each step: `battery_wh` (empty without one), `cars_wh`
    (c, T; put in since arrival) and `heaters_wh` (k, T). `starts` is the step at which each appliance begins. No
    schedule costs less than `bound`; `gap` is the difference and `gap_frac` its share of what the meter's energy costs
    either way (a home whose feed pays for its draw has a cost near 0). `engine` made it, for these `reasons`.
    """

    name: str
    engine: Engine
    reasons: tuple[Reason, ...]
    net_w: Floats
    sun_w: Floats
    battery_w: Floats
    battery_wh: Floats
    cars_w: Floats
    cars_wh: Floats
    heaters_w: Floats
    heaters_wh: Floats
    appliances_w: Floats
    starts: tuple[int, ...]
    cost: float
    bound: float
    gap: float
    gap_frac: float


@dataclass(frozen=True, slots=True)
class HomeRefused:
    """A home that has no plan: `because` names field, value and limit; `is_wrong` where the data itself is at fault."""

    name: str
    because: str
    is_wrong: bool


def plan_home(home: Home) -> HomePlan:
    """Return the cheapest schedule of a home that was found, with its gap. Same input, same bits.

    Raises:
        ConfigError: A value makes no sense.
        Infeasible: No schedule keeps every limit; the one that breaks is named.
    """
    checked(home)
    reachable(home)
    engine = engine_of(home)
    found = _ENGINES[engine](home)
    worst = int(found.over_kw.argmax())
    if found.over_kw[worst] > OFF_KW and engine not in (*PROVES, "milp"):
        # What no change around the best could mend is left to a solver that proves which it is.
        engine, found = "milp", home_engines.by_milp(home)
        worst = int(found.over_kw.argmax())
    if found.over_kw[worst] > OFF_KW:
        raise Infeasible(
            f"import_w, export_w: step {worst} is {found.over_kw[worst] * WATTS:.0f} W off the cap in the nearest "
            "schedule of all devices together: raise it, or give devices more time"
        )
    return _plan(home, engine, found)


_ENGINES: dict[Engine, Callable[[Home], Found]] = {
    "kernel": home_engines.by_kernel,
    "inner": home_engines.by_search,
    "dp": home_engines.by_dp,
    "search": home_engines.by_search,
    "milp": home_engines.by_milp,
}


def plan_homes(homes: Iterable[Home], spread: Spread = map) -> list[HomePlan | HomeRefused]:
    """Return a plan or a refusal for each home, in order; one that is refused keeps no other from its plan.

    Args:
        homes: Who.
        spread: How a function goes over homes: `map`, or the `map` of a pool of threads (what takes time releases the
            lock) or of processes. The plans are the same to the bit.
    """
    return list(spread(_planned, homes))


def _planned(home: Home) -> HomePlan | HomeRefused:
    try:
        return plan_home(home)
    except (ConfigError, Infeasible) as error:
        return HomeRefused(home.name, str(error), isinstance(error, ConfigError))


def _plan(home: Home, engine: Engine, found: Found) -> HomePlan:
    meter = meter_of(home)
    draw = flat(home, home.load_w) / WATTS + load_kw(home, found.on, found.starts)
    draw = draw + found.car_kw.sum(axis=0) - found.give_kw
    net, used, _ = settled(meter, draw)
    begun = 0.0
    for heater, on in zip(home.heaters, found.on, strict=True):
        begun += heater.start_cost * float((np.diff(np.concatenate([[float(heater.is_on)], on])) > 0).sum())
    wear = home.battery.wear_per_wh * WATTS * home.hours if home.battery is not None else 0.0
    cost = energy_cost(meter, net) + begun + wear * float(np.maximum(found.give_kw, 0.0).sum())
    bound = min(found.bound, cost)
    turnover = float((np.maximum(np.abs(meter.buy), np.abs(meter.sell)) * np.abs(net)).sum())
    cars_wh = np.cumsum(found.car_kw, axis=1) * WATTS * home.hours
    for k, car in enumerate(home.cars):
        cars_wh[k] *= car.charge_frac
    return HomePlan(
        home.name, engine, reasons(home), -net * WATTS, used * WATTS, found.give_kw * WATTS,
        _battery_wh(home, found.give_kw * WATTS), -found.car_kw * WATTS, cars_wh,
        -np.array([h.power_w * on for h, on in zip(home.heaters, found.on, strict=True)]).reshape(-1, len(net)),
        _heaters_wh(home, found.on), _appliances_w(home, found.starts), found.starts, cost, bound, cost - bound,
        (cost - bound) / max(abs(cost), turnover, 1e-12),
    )  # fmt: skip


def _battery_wh(home: Home, give_w: Floats) -> Floats:
    b = home.battery
    if b is None:
        return np.zeros(0)
    moved = np.where(give_w > 0, -give_w / b.discharge_frac, -give_w * b.charge_frac) * home.hours
    stored: Floats = b.start_wh + np.cumsum(moved)
    return stored


def _heaters_wh(home: Home, on: Floats) -> Floats:
    held = np.zeros(on.shape)
    for k, heater in enumerate(home.heaters):
        level = heater.start_wh
        gain, flow = flat(home, heater.gain_frac) * heater.power_w * home.hours, flat(home, heater.flow_wh)
        for t in range(on.shape[1]):
            level = heater.keep_frac * level + on[k, t] * gain[t] + flow[t]
            held[k, t] = level
    return held


def _appliances_w(home: Home, starts: tuple[int, ...]) -> Floats:
    drawn = np.zeros((len(starts), len(home.buy_per_wh)))
    for k, (appliance, start) in enumerate(zip(home.appliances, starts, strict=True)):
        drawn[k, start : start + len(appliance.power_w)] = -np.asarray(appliance.power_w, float)
    return drawn
