"""Thermostats and water heaters: a store of heat or cold behind a switch with minimum times on and off."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
HELD_FRAC = 0.99
"""A limit that is this share of what it draws or more lets it run: nearer no meter tells the two apart."""


@dataclass(eq=False)
class Thermal:
    """Columns of first-order thermal loads, shape (n,).

    `C dT/dt = (ambient - T) / R + flow (inlet - T) + sign * on * heat + gains`, solved exactly over a step. `sign` is
    -1 where the device cools. `rated_w` is the electric power when on; `flow` is drawn water (W/K).
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
    leak_wh: Floats = field(default_factory=lambda: np.zeros(0))
    """Heat that came in through walls (below 0: went out) in the last step."""
    drawn_wh: Floats = field(default_factory=lambda: np.zeros(0))
    """Heat that left with the water in the last step."""

    def step(
        self,
        wanted_w: Floats,
        low_w: Floats,
        high_w: Floats,
        ambient_c: Floats | float,
        gains_w: Floats | float,
        seconds: float,
        flow_w_per_c: Floats | float = 0.0,
        inlet_c: float = 0.0,
        yield_frac: float = 1.0,
    ) -> Floats:
        """Move by one step and return the power (W, 0 or negative).

        `yield_frac` is how much of its heat a unit moves in this weather; drawn water comes back at `inlet_c`.

        NaN wanted: the thermostat's own hysteresis. A wanted power switches off what lies nearer to 0 than to the
        rating. Comfort outranks every wish, a limit outranks comfort, and minimum times outrank both.
        """
        own = self._own_wish()
        asked = np.where(np.isnan(wanted_w), own, wanted_w < -0.5 * self.rated_w)
        asked = np.where(self._must_run(), True, np.where(self._must_rest(), False, asked))
        # It knows no part: held to less than it draws it is off.
        asked = np.where(low_w > -HELD_FRAC * self.rated_w, False, asked).astype(np.bool_)
        may_switch = self.held_s >= self.min_hold_s
        switches = (asked != self.is_on) & may_switch
        self.is_on = np.where(switches, asked, self.is_on)
        self.held_s = np.where(switches, seconds, self.held_s + seconds)
        self._move(ambient_c, gains_w, seconds, flow_w_per_c, inlet_c, yield_frac)
        power_w: Floats = -self.rated_w * self.is_on
        return power_w

    def _move(
        self,
        ambient_c: Floats | float,
        gains_w: Floats | float,
        seconds: float,
        flow_w_per_c: Floats | float,
        inlet_c: float,
        yield_frac: float,
    ) -> None:
        """Move the temperature along its exponential, and book where the heat went."""
        hours, start_c = seconds / 3600.0, self.temperature_c
        heat_w = gains_w + self.sign * self.heat_w * yield_frac * self.is_on
        per_c = 1.0 / self.resistance_c_per_w + flow_w_per_c
        rest_c = (ambient_c / self.resistance_c_per_w + flow_w_per_c * inlet_c + heat_w) / per_c
        far = hours * per_c / self.capacity_wh_per_c
        self.temperature_c = rest_c + (start_c - rest_c) * np.exp(-far)
        mean_c = rest_c + (start_c - rest_c) * -np.expm1(-far) / far
        self.leak_wh = (ambient_c - mean_c) / self.resistance_c_per_w * hours
        self.drawn_wh = (mean_c - inlet_c) * flow_w_per_c * hours

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
