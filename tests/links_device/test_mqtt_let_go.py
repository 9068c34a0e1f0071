"""A device that still holds what it was told after its time is told its release again, and people hear of one that
doesn't let go."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mqtt_room import HEATER, PLUG, ROOM, Log, Scene, play

from tieline.links.device.mqtt.letting_go import TRIES
from tieline.links.device.mqtt.link import MqttDevice, MqttLink, MqttSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.resource.identity import Rating
from tieline.resource.point import code
from tieline.rim.mqtt import MqttClient
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.times import SECOND_NS
from tieline.wire.mqtt.packets import Connect

KEYS = {ROOM: "setpoint_c", PLUG: "is_on", HEATER: "is_on"}
OWN = {ROOM: 23.0, PLUG: 1.0, HEATER: 1.0}
RUNS_S = 100.0
LONGEST_S = 400.0
"""All tries are over by then."""


def holds(s: Scene, row: int) -> float:
    return float(s.unit(row).body.read()[KEYS[row]])


def unreleased(s: Scene, row: int) -> list[float]:
    """Return what was told of a row's release, each change of it once."""
    told: list[float] = []
    for batch in s.log.readings_:
        for value in batch.values[(batch.points == code("is_unreleased")) & (batch.rows == row)].tolist():
            told += [] if told[-1:] == [value] else [value]
    return told


async def over(s: Scene, row: int, by_desk: bool, is_lost: Callable[[], None]) -> str:
    """Let a device be told to rest, and its time be over: the desk lets it go, or its command runs out."""
    if not by_desk:
        batch = await s.command(row, 0.0, wait_s=70.0, seconds=RUNS_S)
        is_lost()
        await asyncio.sleep(RUNS_S - 69.0)
        return batch
    await s.command(row, 0.0, wait_s=70.0)
    is_lost()
    return await s.command(row, math.nan, wait_s=1.0)


@pytest.mark.parametrize("row", [ROOM, PLUG, HEATER], ids=["thermostat", "plug", "heater"])
@pytest.mark.parametrize("by_desk", [True, False], ids=["let go", "run out"])
@settings(deadline=None, max_examples=15)
@given(deaf_s=st.floats(1.0, 90.0), is_restarted=st.booleans())
@example(deaf_s=51.0, is_restarted=True)
def test_who_hears_nothing_for_a_while_gets_its_own_back_soon_after(
    row: int, by_desk: bool, deaf_s: float, is_restarted: bool
) -> None:
    """As one that is slow to subscribe after its broker was started anew, and tells its state all along."""

    async def scene(s: Scene) -> None:
        async def lose() -> None:
            s.unit(row).fault.is_deaf = True
            if is_restarted:
                s.broker.stop()
                await asyncio.sleep(3.0)
                await s.broker.start(port=1883)
                await asyncio.sleep(20.0)

        await s.command(row, 0.0, wait_s=70.0, seconds=1e6 if by_desk else RUNS_S)
        assert holds(s, row) != OWN[row]
        await lose()
        if by_desk:
            await s.command(row, math.nan, wait_s=1.0)
        else:
            await asyncio.sleep(max(RUNS_S - 70.0 - 23.0 * is_restarted, 0.0))
        s.unit(row).heard.clear()
        await asyncio.sleep(deaf_s)
        s.unit(row).fault.is_deaf = False
        await asyncio.sleep(max(deaf_s, 30.0) + 10.0)
        assert holds(s, row) == OWN[row], "within as long as it was deaf"
        await asyncio.sleep(LONGEST_S)
        assert (len(s.unit(row).heard), unreleased(s, row)) == (1, [])

    play(scene, every_s=10.0)


@pytest.mark.parametrize("row", [ROOM, PLUG, HEATER], ids=["thermostat", "plug", "heater"])
@pytest.mark.parametrize("by_desk", [True, False], ids=["let go", "run out"])
@pytest.mark.parametrize("ends", ["told again", "by hand", "called again"])
def test_who_does_not_let_go_is_told_so_often_and_no_more_and_people_hear_of_it_until_it_did(
    row: int, by_desk: bool, ends: str
) -> None:
    async def scene(s: Scene) -> None:
        def ignore() -> None:
            s.unit(row).fault.ignores = True
            s.unit(row).heard.clear()

        await over(s, row, by_desk, ignore)
        await asyncio.sleep(2 * LONGEST_S)
        assert len(s.unit(row).heard) == 1 + TRIES
        assert unreleased(s, row) == [1.0]
        assert s.link.health().last_error.startswith(f"{s.unit(row).name}: still {KEYS[row]} = ")
        s.unit(row).fault.ignores = False
        if ends == "by hand":
            s.unit(row).body.set(KEYS[row], {ROOM: 21.0}.get(row, 1.0))
        else:
            await s.command(row, math.nan if ends == "told again" else 0.0, wait_s=5.0)
        await asyncio.sleep(70.0)
        assert unreleased(s, row) == [1.0, 0.0]
        assert s.link.counts.troubles == {}

    play(scene)


@pytest.mark.parametrize("row", [ROOM, PLUG, HEATER], ids=["thermostat", "plug", "heater"])
def test_a_release_that_had_to_be_told_again_ends_done(row: int) -> None:
    async def scene(s: Scene) -> None:
        def deafen() -> None:
            s.unit(row).fault.is_deaf = True

        batch = await over(s, row, True, deafen)
        await asyncio.sleep(40.0)
        s.unit(row).fault.is_deaf = False
        await asyncio.sleep(60.0)
        assert s.life(batch, row) == [Stage.SENT, Stage.ACCEPTED, Stage.DONE]

    play(scene, every_s=10.0)


def test_no_release_is_told_again_past_the_kill_switch_nor_counted_for_it() -> None:
    async def scene(s: Scene) -> None:
        def ignore() -> None:
            s.unit(PLUG).fault.ignores = True
            s.unit(PLUG).heard.clear()

        batch = await over(s, PLUG, True, ignore)
        s.link.last_hop = Shut()
        await asyncio.sleep(LONGEST_S)
        assert len(s.unit(PLUG).heard) == 1
        s.unit(PLUG).fault.ignores = False
        s.link.last_hop = None
        await asyncio.sleep(130.0)
        assert holds(s, PLUG) == 1.0
        assert s.life(batch, PLUG)[-1] in (Stage.DONE, Stage.UNCONFIRMED)

    play(scene)


class Shut:
    """A last hop where the kill switch is pressed."""

    def passes(self, batch: CommandBatch) -> np.ndarray:
        return np.zeros(len(batch.rows), np.bool_)


@pytest.mark.parametrize("row", [ROOM, PLUG], ids=["thermostat", "plug"])
def test_what_an_owner_sets_while_a_release_is_told_again_stands(row: int) -> None:
    async def scene(s: Scene) -> None:
        def deafen() -> None:
            s.unit(row).fault.is_deaf = True

        await over(s, row, True, deafen)
        await asyncio.sleep(45.0)
        s.unit(row).fault.late_s = 2.0
        s.unit(row).fault.is_deaf = False
        for _ in range(200):
            if s.unit(row).heard[-1:] != [] and len(s.unit(row).heard) > 1:
                break
            await asyncio.sleep(1.0)
        s.unit(row).body.set(KEYS[row], {ROOM: 20.0}.get(row, 1.0))
        s.devices.tell(s.unit(row))
        await asyncio.sleep(LONGEST_S)
        assert holds(s, row) == {ROOM: 20.0}.get(row, 1.0)

    play(scene)


def car(scene: Callable[[MqttLink, list[float], list[float]], Awaitable[None]]) -> None:
    """Play a scene with a charger of 11 kW that tells its limit (W) every ten seconds: `limit_w[0]`, what it heard."""

    async def main(loop: VirtualLoop) -> None:
        clock, broker = VirtualClock(loop, 1_700_000_000 * SECOND_NS), MqttBroker()
        await broker.start(port=1883)
        limit_w, heard = [11_000.0], list[float]()
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            charger = MqttClient(Connect("car", True, 60), lambda message: heard.append(float(message.payload)))
            await charger.open("127.0.0.1", 1883)
            await charger.subscribe(["ha/number/car_power_limit/set"])

            async def tell() -> None:
                while True:
                    charger.publish("ha/number/car_power_limit/state", f"{limit_w[0]:g}".encode())
                    await asyncio.sleep(10.0)

            supervisor.spawn(tell(), "car")
            devices = {0: MqttDevice("car", "ev_charger", Rating(max_absorb_w=11_000.0))}
            how = MqttSettings("127.0.0.1", 1883, devices, contract="homeassistant", prefix="ha")
            link = MqttLink(how, Log(), clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(2)
            await scene(link, limit_w, heard)
            link.stop()
            charger.close()

    run_virtual(main)


@pytest.mark.parametrize("by_desk", [True, False], ids=["let go", "run out"])
@pytest.mark.parametrize(("says_w", "count"), [(4_000.0, 1 + TRIES), (6_000.0, 1)], ids=["ours", "somebody else's"])
def test_a_charger_is_told_again_while_it_tells_the_limit_that_it_was_told_and_no_other(
    by_desk: bool, says_w: float, count: int
) -> None:
    async def scene(link: MqttLink, limit_w: list[float], heard: list[float]) -> None:
        async def tell(seq: int, target_w: float, lasts_s: int) -> None:
            now, one = link.clock.now_ns(), np.ones(1)
            free = np.inf * one
            await link.send(
                CommandBatch(
                    f"c{seq}", np.zeros(1, np.int32), target_w * one, -free, free, 0 * one, now, now,
                    now + lasts_s * SECOND_NS, 1, seq, (),
                )
            )  # fmt: skip

        await tell(1, -4_000.0, 3_600 if by_desk else 60)
        limit_w[0] = 4_000.0
        await asyncio.sleep(50.0)
        heard.clear()
        if by_desk:
            await tell(2, math.nan, 3_600)
        else:
            await asyncio.sleep(11.0)
        limit_w[0] = says_w
        await asyncio.sleep(2 * LONGEST_S)
        assert heard == [11_000.0] * count

    car(scene)
