"""`tieline serve` is killed in an hour that its loads are called in, and started again: they go on as they were."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from test_serve_trades import PASSWORD, PEERS, gateway, made, process, running

from patience import until
from tieline.desk.facts import AvailabilityDeclared, ClaimsEnded, from_record
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS

SOLD_W, DRAWS_W = 600_000.0, -1_000_000.0
SERVER = str(Path(__file__).parent / "later_server.py")


@pytest.mark.long
def test_a_load_that_is_called_when_the_server_is_killed_stays_called_and_counts_as_before(tmp_path: Path) -> None:
    """Its base was learnt while it ran freely; once it is held no reading tells it any more."""
    iso = subprocess.Popen([sys.executable, str(PEERS / "iso_auction_stdlib.py")], stdout=subprocess.PIPE, text=True)
    folder = made(tmp_path, int(iso.stdout.readline()))
    start_ns = (time.time_ns() // HOUR_NS + 2) * HOUR_NS
    ahead_s = str((start_ns - time.time_ns()) // 10**9 - 12)

    async def play() -> None:
        token = await sold(folder, start_ns)
        async with process(SERVER, str(folder), ahead_s) as (child, url, _), signed_in(url) as http:
            await told(http, token, int(ahead_s), DRAWS_W)
            target_w = await until(lambda: called(http), "the load was not called")
            assert abs(target_w - (DRAWS_W + SOLD_W)) < 0.05 * SOLD_W
            await told(http, token, int(ahead_s), target_w)
            await until(lambda: gives(http, 0.9 * SOLD_W), "what it gives is not counted")
            before = (await http.get("/overview")).json()
            child.kill()
            await child.wait()
        last = seq_of(folder)
        async with running(SERVER, str(folder), ahead_s) as (url, _), signed_in(url) as http:
            await until(lambda: gives(http, 0.9 * SOLD_W), "after the restart it counts as giving nothing")
            await told(http, token, int(ahead_s), target_w)
            await asyncio.sleep(3.0)  # beats that could let it go
            after = (await http.get("/overview")).json()
            assert abs(await called(http) - target_w) < 1_000.0
            assert after["available_up_w"] >= 0.95 * before["available_up_w"]
        facts = facts_since(folder, last)
        assert not [fact for fact in facts if isinstance(fact, ClaimsEnded)]
        assert all(fact.up_w >= SOLD_W for fact in facts if isinstance(fact, AvailabilityDeclared))

    try:
        asyncio.run(play())
    finally:
        iso.kill()
        iso.wait()


def signed_in(url: str) -> httpx.AsyncClient:
    async def sign(request: httpx.Request) -> None:
        if "cookie" not in request.headers and not request.url.path.endswith("/sign-in"):
            await http.post("/sign-in", json={"name": "admin", "password": PASSWORD})
            request.headers["cookie"] = "; ".join(f"{name}={value}" for name, value in http.cookies.items())

    http = httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60, event_hooks={"request": [sign]})
    return http


async def sold(folder: Path, start_ns: int) -> dict[str, str]:
    """Sell an hour of the load, and return the header of who sends readings."""
    async with (
        running("-m", "tieline", "serve", "--data", str(folder)) as (url, secret),
        httpx.AsyncClient(timeout=60) as http,
    ):
        api = f"{url}/api/v1"
        await http.post(f"{api}/enrol", json={"secret": secret, "password": PASSWORD})
        segments = [{"power_w": SOLD_W, "price_per_mwh": 10.0}]
        offer = {"id": "o", "pool": "pool-1", "start_ns": start_ns, "end_ns": start_ns + HOUR_NS, "segments": segments}
        assert (await http.post(f"{api}/offers", json=offer)).status_code == 200

        async def awarded() -> bool:
            return (await http.get(f"{api}/offers")).json()[0]["state"] == "awarded"

        await until(awarded, "no award came")
        return await gateway(http, url)


async def told(http: httpx.AsyncClient, token: dict[str, str], ahead_s: int, load_w: float) -> None:
    """Send what each device does now; the battery is empty and the engine may not serve."""
    now_ns = time.time_ns() + ahead_s * 10**9
    for point, values in (("power_w", {"battery-1": 0.0, "load-1": load_w}), ("soc_frac", {"battery-1": 0.0})):
        body = {"point": point, "resource": list(values), "value": list(values.values())}
        sent = await http.post("/readings", json={**body, "taken_at_ns": [now_ns] * len(values)}, headers=token)
        assert sent.json()["taken"] == len(values), sent.text


async def called(http: httpx.AsyncClient) -> float:
    """Return the target of the load; 0 while it runs freely."""
    scada = (await http.get("/resources/load-1")).json()["scada"]
    return 0.0 if scada["mode"] == "free running" else scada["target_w"]


async def gives(http: httpx.AsyncClient, least_w: float) -> bool:
    return (await http.get("/overview")).json()["delivered_w"] >= least_w


def seq_of(folder: Path) -> int:
    journal = SqliteJournal(folder / "journal.db")
    try:
        return journal.last_seq
    finally:
        journal.close()


def facts_since(folder: Path, seq: int) -> list:
    journal = SqliteJournal(folder / "journal.db")
    try:
        return [from_record(record) for record in journal.replay() if record.seq > seq]
    finally:
        journal.close()
