"""A heater that runs under a feeder's limit is not stopped for what a car beside it only might take."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import Stage1, fleet_of

from tieline.desk.cycle import Cycle
from tieline.desk.ports import Granted
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, SECOND_NS

KINDS = [Kind.BATTERY, Kind.PV, Kind.EV_CHARGER, Kind.WATER_HEATER]
CAR, HEATER = 2, 3


def test_a_heater_runs_on_beside_a_car_whose_charger_tells_of_more_than_the_car_takes() -> None:
    """The car draws 3.6 of 7.2 kW by itself; all together draw 3.6 kW, and may draw 6."""
    plain = fleet_of(KINDS)
    plain.max_inject_w[1], plain.max_absorb_w[CAR], plain.max_absorb_w[HEATER] = 3_000.0, 7_200.0, 3_000.0
    stage = Stage1(plain)
    fleet, free_w = stage.state.fleet, np.array([0.0, 3_000.0, -3_600.0, -3_000.0])
    fleet.energy_available_wh[:] = [8_000.0, np.nan, np.nan, np.nan]
    found = []

    def tell() -> None:
        devices = stage.devices
        wish_w = np.where(np.isnan(devices.target_w), free_w, devices.target_w)
        fleet.power_w[:] = np.clip(wish_w, devices.low_w, devices.high_w)
        fleet.available_down_w[:] = [5_000.0 + fleet.power_w[0], 0.0, 7_200.0 + fleet.power_w[CAR], 0.0]
        fleet.taken_at_ns[:] = stage.clock.ns

    async def play() -> None:
        cycle = Cycle(stage.desk, {})
        stage.state.base_w[:] = free_w
        tell()
        ask = stage.ask(
            "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-6_000.0, high=3_500.0,
            end_ns=stage.clock.ns + HOUR_NS,
        )  # fmt: skip
        assert isinstance(await stage.desk.ask(ask), Granted)
        for _ in range(20):
            await cycle.beat(stage.clock.ns)
            await stage.desk.flush()
            tell()
            found.append(fleet.power_w.copy())
            stage.clock.ns += 30 * SECOND_NS

    asyncio.run(play())
    does_w = np.array(found)
    assert (does_w[:, HEATER] == -3_000.0).all(), does_w[:, HEATER]
    assert (does_w[:, CAR] == -3_600.0).all(), does_w[:, CAR]
