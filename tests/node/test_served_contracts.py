"""`tieline serve` with contracts: an owner takes consent back in an hour that is sold, and a restart finds it so."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from test_serve_restart import DRAWS_W, SERVER, SOLD_W, called, facts_since, gives, signed_in, sold, told
from test_serve_trades import PASSWORD, PEERS, made, process, running

from patience import until
from tieline.desk.facts import AvailabilityDeclared, CapacityDerated, ConsentChanged, PositionChanged
from tieline.errors import ConfigError
from tieline.node.cli import main
from tieline.node.config import load_config
from tieline.node.contracting import agreements_of
from tieline.store import registry
from tieline.times import HOUR_NS

EVIDENCE, NEW = "a" * 64, "b" * 64
CONTRACTS = f"""
[[party]]
id = "works"
roles = ["utility", "retailer"]
[[party]]
id = "bob"
roles = ["owner", "customer"]
[[location]]
id = "mill"
customer = "bob"
utility = "works"
retailer = "works"
account = "A-1"
meter = "M-1"
jurisdiction = "US-TX"
resources = ["load-1"]
[[contract]]
id = "mill-2026"
owner = "bob"
manager = "works"
locations = ["mill"]
[[contract.terms]]
version = 1
effective_from = 2020-01-01T00:00:00Z
products = ["energy", "demand_response"]
calls_a_season = 10
currency = "USD"
owner_share_frac = 0.8
[[contract.consents]]
products = ["energy", "demand_response"]
granted_at = 2020-01-01T00:00:00Z
evidence_sha256 = "{EVIDENCE}"
[contract.termination]
notice_days = 30
"""


def contracted(folder: Path, text: str = CONTRACTS, without: str = "refuse") -> Path:
    (folder / "contracts.toml").write_text(text, encoding="utf-8")
    settings = folder / "tieline.toml"
    table = f'\n[contracts]\nfile = "contracts.toml"\nwithout = "{without}"\n'
    settings.write_text(settings.read_text(encoding="utf-8") + table, encoding="utf-8")
    return folder


@pytest.mark.long
def test_consent_that_is_taken_back_frees_the_load_tells_the_market_and_outlives_a_restart(tmp_path: Path) -> None:
    iso = subprocess.Popen([sys.executable, str(PEERS / "iso_auction_stdlib.py")], stdout=subprocess.PIPE, text=True)
    folder = contracted(made(tmp_path, int(iso.stdout.readline())))
    start_ns = (time.time_ns() // HOUR_NS + 2) * HOUR_NS
    ahead_s = str((start_ns - time.time_ns()) // 10**9 - 12)

    async def play() -> None:
        token = await sold(folder, start_ns)
        async with process(SERVER, str(folder), ahead_s) as (child, url, _), signed_in(url) as http:
            await told(http, token, int(ahead_s), DRAWS_W)
            await until(lambda: called(http), "the load was not called")
            await told(http, token, int(ahead_s), DRAWS_W + SOLD_W)
            await until(lambda: gives(http, 0.9 * SOLD_W), "what it gives is not counted")
            (seen,) = (await http.get("/contracts")).json()
            assert (seen["id"], seen["resources"], seen["out_because"]) == ("mill-2026", ["load-1"], "")
            assert (await http.get("/contracts", params={"resource": "battery-1"})).json() == []
            taken = await http.post("/contracts/mill-2026/withdraw", json={"because": "bob moves out"})
            assert taken.status_code == 200, taken.text
            await until(lambda: is_free(http), "the load is called still")
            (seen,) = (await http.get("/contracts")).json()
            assert "withdrawn" in seen["out_because"]
            assert [(word["by"], word["because"]) for word in seen["words"]] == [("admin", "bob moves out")]
            why = (await http.get("/resources/load-1/why")).json()
            assert "mill-2026" in json.dumps(why)
            refused = await http.post("/contracts/mill-2026/withdraw", json={})
            assert (refused.status_code, refused.json()["rule"]) == (409, "mill-2026")
            await until(lambda: declared(folder), "the market was not told")
            child.kill()
            await child.wait()
        async with running(SERVER, str(folder), ahead_s) as (url, _), signed_in(url) as http:
            await told(http, token, int(ahead_s), DRAWS_W)
            await asyncio.sleep(3.0)  # beats that could call it
            assert await is_free(http)
            body = {"evidence_sha256": NEW, "because": "bob stays"}
            assert (await http.post("/contracts/mill-2026/consent", json=body)).status_code == 200
            await until(lambda: called(http), "after a new consent the load is not called")

    async def is_free(http: httpx.AsyncClient) -> bool:
        view = (await http.get("/resources/load-1")).json()
        return view["market"]["opted_out"] and not await called(http)

    async def declared(at: Path) -> bool:
        facts = facts_since(at, 0)
        said = [fact for fact in facts if isinstance(fact, ConsentChanged)]
        derated = [fact for fact in facts if isinstance(fact, CapacityDerated) and fact.up_w < SOLD_W]
        moved = [fact for fact in facts if isinstance(fact, PositionChanged) and fact.after_up_w < SOLD_W / 2]
        up_w = [fact.up_w for fact in facts if isinstance(fact, AvailabilityDeclared)]
        return bool(said and derated and moved and up_w and up_w[-1] < SOLD_W / 2)

    try:
        asyncio.run(play())
    finally:
        iso.kill()
        iso.wait()
    asked = CliRunner().invoke(main, ["why", "load-1", "--data", str(folder), "--json"])
    assert asked.exit_code == 0, asked.output
    (told_of,) = json.loads(asked.output)["contracts"]
    assert (told_of["contract"], told_of["said"]["because"]) == ("mill-2026", "bob stays")
    again = CliRunner().invoke(main, ["replay", "--data", str(folder), "--json"])
    assert again.exit_code == 0, again.output


def test_an_owner_sees_and_takes_back_his_own_contract_and_no_other(tmp_path: Path) -> None:
    folder = contracted(made(tmp_path, 9))
    settings = (folder / "tieline.toml").read_text(encoding="utf-8")
    (folder / "tieline.toml").write_text(
        settings[: settings.index("[[links.iso]]")] + settings[settings.index("[contracts]") :]
    )

    async def play() -> None:
        async with (
            running("-m", "tieline", "serve", "--data", str(folder)) as (url, secret),
            httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as http,
        ):
            await http.post("/enrol", json={"secret": secret, "password": PASSWORD})
            for name, scope in (("bob", ["load-1"]), ("ann", ["battery-1"])):
                invited = await http.post("/accounts", json={"name": name, "roles": ["owner"], "scope": scope})
                async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as owner:
                    await owner.post("/enrol", json={"secret": invited.json()["secret"], "password": PASSWORD})
                    seen = [one["id"] for one in (await owner.get("/contracts")).json()]
                    taken = await owner.post("/contracts/mill-2026/withdraw", json={})
                    assert (seen, taken.status_code) == ((["mill-2026"], 200) if name == "bob" else ([], 404))
                    assert (await owner.get("/overview")).status_code == 403

    asyncio.run(play())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('resources = ["load-1"]', 'resources = ["load-9"]', "$.location[0].resources = 'load-9': give a resource"),
        ('resources = ["load-1"]', 'colour = "red"', "$.location[0]: Object contains unknown field `colour`"),
        ("calls_a_season = 10", "calls_a_year = 10", "calls_a_year"),
    ],
)
def test_a_server_does_not_start_on_contracts_that_are_wrong(tmp_path: Path, old: str, new: str, says: str) -> None:
    folder = contracted(made(tmp_path, 9), CONTRACTS.replace(old, new))
    fleet, settings = registry.load(folder / "registry.bin"), load_config(folder / "tieline.toml")
    with pytest.raises(ConfigError) as error:
        agreements_of(settings, folder, fleet)
    assert says in str(error.value)
    found = CliRunner().invoke(main, ["doctor", "--data", str(folder), "--json"])
    told = json.loads(found.output)
    assert found.exit_code == 1 and says.split(":")[0] in told["contracts"]["says"]
    assert told["links"]["ok"], "what is wrong with contracts is no fault of a link"


def test_doctor_counts_the_contracts_of_a_folder_under_a_heading_of_their_own(tmp_path: Path) -> None:
    def told(folder: Path) -> dict[str, dict[str, object]]:
        return json.loads(CliRunner().invoke(main, ["doctor", "--data", str(folder), "--json"]).output)

    folder = made(tmp_path, 9)
    assert "contracts" not in told(folder)
    found = told(contracted(folder))["contracts"]
    assert found["ok"] is True and str(found["says"]).startswith("1 contracts on 1 of ")


def test_settings_of_contracts_refuse_what_they_do_not_know(tmp_path: Path) -> None:
    folder = contracted(made(tmp_path, 9), without="maybe")
    with pytest.raises(ConfigError, match=r"contracts\.without"):
        load_config(folder / "tieline.toml")
