"""Batteries and mechanical storage: energy with losses each way, standby, and power limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.physics.within import within

Floats = NDArray[np.float64]
TAPER_FRAC = 0.1
"""A cell charges at constant voltage over the last tenth, so its current falls; near empty it is held back likewise."""
LEAST_TAPER_FRAC = 0.05


@dataclass(eq=False)
class Storage:
    """Columns of stores, shape (n,): powers in W, energies in Wh, efficiencies as fractions."""

    discharge_w: Floats
    charge_w: Floats
    energy_wh: Floats
    soc_frac: Floats
    charge_frac: Floats
    discharge_frac: Floats
    reserve_frac: Floats
    standby_w: Floats
    tapers: NDArray[np.bool_]
    """Whether power falls near full and near empty: cells do, flywheels and compressed air don't."""
    loss_wh: Floats
    """Energy lost since the start, conversion and standby together."""

    def step(self, wanted_w: Floats, low_w: Floats, high_w: Floats, seconds: float) -> Floats:
        """Move by one step and return the power (W); NaN wanted: stand by.

        Energy is conserved: what leaves the store is the output over the discharge efficiency, what enters it is the
        input times the charge efficiency; standby is taken from the grid.
        """
        hours = seconds / 3600.0
        up_w, down_w = self.headroom(seconds)
        power_w = np.where(np.isnan(wanted_w), 0.0, wanted_w)
        power_w = within(within(power_w, low_w, high_w), -down_w, up_w)
        out_wh = np.where(power_w > 0, power_w / self.discharge_frac, power_w * self.charge_frac) * hours
        self.soc_frac = within(self.soc_frac - out_wh / self.energy_wh, 0.0, 1.0)
        self.loss_wh += out_wh - power_w * hours + self.standby_w * hours
        result: Floats = power_w - self.standby_w
        return result

    def headroom(self, seconds: float) -> tuple[Floats, Floats]:
        """Return the most power out and in (W) that can be held for so many seconds."""
        hours = max(seconds, 1.0) / 3600.0
        above_wh = np.maximum(self.soc_frac - self.reserve_frac, 0.0) * self.energy_wh
        below_wh = (1.0 - self.soc_frac) * self.energy_wh
        most_up, most_down = self._taper(self.soc_frac), self._taper(1.0 - self.soc_frac)
        up_w = np.minimum(self.discharge_w * most_up, above_wh * self.discharge_frac / hours)
        down_w = np.minimum(self.charge_w * most_down, below_wh / self.charge_frac / hours)
        return up_w, down_w

    def _taper(self, left_frac: Floats) -> Floats:
        """Return the share of its power that is left to each at a distance from empty (or from full)."""
        share = within(left_frac / TAPER_FRAC, LEAST_TAPER_FRAC, 1.0)
        result: Floats = np.where(self.tapers, share, 1.0)
        return result

    def available_wh(self) -> Floats:
        """Return the energy that can be delivered above the owner's reserve (Wh)."""
        result: Floats = np.maximum(self.soc_frac - self.reserve_frac, 0.0) * self.energy_wh * self.discharge_frac
        return result

    def available_wh_of(self, at: int) -> float:
        """Return what `available_wh` says of one store, whose own meter asks for nobody else's."""
        return float(max(self.soc_frac[at] - self.reserve_frac[at], 0.0) * self.energy_wh[at] * self.discharge_frac[at])
