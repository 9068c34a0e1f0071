"""What a link says of its state and its last error is true of now: what healed is not told as if it stood."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from modbus_room import MODELS, Battery, Log
from mqtt_room import Scene
from mqtt_room import play as play_mqtt

from tieline.desk.ports import Session
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.node.read_monitor import links_of
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS


def modbus(devices: int, bad: set[int], late_s: float = 0.0) -> list[tuple[Session, int, str]]:
    """Return state, peers and last error as the link connects, then, and after the bad ones are good."""

    async def main(loop: VirtualLoop) -> list[tuple[Session, int, str]]:
        clock, seen = VirtualClock(loop, 1_700_000_000 * SECOND_NS), []
        units = {n: SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock) for n in range(1, devices + 1)}
        whole = {n: units[n].registers[704] for n in bad}
        for n in bad:
            units[n].registers[704] = [*whole[n][:1], 9, *whole[n][2:]]
        server = SunSpecServer(units)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({n: f"127.0.0.1:502/{n}" for n in units}, {}, poll_s=10.0)
            link = ModbusLink(settings, Log(), clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(late_s)
            if late_s:
                seen.append((link.health().session, link.health().peers, link.health().last_error))
            await server.start(port=502)
            await asyncio.sleep(120)
            seen.append((link.health().session, link.health().peers, link.health().last_error))
            for n in bad:
                units[n].registers[704] = whole[n]
            await asyncio.sleep(300)
            seen.append((link.health().session, link.health().peers, link.health().last_error))
        return seen

    return run_virtual(main)


@pytest.mark.parametrize(("devices", "bad"), [(1, {1}), (2, {1, 2}), (2, {1}), (3, {2, 3})])
def test_a_modbus_link_whose_devices_are_refused_is_not_live_and_says_why_until_it_is_mended(
    devices: int, bad: set[int]
) -> None:
    refused, mended = modbus(devices, bad)
    session, peers, says = refused
    assert (session, peers) == (Session.DEGRADED if len(bad) < devices else Session.DOWN, devices - len(bad))
    assert says.startswith(tuple(f"127.0.0.1:502/{n}: " for n in bad)), says
    assert mended == (Session.LIVE, devices, "")


def test_a_modbus_host_that_was_not_there_yet_is_no_error_once_it_is_live() -> None:
    away, live, _ = modbus(2, set(), late_s=5.0)
    assert away[:2] == (Session.DOWN, 0) and away[2].startswith("127.0.0.1:502: ")
    assert live == (Session.LIVE, 2, "")


def test_the_view_of_a_link_with_nobody_behind_it_is_down() -> None:
    async def main(loop: VirtualLoop) -> str:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        unit = SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock)
        unit.registers[704] = [704, 9, *unit.registers[704][2:]]
        await SunSpecServer({1: unit}).start(port=502)
        log = Log()
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({1: "127.0.0.1:502/1"}, {}, poll_s=10.0)
            link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(300)
            (view,) = links_of([link.health()])
            assert log.sessions[-1] is Session.DOWN, "the desk is told, too"
        return view.state

    assert run_virtual(main) == "down"


def test_an_mqtt_broker_that_was_lost_is_no_error_once_the_link_is_live() -> None:
    said: list[str] = []

    async def scene(s: Scene) -> None:
        await asyncio.sleep(61)
        said.append(s.link.health().last_error)
        s.broker.stop()
        await asyncio.sleep(30)
        said.append(s.link.health().last_error)
        await s.broker.start(port=1883)
        await asyncio.sleep(120)
        said.append(s.link.health().last_error)
        assert s.link.health().session is Session.LIVE and math.isfinite(s.clock.now_ns())

    play_mqtt(scene)
    assert said[0] == said[2] == "" and said[1]
