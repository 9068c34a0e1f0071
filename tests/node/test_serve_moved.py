"""`tieline serve` is killed while an event calls devices, and their owners move them: the next server leaves them so."""

import asyncio
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from data_folder import folder_with
from test_serve_restart import signed_in
from test_serve_trades import PASSWORD, process

from patience import until
from tieline.links.device.sunspec_models import model
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, PlugBody
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
room-1,thermostat,0,2000,0,feeder-1,site-1,pool-1
plug-1,interruptible_load,0,3000,0,feeder-1,site-2,pool-1
heater-1,water_heater,0,2500,0,feeder-1,site-3,pool-1
battery-1,battery,5000,5000,10000,feeder-1,site-4,pool-1
other-1,interruptible_load,0,20000,0,feeder-1,site-5,pool-1
"""
LINKS = """
[[links.mqtt]]
host = "127.0.0.1"
port = {mqtt}
ack_s = 1.0
[links.mqtt.devices]
room-1 = {{ device = "room-1", profile = "thermostat_cooling" }}
plug-1 = {{ device = "plug-1", profile = "plug" }}
heater-1 = {{ device = "heater-1", profile = "water_heater" }}

[[links.modbus]]
poll_s = 1.0
devices = {{ battery-1 = {{ address = "127.0.0.1:{modbus}/1", profile = "battery_inverter" }} }}
"""
DEVICES = ("room-1", "plug-1", "heater-1", "battery-1")
SERVER = str(Path(__file__).parent / "later_server.py")
SEEN_S = 15.0


@dataclass
class Battery:
    """It does what it is told."""

    target_w: float = math.nan

    def read(self) -> dict[str, float]:
        power_w = 0.0 if math.isnan(self.target_w) else self.target_w
        return {"power_w": power_w, "soc_frac": 0.5, "energy_available_wh": 5_000.0}

    def hold(self, target_w: float, high_w: float, until_ns: int) -> None:
        self.target_w = target_w


@dataclass
class Room:
    """It is at 25 degC, and cools while that is above its setpoint."""

    setpoint_c: float = 24.0

    def read(self) -> dict[str, float]:
        power_w = -2_000.0 if self.setpoint_c < 25.0 else 0.0
        return {"power_w": power_w, "is_on": 1.0, "temperature_c": 25.0, "setpoint_c": self.setpoint_c}

    def set(self, name: str, value: float) -> None:
        if name == "setpoint_c":
            self.setpoint_c = value


@pytest.mark.long
def test_devices_that_owners_moved_while_the_server_was_dead_are_in_local_and_left_so(tmp_path: Path) -> None:
    async def play() -> None:
        broker, battery = MqttBroker(), Battery()
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        inverter = SunSpecDevice(battery, 5_000.0, 10_000.0, models, SystemClock())
        units = SunSpecServer({1: inverter})
        room, plug, heater = Room(), PlugBody(3_000.0), PlugBody(2_500.0)
        bodies = (room, plug, heater)
        await broker.start()
        await units.start()
        folder = folder_with(tmp_path, TABLE, LINKS.format(mqtt=broker.port, modbus=units.port))

        def held() -> tuple[float, ...]:
            keys = ("setpoint_c", "is_on", "is_on")
            return (*(float(body.read()[key]) for body, key in zip(bodies, keys, strict=True)), battery.target_w)

        async with Supervisor(np.random.default_rng(1)) as supervisor:
            modes = ("cool", "", "")
            all_of_mqtt = [MqttUnit(n, b, m) for n, b, m in zip(DEVICES[:3], bodies, modes, strict=True)]
            MqttDevices(all_of_mqtt, supervisor, "127.0.0.1", broker.port, every_s=1.0).start()
            async with (
                process("-m", "tieline", "serve", "--data", str(folder), "--port", "0") as (child, url, secret),
                signed_in(url) as http,
            ):
                await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
                await until(
                    lambda: seen(http, lambda side: (side["available_up_w"] or 0.0) > 1_000.0), "not all were heard"
                )
                await event(http, url)

                async def called() -> bool:
                    return held()[:3] == (26.0, 0.0, 0.0) and battery.target_w > 0.0 and await done(http)

                await until(called, "not all are called")
                child.kill()
                await child.wait()
            room.set("setpoint_c", 21.0)
            plug.set("is_on", 1.0)
            heater.set("is_on", 1.0)
            inverter.turn(-1_000.0)
            moved = held()
            async with process(SERVER, str(folder), "0") as (_, url, _), signed_in(url) as http:
                await until(lambda: seen(http, lambda side: side["is_local"]), "not all are in LOCAL")
                await asyncio.sleep(SEEN_S)
                assert await seen(http, lambda side: side["mode"] == "local")
                for name in DEVICES:  # the folder knows it as well, and did not wait for the minute's mark
                    assert "set by somebody else (LOCAL)" in await why(name, folder), name
                links = {row["name"]: row["last_error"] for row in (await http.get("/links")).json()}
                assert "set by somebody else" in links["mqtt"] and "we did not write" in links["modbus"]
                assert held() == moved

    asyncio.run(play())


async def why(name: str, folder: Path) -> str:
    """Return what another process tells of a device from the folder of a server that runs."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tieline", "why", name, "--data", str(folder), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await child.communicate()
    return told.decode()


async def event(http: httpx.AsyncClient, url: str) -> None:
    """Call all of them for an hour: one whom the admin invited composes it, and another approves it.

    For a day the admin himself is no second person to whom he let in.
    """
    people = {"eve": ["operator", "program_manager"], "bob": ["operator", "dispatcher"]}
    made = [await http.post("/accounts", json={"name": name, "roles": roles}) for name, roles in people.items()]
    base = f"{url}/api/v1"
    async with httpx.AsyncClient(base_url=base, timeout=60) as eve, httpx.AsyncClient(base_url=base, timeout=60) as bob:
        for each, invited in zip((eve, bob), made, strict=True):
            secret = invited.json()["secret"].rpartition("#")[2]
            assert (await each.post("/enrol", json={"secret": secret, "password": PASSWORD})).status_code == 200
        now_ns = time.time_ns()
        wish = {
            "program": "demand_response",
            "group": "pool-1",
            "start_ns": now_ns + 5 * 10**9,
            "end_ns": now_ns + 3_600 * 10**9,
        }
        composed = await eve.post("/events", json={**wish, "power_w": 11_000.0})
        assert composed.status_code == 200, composed.text
        name = composed.json()["id"]
        assert (await eve.post(f"/events/{name}/submit")).status_code == 200
        assert (await bob.post(f"/events/{name}/approve")).status_code == 200


async def seen(http: httpx.AsyncClient, is_so: object) -> bool:
    sides = [(await http.get(f"/resources/{name}")).json()["scada"] for name in DEVICES]
    return all(is_so(side) for side in sides)


async def done(http: httpx.AsyncClient) -> bool:
    found = [(await http.get(f"/resources/{name}")).json()["command"] for name in DEVICES]
    return all(command is not None and command["stage"] in ("done", "accepted") for command in found)
