"""PV, engines and CHP: what the sun, the fuel and the heat demand allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Pv:
    """Columns of PV plants, shape (n,), each with the output profile of a real one."""

    rated_w: Floats
    profile: NDArray[np.int32]
    cloud: Floats
    available_w: Floats

    def step(self, wanted_w: Floats, low_w: Floats, high_w: Floats, output_frac: Floats) -> Floats:
        """Return the power (W): what the sun gives, unless less is wanted or allowed."""
        self.available_w = self.rated_w * np.clip(output_frac[self.profile] * self.cloud, 0.0, 1.0)
        power_w = np.where(np.isnan(wanted_w), self.available_w, np.minimum(wanted_w, self.available_w))
        result: Floats = np.clip(np.minimum(power_w, high_w), 0.0, self.available_w)
        return result

    def headroom(self, power_w: Floats) -> tuple[Floats, Floats]:
        """Return how far the power can rise and fall now (W)."""
        return self.available_w - power_w, power_w.copy()


@dataclass(eq=False)
class Engine:
    """Columns of engines (backup, biomass, CHP), shape (n,): start-up, minimum load and times, fuel, hours, heat."""

    rated_w: Floats
    min_w: Floats
    start_s: Floats
    min_hold_s: Floats
    heat_ratio: Floats
    runs_by_heat: NDArray[np.bool_]
    is_on: NDArray[np.bool_]
    held_s: Floats
    run_h: Floats
    fuel_frac: Floats
    fuel_h: Floats

    def step(self, wanted_w: Floats, low_w: Floats, high_w: Floats, heat_frac: float, seconds: float) -> Floats:
        """Move by one step and return the power (W, 0 or more). NaN wanted: CHP follows its heat, others stand still.

        A CHP never runs below what its heat demand needs; nobody's wish cools its customers.
        """
        heat_w = np.where(self.runs_by_heat, self.rated_w * heat_frac, 0.0)
        asked_w = np.clip(np.where(np.isnan(wanted_w), heat_w, np.maximum(wanted_w, heat_w)), 0.0, self.rated_w)
        asked_w = np.minimum(asked_w, np.maximum(high_w, 0.0))
        wants_on = (asked_w >= 0.5 * self.min_w) & (asked_w > 0) & (self.fuel_frac > 0)
        switches = (wants_on != self.is_on) & (self.held_s >= self.min_hold_s)
        self.is_on = np.where(switches, wants_on, self.is_on)
        self.held_s = np.where(switches, seconds, self.held_s + seconds)
        warm = np.clip(self.held_s / np.maximum(self.start_s, 1e-9), 0.0, 1.0)
        power_w = np.where(
            self.is_on, np.clip(asked_w, self.min_w, self.rated_w) * np.where(warm >= 1.0, 1.0, warm), 0.0
        )
        hours = seconds / 3600.0
        self.run_h += self.is_on * hours
        self.fuel_frac = np.maximum(self.fuel_frac - power_w / np.maximum(self.rated_w * self.fuel_h, 1.0) * hours, 0.0)
        result: Floats = power_w
        return result

    def headroom(self, power_w: Floats, heat_frac: float) -> tuple[Floats, Floats]:
        """Return how far the power can rise and fall now (W)."""
        free = self.held_s >= self.min_hold_s
        up_w = np.where((self.fuel_frac > 0) & (self.is_on | free), self.rated_w - power_w, 0.0)
        heat_w = np.where(self.runs_by_heat, self.rated_w * heat_frac, 0.0)
        down_w = np.where(
            self.is_on, np.maximum(power_w - np.maximum(heat_w, np.where(free, 0.0, self.min_w)), 0.0), 0.0
        )
        return up_w, down_w
