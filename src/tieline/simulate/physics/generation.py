"""PV, engines and CHP: what the sun, the fuel and the heat demand allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.physics.within import within

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(eq=False)
class Pv:
    """Columns of PV plants, shape (n,): the rating, the plane that each lies in, and what the sun gives now."""

    rated_w: Floats
    plane: Floats
    available_w: Floats

    def step(self, wanted_w: Floats, low_w: Floats, high_w: Floats, output_frac: Floats) -> Floats:
        """Return the power (W): what the sun gives, unless less is wanted or allowed."""
        self.available_w = self.rated_w * output_frac
        power_w = np.where(np.isnan(wanted_w), self.available_w, np.minimum(wanted_w, self.available_w))
        result: Floats = within(np.minimum(power_w, high_w), 0.0, self.available_w)
        return result

    def headroom(self, power_w: Floats) -> tuple[Floats, Floats]:
        """Return how far the power can rise and fall now (W)."""
        return self.available_w - power_w, power_w.copy()


@dataclass(eq=False)
class Engine:
    """Columns of engines (backup, biomass, CHP), shape (n,): start-up, minimum load and times, fuel, hours, heat.

    Fuel follows Willans' line: `idle_frac` of the rated fuel flow when idling, the rest in proportion to the power.
    `fuel_wh` is what is left in the tank or bunker (its heating value; a gas main is a very large tank). A CHP gives
    `heat_ratio` of heat for each unit of power into a tank, from which its customers draw; a boiler makes up.
    """

    rated_w: Floats
    min_w: Floats
    start_s: Floats
    min_hold_s: Floats
    efficiency_frac: Floats
    heat_ratio: Floats
    is_on: Mask
    held_s: Floats
    run_h: Floats
    fuel_wh: Floats
    tank_fuel_wh: Floats
    heat_wh: Floats
    tank_heat_wh: Floats
    burnt_wh: Floats
    boiler_wh: Floats
    vented_wh: Floats
    heat_w: Floats
    starts: NDArray[np.int64]
    idle_frac: float = 0.08

    def step(self, wanted_w: Floats, low_w: Floats, high_w: Floats, heat_demand: float, seconds: float) -> Floats:
        """Move by one step and return the power (W, 0 or more). NaN wanted: CHP follows its heat, others stand still.

        A CHP never runs below what its customers need beyond the tank, and is not asked above what the tank can still
        take: nobody's wish cools them. An engine whose tank runs dry stops, whatever its times say.
        """
        hours = seconds / 3600.0
        least_w, most_w, follow_w = self._by_heat(heat_demand, hours)
        own_w = np.where(self.heat_ratio > 0, follow_w, 0.0)
        asked_w = within(np.where(np.isnan(wanted_w), own_w, wanted_w), least_w, most_w)
        asked_w = within(asked_w, 0.0, np.minimum(self.rated_w, np.maximum(high_w, 0.0)))
        has_fuel = self.fuel_wh >= self._fuel_w(self.min_w) * hours
        wants_on = (asked_w >= 0.5 * self.min_w) & (asked_w > 0)
        switches = (wants_on != self.is_on) & (self.held_s >= self.min_hold_s) & (has_fuel | self.is_on)
        switches |= self.is_on & ~has_fuel
        self.is_on = np.where(switches, wants_on & has_fuel, self.is_on)
        self.starts += switches & self.is_on
        self.held_s = np.where(switches, 0.0, self.held_s) + seconds
        warm = within(self.held_s / np.maximum(self.start_s, 1e-9), 0.0, 1.0)
        power_w = np.where(self.is_on, within(asked_w, self.min_w, self.rated_w) * warm, 0.0)
        power_w = np.minimum(power_w, self._power_from(self.fuel_wh / hours))
        # Nothing may be fed in: its breaker opens at once (IEEE 1547-2018, 4.6.1), the engine idles out its time.
        power_w = np.where(high_w <= 0.0, 0.0, power_w)
        self._book(power_w, heat_demand, hours)
        return power_w

    def _by_heat(self, heat_demand: float, hours: float) -> tuple[Floats, Floats, Floats]:
        """Return least, greatest and natural power by heat (W); an engine without heat is free."""
        ratio = np.maximum(self.heat_ratio, 1e-9)
        demand_w = heat_demand * self.rated_w * self.heat_ratio
        least_w = (demand_w - self.heat_wh / hours) / ratio
        most_w = (demand_w + (self.tank_heat_wh - self.heat_wh) / hours) / ratio
        # Left to itself it follows the demand and leads the tank back to half full over two hours.
        follow_w = (demand_w + (0.5 * self.tank_heat_wh - self.heat_wh) / 2.0) / ratio
        hot = self.heat_ratio > 0
        return (
            np.where(hot, within(least_w, 0.0, self.rated_w), 0.0),
            np.where(hot, within(most_w, 0.0, self.rated_w), self.rated_w),
            within(follow_w, 0.0, self.rated_w),
        )

    def _fuel_w(self, power_w: Floats) -> Floats:
        """Return the fuel flow (W) of a running engine at a power."""
        full_w = self.rated_w / self.efficiency_frac
        result: Floats = full_w * (self.idle_frac + (1.0 - self.idle_frac) * power_w / self.rated_w)
        return result

    def _power_from(self, fuel_w: Floats) -> Floats:
        """Return the most power (W) that a fuel flow gives."""
        full_w = self.rated_w / self.efficiency_frac
        result: Floats = self.rated_w * within((fuel_w / full_w - self.idle_frac) / (1.0 - self.idle_frac), 0.0, 1.0)
        return result

    def _book(self, power_w: Floats, heat_demand: float, hours: float) -> None:
        """Take fuel and hours, move heat into the tank and to the customers; what the tank lacks the boiler gives."""
        self.run_h += self.is_on * hours
        burnt_wh = np.where(self.is_on, self._fuel_w(power_w), 0.0) * hours
        burnt_wh = np.minimum(burnt_wh, self.fuel_wh)
        self.fuel_wh = self.fuel_wh - burnt_wh
        self.burnt_wh += burnt_wh
        self.heat_w = self.heat_ratio * power_w
        demand_wh = heat_demand * self.rated_w * self.heat_ratio * hours
        stored_wh = self.heat_wh + self.heat_w * hours - demand_wh
        self.boiler_wh += np.maximum(-stored_wh, 0.0)
        # A minimum load or time may overfill the tank; the dry cooler takes what is over.
        self.vented_wh += np.maximum(stored_wh - self.tank_heat_wh, 0.0)
        self.heat_wh = within(stored_wh, 0.0, self.tank_heat_wh)

    @property
    def fuel_frac(self) -> Floats:
        """How full the tanks are."""
        return self.fuel_wh / self.tank_fuel_wh

    def must_run_s(self) -> Floats:
        """Return for how long each that was started runs on whatever it is told (s; 0: it may stop, or stands)."""
        return np.where(self.is_on, np.maximum(self.min_hold_s - self.held_s, 0.0), 0.0)

    def headroom(self, power_w: Floats, heat_demand: float) -> tuple[Floats, Floats]:
        """Return how far the power can rise and fall within a quarter of an hour, held for as long (W)."""
        free = self.held_s >= self.min_hold_s
        least_w, most_w, _ = self._by_heat(heat_demand, 0.25)
        runs = (self.fuel_wh > self._fuel_w(self.rated_w) * 0.25) & (self.is_on | free)
        up_w = np.where(runs, np.maximum(most_w - power_w, 0.0), 0.0)
        floor_w = np.maximum(least_w, np.where(free & (least_w < 0.5 * self.min_w), 0.0, self.min_w))
        down_w = np.where(self.is_on, np.maximum(power_w - floor_w, 0.0), 0.0)
        return up_w, down_w
