"""The Modbus link on virtual time: written, read back, reverted, refused, lost; and against peers by other hands."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from tieline.desk.ports import LinkHealth, Session
from tieline.errors import ConfigError
from tieline.links.device.modbus.client import Client
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings, parse_address, scan
from tieline.links.device.sunspec_models import model
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import RejectWord, Stage
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS
from tieline.wire.sunspec.models import MARKER

WRITES = "block"
MODELS = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}


@dataclass
class Battery:
    """A battery that follows what it is told, with its own timer."""

    clock: object
    power_w: float = 0.0
    target_w: float = math.nan
    until_ns: int = 0
    soc_frac: float = 0.5
    held: list = field(default_factory=list)

    def read(self) -> dict:
        over = self.clock.now_ns() >= self.until_ns
        self.power_w = 0.0 if over or math.isnan(self.target_w) else self.target_w
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

    def reports(self, reports: CommandReports) -> None:
        self.stages += [(int(row), Stage(int(stage))) for row, stage in zip(reports.rows, reports.stage, strict=True)]
        self.rejects += [RejectWord(int(word)) for word in reports.reject]
        self.natives += reports.native

    def readings(self, readings: Readings) -> None:
        self.readings_.append(readings)

    def health(self, health: LinkHealth) -> None:
        self.sessions.append(health.session)

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

    async def command(self, target_w: float, seconds: float = 600.0, high_w: float = math.inf) -> CommandBatch:
        self.seq += 1
        now = self.clock.now_ns()
        until = now + int(seconds * SECOND_NS)
        one = np.ones(1)
        batch = CommandBatch(
            f"c{self.seq}", np.array([7], np.int32), target_w * one, -np.inf * one, high_w * one, 0 * one, now, now,
            until, 1, self.seq, (),
        )  # fmt: skip
        await self.link.send(batch)
        await asyncio.sleep(1)
        return batch


@pytest.fixture(autouse=True, params=["block", "steps"])
def writes(request: pytest.FixtureRequest) -> str:
    """A function's registers in one request, by callbacks; or one by one, by the device's own task."""
    global WRITES
    WRITES = request.param
    return WRITES


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
            settings = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0, writes=WRITES)
            link = ModbusLink(settings, Log(), clock, supervisor, np.random.default_rng(2))
            link.start()
            await asyncio.sleep(60)
            first = link.counts.contended
            device.turn(900.0)
            await asyncio.sleep(20)
            return first, link.counts.contended

    assert run_virtual(main) == (0, 1)


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
        devices[2]._refresh = lambda: None
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


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ({"poll_s": 0.0}, r"\$\.modbus\.poll_s = 0"),
        ({"timeout_s": math.nan}, r"\$\.modbus\.timeout_s"),
        ({"in_flight": 0}, r"\$\.modbus\.in_flight"),
        ({"grace_s": -1.0}, r"\$\.modbus\.grace_s"),
        ({"max_inject_w": {7: -5.0}}, r"\$\.modbus\.max_inject_w\.7"),
        ({"profiles": {7: "toaster"}}, "battery_inverter"),
    ],
)
def test_a_crooked_setting_is_refused_by_its_path(how: dict, path: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        given = {"addresses": {7: "h:502/1"}, "max_inject_w": {7: 5.0}, **how}
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            with pytest.raises(ConfigError, match=path):
                ModbusLink(ModbusSettings(**given), Log(), VirtualClock(loop, 0), supervisor, np.random.default_rng(2))

    run_virtual(main)


def test_an_unknown_setting_is_refused_with_its_path() -> None:
    import msgspec

    with pytest.raises(msgspec.ValidationError, match="pol_s"):
        msgspec.convert({"addresses": {}, "max_inject_w": {}, "pol_s": 3}, ModbusSettings)


@pytest.mark.parametrize("text", ["nothing", "h:502", "h:0/1", "h:99999/1", "h:502/0", "h:502/248", ":502/1", "h:x/1"])
def test_a_bad_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="modbus address"):
        parse_address(text)


# --- peers by other hands, over real sockets ------------------------------------------------------------------------


class WallClock:
    def now_ns(self) -> int:
        import time

        return time.time_ns()


async def _served() -> tuple:
    clock = WallClock()
    body = Battery(clock, target_w=1_234.0, until_ns=2**62)
    server = SunSpecServer({1: SunSpecDevice(body, 5_000.0, 10_000.0, MODELS, clock)})
    await server.start()
    return server, body


@pytest.mark.interop
def test_pymodbus_reads_and_writes_our_device() -> None:
    from pymodbus.client import AsyncModbusTcpClient

    async def main() -> None:
        server, body = await _served()
        async with AsyncModbusTcpClient("127.0.0.1", port=server.port) as client:
            assert (await client.read_holding_registers(40000, count=2, device_id=1)).registers == [0x5375, 0x6E53]
            assert (await client.read_holding_registers(10, count=2, device_id=1)).isError()
            assert (await client.read_holding_registers(40000, count=2, device_id=9)).isError()
            at = 40002 + sum(MODELS[n].size for n in (1, 701, 702, 703))
            start = at + MODELS[704].field("WSet").offset
            answer = await client.write_registers(start, [0xFFFF, 0xF63C], device_id=1)
            assert not answer.isError()
            await client.write_registers(at + MODELS[704].field("WSetEna").offset, [1], device_id=1)
            assert body.target_w == -2_500.0
        server.stop()

    asyncio.run(main())


@pytest.mark.interop
def test_the_sunspec_reference_client_scans_our_device_and_reads_the_same_values() -> None:
    import sunspec2.modbus.client as sunspec_client

    async def main() -> tuple:
        server, _ = await _served()

        def scan() -> tuple:
            device = sunspec_client.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=server.port)
            device.scan()
            found = sorted(key for key in device.models if isinstance(key, int))
            device.models[701][0].read()
            device.models[713][0].read()
            watts, soc = device.models[701][0].W.cvalue, device.models[713][0].SoC.cvalue
            device.close()
            return found, watts, soc

        result = await asyncio.get_running_loop().run_in_executor(None, scan)
        server.stop()
        return result

    found, watts, soc = asyncio.run(main())
    assert found == [1, 701, 702, 703, 704, 713]
    assert (watts, soc) == (1_234, pytest.approx(50))


@pytest.mark.interop
def test_our_client_reads_and_writes_a_pymodbus_server() -> None:
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusTcpServer

    from tieline.wire.modbus.pdu import Read, Refused, Write

    async def main() -> tuple:
        block = ModbusSequentialDataBlock(1, list(range(100, 300)))
        context = ModbusServerContext(devices=ModbusDeviceContext(hr=block), single=True)
        server = ModbusTcpServer(context, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        client = Client()
        await client.open("127.0.0.1", port)
        first = await client.request(1, Read(0, 3))
        await client.request(1, Write(1, (7, 8)))
        again = await client.request(1, Read(0, 3))
        beyond = await client.request(1, Read(5_000, 3))
        client.close()
        await server.shutdown()
        return first, again, beyond

    first, again, beyond = asyncio.run(main())
    assert (first, again) == ((100, 101, 102), (100, 7, 8))
    assert isinstance(beyond, Refused)


@pytest.mark.interop
def test_the_link_runs_on_uvloop_over_real_sockets() -> None:
    import uvloop

    from tieline.rim.clock import SystemClock

    async def main() -> Log:
        clock, log = SystemClock(), Log()
        body = Battery(clock)
        server = SunSpecServer({1: SunSpecDevice(body, 5_000.0, 10_000.0, MODELS, clock)})
        await server.start()
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({7: f"127.0.0.1:{server.port}/1"}, {7: 5_000.0}, poll_s=0.1)
            link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            room = Room(clock, server, server.units[1], body, link, log, None)
            await room.command(-1_000.0)
        server.stop()
        return log

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        log = runner.run(main())
    assert log.stages == [(7, Stage.SENT), (7, Stage.ACCEPTED), (7, Stage.DONE)]
    assert log.last("power_w")[0] == -1_000.0


@pytest.mark.interop
def test_the_link_works_a_device_that_a_pymodbus_server_holds() -> None:
    """The registers are ours, laid once; who serves and takes them is pymodbus."""
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusTcpServer

    from tieline.rim.clock import SystemClock

    async def main() -> tuple:
        clock, log = SystemClock(), Log()
        body = Battery(clock, target_w=1_234.0, until_ns=2**62)
        size = len(MARKER) + sum(MODELS[n].size for n in MODELS) + 2
        image = [*SunSpecDevice(body, 5_000.0, 10_000.0, MODELS, clock).read(0, size)]
        block = ModbusSequentialDataBlock(1, [0] * 40_000 + image + [0] * 200)
        context = ModbusServerContext(devices=ModbusDeviceContext(hr=block), single=True)
        server = ModbusTcpServer(context, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({7: f"127.0.0.1:{port}/1"}, {7: 5_000.0}, poll_s=0.2)
            link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
            link.start()
            await Room(clock, None, None, body, link, log, None).command(-2_500.0)
        at = 40_002 + sum(MODELS[n].size for n in (1, 701, 702, 703))
        names = ("WSet", "WSetEna", "WSetRvrtTms")
        held = {}
        async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:
            for name in names:
                field_ = MODELS[704].field(name)
                answer = await client.read_holding_registers(at + field_.offset, count=field_.size, device_id=1)
                held[name] = answer.registers
        await server.shutdown()
        return log, held

    log, held = asyncio.run(main())
    assert log.stages == [(7, Stage.SENT), (7, Stage.ACCEPTED), (7, Stage.DONE)]
    assert log.last("power_w")[0] == 1_234.0
    assert (held["WSet"], held["WSetEna"]) == ([0xFFFF, 0xF63C], [1])
    assert 598 <= held["WSetRvrtTms"][1] <= 600
