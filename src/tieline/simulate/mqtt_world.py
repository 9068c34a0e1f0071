"""Thermostats and plugs of the world as bodies of MQTT devices: what they are told reaches the world's columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.physics.thermal import Thermal
from tieline.times import FOREVER_NS

Floats = NDArray[np.float64]


class Controls(Protocol):
    """Columns of what the world's devices obey, a row a device (W, UTC ns)."""

    target_w: Floats
    low_w: Floats
    high_w: Floats
    until_ns: NDArray[np.int64]


@dataclass
class WorldSwitch:
    """A load of the world behind a plug: off holds it at nothing, on leaves it to itself."""

    power_w: Floats
    controls: Controls
    row: int
    is_on: bool = True

    def read(self) -> Mapping[str, float]:
        """Return its power and switch."""
        return {"power_w": float(self.power_w[self.row]), "is_on": float(self.is_on)}

    def set(self, name: str, value: float) -> None:
        """Turn it on or off."""
        if name == "is_on":
            self.is_on = value == 1.0
            # Off, nothing flows, however cold the tank: a limit, as a thermostat's comfort outranks a mere wish.
            _obey(self.controls, self.row, math.nan if self.is_on else 0.0, -math.inf if self.is_on else 0.0)


@dataclass
class WorldThermostat:
    """A room of the world: what is told is its setpoint, and its own thermostat does the rest."""

    power_w: Floats
    controls: Controls
    row: int
    thermal: Thermal
    at: int
    told: list[float] = field(default_factory=list)

    def read(self) -> Mapping[str, float]:
        """Return power, temperature and setpoint."""
        return {
            "power_w": float(self.power_w[self.row]),
            "is_on": 1.0,
            "temperature_c": float(self.thermal.temperature_c[self.at]),
            "setpoint_c": float(self.thermal.setpoint_c[self.at]),
        }

    def set(self, name: str, value: float) -> None:
        """Move the setpoint."""
        if name == "setpoint_c":
            self.told.append(value)
            self.thermal.setpoint_c[self.at] = value
            _obey(self.controls, self.row, math.nan)


def _obey(controls: Controls, row: int, target_w: float, low_w: float = -math.inf) -> None:
    """Hold a target from now on: a plug has no timer, whoever told it must let it go."""
    controls.target_w[row] = target_w
    controls.low_w[row], controls.high_w[row] = low_w, math.inf
    controls.until_ns[row] = FOREVER_NS
