"""Behind sockets: a server that was killed leaves an inverter to its timer, and its owner's limit holds after that."""

import asyncio
from pathlib import Path

import httpx
import pytest
from data_folder import folder_with
from test_serve_trades import PASSWORD, process

from patience import until
from tieline.links.device.sunspec_models import model
from tieline.rim.clock import SystemClock
from tieline.simulate.sunspec_device import SunSpecDevice
from tieline.wire.sunspec.models import MARKER

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
pv-1,pv,4000,0,0,feeder-1,site-1,pool-1
"""
LINKS = """
[[links.modbus]]
poll_s = 0.5
devices = {{ pv-1 = {{ address = "127.0.0.1:{port}/1", profile = "pv_inverter" }} }}
"""
SUNSPEC = (1, 701, 702, 703, 704)
LIMIT = 14  # the first register of the function that limits, in model 704


class Sun:
    """What it would give."""

    def read(self) -> dict[str, float]:
        return {"power_w": 3_500.0}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        raise AssertionError("its registers were copied; who serves and takes them is pymodbus")


@pytest.mark.interop
def test_an_owners_limit_holds_after_the_timer_that_a_killed_server_left(tmp_path: Path) -> None:
    """The registers are pymodbus's; as the timer ends this acts for the firmware, and pysunspec2 reads what then holds.

    By test REV-1 of SunSpec's conformance procedures the reversion's value and switch are in effect from there on.
    """
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusTcpServer
    from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

    async def play() -> None:
        models = {number: model(number) for number in SUNSPEC}
        size = len(MARKER) + sum(models[n].size for n in models) + 2
        image = [*SunSpecDevice(Sun(), 4_000.0, 0.0, models, SystemClock()).read(0, size)]
        block = ModbusSequentialDataBlock(1, [0] * 40_000 + image + [0] * 200)
        context = ModbusServerContext(devices=ModbusDeviceContext(hr=block), single=True)
        server = ModbusTcpServer(context, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        at = 40_002 + sum(models[n].size for n in (1, 701, 702, 703)) + LIMIT
        folder = folder_with(tmp_path, TABLE, LINKS.format(port=port))

        def scanned() -> tuple[int, float]:
            device = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port)
            device.scan()
            found = device.models[704][0].WMaxLimPctEna.cvalue, device.models[704][0].WMaxLimPct.cvalue
            device.close()
            return found

        async with AsyncModbusTcpClient("127.0.0.1", port=port) as hand:

            async def registers() -> list[int]:
                return (await hand.read_holding_registers(at, count=8, device_id=1)).registers

            async def ends() -> None:
                is_on, _, rvrt, is_on_after, *timer = await registers()
                assert is_on and any(timer[:2])
                await hand.write_registers(at, [is_on_after, rvrt] if is_on_after else [0], device_id=1)

            await hand.write_registers(at + 1, [600], device_id=1)
            await hand.write_registers(at, [1], device_id=1)
            async with (
                process("-m", "tieline", "serve", "--data", str(folder), "--port", "0") as (child, url, secret),
                httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as http,
            ):
                await http.post("/enrol", json={"secret": secret, "password": PASSWORD})

                async def is_heard() -> bool:
                    return (await http.get("/resources/pv-1")).json()["scada"]["power_w"] == 3_500.0

                await until(is_heard, "it was not heard")
                body = {"low_w": 0, "high_w": 1_000, "minutes": 3, "because": "works"}
                assert (await http.post("/resources/pv-1/limit", json=body)).status_code == 200

                async def is_told() -> bool:
                    command = (await http.get("/resources/pv-1")).json()["command"]
                    return command is not None and command["stage"] == "done"

                await until(is_told, "it was not told")
                assert (await registers())[:4] == [1, 250, 600, 1]
                child.kill()
                await child.wait()
            await ends()
            assert await asyncio.to_thread(scanned) == (1, 60.0)
        await server.shutdown()

    asyncio.run(play())
