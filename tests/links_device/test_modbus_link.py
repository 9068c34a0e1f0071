"""The Modbus link on virtual time: written, read back, reverted, refused, lost; and against peers by other hands."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from tieline.desk.ports import LinkHealth, Session
from tieline.errors import ConfigError
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings, parse_address
from tieline.links.device.sunspec_models import model
from tieline.resource.batch import CommandBatch, CommandReports, Readings
from tieline.resource.command import RejectWord, Stage
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualClock, VirtualLoop, run_virtual
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import SECOND_NS

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


def play(scene: Callable[[Room], Awaitable[None]]) -> Room:
    async def main(loop: VirtualLoop) -> Room:
        clock = VirtualClock(loop, 1_700_000_000 * SECOND_NS)
        body = Battery(clock)
        device = SunSpecDevice(body, 5_000.0, 10_000.0, MODELS, clock)
        server = SunSpecServer({1: device})
        await server.start(port=502)
        log = Log()
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            settings = ModbusSettings({7: "127.0.0.1:502/1"}, {7: 5_000.0}, poll_s=10.0)
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
    assert room.log.stages == [(7, Stage.ACCEPTED), (7, Stage.DONE)]
    assert seen == [(-3_000.0, Quality.GOOD)]
    assert room.log.last("soc_frac")[0] == pytest.approx(0.5)


def test_a_limit_goes_out_as_a_share_of_the_rating() -> None:
    async def scene(room: Room) -> None:
        await room.command(4_000.0, high_w=1_500.0)

    assert play(scene).body.held[-1] == (4_000.0, pytest.approx(1_500.0))


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
    assert room.log.stages == [(7, Stage.REJECTED)]
    assert room.log.rejects == [RejectWord.HARDWARE]
    assert room.log.natives == ["exception 4"]


def test_silence_ends_unconfirmed_and_is_never_sent_again() -> None:
    async def scene(room: Room) -> None:
        room.device.is_silent = True
        await room.command(1_000.0)
        await asyncio.sleep(8)
        room.device.is_silent = False
        await asyncio.sleep(120)

    room = play(scene)
    assert room.log.stages == [(7, Stage.UNCONFIRMED)]
    assert room.device.writes == 0


def test_a_device_that_ignores_a_write_is_found_by_the_read_back() -> None:
    async def scene(room: Room) -> None:
        room.device.ignores = True
        await room.command(1_000.0)

    assert play(scene).log.stages == [(7, Stage.ACCEPTED), (7, Stage.UNCONFIRMED)]


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

    from tieline.links.device.modbus.client import Client
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
