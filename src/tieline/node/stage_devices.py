"""The devices of a stage that speak a real device protocol: the first batteries, as SunSpec units behind gateways."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.sunspec_models import model
from tieline.node.runtime import Node
from tieline.rim.supervise import Supervisor
from tieline.simulate.inprocess import ColumnsLink
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.simulate.territory import Territory
from tieline.simulate.world import World
from tieline.times import Clock

WIRED_UNITS = 24
UNITS_A_GATEWAY = 8
SUNSPEC = (1, 701, 702, 703, 704, 713)


@dataclass
class StoreBody:
    """One store of the world as a device's body."""

    world: World
    controls: ColumnsLink
    row: int
    at: int

    def read(self) -> Mapping[str, float]:
        """Return what the store measures now."""
        store = self.world.storage
        return {
            "power_w": float(self.world.power_w[self.row]),
            "soc_frac": float(store.soc_frac[self.at]),
            "energy_available_wh": float(store.available_wh()[self.at]),
        }

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        """Obey a command until its timer runs out."""
        self.controls.target_w[self.row] = target_w
        self.controls.high_w[self.row] = high_w
        self.controls.low_w[self.row] = -math.inf
        self.controls.until_ns[self.row] = until_ns


async def raise_modbus(
    territory: Territory,
    world: World,
    controls: ColumnsLink,
    rows: NDArray[np.int32],
    node: Node,
    clock: Clock,
    supervisor: Supervisor,
    rng: np.random.Generator,
) -> ModbusLink:
    """Put stores behind SunSpec gateways, and bind them to a Modbus link of the desk."""
    models = {number: model(number) for number in SUNSPEC}
    addresses: dict[int, str] = {}
    for first in range(0, len(rows), UNITS_A_GATEWAY):
        units: dict[int, SunSpecDevice] = {}
        for unit, row in enumerate(rows[first : first + UNITS_A_GATEWAY].tolist(), 1):
            at = int(np.flatnonzero(world.stores == row)[0])
            body = StoreBody(world, controls, row, at)
            energy_wh = float(territory.fleet.energy_wh[row])
            units[unit] = SunSpecDevice(body, float(territory.rated_w[row]), energy_wh, models, clock)
        server = SunSpecServer(units)
        await server.start()
        addresses |= {int(rows[first + unit - 1]): f"127.0.0.1:{server.port}/{unit}" for unit in units}
    ratings = {row: float(territory.rated_w[row]) for row in addresses}
    link = ModbusLink(ModbusSettings(addresses, ratings), node.desk, clock, supervisor, rng)
    node.desk.bind(link, "modbus", addresses)
    link.start()
    return link
