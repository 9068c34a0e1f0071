"""`tieline serve` is killed, or told to end, while it holds a thermostat off: the owner gets his own setpoint back."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from data_folder import folder_with
from test_serve_restart import signed_in
from test_serve_trades import PASSWORD, process

from patience import until
from sampled import some
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.mqtt_broker import MqttBroker
from tieline.simulate.mqtt_devices import MqttDevices, MqttUnit, RoomBody

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
room-1,thermostat,0,2000,0,feeder-1,site-1,pool-1
other-1,interruptible_load,0,20000,0,feeder-1,site-2,pool-1
"""
LINKS = """
[[links.mqtt]]
host = "127.0.0.1"
port = {mqtt}
devices = {{ room-1 = {{ device = "room-1", profile = "thermostat_cooling" }} }}
"""
SERVER = str(Path(__file__).parent / "later_server.py")
OWN_C, OFFSET_C = 24.0, 2.0


@pytest.mark.long
@pytest.mark.parametrize("how", some([signal.SIGKILL, signal.SIGTERM]), ids=["killed", "told to end"])
def test_an_owner_gets_his_own_setpoint_back_however_often_the_server_ended(
    tmp_path: Path, how: signal.Signals
) -> None:
    """It ends twice under a limit; then once more, and he turns the knob while none runs."""

    async def play() -> None:
        broker, body = MqttBroker(), RoomBody(SystemClock(), 2_000.0, OWN_C, 35.0)
        await broker.start()
        folder = folder_with(tmp_path, TABLE, LINKS.format(mqtt=broker.port))

        def setpoint_c() -> float:
            return float(body.read()["setpoint_c"])

        async with Supervisor(np.random.default_rng(1)) as supervisor:
            room = MqttUnit("room-1", body, "cool")
            MqttDevices([room], supervisor, "127.0.0.1", broker.port, every_s=1.0).start()

            @asynccontextmanager
            async def ended(*command: str) -> AsyncIterator[httpx.AsyncClient]:
                async with process(*command) as (child, url, secret), signed_in(url) as http:
                    if secret:
                        await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
                    await until(lambda: heard(http), "the room was not heard")
                    yield http
                    child.send_signal(how)
                    await child.wait()

            async def holds(own_c: float) -> bool:
                return setpoint_c() == own_c

            async with ended("-m", "tieline", "serve", "--data", str(folder), "--port", "0") as http:
                await limit(http, "room-1")
                await until(lambda: holds(OWN_C + OFFSET_C), "the limit did not come to it")
            async with ended(SERVER, str(folder), "0") as http:
                await limit(http, "other-1")  # has claims settled
                await until(lambda: at_stage(http, "done", "accepted", "unconfirmed"), "it is not told anew")
                assert setpoint_c() == OWN_C + OFFSET_C
            async with ended(SERVER, str(folder), "0") as http:
                assert (await http.post("/resources/room-1/release")).status_code == 200
                await until(lambda: holds(OWN_C), f"its owner's {OWN_C} did not come back")
                await limit(http, "room-1")
                await until(lambda: holds(OWN_C + OFFSET_C), "the second limit did not come to it")
            body.set("setpoint_c", 22.5)
            room.heard.clear()
            async with ended(SERVER, str(folder), "0") as http:
                assert (await http.post("/resources/room-1/release")).status_code == 200
                await until(lambda: runs_free(http), "it was not let go")
                await until(lambda: holds(22.5), "it is not left at what its owner set himself")
                assert not [one for one in room.heard if str(OWN_C).encode() in one]

    asyncio.run(play())


async def limit(http: httpx.AsyncClient, resource: str) -> None:
    body = {"low_w": -1.0, "high_w": 0.0, "minutes": 30, "because": "works"}
    assert (await http.post(f"/resources/{resource}/limit", json=body)).status_code == 200


async def heard(http: httpx.AsyncClient) -> bool:
    links = (await http.get("/links")).json()
    return any(row["name"] == "mqtt" and row["peers"] == 1 for row in links)


async def at_stage(http: httpx.AsyncClient, *stages: str) -> bool:
    command = (await http.get("/resources/room-1")).json()["command"]
    return command is not None and command["stage"] in stages


async def runs_free(http: httpx.AsyncClient) -> bool:
    found = (await http.get("/resources/room-1")).json()
    return found["scada"]["mode"] == "free running" and found["command"]["stage"] == "done"
