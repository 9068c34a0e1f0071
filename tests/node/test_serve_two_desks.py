"""Two desks on one broker: apart by themselves; by one id set in both, an alarm says what they do to each other."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from data_folder import folder_with
from test_serve_trades import PASSWORD, process

from patience import until
from tieline.simulate.mqtt_broker import MqttBroker

SERVER = str(Path(__file__).parent / "later_server.py")
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
plug-1,interruptible_load,0,3000,0,feeder-2,site-2,pool-1
"""
LINKS = """
[[links.mqtt]]
host = "127.0.0.1"
port = {mqtt}
{more}
devices = {{ plug-1 = {{ device = "plug-1", profile = "plug" }} }}
"""


def folder_at(base: Path, port: int, more: str = "") -> Path:
    base.mkdir()
    return folder_with(base, TABLE, LINKS.format(mqtt=port, more=more))


async def served(stack: AsyncExitStack, folder: Path) -> httpx.AsyncClient:
    _, url, secret = await stack.enter_async_context(
        process("-m", "tieline", "serve", "--data", str(folder), "--port", "0")
    )
    http = await stack.enter_async_context(httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60))
    if secret:
        await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
    return http


def test_two_desks_on_one_broker_are_two_clients_and_each_is_the_same_one_after_a_restart(tmp_path: Path) -> None:
    async def play() -> None:
        broker = MqttBroker()
        await broker.start()
        folders = [folder_at(tmp_path / name, broker.port) for name in ("production", "staging")]

        async def seen(count: int) -> set[str]:
            return set(broker.sessions) if len(broker.sessions) == count else set()

        async with AsyncExitStack() as first:
            for folder in folders:
                await served(first, folder)
            both = await until(lambda: seen(2), "two desks are not two clients of the broker")
            sessions = list(broker.sessions.values())
            await asyncio.sleep(5)
            assert list(broker.sessions.values()) == sessions, "one took the other's session over"
        async with process(SERVER, str(folders[0]), "0"):
            again = await until(lambda: seen(1), "the first desk did not come back")
        assert again < both
        broker.stop()

    asyncio.run(play())


def test_two_desks_by_one_id_each_have_an_alarm_that_names_cause_and_remedy(tmp_path: Path) -> None:
    async def play() -> None:
        broker = MqttBroker()
        await broker.start()
        async with AsyncExitStack() as stack:
            desks = [
                await served(stack, folder_at(tmp_path / name, broker.port, 'client_id = "desk"'))
                for name in ("production", "staging")
            ]
            for http in desks:

                async def told(http: httpx.AsyncClient = http) -> list[dict]:
                    found = (await http.get("/alarms")).json()
                    return [one for one in found if one["subject"] == "mqtt" and "'desk'" in one["title"]]

                (alarm,) = await until(told, "no alarm names the id")
                assert "another client" in alarm["title"]
                assert "client_id" in alarm["action"]
        broker.stop()

    asyncio.run(play())
