"""Thermostats and water heaters: a store of heat or cold behind a switch with minimum times on and off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(eq=False)
class Thermal:
    """Columns of first-order thermal loads, shape (n,).

    `dT/dt = (ambient - T) / (R C) + sign * on * heat / C + gains / C`, solved exactly over a step. `sign` is -1
    where the device cools. `rated_w` is the electric power when on.
    """

    temperature_c: Floats
    setpoint_c: Floats
    deadband_c: Floats
    comfort_low_c: Floats
    comfort_high_c: Floats
    resistance_c_per_w: Floats
    capacity_wh_per_c: Floats
    heat_w: Floats
    rated_w: Floats
    sign: Floats
    is_on: Mask
    held_s: Floats
    min_hold_s: Floats

    def step(
        self, wanted_w: Floats, low_w: Floats, high_w: Floats, ambient_c: Floats, gains_w: Floats, seconds: float
    ) -> Floats:
        """Move by one step and return the power (W, 0 or negative).

        NaN wanted: the thermostat's own hysteresis. A wanted power switches off what lies nearer to 0 than to the
        rating. Comfort outranks every wish, a limit outranks comfort, and minimum times outrank both.
        """
        own = self._own_wish()
        asked = np.where(np.isnan(wanted_w), own, wanted_w < -0.5 * self.rated_w)
        asked = np.where(self._must_run(), True, np.where(self._must_rest(), False, asked))
        asked = np.where(low_w > -0.5 * self.rated_w, False, asked).astype(np.bool_)
        may_switch = self.held_s >= self.min_hold_s
        switches = (asked != self.is_on) & may_switch
        self.is_on = np.where(switches, asked, self.is_on)
        self.held_s = np.where(switches, seconds, self.held_s + seconds)
        tau_h = self.resistance_c_per_w * self.capacity_wh_per_c
        rest_c = ambient_c + self.resistance_c_per_w * (gains_w + self.sign * self.heat_w * self.is_on)
        self.temperature_c = rest_c + (self.temperature_c - rest_c) * np.exp(-seconds / 3600.0 / tau_h)
        power_w: Floats = -self.rated_w * self.is_on
        return power_w

    def _own_wish(self) -> Mask:
        far = (self.temperature_c - self.setpoint_c) * -self.sign
        wish: Mask = np.where(far > self.deadband_c / 2, True, np.where(far < -self.deadband_c / 2, False, self.is_on))
        return wish

    def _must_run(self) -> Mask:
        too_warm = self.temperature_c >= self.comfort_high_c
        too_cold = self.temperature_c <= self.comfort_low_c
        must: Mask = np.where(self.sign < 0, too_warm, too_cold)
        return must

    def _must_rest(self) -> Mask:
        too_warm = self.temperature_c >= self.comfort_high_c
        too_cold = self.temperature_c <= self.comfort_low_c
        must: Mask = np.where(self.sign < 0, too_cold, too_warm)
        return must

    def headroom(self) -> tuple[Floats, Floats]:
        """Return how far the power can rise (switch off) and fall (switch on) now (W), by comfort and hold times."""
        free = self.held_s >= self.min_hold_s
        up_w = np.where(self.is_on & free & ~self._must_run(), self.rated_w, 0.0)
        down_w = np.where(~self.is_on & free & ~self._must_rest(), self.rated_w, 0.0)
        return up_w, down_w
