"""Operating envelopes sent to a served folder bound its devices over real links, through a kill -9, and VENs know them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from test_serve_links import Body, until

import tieline.node.serve  # noqa: F401  loaded before the verb is, which then says nothing of loading it
from ports import free_port
from sampled import some
from tieline.grid.envelope_file import envelope_text
from tieline.grid.operating import OperatingEnvelopes
from tieline.links.device.sunspec_models import model
from tieline.node.cli import main
from tieline.rim.clock import SystemClock
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer
from tieline.times import HOUR_NS, SECOND_NS

ROOT = Path(__file__).parents[2]
PEERS = {
    "openadr3-client": (ROOT / ".venv-peers-openadr" / "bin" / "python", "openadr_envelope.py"),
    "python-oa3-client": (ROOT / ".venv-peers-oa3" / "bin" / "python", "openadr_oa3_envelope.py"),
}
PASSWORD = "a long password"
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,pool-1
hybrid-1,hybrid_site,4000,4000,8000,feeder-1,site-2,pool-1
"""
SETTINGS = """
name = "works"
zone = "America/Chicago"
jurisdiction = "US-TX"
port = 0

[[links.openadr]]
port = {openadr}
resources = ["hybrid-1"]
clients = [{{ id = "hybrid-1", secret_sha256 = "{digest}" }}]

[[links.modbus]]
table = "modbus.csv"
poll_s = 1.0
"""


@dataclass
class Works:
    """A folder that is served, with one battery over Modbus and one site behind a VEN."""

    folder: Path
    vtn: str
    secret: str


def works(tmp_path: Path, modbus: int) -> Works:
    run, folder, openadr = CliRunner(), tmp_path / "works", free_port()
    client = json.loads(run.invoke(main, ["credential", "hybrid-1", "--json"]).output)
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    assert run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)]).exit_code == 0
    (folder / "tieline.toml").write_text(SETTINGS.format(openadr=openadr, digest=client["secret_sha256"]))
    (folder / "modbus.csv").write_text(f"id,address,profile\nbattery-1,127.0.0.1:{modbus}/1,battery_inverter\n")
    return Works(folder, f"http://127.0.0.1:{openadr}", client["secret"])


@asynccontextmanager
async def serving(
    place: Works, *, is_first: bool = False
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """Yield the server's process and somebody who is signed in at it."""
    command = [sys.executable, "-m", "tieline", "serve", "--data", str(place.folder)]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    try:
        said, url, link = list[str](), "", ""
        async with asyncio.timeout(120):
            while not url or (is_first and not link):
                line = (await child.stdout.readline()).decode().rstrip()
                assert line, (said, (await child.stderr.read()).decode())
                said.append(line)
                words = [word.rstrip(".,") for word in line.split() if word.startswith("http")]
                if "one-time link" in line:
                    link = words[-1]
                if "console" in line.lower() and words:
                    url = words[-1].partition("/enrol")[0]
                url = url or link.partition("/enrol")[0]
        async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as http:
            if is_first:
                entered = await http.post("/enrol", json={"secret": link.split("#")[1], "password": PASSWORD})
            else:
                entered = await http.post("/sign-in", json={"name": "admin", "password": PASSWORD})
            assert entered.status_code == 200, entered.text
            yield child, http
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()


def document(version: int, edges_ns: list[int], low_w: list[list[float]], high_w: list[list[float]]) -> dict[str, Any]:
    found = OperatingEnvelopes(np.array(low_w), np.array(high_w), (), np.zeros(len(low_w)), 1)
    text = envelope_text(
        found, ["pod-1", "pod-2"], list(pairwise(edges_ns)), feeder="feeder-1",
        version=version, method="robust, max-min", made_ns=edges_ns[0], resources=["battery-1", "hybrid-1"],
    )  # fmt: skip
    made: dict[str, Any] = json.loads(text)
    return made


async def read_by(peer: str, place: Works) -> list[dict[str, Any]]:
    python, script = PEERS[peer]
    child = await asyncio.create_subprocess_exec(
        str(python), str(ROOT / "tests" / "peers" / script), place.vtn, "hybrid-1", place.secret,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, OAUTHLIB_INSECURE_TRANSPORT="1"),
    )  # fmt: skip
    out, err = await child.communicate()
    assert child.returncode == 0, err.decode()[-3000:]
    seen: list[dict[str, Any]] = json.loads(out.decode().splitlines()[-1])
    return seen


@pytest.mark.long
def test_envelopes_bound_a_battery_over_modbus_interval_by_interval_and_through_a_kill_minus_nine(
    tmp_path: Path,
) -> None:
    async def play() -> None:
        clock, body = SystemClock(), Body()
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        units = SunSpecServer({1: SunSpecDevice(body, 5_000.0, 10_000.0, models, clock)})
        await units.start()
        place = works(tmp_path, units.port)
        async with serving(place, is_first=True) as (child, http):
            await until(lambda: live(http, "modbus"), "the battery is not there")
            begin_ns = time.time_ns() // SECOND_NS * SECOND_NS
            edges_ns = [begin_ns, begin_ns + 12 * SECOND_NS, begin_ns + 30 * SECOND_NS, begin_ns + HOUR_NS]
            sent = document(4, edges_ns, [[-5e3, -4e3]] * 3, [[2_500.0, 1e3], [1_500.0, 2e3], [1_000.0, 500.0]])
            taken = await http.post("/envelopes", json=sent)
            assert taken.status_code == 200, taken.text
            assert (taken.json()["stands"], taken.json()["in_force"]) == ("in force", 2)
            assert (await http.post("/envelopes", json=sent)).json()["record"] == taken.json()["record"]
            await until(lambda: 2_400 < body.high_w <= 2_500.0, "the first interval was not told")
            await until(lambda: 1_400 < body.high_w <= 1_500.0, "the second interval was not told")
            assert time.time_ns() < edges_ns[1] + 5 * SECOND_NS
            child.kill()
            await child.wait()
        # The third interval begins while nobody serves.
        await asyncio.sleep(max((edges_ns[2] - time.time_ns()) / SECOND_NS, 0.0))
        async with serving(place) as (_, http):
            await until(lambda: 900.0 < body.high_w <= 1_000.0, "the third interval was not told after the kill")
            (view,) = (await http.get("/envelopes")).json()
            assert (view["version"], view["stands"], view["in_force"]) == (4, "in force", 2)
            stale = await http.post("/envelopes", json=document(3, edges_ns, [[0.0, 0.0]] * 3, [[1.0, 1.0]] * 3))
            assert stale.status_code == 409, stale.text
            assert (stale.json()["field"], stale.json()["value"], stale.json()["limit"]) == ("version", "3", "> 4")
            freed = await http.post("/envelopes/feeder-1/withdraw")
            assert freed.json()["done"] is True
            await until(lambda: body.high_w > 1_000.0, "the battery was not let go")
        listed = CliRunner().invoke(main, ["envelopes", "list", "--data", str(place.folder), "--json"])
        assert json.loads(listed.output)["envelopes"][0]["stands"] == "withdrawn"

    asyncio.run(play())


@pytest.mark.long
@pytest.mark.interop
@pytest.mark.parametrize("peer", some(PEERS))
def test_a_ven_of_other_hands_reads_the_intervals_to_come_and_those_of_the_newest_version_alone(
    tmp_path: Path, peer: str
) -> None:
    if not PEERS[peer][0].exists():
        pytest.skip("no peer: run `make peers-openadr` or `make peers-oa3`")
    at_ns = (time.time_ns() // HOUR_NS + 1) * HOUR_NS

    async def play() -> None:
        place = works(tmp_path, free_port())
        async with serving(place, is_first=True) as (child, http):
            edges_ns = [at_ns, at_ns + HOUR_NS // 2, at_ns + HOUR_NS]
            for version, high_w in ((1, 3_000.0), (2, 1_250.0)):
                sent = document(version, edges_ns, [[-5e3, -4e3], [-5e3, -2_500.0]], [[5e3, high_w], [5e3, 0.0]])
                assert (await http.post("/envelopes", json=sent)).status_code == 200

            async def is_told() -> list[dict[str, Any]]:
                seen = await read_by(peer, place)
                return seen if [event["name"] for event in seen] == ["envelope feeder-1 2"] else []

            (event,) = await until(is_told, "the VEN does not know its envelope")
            limits = [(i["IMPORT_CAPACITY_LIMIT"], i["EXPORT_CAPACITY_LIMIT"]) for i in event["intervals"]]
            assert limits == [(4.0, 1.25), (2.5, 0.0)]  # kW
            if peer == "openadr3-client":
                spans = [(i["start"], i["seconds"]) for i in event["intervals"]]
                assert spans == [(at_ns / 1e9, 1_800.0), (at_ns / 1e9 + 1_800.0, 1_800.0)]
            child.kill()
            await child.wait()
        async with serving(place) as (_, http):
            await asyncio.sleep(8.0)  # the first beats of a start: nothing is told twice
            assert await read_by(peer, place) == [event]
            assert (await http.post("/envelopes/feeder-1/withdraw")).json()["done"] is True

            async def is_gone() -> bool:
                return not await read_by(peer, place)

            await until(is_gone, "the VEN still has it")

    asyncio.run(play())


async def live(http: httpx.AsyncClient, name: str) -> bool:
    return any(row["name"] == name and row["state"] == "live" for row in (await http.get("/links")).json())
