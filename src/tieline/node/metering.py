"""What a pool's settlement meters see: sub-meters of enrolled loads and generators, and of those that may not serve.

Loads and generators are metered apart (CAISO meter generator output): adjusting their sum would scale a battery by the
weather. Sub-meters, not premises: on days without any event, the ten-day baseline of the premises of 600 devices was
316 to 493 kWh off over six afternoon hours, that of their own sub-meters 33 to 170 kWh, as homes' other load moves more
from day to day than the devices do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import KIND_CODE
from tieline.resource.identity import Kind

if TYPE_CHECKING:
    from tieline.simulate.territory import Territory
    from tieline.simulate.world import World

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
LOAD, GENERATOR, PROHIBITED = 0, 1, 2
LOADS = (
    Kind.THERMOSTAT, Kind.WATER_HEATER, Kind.EV_CHARGER, Kind.SHIFTABLE_LOAD, Kind.INTERRUPTIBLE_LOAD,
    Kind.PROCESS_LINE,
)  # fmt: skip
GENERATORS = (Kind.BATTERY, Kind.MECHANICAL_STORAGE, Kind.HYBRID_SITE, Kind.BIOMASS, Kind.CHP, Kind.BACKUP_GENERATOR)


@dataclass(frozen=True, slots=True, eq=False)
class Meters:
    """Which rows each of the three meters sums."""

    loads: Mask
    generators: Mask
    prohibited: Mask

    @staticmethod
    def of(territory: Territory, eligible: Mask) -> Meters:
        """Return the meters of a territory's enrolled devices."""
        return Meters.of_kinds(territory.fleet.kinds, eligible)

    @staticmethod
    def of_kinds(kinds: NDArray[np.uint8], eligible: Mask) -> Meters:
        """Return the meters of devices by their `KIND_CODE` and whether they may serve; shape (n,)."""
        loads = np.isin(kinds, [KIND_CODE[kind] for kind in LOADS]) & eligible
        makes = np.isin(kinds, [KIND_CODE[kind] for kind in GENERATORS])
        return Meters(loads, makes & eligible, makes & ~eligible)

    def read(self, world: World) -> Floats:
        """Return consumption of loads, consumption of generators, output of the prohibited; shape (3,), W."""
        power_w = world.power_w
        ran_w = float(np.maximum(power_w[self.prohibited], 0.0).sum())
        return np.array([-float(power_w[self.loads].sum()), -float(power_w[self.generators].sum()), ran_w])
