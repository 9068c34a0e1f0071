"""An MQTT link on virtual time with a broker, three devices and an intake that records."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from tieline.desk.ports import LinkHealth
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import NEXT, RejectWord, Stage
from tieline.resource.identity import Rating
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody, RoomBody
from tieline.times import SECOND_NS

PLUG, ROOM, HEATER = 3, 5, 8


@dataclass
class Log:
    """A recording intake that holds each command to the table of its life."""

    stages: dict = field(default_factory=dict)
    readings_: list = field(default_factory=list)
    healths: list = field(default_factory=list)
    words: list = field(default_factory=list)
    natives: list = field(default_factory=list)
    observed: list = field(default_factory=list)

    def reports(self, reports: CommandReports) -> None:
        for at, row in enumerate(reports.rows.tolist()):
            life = self.stages.setdefault((reports.batch, row), [])
            stage = Stage(int(reports.stage[at]))
            assert stage in NEXT[life[-1] if life else Stage.QUEUED], (life, stage)
            life.append(stage)
            self.words.append(RejectWord(int(reports.reject[at])))
            self.observed.append(float(reports.observed_w[at]))
        self.natives += [text for text in reports.native if text]

    def readings(self, readings: Readings) -> None:
        self.readings_.append(readings)

    def health(self, health: LinkHealth) -> None:
        self.healths.append(health)

    def last(self, row: int, key: str) -> tuple:
        for batch in reversed(self.readings_):
            at = np.flatnonzero((batch.points == code(key)) & (batch.rows == row))
            if len(at):
                return float(batch.values[at[-1]]), Quality(int(batch.quality[at[-1]])), int(batch.taken_at_ns[at[-1]])
        raise AssertionError(f"{key} of {row} was never read")


@dataclass
class Scene:
    clock: VirtualClock
    loop: VirtualLoop
    broker: MqttBroker
    devices: MqttDevices
    link: MqttLink
    log: Log
    seq: int = 0

    def unit(self, row: int) -> MqttUnit:
        return self.devices.units[{PLUG: "plug", ROOM: "room", HEATER: "heater"}[row]]

    def batch(self, row: int, target_w: float, seconds: float = 3_600.0, low_w: float = -math.inf) -> CommandBatch:
        self.seq += 1
        now, one = self.clock.now_ns(), np.ones(1)
        return CommandBatch(
            f"c{self.seq}", np.array([row], np.int32), target_w * one, low_w * one, np.inf * one, 0 * one, now, now,
            now + int(seconds * SECOND_NS), 1, self.seq, (),
        )  # fmt: skip

    async def command(self, row: int, target_w: float, wait_s: float = 2.0, **how: float) -> str:
        batch = self.batch(row, target_w, **how)
        await self.link.send(batch)
        await asyncio.sleep(wait_s)
        return batch.id

    def life(self, batch: str, row: int) -> list:
        return self.log.stages.get((batch, row), [])


def settings(**how: object) -> MqttSettings:
    rating = Rating(max_absorb_w=2_000.0)
    devices = {
        PLUG: MqttDevice("plug", "plug", rating),
        ROOM: MqttDevice("room", "thermostat_cooling", rating),
        HEATER: MqttDevice("heater", "water_heater", rating),
    }
    return MqttSettings("127.0.0.1", 1883, devices, **{"stale_s": 300.0, **how})


def play(scene: Callable[[Scene], Awaitable[None]], every_s: float = 60.0, **how: object) -> Scene:
    async def main(loop: VirtualLoop) -> Scene:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        broker, log = MqttBroker(), Log()
        await broker.start(port=1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            units = [
                MqttUnit("plug", PlugBody(2_000.0)),
                MqttUnit("room", RoomBody(clock, 2_000.0, 23.0, 35.0), "cool"),
                MqttUnit("heater", PlugBody(2_000.0)),
            ]
            devices = MqttDevices(units, supervisor, "127.0.0.1", 1883, every_s=every_s)
            devices.start()
            await asyncio.sleep(1)
            link = MqttLink(settings(**how), log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(2)
            found = Scene(clock, loop, broker, devices, link, log)
            await scene(found)
            link.stop()
        return found

    return run_virtual(main)
