"""The Modbus link and our device against peers by other hands, over real sockets."""

import asyncio
import math

import numpy as np
import pytest
from modbus_room import MODELS, Battery, Log, Room

from tieline.links.device.modbus.client import Client
from tieline.links.device.modbus.link import ModbusLink, ModbusSettings
from tieline.resource.command import Stage
from tieline.rim.supervise import Supervisor
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.wire.sunspec.models import MARKER

pytestmark = pytest.mark.usefixtures("writes")


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


async def _told_on_pymodbus(
    names: tuple[str, ...], target_w: float, high_w: float, own_w: float = 5_000.0
) -> tuple[Log, dict]:
    """Command a device that the registry has with 5,000 W; its registers are ours, laid once, and tell of `own_w`.

    Who serves and takes them is pymodbus.
    """
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusTcpServer

    from tieline.rim.clock import SystemClock

    clock, log = SystemClock(), Log()
    body = Battery(clock, target_w=1_234.0, until_ns=2**62)
    size = len(MARKER) + sum(MODELS[n].size for n in MODELS) + 2
    image = [*SunSpecDevice(body, own_w, 10_000.0, MODELS, clock).read(0, size)]
    block = ModbusSequentialDataBlock(1, [0] * 40_000 + image + [0] * 200)
    context = ModbusServerContext(devices=ModbusDeviceContext(hr=block), single=True)
    server = ModbusTcpServer(context, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    async with Supervisor(np.random.default_rng(1)) as supervisor:
        settings = ModbusSettings({7: f"127.0.0.1:{port}/1"}, {7: 5_000.0}, poll_s=0.2)
        link = ModbusLink(settings, log, clock, supervisor, np.random.default_rng(2))
        link.start()
        await Room(clock, None, None, body, link, log, None).command(target_w, high_w=high_w)
    at = 40_002 + sum(MODELS[n].size for n in (1, 701, 702, 703))
    held = {}
    async with AsyncModbusTcpClient("127.0.0.1", port=port) as client:
        for name in names:
            field_ = MODELS[704].field(name)
            answer = await client.read_holding_registers(at + field_.offset, count=field_.size, device_id=1)
            held[name] = answer.registers
    await server.shutdown()
    return log, held


@pytest.mark.interop
def test_the_link_works_a_device_that_a_pymodbus_server_holds() -> None:
    log, held = asyncio.run(_told_on_pymodbus(("WSet", "WSetEna", "WSetRvrtTms"), -2_500.0, math.inf))
    assert log.stages == [(7, Stage.SENT), (7, Stage.ACCEPTED), (7, Stage.DONE)]
    assert log.last("power_w")[0] == 1_234.0
    assert (held["WSet"], held["WSetEna"]) == ([0xFFFF, 0xF63C], [1])
    assert 598 <= held["WSetRvrtTms"][1] <= 600


@pytest.mark.interop
def test_a_pymodbus_server_holds_no_wider_limit_than_was_commanded() -> None:
    """2,503 W of 5,000 are 50.06 %, in steps of 0.1 %; the nearest step would let 2,505 W flow."""
    log, held = asyncio.run(_told_on_pymodbus(("WMaxLimPct", "WMaxLimPctEna", "WSet"), 3_000.0, 2_503.4))
    assert log.stages[-1] == (7, Stage.DONE)
    assert (held["WMaxLimPct"], held["WMaxLimPctEna"], held["WSet"]) == ([500], [1], [0, 2_503])


@pytest.mark.interop
@pytest.mark.parametrize(("own_w", "tenths"), [(10_000.0, 250), (61_000.0, 40), (4_000.0, 625), (5_200.0, 480)])
def test_a_limit_is_told_to_a_pymodbus_server_as_a_share_of_its_own_wmax(own_w: float, tenths: int) -> None:
    """2,500 W: half of what the registry says would let 5 kW flow from a device of 10 kW. 61 kW stand in tens of W."""
    log, held = asyncio.run(_told_on_pymodbus(("WMaxLimPct", "WMaxLimPctEna"), math.nan, 2_500.0, own_w))
    assert log.stages[-1] == (7, Stage.DONE)
    assert (held["WMaxLimPct"], held["WMaxLimPctEna"]) == ([tenths], [1])
    said = f"its WMax is {own_w:.0f} W, the registry says 5000 W"
    assert any(said in error for error in log.errors) is (own_w != 5_200.0), "up to 5 % is no mismatch"
