"""The plan of a home: it can happen, it costs what it says, and HiGHS finds nothing cheaper than its bound."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import highspy
import numpy as np
import pytest
from home_physics import faults
from hypothesis import given, settings
from hypothesis import strategies as st
from random_homes import random_home

from sampled import some
from tieline.bench._home_set import home_set
from tieline.errors import ConfigError, Infeasible
from tieline.plan.home import Appliance, Battery, Car, Heater, Home, HomePlan, HomeRefused, plan_home, plan_homes
from tieline.plan.home_program import HomeProgram

SEEDS = st.integers(0, 10**6)


def by_highs(home: Home, gap: float = 1e-7) -> tuple[float, float] | None:
    """Return the optimum and its bound, or None where no schedule keeps every limit."""
    solver = HomeProgram(home).solver(gap, 60.0)
    solver.run()
    if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
        return None
    return solver.getInfo().objective_function_value, solver.getInfo().mip_dual_bound


def size(home: Home, cost: float) -> float:
    return max(abs(cost), float(np.abs(home.buy_per_wh).max()) * home.hours * 1_000)


@settings(max_examples=120, deadline=None)
@given(SEEDS, st.booleans())
def test_a_home_has_a_plan_that_can_happen_or_a_cause_why_not(seed: int, is_harsh: bool) -> None:
    home = random_home(seed, is_harsh)
    try:
        plan = plan_home(home)
    except Infeasible as refused:
        assert by_highs(home) is None, f"there is a plan, but: {refused}"
        return
    assert faults(home, plan) == []
    best, _ = by_highs(home) or (np.inf, np.inf)
    assert plan.bound <= best + 1e-5 * size(home, best)
    assert plan.cost >= best - 1e-5 * size(home, best)


def test_of_random_homes_ninety_in_a_hundred_are_planned_at_the_optimum() -> None:
    off = []
    for seed in range(60):
        home = random_home(seed)
        found = plan_homes([home])[0]
        if isinstance(found, HomePlan):
            best, _ = by_highs(home)
            off.append((found.cost - best) / size(home, best))
    assert np.mean(np.array(off) <= 1e-5) >= 0.9
    assert np.median(off) <= 1e-6


@pytest.mark.parametrize(("seed", "at"), some([(1, 1), (1, 2), (1, 4), (2, 8)], 2))
def test_a_home_of_the_bench_is_within_a_thousandth_of_the_optimum(seed: int, at: int) -> None:
    home = home_set(9, seed)[at]
    plan = plan_home(home)
    assert faults(home, plan) == []
    best, bound = by_highs(home, 1e-4)
    assert best - bound <= 2e-4 * abs(best)
    assert plan.cost <= best * (1 + 1e-3)
    assert plan.bound <= best <= plan.cost * (1 + 1e-4)


def test_a_home_with_one_battery_is_the_reference_problem_r1() -> None:
    """Origin: 8-planning.md section 8, R1."""
    hour = 24 * np.arange(96) / 96
    noise = 0.01 * np.random.default_rng(0).standard_normal(96)
    peaks = 0.05 * np.exp(-(((hour - 8) / 2) ** 2)) + 0.16 * np.exp(-(((hour - 19) / 2.2) ** 2))
    price = 0.10 + peaks - 0.07 * np.exp(-(((hour - 13) / 2.5) ** 2)) + noise
    evening = 1.4 * np.exp(-(((hour - 19) / 2.5) ** 2)) + 0.15 * np.random.default_rng(1).random(96)
    load = 0.4 + 0.6 * np.exp(-(((hour - 7.5) / 1.5) ** 2)) + evening
    sun = 5 * np.maximum(np.sin(np.pi * (hour - 6) / 12), 0) ** 1.3 * 0.85
    for wear, cost in ((0.005, -0.47814949), (0.0, -0.5664906012)):
        battery = Battery(6_750, 1_350, 13_500, 6_750, 5_000, 5_000, 0.95, 0.95, wear / 1e3)
        home = Home(0.25, price / 1e3, (0.6 * price - 0.01) / 1e3, load * 1e3, sun * 1e3, battery=battery)
        plan = plan_home(home)
        assert plan.cost == pytest.approx(cost, abs=5e-9)
        assert plan.engine == "kernel"
        assert faults(home, plan) == []


def test_two_threads_give_the_same_bits_and_one_refusal_keeps_no_other_home_from_its_plan() -> None:
    homes = [random_home(seed, is_harsh=True) for seed in range(40)]
    homes.insert(7, replace(homes[0], load_w=float("nan"), name="wrong"))
    alone = plan_homes(homes)
    with ThreadPoolExecutor(2) as threads:
        together = plan_homes(homes, threads.map)
    assert isinstance(alone[7], HomeRefused)
    assert alone[7].is_wrong
    for one, other in zip(alone, together, strict=True):
        assert type(one) is type(other)
        if isinstance(one, HomePlan):
            assert one.cost == other.cost
            assert one.net_w.tobytes() == other.net_w.tobytes()
        else:
            assert one == other
    assert any(isinstance(one, HomeRefused) and not one.is_wrong for one in alone)


PLAIN = Home(
    0.25, np.full(8, 3e-4), np.full(8, 1e-4), 500.0, 0.0, 9_000.0, 5_000.0,
    Battery(2_000, 500, 5_000, 2_000, 2_000, 2_000), (Car(1, 7, 2_000, 2_000, 3_700, 1_400),),
    (Heater(2_000, 1_500, 0, 3_000, -100.0),), (Appliance(np.array([900.0, 400.0]), 1, 6),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"buy_per_wh": np.array([3e-4] * 7 + [np.nan])}, r"buy_per_wh\[7\] = nan: give a finite number"),
        ({"sell_per_wh": np.full(7, 1e-4)}, r"sell_per_wh has shape \(7,\): give one value, or 8"),
        ({"load_w": np.inf}, "load_w = inf"),
        ({"sun_w": np.full(8, -1.0)}, r"sun_w\[0\] = -1: give a number from 0"),
        ({"import_w": -5.0}, "import_w = -5"),
        ({"hours": 0.0}, "hours = 0: give a number above 0"),
        ({"battery": Battery(2_000, 6_000, 5_000, 0, 1, 1)}, "battery.least_wh = 6000: give at most battery.most_wh"),
        ({"battery": Battery(2_000, 500, 5_000, 0, 1, 1, 1.2)}, "battery.charge_frac = 1.2"),
        ({"cars": (Car(5, 3, 1, 1, 1),)}, r"cars\[0\].leaves = 3"),
        ({"cars": (Car(1, 3, 2, 1, 1),)}, r"cars\[0\].need_wh = 2: give at most cars\[0\].room_wh"),
        ({"cars": (Car(1, 3, 1, 1, 1, 2),)}, r"cars\[0\].least_w = 2: give at most"),
        (
            {"heaters": (Heater(2_000, 0, 5, np.full(8, 4.0), 0),)},
            r"heaters\[0\].least_wh\[0\] = 5: give at most most_wh",
        ),
        ({"heaters": (Heater(2_000, 0, 0, 4, 0, least_on=0),)}, r"heaters\[0\].least_on = 0"),
        ({"appliances": (Appliance(np.ones(4), 6, 8),)}, r"appliances\[0\].latest = 8: its 4 steps from 6"),
    ],
)
def test_data_that_makes_no_sense_is_refused_by_field_value_and_limit(change: dict, says: str) -> None:
    assert plan_home(PLAIN).cost > 0
    with pytest.raises(ConfigError, match=says):
        plan_home(replace(PLAIN, **change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cars": (Car(1, 3, 2_000, 2_000, 3_700),)}, r"cars\[0\].need_wh = 2000: in 2 steps .* takes 1665 at most"),
        ({"cars": (Car(1, 7, 100, 100, 3_700, 1_400),)}, r"cars\[0\].least_w = 1400: 1 steps"),
        ({"battery": Battery(600, 500, 5_000, 4_900, 1_000, 1_000)}, r"battery.end_wh = 4900"),
        ({"battery": Battery(9_000, 500, 5_000, 600, 1_000, 1_000)}, r"battery.most_wh = 5000"),
        ({"heaters": (Heater(2_000, 1_500, 0, 3_000, -900.0),)}, r"heaters\[0\]: no schedule|heaters\[0\].start_wh"),
        ({"import_w": 400.0, "battery": None}, r"import_w, export_w"),
        ({"import_w": 1_400.0}, r"import_w, export_w"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_cause(change: dict, says: str) -> None:
    home = replace(PLAIN, **change)
    assert by_highs(home) is None
    with pytest.raises(Infeasible, match=says):
        plan_home(home)
