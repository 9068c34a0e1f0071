"""Which engine plans a home or a device: by what in its data makes the problem one that is not convex.

| engine | for | what it proves |
|---|---|---|
| kernel | at most one store and nothing that is on or off (`plan.kernel`) | the optimum |
| inner | several stores that share the meter (`plan.home_inner`) | the optimum to 1e-7 |
| dp | one switched device or appliance alone before the meter (`plan.switched`) | a gap by a bound of its own |
| search | switched devices, appliances or chargers with a least power beside stores (`plan.home_search`) | a gap |
| milp | feeding in pays more than drawing costs (HiGHS) | the solver's gap |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tieline.plan.home_terms import Home

Engine = Literal["kernel", "inner", "dp", "search", "milp"]
Kind = Literal["switched", "least times", "start cost", "one run", "least power", "negative price", "crossed tariff"]


@dataclass(frozen=True, slots=True)
class Reason:
    """What makes a problem not convex: of which kind, at which device, and the figure in words."""

    kind: Kind
    device: str
    says: str


def reasons(home: Home) -> tuple[Reason, ...]:
    """Return all that makes a home's problem not convex; none: a linear program finds its optimum."""
    found: list[Reason] = []
    buy, sell = np.asarray(home.buy_per_wh, float), np.asarray(home.sell_per_wh, float)
    crossed = np.flatnonzero(sell > buy)
    if len(crossed):
        at = int(crossed[0])
        says = f"step {at}: feeding in brings {sell[at]:g}, drawing costs {buy[at]:g} a Wh ({len(crossed)} such steps)"
        found.append(Reason("crossed tariff", "meter", says))
    battery = home.battery
    if battery is not None and battery.charge_w > 0 and battery.discharge_w > 0:
        # Where energy costs nothing more to waste than to keep, losing it in the battery must not pay.
        lost = battery.charge_frac * battery.discharge_frac
        worth = np.minimum(buy, sell)
        burns = np.flatnonzero((worth - battery.wear_per_wh) * lost > worth)
        if len(burns):
            at = int(burns[0])
            says = f"step {at}: at {worth[at]:g} a Wh taking and giving at once would pay ({len(burns)} such steps)"
            found.append(Reason("negative price", "battery", says))
    for at, car in enumerate(home.cars):
        if car.least_w > 0:
            found.append(Reason("least power", f"cars[{at}]", f"0 W or {car.least_w:g} to {car.most_w:g} W"))
    for at, heater in enumerate(home.heaters):
        path = f"heaters[{at}]"
        found.append(Reason("switched", path, f"0 W or {heater.power_w:g} W"))
        if heater.least_on > 1 or heater.least_off > 1:
            says = f"on for {heater.least_on} steps, off for {heater.least_off} at least"
            found.append(Reason("least times", path, says))
        if heater.start_cost > 0:
            found.append(Reason("start cost", path, f"each start costs {heater.start_cost:g}"))
    for at, appliance in enumerate(home.appliances):
        says = f"{len(appliance.power_w)} steps in one go within [{appliance.earliest}, {appliance.latest})"
        found.append(Reason("one run", f"appliances[{at}]", says))
    return tuple(found)


def engine_of(home: Home) -> Engine:
    """Return which engine plans a home."""
    kinds = {reason.kind for reason in reasons(home)}
    stores = (home.battery is not None) + len(home.cars)
    whole = len(home.heaters) + len(home.appliances)
    if "crossed tariff" in kinds:
        return "milp"
    if not whole and not home.cars:
        return "kernel"
    if not kinds:
        return "inner"
    return "dp" if stores == 0 and whole == 1 else "search"
