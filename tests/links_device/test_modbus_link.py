"""The Modbus link on virtual time: written, read back, reverted, refused, lost."""

import asyncio
import math
from collections.abc import Callable

import numpy as np
import pytest
from modbus_room import MODELS, Battery, Log, Room, play

from tieline.desk.ports import Session
from tieline.links.device.modbus.client import Client
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings, scan
from tieline.resource.batch import CommandBatch
from tieline.resource.command import RejectWord, Stage
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

pytestmark = pytest.mark.usefixtures("writes")


def test_a_command_is_written_read_back_and_seen_in_telemetry() -> None:
    async def scene(room: Room) -> None:
        await room.command(-3_000.0)
        await asyncio.sleep(12)
        seen.append(room.log.last("power_w")[:2])

    seen: list = []
    room = play(scene)
    assert room.log.stages == [(7, Stage.SENT), (7, Stage.ACCEPTED), (7, Stage.DONE)]
    assert seen == [(-3_000.0, Quality.GOOD)]
    assert room.log.last("soc_frac")[0] == pytest.approx(0.5)


def test_a_limit_goes_out_as_a_share_of_the_rating() -> None:
    async def scene(room: Room) -> None:
        await room.command(4_000.0, high_w=1_500.0)

    assert play(scene).body.held[-1] == (1_500.0, pytest.approx(1_500.0))


def test_the_device_reverts_by_its_own_timer() -> None:
    async def scene(room: Room) -> None:
        await room.command(2_000.0, seconds=30)
        await asyncio.sleep(45)

    assert play(scene).log.last("power_w")[0] == 0.0


def test_an_expired_command_is_never_sent() -> None:
    async def scene(room: Room) -> None:
        await room.command(2_000.0, seconds=-1)

    room = play(scene)
    assert room.log.stages == [(7, Stage.EXPIRED)]
    assert room.device.writes == 0


def test_the_same_batch_twice_and_an_older_one_have_no_second_effect() -> None:
    async def scene(room: Room) -> None:
        first = await room.command(1_000.0)
        second = await room.command(2_000.0)
        for batch in (first, second, first):
            await room.link.send(batch)
        await asyncio.sleep(1)

    room = play(scene)
    assert [target for target, _ in room.body.held if not math.isnan(target)][-1] == 2_000.0
    assert room.log.stages.count((7, Stage.ACCEPTED)) == 2


def test_a_refusal_of_the_device_ends_rejected_with_its_native_code() -> None:
    async def scene(room: Room) -> None:
        room.device.refuses = True
        await room.command(1_000.0)

    room = play(scene)
    assert room.log.stages == [(7, Stage.SENT), (7, Stage.REJECTED)]
    assert room.log.rejects == [RejectWord.NONE, RejectWord.HARDWARE]
    assert room.log.natives[-1] == "exception 4"


def test_silence_ends_unconfirmed_and_is_never_sent_again() -> None:
    async def scene(room: Room) -> None:
        room.device.is_silent = True
        await room.command(1_000.0)
        await asyncio.sleep(8)
        room.device.is_silent = False
        await asyncio.sleep(120)

    room = play(scene)
    assert room.log.stages == [(7, Stage.SENT), (7, Stage.UNCONFIRMED)]
    assert room.device.writes == 0


def test_a_device_that_ignores_a_write_is_found_by_the_read_back() -> None:
    async def scene(room: Room) -> None:
        room.device.ignores = True
        await room.command(1_000.0)

    assert play(scene).log.stages == [(7, Stage.SENT), (7, Stage.ACCEPTED), (7, Stage.UNCONFIRMED)]


def test_a_late_and_overtaken_answer_reaches_who_asked() -> None:
    async def scene(room: Room) -> None:
        from tieline.wire.modbus.pdu import Read

        slow = SunSpecDevice(Battery(room.clock), 5_000.0, 10_000.0, MODELS, room.clock, late_s=0.5)
        room.server.units[2] = slow
        client = Client()
        await client.open("127.0.0.1", 502)
        order: list = []

        async def ask(unit: int, start: int) -> None:
            assert await client.request(unit, Read(start, 1)) == ((0x5375,) if start == 40000 else (0x6E53,))
            order.append(unit)

        await asyncio.gather(ask(2, 40000), ask(1, 40001))
        assert order == [1, 2]
        client.close()

    play(scene)


def test_one_silent_unit_stops_no_neighbour() -> None:
    async def main(loop: VirtualLoop) -> tuple:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        devices = {n: SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock) for n in (1, 2, 3)}
        server, log = SunSpecServer(devices), Log()
        await server.start(port=502)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({n: f"127.0.0.1:502/{n}" for n in devices}, {}, poll_s=50.0)
            link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(15)
            devices[2].is_silent = True
            stream = list(server._connections)
            await asyncio.sleep(600)
            lost = link.health()
            assert server._connections == stream  # and the stream that they share was not cut
            fresh = [int(row) for batch in log.readings_[-4:] for row in batch.rows[batch.quality == 0]]
            devices[2].is_silent = False
            await asyncio.sleep(200)
            return lost.session, lost.peers, set(fresh), link.health().session

    assert run_virtual(main) == (Session.DEGRADED, 2, {1, 3}, Session.LIVE)


def test_a_command_that_waits_for_a_lost_device_ends_expired_on_time() -> None:
    async def scene(room: Room) -> None:
        room.server.stop()
        room.server.drop()
        await asyncio.sleep(5)
        await room.command(2_000.0, seconds=30)
        assert room.log.stages == []
        await asyncio.sleep(30)
        assert room.log.stages == [(7, Stage.EXPIRED)]

    play(scene)


def test_a_limit_that_asks_a_device_to_draw_is_a_target_of_the_least_draw_that_keeps_it() -> None:
    """A limit from -5,000 to -2,000 W: model 704's limit knows no power below 0, and 0 W would not keep it."""

    async def scene(room: Room) -> None:
        now, one = room.clock.now_ns(), np.ones(1)
        until = now + 600 * SECOND_NS
        rows = np.array([7], np.int32)
        await room.link.send(
            CommandBatch("x", rows, math.nan * one, -math.inf * one, -2_000 * one, 0 * one, now, now, until, 1, 9, ())
        )
        await asyncio.sleep(1)

    room = play(scene)
    assert room.body.held[-1] == (-2_000.0, 0.0)
    assert room.log.stages[-1] == (7, Stage.DONE)


def test_a_limit_of_absorption_alone_is_kept_by_a_target() -> None:
    async def scene(room: Room) -> None:
        now, one = room.clock.now_ns(), np.ones(1)
        until = now + 600 * SECOND_NS
        nothing = math.nan * one
        rows = np.array([7], np.int32)
        await room.link.send(
            CommandBatch("x", rows, nothing, -1_000 * one, math.inf * one, 0 * one, now, now, until, 1, 9, ())
        )
        await asyncio.sleep(1)

    room = play(scene)
    assert room.body.held[-1] == (0.0, math.inf)
    assert room.log.stages[-1] == (7, Stage.DONE)


@pytest.mark.parametrize("target_w", [1e300, math.inf])
def test_a_power_that_cant_be_is_refused_or_cut_to_the_rating_and_never_half_written(target_w: float) -> None:
    async def scene(room: Room) -> None:
        await room.command(target_w)

    room = play(scene)
    if math.isinf(target_w):
        assert (room.log.stages, room.device.writes) == ([(7, Stage.REJECTED)], 0)
    else:
        assert room.body.held[-1][0] == 5_000.0


def test_no_more_requests_are_out_at_once_than_a_gateway_can_take() -> None:
    async def main(loop: VirtualLoop) -> tuple:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        devices = {n: SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock, late_s=0.2) for n in range(1, 9)}
        server, out, most = SunSpecServer(devices), [0], [0]
        answer = server.answer

        def counted(frame: object) -> object:
            out[0] += 1
            most[0] = max(most[0], out[0])
            loop.call_later(0.2, lambda: out.__setitem__(0, out[0] - 1))
            return answer(frame)

        server.answer = counted
        await server.start(port=502)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            addresses = {n: f"127.0.0.1:502/{n}" for n in devices}
            settings = ModbusSettings(addresses, {}, poll_s=600.0, timeout_s=30.0, in_flight=2)
            link = ModbusLink(settings, Log(), clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(60)
            return link.health().peers, most[0]

    assert run_virtual(main) == (8, 2)


def test_a_scan_finds_the_units_and_what_they_are() -> None:
    async def scene(room: Room) -> None:
        found = await scan("127.0.0.1", 502, range(1, 6))
        assert [(each.unit, each.maker, each.models) for each in found] == [
            (1, "Tieline", (1, 701, 702, 703, 704, 713))
        ]

    play(scene)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.registers[704].__setitem__(MODELS[704].field("WSet_SF").offset, 300),
        lambda d: d.registers.__setitem__(704, d.registers[704][:20]),
        lambda d: d.registers[703].__setitem__(1, 65_000),
        lambda d: d.registers.pop(701),
        lambda d: d.registers[1].__setitem__(slice(2, 18), [0xFFFF] * 16),
    ],
)
def test_a_device_with_crooked_registers_is_in_trouble_alone(spoil: Callable[[SunSpecDevice], object]) -> None:
    async def main(loop: VirtualLoop) -> tuple:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        devices = {n: SunSpecDevice(Battery(clock), 5_000.0, 10_000.0, MODELS, clock) for n in (1, 2)}
        devices[2]._refresh = lambda number: None
        spoil(devices[2])
        server, log = SunSpecServer(devices), Log()
        await server.start(port=502)
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({n: f"127.0.0.1:502/{n}" for n in devices}, {}, poll_s=10.0)
            link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(60)
            return link.devices[1].is_live, supervisor.failures

    assert run_virtual(main) == (True, {})


def test_a_device_that_ignores_its_release_is_told_with_the_power_that_its_register_still_holds() -> None:
    async def scene(room: Room) -> None:
        await room.command(-500.0)
        await asyncio.sleep(5)
        room.device.ignores = True
        await room.command(math.nan)

    room = play(scene)
    assert room.log.stages[-1] == (7, Stage.UNCONFIRMED)
    assert room.log.observed_w[-1] == -500.0
