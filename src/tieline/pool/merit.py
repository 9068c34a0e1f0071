"""What each row asks to be called: its kind's cost, with a little added for each call that it had already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import KINDS
from tieline.resource.identity import Kind

Floats = NDArray[np.float64]

COST_PER_MWH: dict[Kind, float] = {
    Kind.BATTERY: 35.0,
    Kind.HYBRID_SITE: 36.0,
    Kind.MECHANICAL_STORAGE: 38.0,
    Kind.EV_CHARGER: 42.0,
    Kind.SHIFTABLE_LOAD: 45.0,
    Kind.WATER_HEATER: 48.0,
    Kind.THERMOSTAT: 60.0,
    Kind.BIOMASS: 75.0,
    Kind.CHP: 85.0,
    Kind.INTERRUPTIBLE_LOAD: 110.0,
    Kind.PROCESS_LINE: 180.0,
    Kind.BACKUP_GENERATOR: 240.0,
    Kind.PV: 400.0,
}
FAIRNESS_PER_CALL = 0.05


def merit_price(kinds: NDArray[np.uint8], calls: Floats | None = None) -> Floats:
    """Return the price of each row ($/MWh): its kind's cost plus its share of fairness."""
    table = np.array([COST_PER_MWH.get(kind, 1_000.0) for kind in KINDS])
    price: Floats = table[kinds]
    return price if calls is None else price + FAIRNESS_PER_CALL * calls
