"""Whether a plan of a home can happen at all: each device is followed step by step, by none of the code that plans."""

import numpy as np

from tieline.plan.home import Home, HomePlan

OFF = 1e-3
"""W and Wh that rounding may leave."""


def at(value: object, t: int) -> float:
    column = np.asarray(value, float)
    return float(column[t]) if column.ndim else float(column)


def faults(home: Home, plan: HomePlan) -> list[str]:
    """Return every law of physics, limit or deadline that a plan breaks, and a cost that isn't what it says."""
    found = []
    steps = len(home.buy_per_wh)
    money = 0.0
    for t in range(steps):
        given = plan.sun_w[t] + plan.battery_w[t] - at(home.load_w, t)
        given += sum(row[t] for row in plan.cars_w) + sum(row[t] for row in plan.heaters_w)
        given += sum(row[t] for row in plan.appliances_w)
        if abs(given - plan.net_w[t]) > OFF:
            found.append(f"step {t}: devices give {given}, the meter {plan.net_w[t]}")
        if not -at(home.import_w, t) - OFF <= plan.net_w[t] <= at(home.export_w, t) + OFF:
            found.append(f"step {t}: net {plan.net_w[t]} is off the caps")
        if not -OFF <= plan.sun_w[t] <= at(home.sun_w, t) + OFF:
            found.append(f"step {t}: sun {plan.sun_w[t]}")
        price = home.buy_per_wh[t] if plan.net_w[t] < 0 else home.sell_per_wh[t]
        money -= plan.net_w[t] * home.hours * price
    money += _battery(home, plan, found)
    _cars(home, plan, found)
    money += _heaters(home, plan, found)
    _appliances(home, plan, found)
    if abs(money - plan.cost) > 1e-6 * max(1.0, abs(money)):
        found.append(f"it costs {money}, not {plan.cost}")
    return found


def _battery(home: Home, plan: HomePlan, found: list[str]) -> float:
    b, worn = home.battery, 0.0
    if b is None:
        return 0.0 if not plan.battery_w.any() else float("nan")
    held = b.start_wh
    for t, power in enumerate(plan.battery_w):
        if power > 0:
            held -= power * home.hours / b.discharge_frac
            worn += power * home.hours * b.wear_per_wh
        else:
            held -= power * home.hours * b.charge_frac
        if not -b.charge_w - OFF <= power <= b.discharge_w + OFF:
            found.append(f"battery, step {t}: {power} W")
        if not b.least_wh - OFF <= held <= b.most_wh + OFF or abs(held - plan.battery_wh[t]) > OFF:
            found.append(f"battery, step {t}: holds {held}, said {plan.battery_wh[t]}")
    if held < b.end_wh - OFF:
        found.append(f"battery ends at {held}")
    return worn


def _cars(home: Home, plan: HomePlan, found: list[str]) -> None:
    for k, car in enumerate(home.cars):
        taken = 0.0
        for t, power in enumerate(-plan.cars_w[k]):
            is_here = car.arrives <= t < car.leaves
            if power < -OFF or power > (car.most_w if is_here else 0.0) + OFF or OFF < power < car.least_w - OFF:
                found.append(f"car {k}, step {t}: {power} W")
            taken += power * home.hours * car.charge_frac
            if abs(taken - plan.cars_wh[k, t]) > OFF:
                found.append(f"car {k}, step {t}: took {taken}, said {plan.cars_wh[k, t]}")
        if not car.need_wh - OFF <= taken <= car.room_wh + OFF:
            found.append(f"car {k} took {taken} of {car.need_wh} to {car.room_wh}")


def _heaters(home: Home, plan: HomePlan, found: list[str]) -> float:
    begun = 0.0
    for k, heater in enumerate(home.heaters):
        held, is_on, lasted = heater.start_wh, heater.is_on, heater.held_steps
        for t, power in enumerate(-plan.heaters_w[k]):
            turns_on = power > heater.power_w / 2
            if abs(power - (heater.power_w if turns_on else 0.0)) > OFF:
                found.append(f"heater {k}, step {t}: {power} W")
            if heater.power_w == 0:
                turns_on = is_on
            if turns_on != is_on:
                if lasted < (heater.least_on if is_on else heater.least_off):
                    found.append(f"heater {k}, step {t}: switched after {lasted} steps")
                begun += heater.start_cost if turns_on else 0.0
                is_on, lasted = turns_on, 0
            lasted += 1
            held = heater.keep_frac * held + power * home.hours * at(heater.gain_frac, t) + at(heater.flow_wh, t)
            if not at(heater.least_wh, t) - OFF <= held <= at(heater.most_wh, t) + OFF:
                found.append(f"heater {k}, step {t}: holds {held}")
            if abs(held - plan.heaters_wh[k, t]) > OFF:
                found.append(f"heater {k}, step {t}: holds {held}, said {plan.heaters_wh[k, t]}")
        if held < heater.end_wh - OFF:
            found.append(f"heater {k} ends at {held}")
    return begun


def _appliances(home: Home, plan: HomePlan, found: list[str]) -> None:
    for k, appliance in enumerate(home.appliances):
        drawn = -plan.appliances_w[k]
        wanted = np.zeros(len(drawn))
        start = plan.starts[k]
        wanted[start : start + len(appliance.power_w)] = appliance.power_w
        is_within = appliance.earliest <= start and start + len(appliance.power_w) <= appliance.latest
        if not is_within or np.abs(drawn - wanted).max() > OFF:
            found.append(f"appliance {k} runs from {start}")
