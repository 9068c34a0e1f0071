"""What a topic is told stands in the steps of its contract, and no limit is wider there than it was commanded."""

import asyncio
import math

import numpy as np
import pytest
from mqtt_room import ROOM, Log, Scene, play

from tieline.links.device.mqtt.contract import Bound, contract_of
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.identity import Rating
from tieline.rim.mqtt import MqttClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.times import SECOND_NS
from tieline.wire.mqtt.packets import Connect


def drawn_by_a_charger(commands: list[tuple[float, float, float]]) -> list[float]:
    """Return what a charger of 11 kW is told to draw (W) for commands of a target within low and high."""
    heard: list[float] = []

    async def main(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        broker = MqttBroker()
        await broker.start(port=1883)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            charger = MqttClient(Connect("charger", True, 60), lambda message: heard.append(float(message.payload)))
            await charger.open("127.0.0.1", 1883)
            await charger.subscribe(["ha/number/car_power_limit/set"])
            devices = {0: MqttDevice("car", "ev_charger", Rating(max_absorb_w=11_000.0))}
            how = MqttSettings("127.0.0.1", 1883, devices, contract="homeassistant", prefix="ha")
            link = MqttLink(how, Log(), clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(2)
            for seq, (target_w, low_w, high_w) in enumerate(commands, 1):
                now, one = clock.now_ns(), np.ones(1)
                await link.send(
                    CommandBatch(
                        f"c{seq}", np.zeros(1, np.int32), target_w * one, low_w * one, high_w * one, 0 * one, now, now,
                        now + 3_600 * SECOND_NS, 1, seq, (),
                    )
                )  # fmt: skip
                await asyncio.sleep(1)
            link.stop()
            charger.close()

    run_virtual(main)
    return heard


def test_a_charger_draws_no_more_than_its_lower_end_and_no_less_than_its_upper_one() -> None:
    rng, commands = np.random.default_rng(8), [(math.nan, -3_000.6, math.inf), (-5_000.0, -3_000.4, 0.0)]
    for _ in range(60):
        low_w, high_w = np.sort(rng.uniform(-10_900.0, -10.0, 2))
        commands.append((float(rng.uniform(-11_000.0, 0.0)), float(low_w), float(max(high_w, low_w + 1.0))))
    told_w = [-draw_w for draw_w in drawn_by_a_charger(commands)]
    assert len(told_w) == len(commands)
    for power_w, (target_w, low_w, high_w) in zip(told_w, commands, strict=True):
        assert low_w <= power_w <= high_w
        assert power_w == round(power_w)
        assert math.isnan(target_w) or abs(power_w - min(max(target_w, low_w), high_w)) <= 1.0


def test_a_room_is_offset_by_no_more_than_it_was_told() -> None:
    """Its owner's 22.8 degC and an offset of 2: half degrees next to 24.8 are 24.5 and 25."""
    seen: list[float] = []

    async def scene(s: Scene) -> None:
        s.unit(ROOM).body.set("setpoint_c", 22.8)
        s.devices.tell(s.unit(ROOM))
        await asyncio.sleep(1)
        await s.command(ROOM, 0.0, wait_s=60.0)
        seen.append(s.unit(ROOM).body.read()["setpoint_c"])

    play(scene)
    assert seen == [24.5]


@pytest.mark.parametrize("own_c", [22.8, 23.3, 24.3])
def test_an_owners_setpoint_between_our_steps_is_given_back_as_he_had_it(own_c: float) -> None:
    """A device of tenths, or of degrees Fahrenheit, is told halves: its owner's own setting is none of ours to round."""
    seen: list[float] = []

    async def scene(s: Scene) -> None:
        s.unit(ROOM).body.set("setpoint_c", own_c)
        s.devices.tell(s.unit(ROOM))
        await asyncio.sleep(1)
        for _ in range(3):
            await s.command(ROOM, 0.0, wait_s=60.0)
            await s.command(ROOM, math.nan, wait_s=60.0)
            seen.append(s.unit(ROOM).body.read()["setpoint_c"])

    play(scene)
    assert seen == [own_c] * 3


def test_a_large_power_is_written_to_the_watt() -> None:
    bound = Bound(contract_of("homeassistant"), "ha", "depot")
    [(_, payload)] = bound.write({"target_w": -1_234_567.0})
    assert float(payload) == pytest.approx(1_234_567.0, abs=1e-6)
