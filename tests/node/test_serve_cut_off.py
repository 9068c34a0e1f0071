"""`tieline serve` is killed while a command is on its way: the next server tells its device anew."""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from data_folder import folder_with
from test_serve_restart import signed_in
from test_serve_trades import PASSWORD, process

from patience import until
from sampled import some
from tieline.links.device.sunspec_models import model
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
plug-1,interruptible_load,0,3000,0,feeder-2,site-2,pool-1
other-1,interruptible_load,0,3000,0,feeder-3,site-3,pool-1
"""
LINKS = """
[[links.modbus]]
poll_s = 1.0
devices = {{ battery-1 = {{ address = "127.0.0.1:{modbus}/1", profile = "battery_inverter" }} }}

[[links.mqtt]]
host = "127.0.0.1"
port = {mqtt}
devices = {{ plug-1 = {{ device = "plug-1", profile = "plug" }} }}
"""
FEEDERS = {"battery-1": "feeder-1", "plug-1": "feeder-2"}
SERVER = str(Path(__file__).parent / "later_server.py")


@dataclass
class Battery:
    """It discharges at 3 kW unless a limit holds it."""

    high_w: float = math.inf

    def read(self) -> dict[str, float]:
        return {"power_w": min(3_000.0, self.high_w), "soc_frac": 0.5, "energy_available_wh": 5_000.0}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        self.high_w = min(high_w, target_w if math.isfinite(target_w) else math.inf)


@pytest.mark.parametrize(("device", "is_released"), some([("battery-1", True), ("battery-1", False)]))
def test_what_a_device_was_told_as_the_server_was_killed_reaches_it_from_the_next_one(
    tmp_path: Path, device: str, is_released: bool
) -> None:
    """It is out of reach as it is let go, or as it is limited, so that its command has no answer yet."""

    async def play() -> None:
        battery, body = Battery(), PlugBody(3_000.0)
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        inverter = SunSpecDevice(battery, 5_000.0, 10_000.0, models, SystemClock())
        units, broker, plug = SunSpecServer({1: inverter}), MqttBroker(), MqttUnit("plug-1", body)
        await units.start()
        await broker.start()
        folder = folder_with(tmp_path, TABLE, LINKS.format(modbus=units.port, mqtt=broker.port))
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            devices = MqttDevices([plug], supervisor, "127.0.0.1", broker.port, every_s=1.0)
            devices.start()

            def is_held() -> bool:
                return math.isfinite(battery.high_w) if device == "battery-1" else not body.read()["is_on"]

            async with process("-m", "tieline", "serve", "--data", str(folder), "--port", "0") as (child, url, secret):
                async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as http:
                    await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
                    await until(lambda: heard(http, device), "it was not heard")
                    if is_released:
                        await limit(http, device)
                        await until(lambda: at_stage(http, device, "done"), "that it holds its limit was not recorded")
                        assert is_held()
                    inverter.is_silent = True
                    devices.leave(plug)
                    if is_released:
                        assert (await http.post(f"/resources/{FEEDERS[device]}/release")).status_code == 200
                    else:
                        await limit(http, device)
                    await until(lambda: at_stage(http, device, "queued", "sent"), "nothing is on its way to it")
                child.kill()
                await child.wait()
            assert is_held() == is_released
            async with process(SERVER, str(folder), "0") as (_, url, _), signed_in(url) as http:
                inverter.is_silent = False
                devices.come(plug)

                async def came() -> bool:
                    # What somebody asks of another feeder has claims settled, so that no minute's mark is waited for.
                    body = {"low_w": -2_000.0, "high_w": 0.0, "minutes": 5, "because": "works"}
                    assert (await http.post("/resources/feeder-3/limit", json=body)).status_code == 200
                    return is_held() != is_released

                await until(came, "what it was told did not come to it", 1.0)
                await until(lambda: at_stage(http, device, "accepted", "done"), "that it came was not recorded")

    asyncio.run(play())


async def limit(http: httpx.AsyncClient, device: str) -> None:
    body = {"low_w": -1_000.0, "high_w": 1_000.0, "minutes": 30, "because": "works"}
    assert (await http.post(f"/resources/{FEEDERS[device]}/limit", json=body)).status_code == 200


async def heard(http: httpx.AsyncClient, device: str) -> bool:
    return bool((await http.get(f"/resources/{device}")).json()["scada"]["power_w"])


async def at_stage(http: httpx.AsyncClient, device: str, *stages: str) -> bool:
    command = (await http.get(f"/resources/{device}")).json()["command"]
    return command is not None and command["stage"] in stages
