"""What a SunSpec device does of itself: timers that lie, other controllers, reboots, lost and half-open connections."""

import asyncio
import math

import modbus_room
import numpy as np
import pytest
from modbus_room import MODELS, Battery, Log, Room, play

from tieline.desk.ports import Session
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.resource.batch import CommandBatch
from tieline.resource.command import Stage
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS


def test_a_lost_connection_marks_its_points_with_their_last_time_and_comes_back() -> None:
    seen = {}

    async def scene(room: Room) -> None:
        await asyncio.sleep(11)
        before = room.log.last("power_w")[2]
        room.loop.network.cut("127.0.0.1", 502)
        await asyncio.sleep(0.1)
        seen["lost"] = (room.log.last("power_w")[1], room.log.last("power_w")[2] == before)
        await asyncio.sleep(30)
        await room.command(500.0)

    room = play(scene)
    assert seen["lost"] == (Quality.COMM_LOST, True)
    assert Session.DOWN in room.log.sessions
    assert room.log.sessions[-2] is Session.LIVE
    assert room.log.stages[-1] == (7, Stage.DONE)


def test_a_device_whose_timer_lies_is_let_go_by_us_and_reported_unconfirmed() -> None:
    seen: list = []

    async def scene(room: Room) -> None:
        room.device.lies = True
        await room.command(2_000.0, seconds=60)
        await asyncio.sleep(61)
        seen.append(room.device._value("WSetEna"))
        await asyncio.sleep(20)
        seen.append(room.device._value("WSetEna"))
        await room.command(1_000.0, seconds=60)
        await asyncio.sleep(60)  # now that its timers are not trusted there is no grace
        seen.append(room.device._value("WSetEna"))

    room = play(scene)
    assert seen == [1.0, 0.0, 0.0]
    told = [Stage.SENT, Stage.ACCEPTED, Stage.DONE]
    assert [stage for _, stage in room.log.stages] == [*told, Stage.UNCONFIRMED, *told]
    assert room.link.counts.lies == 1
    assert "held its command after its timer" in room.log.natives


def test_a_device_without_timers_is_let_go_by_us_on_time() -> None:
    seen: list = []

    async def scene(room: Room) -> None:
        controls = room.device.registers[704]
        for name in ("WSetRvrtTms", "WMaxLimPctRvrtTms"):
            at = MODELS[704].field(name).offset
            controls[at : at + 2] = [0xFFFF, 0xFFFF]  # not implemented
        await asyncio.sleep(12)  # read again since
        await room.command(2_000.0, seconds=60)
        await asyncio.sleep(61)
        seen.append(room.device._value("WSetEna"))

    room = play(scene)
    assert (seen, room.link.counts.lies) == ([0.0], 0)
    assert room.log.stages == [(7, Stage.SENT), (7, Stage.ACCEPTED), (7, Stage.DONE)]


def test_a_device_that_keeps_its_timer_is_not_written_to_again() -> None:
    async def scene(room: Room) -> None:
        await room.command(2_000.0, seconds=60)
        before.append(room.device.writes)
        await asyncio.sleep(120)

    before: list = []
    room = play(scene)
    assert (room.device.writes, room.link.counts.lies) == (before[0], 0)


def test_a_foreign_controller_is_an_alarm_answered_once_and_then_left_with_nothing_offered() -> None:
    seen: list = []

    async def scene(room: Room) -> None:
        await room.command(2_000.0)
        await asyncio.sleep(12)
        for _ in range(5):
            room.device.turn(500.0)
            await asyncio.sleep(12)
        seen.append((room.log.last("is_local")[0], room.log.last("available_up_w")[0], room.device._value("WSet")))
        await room.command(1_000.0)
        await asyncio.sleep(12)
        seen.append((room.log.last("is_local")[0], room.device._value("WSet")))

    room = play(scene)
    assert seen == [(1.0, 0.0, 500.0), (0.0, 1_000.0)]
    assert room.link.counts.contended == 2
    assert [h for h in room.body.held if h[0] == 2_000.0][1:]  # written again, once


def test_a_setpoint_that_a_reboot_forgot_is_written_again() -> None:
    async def scene(room: Room) -> None:
        await room.command(2_000.0)
        await asyncio.sleep(5)
        room.device.reboot()
        room.server.drop()
        await asyncio.sleep(40)
        assert room.device._value("WSetEna") == 1.0 and room.device._value("WSet") == 2_000.0

    play(scene)


def test_what_a_device_held_before_we_came_is_not_called_foreign() -> None:
    async def main(loop: VirtualLoop) -> int:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        device = SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock)
        device.turn(700.0)
        server = SunSpecServer({1: device})
        await server.start(port=502)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0, writes=modbus_room.WRITES)
            link = ModbusLink(settings, Log(), clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(60)
            first = link.counts.contended
            device.turn(900.0)
            await asyncio.sleep(20)
            return first, link.counts.contended

    assert run_virtual(main) == (0, 1)


def test_a_half_open_connection_is_cut_and_made_afresh() -> None:
    async def scene(room: Room) -> None:
        room.server.is_deaf = True
        await asyncio.sleep(60)
        assert room.log.last("power_w")[1] is Quality.COMM_LOST
        assert room.link.health().session is not Session.LIVE
        room.server.is_deaf = False
        await asyncio.sleep(150)
        assert room.link.health().session is Session.LIVE

    play(scene)


@pytest.mark.parametrize("high_w", [math.inf, 1_500.0])
@pytest.mark.parametrize(("lies", "has_timer", "told"), [
    (True, True, "held its command after its timer"), (False, True, ""),
    (False, False, "held its command after its time, as no server ran"),
])  # fmt: skip
def test_a_device_that_holds_on_over_a_restart_of_ours_is_let_go_and_recorded_unconfirmed(
    high_w: float, lies: bool, has_timer: bool, told: str
) -> None:
    target_w = 2_000.0 if math.isinf(high_w) else math.nan

    async def main(loop: VirtualLoop) -> tuple[Log, bool, int]:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        device = SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock)
        device.lies = lies
        for name in () if has_timer else ("WSetRvrtTms", "WMaxLimPctRvrtTms"):
            at = MODELS[704].field(name).offset
            device.registers[704][at : at + 2] = [0xFFFF, 0xFFFF]
        server, one = SunSpecServer({1: device}), np.ones(1)
        await server.start(port=502)
        settings = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0, writes=modbus_room.WRITES)
        now_ns = clock.now_ns()
        batch = CommandBatch(
            "c1", np.array([7], np.int32), target_w * one, -np.inf * one, high_w * one, 0 * one, now_ns, now_ns,
            now_ns + 60 * SECOND_NS, 1, 1, (),
        )  # fmt: skip
        logs = [Log(), Log()]
        for log in logs:
            async with Supervisor(np.random.default_rng(1)) as supervisor:
                link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
                if log is logs[1]:
                    link.remember(batch, np.full(1, math.nan), np.ones(1, np.bool_))
                link.start()
                await asyncio.sleep(12)
                if log is logs[0]:
                    await link.send(batch)
                await asyncio.sleep(20)
            await asyncio.sleep(120)
        assert logs[0].stages[-1] == (7, Stage.DONE)
        held = device._value("WSetEna") == 1.0 or device._value("WMaxLimPctEna") == 1.0
        return logs[1], held, link.counts.lies

    log, held, lied = run_virtual(main)
    assert (log.stages, held, lied) == ([(7, Stage.UNCONFIRMED)] if told else [], False, int(lies))
    assert [each for each in log.natives if each] == ([told] if told else [])
