"""A Modbus link on virtual time with one inverter that stores curves, and a journal that outlives each server of ours."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from modbus_room import MODELS, Log

from tieline.desk.inverter_facts import Stood
from tieline.grid.inverter_settings import Droop, InverterSettings, VoltVar, VoltWatt
from tieline.links.device.modbus.curves import KeptCurves
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.sunspec_models import definition
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_curves import Roof, StoredCurves
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

VAR = VoltVar((0.90, 0.97, 1.03, 1.10), (0.30, 0.0, 0.0, -0.40), 8.0)
WATT = VoltWatt((1.05, 1.09), (1.0, 0.2), 5.0)
DROOP = Droop(0.05, 0.1, 0.04, 0.03, 2.0)
ALL = InverterSettings("pv-1", VAR, WATT, DROOP)
ROW = 7


@dataclass
class House:
    """A roof with its device; `link` is the server of ours that runs."""

    clock: VirtualClock
    roof: Roof
    device: SunSpecDevice
    server: SunSpecServer
    curves: dict[int, StoredCurves]
    log: Log = field(default_factory=Log)
    kept: KeptCurves = field(default_factory=KeptCurves)
    link: ModbusLink | None = None

    async def serve(self, scene: Callable[["House"], Awaitable[None]], writes: str = "block") -> None:
        """Have a server of ours run while a scene is played."""
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            how = ModbusSettings({ROW: "127.0.0.1:502/1"}, {ROW: 5_000.0}, poll_s=10.0, profiles={ROW: "pv_inverter"},
                                 writes=writes)  # fmt: skip
            self.link = ModbusLink(how, self.log, self.clock, supervisor, np.random.default_rng(2), curves=self.kept)
            self.link.start()
            await asyncio.sleep(1)
            await scene(self)

    async def ask(self, settings: InverterSettings | None, seconds: float = 20.0) -> dict[str, Stood]:
        """Ask for settings, and return how each function stands after so long."""
        assert self.link is not None
        self.link.adjust({} if settings is None else {ROW: settings})
        await asyncio.sleep(seconds)
        return self.stood

    @property
    def stood(self) -> dict[str, Stood]:
        assert self.link is not None
        return {one.function: one for one in self.link.adjusted().get(ROW, ())}

    def holds(self, number: int, *names: str) -> list[float]:
        """Return what is in force at some points of a curve."""
        return [self.curves[number].value(self.curves[number].bank.name(1, name)) for name in names]


def play(scene: Callable[[House], Awaitable[None]], writes: str = "block", **how: Any) -> House:
    """Play a scene with a device of these curves; `numbers` are the models that it implements."""
    numbers, others = how.pop("numbers", (705, 706, 711)), how.pop("others", {})

    async def main(loop: VirtualLoop) -> House:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        curves = {number: StoredCurves(number, definition(number), clock, **(how | others.get(number, {})))
                  for number in numbers}  # fmt: skip
        roof = Roof(clock, 5_000.0, lambda: 4_500.0)
        device = SunSpecDevice(roof, 5_000.0, 0.0, MODELS, clock, curves=curves)
        roof.device = device
        server = SunSpecServer({1: device})
        await server.start(port=502)
        house = House(clock, roof, device, server, curves)
        await house.serve(scene, writes)
        return house

    return run_virtual(main)
