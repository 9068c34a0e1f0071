"""What a served folder says over its API that groups can be called for is what others read of its VTN."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from test_serve_envelopes import PEERS, ROOT, Works, live, serving, works
from test_serve_links import Body, until

from tieline.links.device.sunspec_models import model
from tieline.node.cli import main
from tieline.rim.clock import SystemClock
from tieline.simulate.sunspec_device import SunSpecDevice, SunSpecServer

PYTHON = PEERS["python-oa3-client"][0]
LASTS, NOTICES = (300, 900, 3_600, 14_400), (60, 600)


def widened(place: Works) -> str:
    """Have a client that reads all told of the pool and the feeder, and return its secret."""
    client = json.loads(CliRunner().invoke(main, ["credential", "dso", "--json"]).output)
    path = place.folder / "tieline.toml"
    text = path.read_text()
    made = f', {{ id = "dso", secret_sha256 = "{client["secret_sha256"]}", scopes = ["read_all"] }}]'
    head, tail = text.split("]\n\n[[links.modbus]]")
    path.write_text(f'{head}{made}\ncapability_of = ["pool-1", "feeder-1", "battery-1"]\n\n[[links.modbus]]{tail}')
    return str(client["secret"])


@pytest.mark.long
@pytest.mark.interop
@pytest.mark.skipif(not PYTHON.exists(), reason="no peer: run `make peers-oa3`")
def test_a_client_of_other_hands_reads_of_the_vtn_what_the_api_says_that_each_group_can_be_called_for(
    tmp_path: Path,
) -> None:
    async def play() -> None:
        clock, body = SystemClock(), Body()
        models = {number: model(number) for number in (1, 701, 702, 703, 704, 713)}
        units = SunSpecServer({1: SunSpecDevice(body, 5_000.0, 10_000.0, models, clock)})
        await units.start()
        place = works(tmp_path, units.port)
        secret = widened(place)
        async with serving(place, is_first=True) as (_, http):
            await until(lambda: live(http, "modbus"), "the battery is not there")

            async def is_told() -> dict[str, Any]:
                found = await read_by_peer(place, secret)
                if set(found["found"]) != {"pool-1", "feeder-1", "battery-1"}:
                    return {}
                first = found["found"]["battery-1"]["battery-1 at 60 s notice"][0]
                return found if first["UP_REGULATION_AVAILABLE"] > 0.5 else {}

            told = await until(is_told, "nothing is told of a battery that is heard", 150.0)
            assert told["confidence"] == [95]
            query = {"lasts": ",".join(f"{s}s" for s in LASTS), "notice": ",".join(f"{s}s" for s in NOTICES)}
            for name, reports in told["found"].items():
                view = (await http.get(f"/resources/{name}/capability", params=query)).json()
                assert set(reports) == {f"{name} at {notice} s notice" for notice in NOTICES}
                assert view["up"][0]["held"][0]["power_w"] > 500.0, "the battery can give more"
                for at, notice in enumerate(NOTICES):
                    said = reports[f"{name} at {notice} s notice"]
                    for length, payloads in enumerate(said):
                        for way in ("up", "down"):
                            same(payloads, way.upper(), view[way][at], length)
            assert await seen_by_ven(place) == {"programs": 0, "events": 0, "reports": 0}
        async with serving(place):
            await until(is_told, "after a start it is not told by the one event there was", 150.0)

    asyncio.run(play())


async def seen_by_ven(place: Works) -> dict[str, int]:
    """Return how many things of capability a VEN sees that asks for them by their target."""
    async with httpx.AsyncClient(base_url=place.vtn) as http:
        form = {"grant_type": "client_credentials", "client_id": "hybrid-1", "client_secret": place.secret}
        token = (await http.post("/auth/token", data=form)).json()["access_token"]
        http.headers["authorization"] = f"Bearer {token}"
        counts = {}
        for kind in ("programs", "events", "reports"):
            found = list[Any]()
            for query in ({}, {"targets": "tieline-capability"}):
                answer = await http.get(f"/{kind}", params=query)
                found += answer.json() if answer.status_code == 200 else []
            counts[kind] = sum("capability" in json.dumps(each) for each in found)
    return counts


def same(payloads: dict[str, float], way: str, noticed: dict[str, Any], length: int) -> None:
    held = noticed["held"][length]
    assert payloads[f"{way}_REGULATION_AVAILABLE"] == pytest.approx(held["power_w"] / 1e3, rel=0.01, abs=1e-3)
    assert payloads[f"{way}_FIRM"] == pytest.approx(held["firm_w"] / 1e3, rel=0.01, abs=1e-3)
    assert payloads[f"{way}_REBOUND"] == pytest.approx(held["rebound_wh"] / 1e3, rel=0.01, abs=1e-3)
    for part, value, scale in (("ENERGY", noticed["energy_wh"], 1e3), ("RAMP", noticed["ramped_s"], 1.0)):
        assert (f"{way}_{part}" in payloads) == (value is not None)
        if value is not None:
            assert payloads[f"{way}_{part}"] == pytest.approx(value / scale, rel=0.01, abs=1e-3)


async def read_by_peer(place: Works, secret: str) -> dict[str, Any]:
    words = [str(PYTHON), str(ROOT / "tests" / "peers" / "openadr_oa3_capability.py"), place.vtn, "dso", secret]
    child = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await child.communicate()
    if child.returncode:
        return {"found": {}, "error": err.decode()[-2000:]}
    found: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    return found
