"""Which engine plans a home follows from what in its data is not convex, and each engine proves what it says."""

from dataclasses import replace

import numpy as np
import pytest
from home_physics import faults

from tieline.plan.home import Appliance, Battery, Car, Heater, Home, plan_home
from tieline.plan.router import engine_of, reasons

FLAT = np.array([3e-4, 1e-4, 2e-4, 4e-4, 1e-4, 2e-4])
BATTERY = Battery(2_000, 500, 5_000, 2_000, 2_000, 2_000, wear_per_wh=1e-6)
PLAIN = Home(0.5, FLAT, 0.5 * FLAT, 500.0)
CAR = Car(0, 5, 2_000, 2_500, 3_700)
HEATER = Heater(1_000, 400, 0, 2_000, -200.0, end_wh=300)
APPLIANCE = Appliance(np.array([800.0, 300.0]), 1, 6)


@pytest.mark.parametrize(
    ("change", "engine", "kinds"),
    [
        ({}, "kernel", []),
        ({"battery": BATTERY}, "kernel", []),
        ({"battery": BATTERY, "buy_per_wh": FLAT - 2e-4, "sell_per_wh": FLAT - 3e-4}, "kernel", ["negative price"]),
        ({"battery": BATTERY, "cars": (CAR,)}, "inner", []),
        ({"cars": (replace(CAR, least_w=1_400),)}, "search", ["least power"]),
        ({"heaters": (HEATER,)}, "dp", ["switched"]),
        ({"heaters": (replace(HEATER, least_on=2),)}, "dp", ["switched", "least times"]),
        ({"heaters": (replace(HEATER, start_cost=0.1),)}, "dp", ["switched", "start cost"]),
        ({"appliances": (APPLIANCE,)}, "dp", ["one run"]),
        ({"heaters": (HEATER,), "appliances": (APPLIANCE,)}, "search", ["switched", "one run"]),
        ({"heaters": (HEATER,), "battery": BATTERY}, "search", ["switched"]),
        ({"sell_per_wh": 1.1 * FLAT}, "milp", ["crossed tariff"]),
    ],
)
def test_the_engine_follows_from_what_is_not_convex(change: dict, engine: str, kinds: list[str]) -> None:
    home = replace(PLAIN, **change)
    assert engine_of(home) == engine
    assert [reason.kind for reason in reasons(home)] == kinds
    plan = plan_home(home)
    assert plan.engine == engine
    assert faults(home, plan) == []
    if engine in ("kernel", "inner") and not kinds:
        assert plan.gap <= 1e-6 * max(abs(plan.cost), 1e-3)


def test_a_battery_never_burns_energy_where_the_price_is_below_zero() -> None:
    home = replace(
        PLAIN, battery=replace(BATTERY, wear_per_wh=0.0), buy_per_wh=FLAT - 3.5e-4, sell_per_wh=FLAT - 3.6e-4
    )
    plan = plan_home(home)
    assert plan.bound < plan.cost - 1e-9, "a battery that takes and gives at once would cost less"
    assert faults(home, plan) == []


def test_a_tariff_that_pays_more_for_feeding_in_is_planned_at_its_optimum() -> None:
    """By hand: at 2 a Wh fed in and 1 drawn, a full battery is given to the grid, and the load is drawn."""
    home = Home(
        1.0, np.array([1.0, 1.0]), np.array([2.0, 0.5]), 100.0, battery=Battery(1_000, 0, 1_000, 0, 0, 500, 1, 1)
    )
    plan = plan_home(home)
    assert plan.battery_w.tolist() == pytest.approx([500.0, 500.0], abs=1e-3)
    assert plan.cost == pytest.approx(-2.0 * 400 - 0.5 * 400, abs=1e-3)
