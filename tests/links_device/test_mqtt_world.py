"""Devices of the world behind MQTT: told over the wire, moved by the world's own physics."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from mqtt_room import Log

from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.resource.identity import Kind, Rating
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit
from tieline.simulate.mqtt_world import WorldSwitch, WorldThermostat
from tieline.simulate.sky import Climate
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import SECOND_NS, parse_iso


@pytest.mark.parametrize("kind", [Kind.WATER_HEATER, Kind.THERMOSTAT])
def test_a_load_of_the_world_rests_when_told_and_runs_again_after(kind: Kind) -> None:
    async def main(loop: VirtualLoop) -> None:
        clock, log = VirtualClock(loop, parse_iso("2022-08-17T20:00:00+00:00")), Log()
        territory = build(400, np.random.default_rng(0), "pool-1")
        world, count = World(territory, np.random.default_rng(1), Climate(4.0)), 400
        free, most = np.full(count, np.nan), np.full(count, np.inf)
        controls = SimpleNamespace(target_w=free, low_w=-most, high_w=most.copy(), until_ns=np.zeros(count, np.int64))
        row = int(territory.by_kind[kind][0])
        rated_w = float(territory.rated_w[row])
        if kind is Kind.THERMOSTAT:
            body, mode, profile = (
                WorldThermostat(world.power_w, controls, row, world.hvac, 0),
                "cool",
                "thermostat_cooling",
            )
        else:
            body, mode, profile = WorldSwitch(world.power_w, controls, row), "", "water_heater"

        async def live() -> None:
            while True:
                world.step(clock.now_ns(), 60.0, controls.target_w, controls.low_w, controls.high_w)
                await asyncio.sleep(60)

        async with Supervisor(np.random.default_rng(1)) as supervisor:
            supervisor.spawn(live())
            broker = MqttBroker()
            await broker.start(port=1883)
            MqttDevices([MqttUnit("load", body, mode)], supervisor, "127.0.0.1", 1883, every_s=60.0).start()
            await asyncio.sleep(3_600)
            devices = {row: MqttDevice("load", profile, Rating(max_absorb_w=rated_w))}
            given = MqttSettings("127.0.0.1", 1883, devices)
            link = MqttLink(given, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(5)
            now, one = clock.now_ns(), np.ones(1)
            until = now + 1_200 * SECOND_NS
            rows = np.array([row], np.int32)
            await link.send(
                CommandBatch("c", rows, 0 * one, -np.inf * one, np.inf * one, 0 * one, now, now, until, 1, 1, ())
            )
            await asyncio.sleep(900)
            assert log.stages[("c", row)] == [Stage.SENT, Stage.ACCEPTED, Stage.DONE]
            assert world.power_w[row] == 0.0
            drawn = []
            for _ in range(180):
                await asyncio.sleep(60)
                drawn.append(world.power_w[row])
            assert min(drawn) == pytest.approx(-rated_w)
            assert link.counts.released == 1
            link.stop()

    run_virtual(main)
