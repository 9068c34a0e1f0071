"""A SunSpec device that somebody else moved while no server ran: found apart from what it was told, and left so."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import modbus_room
import numpy as np
import pytest
from modbus_room import MODELS, Battery, Log, Room, play

from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

LASTS_S = 900.0


def dead_between(hand: Callable[[SunSpecDevice], None], after: Callable[[Room], Awaitable[None]]) -> Room:
    """Tell a device 2 kW, end the server, let somebody move it, and start another that remembers."""

    async def main(loop: VirtualLoop) -> Room:
        clock, found = VirtualClock(loop, 1_700_000_000 * SECOND_NS), None
        device = SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock)
        server = SunSpecServer({1: device})
        await server.start(port=502)
        settings = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0, writes=modbus_room.WRITES)
        batch = None
        for life in (1, 2):
            async with Supervisor(np.random.default_rng(1)) as supervisor:
                link = ModbusLink(settings, Log(), clock, supervisor, np.random.default_rng(2))
                if batch is not None:
                    link.remember(batch, np.full(1, math.nan), np.ones(1, np.bool_))
                link.start()
                found = Room(clock, server, device, device.body, link, link._intake, loop, seq=life)
                await asyncio.sleep(2.0)
                if batch is None:
                    batch = await found.command(2_000.0, seconds=LASTS_S)
                else:
                    await after(found)
                link.stop()
            if life == 1:
                hand(device)
                device.writes = 0
        return found

    return run_virtual(main)


def test_who_was_told_another_power_while_no_server_ran_is_in_local_and_keeps_it() -> None:
    seen: list = []

    async def scene(room: Room) -> None:
        await asyncio.sleep(12.0)
        seen.append((room.log.last("is_local")[0], room.log.last("available_up_w")[0]))
        assert room.link.counts.contended == 1 and "which we did not write" in room.link.counts.last_error
        await room.command(math.nan)
        await asyncio.sleep(LASTS_S + 60.0)
        seen.append((room.log.last("is_local")[0], room.device._value("WSet"), room.device._value("WSetEna")))

    room = dead_between(lambda device: device.turn(-1_000.0), scene)
    assert seen == [(1.0, 0.0), (0.0, -1_000.0, 1.0)]  # for as long as what we told it would have lasted
    assert room.device.writes == 0


def test_who_rebooted_while_no_server_ran_is_told_again_once() -> None:
    async def scene(room: Room) -> None:
        await asyncio.sleep(40.0)
        assert (room.log.last("is_local")[0], room.device._value("WSet")) == (0.0, 2_000.0)

    assert dead_between(lambda device: device.reboot(), scene).link.counts.contended == 1


def test_who_holds_what_he_was_told_is_his_owners_no_more_than_before_and_watched_as_any_other() -> None:
    seen: list = []

    async def scene(room: Room) -> None:
        await asyncio.sleep(30.0)
        seen.append((room.log.last("is_local")[0], room.link.counts.contended, room.device.writes))
        for _ in range(2):  # the first is answered by one more write
            room.device.turn(-1_000.0)
            await asyncio.sleep(30.0)
        seen.append((room.log.last("is_local")[0], room.device._value("WSet")))

    dead_between(lambda device: None, scene)
    assert seen == [(0.0, 0, 0), (1.0, -1_000.0)]


@pytest.mark.parametrize("is_cut", [True, False], ids=["the link is down", "it is not polled yet"])
def test_no_hand_back_is_written_over_what_somebody_else_set(is_cut: bool) -> None:
    """He sets it twice, as the first is answered by one more write."""

    async def scene(room: Room) -> None:
        await room.command(2_000.0)
        for _ in range(2):
            if is_cut:
                room.loop.network.cut("127.0.0.1", 502)
            room.device.turn(-1_000.0)
            await asyncio.sleep(40.0)
        await room.command(math.nan)
        await asyncio.sleep(40.0)
        assert (room.device._value("WSet"), room.device._value("WSetEna")) == (-1_000.0, 1.0)
        assert room.log.last("is_local")[0] == 1.0

    play(scene)


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "run out"])
def test_a_limit_that_binds_what_somebody_else_set_leaves_his_power_as_it_is(is_released: bool, writes: str) -> None:
    """Before, the limit was told with no power: his was ended, and as the limit was over a program took the device."""

    async def scene(room: Room) -> None:
        def told() -> tuple[float, ...]:
            return tuple(room.device._value(name) for name in ("WSet", "WSetEna", "WMaxLimPctEna", "WMaxLimPct"))

        await room.command(2_000.0)
        for _ in range(2):
            room.device.turn(3_000.0)
            await asyncio.sleep(40.0)
        assert told()[:3] == (3_000.0, 1.0, 0.0)
        await room.command(math.nan, high_w=1_000.0, seconds=300.0)
        await asyncio.sleep(40.0)
        assert told() == (3_000.0, 1.0, 1.0, 20.0)
        assert room.log.last("is_local")[0] == 1.0
        if is_released:
            await room.command(math.nan)
        await asyncio.sleep(40.0 if is_released else 400.0)
        assert told()[:3] == (3_000.0, 1.0, 0.0)
        assert room.log.last("is_local")[0] == 1.0
        room.device.reboot()
        await asyncio.sleep(40.0)
        assert room.log.last("is_local")[0] == 0.0

    play(scene)


def test_a_limit_that_was_told_before_somebody_elses_hand_is_let_go_and_his_power_stays(writes: str) -> None:
    async def scene(room: Room) -> None:
        await room.command(2_000.0, high_w=2_500.0)
        for _ in range(2):
            room.device.turn(3_000.0)
            await asyncio.sleep(40.0)
        assert room.device._value("WMaxLimPctEna") == 1.0
        await room.command(math.nan)
        await asyncio.sleep(40.0)
        told = [room.device._value(name) for name in ("WSet", "WSetEna", "WMaxLimPctEna")]
        assert told == [3_000.0, 1.0, 0.0]
        assert room.log.last("is_local")[0] == 1.0

    play(scene)
