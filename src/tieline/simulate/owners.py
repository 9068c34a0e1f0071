"""Owners who opt out: seldom while all is well, often once they feel it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.resource.identity import Kind
from tieline.simulate.world import World

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
CALM_PER_H = 0.004
"""Rate at which an owner takes a called device out for no reason that we could see (1/h)."""
FELT_PER_H = 0.25
"""What full discomfort adds (1/h); the rate grows with its square, as small discomforts go unnoticed."""


def discomfort(world: World, second_of_day: int) -> Floats:
    """Return how much each owner feels of what his device does: 0 nothing, 1 the end of his comfort; shape (n,).

    Rooms: how far beyond the thermostat's own band, against the band of comfort. Tanks: how far below it. Cars: how
    much of the time to the declared departure the energy still wanted would take. Of other devices nothing is felt.
    """
    felt = np.zeros(len(world.power_w))
    rooms, tanks, cars = world.hvac, world.heaters, world.charging
    over_c = np.abs(rooms.temperature_c - rooms.setpoint_c) - rooms.deadband_c / 2
    felt[world.rows[Kind.THERMOSTAT]] = over_c / (rooms.comfort_high_c - rooms.setpoint_c - rooms.deadband_c / 2)
    under_c = tanks.setpoint_c - tanks.deadband_c / 2 - tanks.temperature_c
    felt[world.rows[Kind.WATER_HEATER]] = under_c / (tanks.setpoint_c - tanks.deadband_c / 2 - tanks.comfort_low_c)
    left_h = np.maximum((cars.declared_s - (second_of_day - cars.arrives_s) % 86_400.0) / 3600.0, 0.25)
    felt[world.rows[Kind.EV_CHARGER]] = np.where(cars.is_plugged, cars.needed_wh / (cars.rated_w * left_h), 0.0)
    result: Floats = np.clip(felt, 0.0, 1.0)
    return result


class Owners:
    """Decides, step by step, who takes his device out of what it was called for."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self.is_out = np.zeros(len(world.power_w), np.bool_)
        self.felt_by_out: list[float] = []
        self.felt_by_called: list[float] = []

    def step(self, second_of_day: int, seconds: float, called: NDArray[np.bool_]) -> Rows:
        """Return the rows whose owners opt out in this step; each but once."""
        felt = discomfort(self._world, second_of_day)
        rate = np.where(called & ~self.is_out, CALM_PER_H + FELT_PER_H * felt**2, 0.0)
        leaves = self._rng.random(len(rate)) < -np.expm1(-rate * seconds / 3600.0)
        rows = np.flatnonzero(leaves).astype(np.int32)
        self.is_out[rows] = True
        self.felt_by_out += felt[rows].tolist()
        if called.any():
            self.felt_by_called.append(float(felt[called].mean()))
        return rows
