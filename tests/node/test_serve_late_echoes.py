"""`tieline serve` calls a thermostat again before it has echoed its hand-back: each round ends at its owner's setpoint."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from data_folder import folder_with
from test_serve_restart import signed_in
from test_serve_setpoints import LINKS, OFFSET_C, OWN_C, TABLE, heard
from test_serve_trades import PASSWORD, process

from patience import until
from tieline.rim.mqtt import MqttClient
from tieline.wire.mqtt.packets import Connect, Publish

ROUNDS, LATE_S = 2, 1.0
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
KEY = "occupied_cooling_setpoint"


@pytest.mark.long
@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_a_thermostat_that_echoes_late_is_back_at_its_owners_setpoint_after_each_round(tmp_path: Path) -> None:
    async def play(port: int) -> None:
        held = [OWN_C]
        folder = folder_with(tmp_path, TABLE, LINKS.format(mqtt=port))

        def hear(message: Publish) -> None:
            wanted = json.loads(message.payload).get(KEY)
            if message.topic.endswith("/set") and wanted is not None:
                held[0] = float(wanted)
                asyncio.get_running_loop().call_later(LATE_S, tell, float(wanted))

        def tell(setpoint_c: float) -> None:
            power_w = 2_000.0 if setpoint_c <= OWN_C else 0.0
            client.publish("zigbee2mqtt/room-1", json.dumps({"power": power_w, KEY: setpoint_c}).encode(), retain=True)

        client = MqttClient(Connect("room-1"), hear)
        await until(lambda: opened(client, port), "the broker does not answer")
        await client.subscribe(["zigbee2mqtt/room-1/set"])
        tell(OWN_C)
        server = process("-m", "tieline", "serve", "--data", str(folder), "--port", "0")
        async with server as (_, url, secret), signed_in(url) as http:
            await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
            await until(lambda: heard(http), "the room was not heard")
            for _ in range(ROUNDS):
                for wait_s in (0.4, 0.0):
                    await told(http, "limit", held, OWN_C + OFFSET_C)
                    await asyncio.sleep(2.0 * LATE_S)
                    await told(http, "release", held, OWN_C)
                    await asyncio.sleep(wait_s)
                await asyncio.sleep(2.0 * LATE_S)
                assert held == [OWN_C]
            links = (await http.get("/links")).json()
            assert not [row["last_error"] for row in links if "somebody else" in row["last_error"]]

    port = free_port()
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    with subprocess.Popen([str(MOSQUITTO), "-c", str(conf)], stderr=subprocess.DEVNULL) as broker:
        try:
            asyncio.run(play(port))
        finally:
            broker.terminate()


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def opened(client: MqttClient, port: int) -> bool:
    from tieline.errors import LinkDown

    try:
        await client.open("127.0.0.1", port)
    except LinkDown:
        return False
    return True


async def told(http: httpx.AsyncClient, what: str, held: list[float], setpoint_c: float) -> None:
    limit = {"low_w": 0.0, "high_w": 0.0, "minutes": 30, "because": "works"} if what == "limit" else None
    assert (await http.post(f"/resources/room-1/{what}", json=limit)).status_code == 200

    async def holds() -> bool:
        return held == [setpoint_c]

    await until(holds, f"{what}: it is not told {setpoint_c}")
