"""The interior point of a home: HiGHS' optimum of the same linear program, and a bound that holds wherever it stops."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_homes import random_home

from tieline.errors import ConfigError, Infeasible
from tieline.plan.home_columns import OVER, columns_of, ratings_w
from tieline.plan.home_inner import least_cost
from tieline.plan.home_program import HomeProgram
from tieline.plan.home_reach import reachable
from tieline.plan.home_terms import Home, checked


def stores_only(seed: int, steps: int) -> Home:
    """Return a home whose heaters are stores that may be heated with any power, and which has no appliance."""
    home = random_home(seed, steps=steps)
    heaters = tuple(replace(h, start_cost=0.0, least_on=1, least_off=1, held_steps=9) for h in home.heaters)
    cars = tuple(replace(car, least_w=0.0) for car in home.cars)
    battery = home.battery and replace(home.battery, wear_per_wh=1e-3)
    return replace(home, appliances=(), heaters=heaters, cars=cars, battery=battery)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 30))
def test_the_interior_point_is_the_optimum_that_highs_finds_and_its_bound_never_lies_above(
    seed: int, steps: int
) -> None:
    home = stores_only(seed, steps)
    try:
        checked(home)
        reachable(home)
    except (ConfigError, Infeasible):
        return
    solver = HomeProgram(home).solver(0.0, 30.0, is_relaxed=True)
    solver.run()
    c = columns_of(home, ratings_w(home))
    x, price = np.zeros(c.width.shape), np.zeros(c.right.shape)
    cost, bound, _ = least_cost(c.power, c.store, c.gain, c.keep, c.cost, c.width, c.right, 1e-8, x, price)
    if str(solver.getModelStatus()) != "HighsModelStatus.kOptimal":
        return
    best = solver.getInfo().objective_function_value
    scale = max(abs(best), 0.01)
    assert bound <= best + 1e-7 * scale
    if x[:, OVER].max() < 1e-6:
        assert cost == pytest.approx(best, abs=1e-5 * scale)
        assert (x >= 0).all()
        assert (x <= c.width + 1e-12).all()
