"""`tieline serve` as its own process publishes what its devices can do; `tieline capability --data` says the same."""

import asyncio
import json
import time
from pathlib import Path

import httpx
from click.testing import CliRunner
from data_folder import data_folder
from test_serve_trades import PASSWORD, gateway, running

from patience import until
from tieline.node.cli import main

TABLE = """id,kind,fuel,max_inject_w,max_absorb_w,energy_wh,feeder,site,owner,pool
battery-1,battery,,500000,500000,2000000,feeder-1,site-1,ann,pool-1
load-1,interruptible_load,none,0,2000000,0,feeder-2,site-2,bob,pool-1
engine-1,backup_generator,diesel,400000,0,0,feeder-2,site-2,bob,pool-1
"""
SETTINGS = 'name = "works"\nzone = "America/Chicago"\njurisdiction = "US-TX"\nport = 0\n'
ASKED = {"lasts": "1h,4h", "notice": "30s,1d"}
# The battery holds 1.2 MWh, the load stops its megawatt; a diesel engine may not serve a market.
UP_W = [[500_000.0, 300_000.0], [1_500_000.0, 1_300_000.0]]
DOWN_W = [[500_000.0, 200_000.0], [500_000.0, 200_000.0]]


def powers(view: dict, way: str) -> list[list[float]]:
    return [[held["power_w"] for held in cell["held"]] for cell in view[way]]


def told(*words: object) -> dict:
    done = CliRunner().invoke(
        main, ["capability", *map(str, words), "--lasts", "1h,4h", "--notice", "30s,1d", "--json"]
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def kw(row: dict, way: str) -> list[list[float]]:
    return [[held["kw"] * 1e3 for held in cell["held"]] for cell in row[way]]


async def send(http: httpx.AsyncClient, api: str, token: dict[str, str], point: str, of: dict[str, float]) -> None:
    now_ns = time.time_ns()
    body = {"point": point, "resource": list(of), "value": list(of.values()), "taken_at_ns": [now_ns] * len(of)}
    answer = await http.post(f"{api}/readings", json=body, headers=token)
    assert answer.json()["taken"] == len(of), answer.text


def test_a_server_says_what_its_devices_can_do_and_so_does_its_folder_beside_it_and_afterwards(tmp_path: Path) -> None:
    folder, _ = data_folder(tmp_path, TABLE)
    (folder / "tieline.toml").write_text(SETTINGS)
    empty = CliRunner().invoke(main, ["capability", "--data", str(folder), "--json"])
    assert empty.exit_code == 2 and "holds no readings" in empty.stderr

    async def play() -> None:
        async with (
            running("-m", "tieline", "serve", "--data", str(folder)) as (url, secret),
            httpx.AsyncClient(timeout=60) as http,
        ):
            api = f"{url}/api/v1"
            await http.post(f"{api}/enrol", json={"secret": secret, "password": PASSWORD})
            token = await gateway(http, url)
            await send(http, api, token, "power_w", {"battery-1": 0.0, "load-1": -1e6, "engine-1": 0.0})
            await send(http, api, token, "energy_available_wh", {"battery-1": 1.2e6})

            async def known() -> dict:
                view = (await http.get(f"{api}/resources/pool-1/capability", params=ASKED)).json()
                return view if view["can_be_called"] == 2 else {}

            pool = await until(known, "the pool says nothing")
            assert powers(pool, "up") == UP_W and powers(pool, "down") == DOWN_W
            assert (pool["devices"], pool["base_w"], pool["called_w"]) == (3, -1e6, 0.0)
            assert pool["up"][0]["energy_wh"] == 1.2e6 and pool["up"][1]["energy_wh"] is None
            feeders = (await http.get(f"{api}/capability", params={**ASKED, "by": "feeder"})).json()
            assert [powers(one, "up")[1] for one in feeders] == [[500_000.0, 300_000.0], [1e6, 1e6]]
            engine = (await http.get(f"{api}/resources/engine-1/capability", params=ASKED)).json()
            assert engine["can_be_called"] == 0 and not any(map(any, powers(engine, "up")))
            beside = await asyncio.to_thread(told, "--data", folder)
            assert kw(beside["groups"][0], "up") == UP_W and beside["can_be_called"] == 2
            pressed = await http.post(f"{api}/kill", json={"pressed": True, "because": "drill"})
            assert pressed.status_code == 200, pressed.text
            stopped = (await http.get(f"{api}/resources/pool-1/capability", params=ASKED)).json()
            assert stopped["is_stopped"] and not any(map(any, powers(stopped, "up")))

    asyncio.run(play())
    after = told("--data", folder, "--by", "feeder")
    assert after["is_stopped"] and after["can_be_called"] == 0
    assert kw(after["groups"][0], "up") == [[0.0, 0.0], [0.0, 0.0]]
    assert (
        "none as the kill switch is pressed" in CliRunner().invoke(main, ["capability", "--data", str(folder)]).output
    )


def test_a_file_and_a_folder_at_once_or_neither_are_refused(tmp_path: Path) -> None:
    for words in ([], [str(tmp_path / "devices.csv"), "--data", str(tmp_path)]):
        done = CliRunner().invoke(main, ["capability", *words, "--json"])
        assert done.exit_code == 2 and "one of the two" in done.stderr
