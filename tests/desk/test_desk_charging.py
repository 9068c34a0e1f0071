"""Stores are charged for what awards will take; what one of them tells wrongly stops none of the others."""

import numpy as np
import pytest
from desk_stage import START_NS, Stage1, fleet_of

from tieline.desk.charging import plan
from tieline.desk.offering import water_price
from tieline.desk.ports import Award
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS

FIRST_NS = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
PRICE = {FIRST_NS + k * HOUR_NS: cost for k, cost in enumerate((30.0, 10.0, 30.0, 90.0))}
SOLD = Award("a", "o", "pool-1", "ENERGY", FIRST_NS + 3 * HOUR_NS, FIRST_NS + 4 * HOUR_NS, 15_000.0, 200.0)


def stores(soc: list[float], energy_wh: list[float]) -> Stage1:
    stage = Stage1(fleet_of([Kind.BATTERY] * len(soc)))
    fleet = stage.state.fleet
    fleet.column("soc_frac")[:], fleet.column("energy_available_wh")[:] = soc, energy_wh
    fleet.quality[:] = 0
    return stage


def taken_wh(stage: Stage1) -> np.ndarray:
    rows = np.arange(len(stage.state.fleet), dtype=np.int32)
    power_w, first_ns = plan(stage.state, rows, [SOLD], PRICE, FIRST_NS)
    assert first_ns == FIRST_NS and power_w.shape == (len(rows), 8)
    return -power_w[:, 2:4].sum(axis=1) / 2  # of the cheap hour


@pytest.mark.parametrize(
    ("soc", "energy_wh"), [(-0.5, np.nan), (np.inf, np.nan), (0.5, -9e3), (0.5, np.inf), (0.5, 1.7e308)]
)
def test_a_store_that_tells_what_cannot_be_stops_the_charging_of_none(soc: float, energy_wh: float) -> None:
    """An empty store charges in the cheap hour for what was sold: its share is 5 kW, through 0.95 each way."""
    alone = taken_wh(stores([0.1], [0.0]))
    assert alone == pytest.approx([5_000.0])
    assert taken_wh(stores([0.1, soc], [0.0, energy_wh]))[0] == pytest.approx(alone[0])


def test_an_offer_of_a_store_that_tells_without_measure_asks_what_a_large_one_does() -> None:
    hours = np.array([20.0, 40.0, 90.0])
    asked = water_price(hours, np.array([1e9, 1.7e308]), np.full(2, 5e3))
    assert np.isfinite(asked).all() and asked[0] == asked[1]
