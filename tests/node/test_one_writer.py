"""Who wants a power of a resource that is served over OpenADR asks the desk, and no event of his own goes around it."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import httpx
import numpy as np
from click.testing import CliRunner
from ven_stage import SECRET, URL, served, ven_folder

from tieline.desk.screens import AskLimit
from tieline.links.endpoint.openadr.access import secret_digest
from tieline.links.endpoint.openadr.ven import Ven, VenSettings
from tieline.node.cli import main
from tieline.resource.claim import Refusal
from tieline.resource.setpoint import Bounds
from tieline.rim.http import HttpClient
from tieline.simulate.loop import VirtualLoop, run_virtual
from tieline.site.plan import Hold, Owner

TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-2,pool-1
"""
NOW = {"start": "0001-01-01T00:00:00Z", "duration": "PT1H"}


class Battery:
    """A battery that charges at 3 kW by itself, and does what it is told."""

    def __init__(self) -> None:
        self.power_w, self.targets_w = -3_000.0, set[float]()

    def read(self) -> dict[str, float]:
        return {"power_w": self.power_w, "available_up_w": 5e3, "available_down_w": 5e3, "soc_frac": 0.5}

    def hold(self, hold: Hold, until_ns: int) -> None:
        by_itself = min(max(-3_000.0, hold.bounds.low_w), hold.bounds.high_w)
        self.power_w = by_itself if math.isnan(hold.target_w) else hold.target_w
        if not math.isnan(hold.target_w):
            self.targets_w.add(hold.target_w)


def with_client(folder: Path, client: str, bound: str, more: str = "") -> None:
    """Let a client write programs and events, and bind these resources alone."""
    toml = folder / "tieline.toml"
    scopes = '["read_all", "write_programs", "write_events", "write_vens"]'
    said = f'clients = [{{ id = "{client}", secret_sha256 = "{secret_digest(SECRET)}", scopes = {scopes} }}, '
    text = toml.read_text().replace("clients = [", said).replace('resources = ["battery-1", "battery-2"]', bound)
    toml.write_text(text + more)


class Dno:
    """A client of the VTN with a program of its own."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http, self._program, self._token = http, "", ""

    async def start(self) -> None:
        form = {"grant_type": "client_credentials", "client_id": "dno", "client_secret": SECRET}
        self._token = (await self._http.post(f"{URL}/auth/token", data=form)).json()["access_token"]
        named = await self.call("GET", "/programs")
        own = [each for each in named.json() if each["programName"] == "own"]
        self._program = (own[0] if own else (await self.call("POST", "/programs", {"programName": "own"})).json())["id"]

    async def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._token}"}
        return await self._http.request(method, URL + path, json=body, headers=headers)

    async def ask(self, value: float, *targets: str) -> httpx.Response:
        payloads = [{"type": "DISPATCH_SETPOINT", "values": [value]}]
        units = [{"payloadType": "DISPATCH_SETPOINT", "units": "KW"}]
        body = {
            "programID": self._program, "targets": list(targets), "priority": 0, "payloadDescriptors": units,
            "intervalPeriod": NOW, "intervals": [{"id": 0, "payloads": payloads}],
        }  # fmt: skip
        return await self.call("POST", "/events", body)


def test_an_event_of_a_client_moves_no_battery_of_the_desk_and_the_way_that_its_refusal_names_does(
    tmp_path: Path,
) -> None:
    folder = ven_folder(tmp_path, TABLE, ["battery-1", "battery-2"])
    with_client(folder, "dno", 'resources = ["battery-1", "battery-2"]')

    async def scene(loop: VirtualLoop) -> None:
        async with served(folder, loop) as stage, HttpClient() as ours, httpx.AsyncClient(timeout=60) as http:
            battery, owner = Battery(), Owner(Bounds(-5_000.0, 5_000.0))
            how = VenSettings(URL, "battery-1", "battery-1", SECRET, poll_s=30.0, report_s=20.0)
            ven = Ven(how, battery, owner, ours, stage.clock, np.random.default_rng(1))
            stage.supervisor.keep("battery-1", ven.run)
            dno = Dno(http)
            await dno.start()
            await asyncio.sleep(90)
            for value in (-4, 1e9):
                for targets in (("battery-1",), ("feeder-9", "battery-1"), ()):
                    answer = await dno.ask(value, *targets)
                    assert answer.status_code == 403, answer.text
            assert "POST /api/v1/resources/{resource}/limit" in answer.json()["limit"]
            await asyncio.sleep(180)
            assert battery.targets_w == set() and battery.power_w == -3_000.0
            asked = await stage.operator.limit("battery-1", AskLimit(-1_000.0, 5_000.0, 30, "works"), "ann")
            assert not isinstance(asked, Refusal), str(asked)
            await asyncio.sleep(60)
            assert battery.power_w == -1_000.0
            limits = stage.reader.why("battery-1").told["limits"]
            assert [(limit["level"], limit["low_w"]) for limit in limits] == [("ENVELOPE", -1_000.0)]
            ven.stop()

    run_virtual(scene)


def test_a_battery_that_is_bound_later_follows_no_event_from_before(tmp_path: Path) -> None:
    folder, battery = ven_folder(tmp_path, TABLE, ["battery-1", "battery-2"]), Battery()
    with_client(folder, "dno", 'resources = ["battery-2"]')

    async def play_ven(loop: VirtualLoop, is_told: bool) -> None:
        async with served(folder, loop) as stage, HttpClient() as ours, httpx.AsyncClient(timeout=60) as http:
            dno = Dno(http)
            await dno.start()
            if is_told:  # the desk has nothing to say of it: whoever grants its VEN a target may
                body = {
                    "objectType": "BL_VEN_REQUEST", "venName": "battery-1", "clientID": "battery-1",
                    "targets": ["battery-1", "street-1"],
                }  # fmt: skip
                made = await dno.call("POST", "/vens", body)
                assert made.status_code == 201, made.text
                resource = {
                    "objectType": "BL_RESOURCE_REQUEST",
                    "resourceName": "battery-1",
                    "venID": made.json()["id"],
                }
                assert (await dno.call("POST", "/resources", resource)).status_code == 201
                assert (await dno.ask(-4, "street-1")).status_code == 201
            how = VenSettings(URL, "battery-1", "battery-1", SECRET, poll_s=30.0, report_s=20.0)
            ven = Ven(how, battery, Owner(Bounds(-5e3, 5e3)), ours, stage.clock, np.random.default_rng(1))
            stage.supervisor.keep("battery-1", ven.run)
            await asyncio.sleep(200)
            assert battery.targets_w == ({4_000.0} if is_told else set())
            ven.stop()

    run_virtual(lambda loop: play_ven(loop, True))
    toml = folder / "tieline.toml"
    toml.write_text(toml.read_text().replace('resources = ["battery-2"]', 'resources = ["battery-1", "battery-2"]'))
    battery = Battery()
    run_virtual(lambda loop: play_ven(loop, False))


def test_no_client_is_let_in_under_the_desk_s_own_name(tmp_path: Path) -> None:
    folder = ven_folder(tmp_path, TABLE, ["battery-1", "battery-2"])
    with_client(folder, "tieline", 'resources = ["battery-1"]')
    done = CliRunner().invoke(main, ["serve", "--data", str(folder), "--for", "1s"])
    assert done.exit_code == 2 and "the desk itself writes under this name" in done.stderr, done.stderr
