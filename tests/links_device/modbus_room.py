"""A Modbus link on virtual time with one SunSpec battery and an intake that records."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from tieline.desk.ports import LinkHealth
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.links.device.sunspec_models import model
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import RejectWord, Stage
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

WRITES = "block"


MODELS = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}


@dataclass
class Battery:
    """A battery that follows what it is told, with its own timer, and else does `own_w` by itself."""

    clock: object
    power_w: float = 0.0
    target_w: float = math.nan
    until_ns: int = 0
    soc_frac: float = 0.5
    held: list = field(default_factory=list)
    own_w: float = 0.0

    def read(self) -> dict:
        over = self.clock.now_ns() >= self.until_ns
        self.power_w = self.own_w if over or math.isnan(self.target_w) else self.target_w
        return {"power_w": self.power_w, "soc_frac": self.soc_frac, "energy_available_wh": 5_000.0}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        self.target_w, self.until_ns = min(target_w, high_w), until_ns
        self.held.append((target_w, high_w))


@dataclass
class Log:
    """A recording intake."""

    stages: list = field(default_factory=list)
    readings_: list = field(default_factory=list)
    sessions: list = field(default_factory=list)
    rejects: list = field(default_factory=list)
    natives: list = field(default_factory=list)
    observed_w: list = field(default_factory=list)
    errors: list = field(default_factory=list)

    def reports(self, reports: CommandReports) -> None:
        self.stages += [(int(row), Stage(int(stage))) for row, stage in zip(reports.rows, reports.stage, strict=True)]
        self.rejects += [RejectWord(int(word)) for word in reports.reject]
        self.natives += reports.native
        self.observed_w += reports.observed_w.tolist()

    def readings(self, readings: Readings) -> None:
        self.readings_.append(readings)

    def health(self, health: LinkHealth) -> None:
        self.sessions.append(health.session)
        self.errors.append(health.last_error)

    def last(self, key: str) -> tuple:
        for batch in reversed(self.readings_):
            at = np.flatnonzero(batch.points == code(key))
            if len(at):
                return float(batch.values[at[0]]), Quality(int(batch.quality[at[0]])), int(batch.taken_at_ns[at[0]])
        raise AssertionError(f"{key} was never read")


@dataclass
class Room:
    clock: VirtualClock
    server: SunSpecServer
    device: SunSpecDevice
    body: Battery
    link: ModbusLink
    log: Log
    loop: VirtualLoop
    seq: int = 0

    async def command(
        self, target_w: float, seconds: float = 600.0, high_w: float = math.inf, low_w: float = -math.inf
    ) -> CommandBatch:
        self.seq += 1
        now = self.clock.now_ns()
        until = now + int(seconds * SECOND_NS)
        one = np.ones(1)
        batch = CommandBatch(
            f"c{self.seq}", np.array([7], np.int32), target_w * one, low_w * one, high_w * one, 0 * one, now, now,
            until, 1, self.seq, (),
        )  # fmt: skip
        await self.link.send(batch)
        await asyncio.sleep(1)
        return batch


def play(scene: Callable[[Room], Awaitable[None]]) -> Room:
    async def main(loop: VirtualLoop) -> Room:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        body = Battery(clock)
        device = SunSpecDevice(body, 5_000.0, 10_000.0, MODELS, clock)
        server = SunSpecServer({1: device})
        await server.start(port=502)
        log = Log()
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0, writes=WRITES)
            link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(1)
            room = Room(clock, server, device, body, link, log, loop)
            await scene(room)
        return room

    return run_virtual(main)
