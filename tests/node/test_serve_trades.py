"""`tieline serve` as its own process trades: prices, offers and awards, and the day after readings and a settlement."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import numpy as np
from click.testing import CliRunner

from patience import until
from tieline.node.cli import main
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, market_day

PEERS = Path(__file__).parents[1] / "peers"
ZONE = ZoneInfo("America/Chicago")
TABLE = """id,kind,fuel,max_inject_w,max_absorb_w,energy_wh,feeder,site,owner,pool
battery-1,battery,,500000,500000,2000000,feeder-1,site-1,ann,pool-1
load-1,interruptible_load,none,0,2000000,0,feeder-1,site-2,bob,pool-1
engine-1,backup_generator,diesel,400000,0,0,feeder-1,site-2,bob,pool-1
"""
SETTINGS = """
name = "works"
zone = "America/Chicago"
jurisdiction = "US-TX"
port = 0

[pools.pool-1]
price_zone = "HB_NORTH"
operator_frac = 0.25
offers = "plain"

[limits]
fleet_move_w = 5e6

[[links.iso]]
url = "http://127.0.0.1:{iso}/"
zone = "America/Chicago"
pools = {{ pool-1 = "TL_NORTH" }}
poll_s = 0.5
awards_s = 0.5
"""
PASSWORD = "a long password"


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[tuple[str, str]]:
    """Yield the console's address and the secret of its one-time link (empty: everybody has a password)."""
    async with process(*command) as (_, url, secret):
        yield url, secret


@asynccontextmanager
async def process(*command: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, str]]:
    """Yield the server's process beside what `running` yields; it may be killed meanwhile."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        url = ""
        async with asyncio.timeout(120):
            while not url:
                line = (await child.stdout.readline()).decode()
                assert line, (await child.stderr.read()).decode()
                url = line.split()[-1] if line.startswith("console at") else ""
            secret = ""
            if "later_server" not in command[0]:
                secret = (await child.stdout.readline()).decode().rpartition("#")[2].strip()
        yield child, url, secret
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()


def made(tmp_path: Path, iso: int) -> Path:
    run, folder = CliRunner(), tmp_path / "works"
    assert run.invoke(main, ["init", str(folder)]).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    done = run.invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)])
    assert done.exit_code == 0, done.output
    (folder / "tieline.toml").write_text(SETTINGS.format(iso=iso))
    return folder


async def gateway(http: httpx.AsyncClient, url: str) -> dict[str, str]:
    """Return the header of a new gateway account's token."""
    invited = await http.post(f"{url}/api/v1/accounts", json={"name": "head-end", "roles": ["gateway"]})
    assert invited.status_code == 200, invited.text
    token = await http.post(f"{url}/api/v1/accounts/head-end/tokens")
    return {"authorization": f"Bearer {token.json()['secret']}"}


def readings(of: dict[str, float], called: dict[str, float], start_ns: int, first_ns: int, end_ns: int) -> dict:
    """Return power every 15 minutes; within the hour from `start_ns` what was called."""
    instants = list(range(first_ns, end_ns, 15 * MINUTE_NS))
    rows = [
        (name, called[name] if start_ns <= at < start_ns + HOUR_NS else usual, at)
        for name, usual in of.items()
        for at in instants
    ]
    names, values, taken = (list(column) for column in zip(*rows, strict=True))
    return {"point": "power_w", "resource": names, "value": values, "taken_at_ns": taken}


def test_a_served_pool_offers_is_awarded_and_is_settled_the_day_after(tmp_path: Path) -> None:
    iso = subprocess.Popen([sys.executable, str(PEERS / "iso_auction_stdlib.py")], stdout=subprocess.PIPE, text=True)
    folder = made(tmp_path, int(iso.stdout.readline()))
    start_ns = (time.time_ns() // HOUR_NS + 2) * HOUR_NS
    day = from_ns(start_ns).astimezone(ZONE).date()
    over = market_day(day, ZONE)

    async def the_day() -> dict[str, str]:
        async with (
            running("-m", "tieline", "serve", "--data", str(folder)) as (url, secret),
            httpx.AsyncClient(timeout=60) as http,
        ):
            api = f"{url}/api/v1"
            await http.post(f"{api}/enrol", json={"secret": secret, "password": PASSWORD})
            await prices_make_a_forecast(http, api, over.start_ns)
            await offers_are_taken_once_and_refused_by_name(http, api, start_ns)

            async def awarded() -> bool:
                return (await http.get(f"{api}/offers")).json()[0]["state"] == "awarded"

            await until(awarded, "no award came")
            (offer,) = (await http.get(f"{api}/offers")).json()
            assert (offer["awarded_w"], offer["price_per_mwh"]) == (800_000.0, 50.0)

            async def listed() -> list:
                return (await http.get(f"{api}/settlements")).json()

            (row,) = await until(listed, "the day is not listed")
            assert (row["state"], row["statements"]) == ("running", [])
            await what_is_proposed_can_be_sent(http, api, day)
            return await gateway(http, url)

    async def the_day_after(token: dict[str, str]) -> None:
        ahead_s = (over.end_ns - time.time_ns()) // 10**9 + 600
        server = str(Path(__file__).parent / "later_server.py")
        async with running(server, str(folder), str(ahead_s)) as (url, _), httpx.AsyncClient(timeout=60) as http:
            api = f"{url}/api/v1"
            signed = await http.post(f"{api}/sign-in", json={"name": "admin", "password": PASSWORD})
            assert signed.status_code == 200, signed.text

            async def day_is(state: str) -> dict:
                rows = (await http.get(f"{api}/settlements", params={"pool": "pool-1"})).json()
                row = next(row for row in rows if row["day"] == day.isoformat())
                return row if row["state"] == state else {}

            row = await until(lambda: day_is("waiting"), "the day does not say that it waits")
            assert row["missing"] == [
                f"real-time prices of HB_NORTH: 12 intervals from {from_ns(start_ns):%Y-%m-%dT%H:%M:%SZ} on",
                "readings of battery-1, load-1, engine-1 in called hours",
            ]
            sent = {"zone": "HB_NORTH", "market": "real_time", "step_s": 300, "price_per_mwh": [100.0] * 12}
            sent["start_ns"] = [start_ns + k * 5 * MINUTE_NS for k in range(12)]
            assert (await http.post(f"{api}/prices", json=sent)).json() == {"taken": 12, "new": 12}
            usual = {"battery-1": 0.0, "load-1": -1_000_000.0, "engine-1": 0.0}
            called = {"battery-1": 200_000.0, "load-1": -600_000.0, "engine-1": 100_000.0}
            first = day - timedelta(days=40)
            for week in range(0, 42, 7):
                begins = market_day(first + timedelta(days=week), ZONE).start_ns
                ends = min(market_day(first + timedelta(days=week + 7), ZONE).start_ns, over.end_ns)
                body = readings(usual, called, start_ns, begins, ends)
                kept = await http.post(f"{api}/readings", json=body, headers=token)
                assert kept.json()["taken"] == len(body["value"]), kept.text

            row = await until(lambda: day_is("settled"), "the day was not settled")
            (statement,) = row["statements"]
            # 400 kW of load and 200 kW of battery, less 100 kW of an engine that may not serve: 500 of 800 kW awarded.
            # 0.8 MWh at 50 $/MWh, less twelve times 0.025 MWh at 100 $/MWh.
            assert statement["total"] == "10.00"
            assert sum(float(amount) for amount in statement["by_cause"].values()) == 10.0
            # The engine's share of each interval is 0.833 $, in whole cents; nobody was dispatched for the rest.
            assert statement["by_cause"] == {"day_ahead": "40.00", "not_dispatched": "-20.04", "prohibited": "-9.96"}
            shares = {name: float(amount) for name, amount in statement["body"]["shares"].items()}
            assert (
                sum(shares.values()) + float(statement["body"]["operator"]) + float(statement["body"]["undistributed"])
                == 10.0
            )

            late = readings({"load-1": -1e6}, {"load-1": -200_000.0}, start_ns, start_ns, start_ns + HOUR_NS)
            await http.post(f"{api}/readings", json=late, headers=token)

            async def amended() -> list:
                return [s for s in (await day_is("settled") or {"statements": []})["statements"] if s["version"] == 2]

            (second,) = await until(amended, "the corrected readings made no second version")
            # Now 800 kW of load: 900 kW, so that twelve times 100 kW for five minutes are paid 0.83 each.
            assert second["total"] == "49.96"
            assert second["body"]["adjustment"] == "39.96"

    async def play() -> None:
        await the_day_after(await the_day())

    try:
        asyncio.run(play())
    finally:
        iso.kill()
        iso.wait()


async def prices_make_a_forecast(http: httpx.AsyncClient, api: str, day_ns: int) -> None:
    """Six days of day-ahead prices with a dear hour 18: the market desk then expects one tomorrow."""
    shape = 30.0 + 100.0 * (np.arange(24) == 18)
    sent = {"zone": "HB_NORTH", "market": "day_ahead", "start_ns": [], "price_per_mwh": []}
    for back in range(6, 0, -1):
        over = market_day(from_ns(day_ns - back * 24 * HOUR_NS + 12 * HOUR_NS).astimezone(ZONE).date(), ZONE)
        hours = list(range(over.start_ns, over.end_ns, HOUR_NS))
        sent["start_ns"] += hours
        sent["price_per_mwh"] += shape[: len(hours)].tolist()
    for new in (len(sent["start_ns"]), 0):  # the same again has no effect
        answer = await http.post(f"{api}/prices", json=sent)
        assert answer.json() == {"taken": len(sent["start_ns"]), "new": new}, answer.text
    wrong = await http.post(f"{api}/prices", json={**sent, "zone": "HB_SOUTH"})
    assert (wrong.status_code, wrong.json()["limit"]) == (404, "one of HB_NORTH")
    hours = (await http.get(f"{api}/market")).json()["hours"]
    expected = {row["start_ns"]: row["forecast_per_mwh"] for row in hours if row["forecast_per_mwh"] is not None}
    assert expected
    for at, price in expected.items():
        assert price == (130.0 if from_ns(at).astimezone(ZONE).hour == 18 else 30.0)


async def offers_are_taken_once_and_refused_by_name(http: httpx.AsyncClient, api: str, start_ns: int) -> None:
    offer = {
        "id": "mine-1", "pool": "pool-1", "start_ns": start_ns, "end_ns": start_ns + HOUR_NS,
        "segments": [{"power_w": 500_000.0, "price_per_mwh": 10.0}, {"power_w": 300_000.0, "price_per_mwh": 40.0}],
    }  # fmt: skip
    for _ in range(2):
        answer = await http.post(f"{api}/offers", json=offer)
        assert answer.status_code == 200, answer.text
        assert answer.json()[0]["state"] in ("offered", "awarded")
    assert len((await http.get(f"{api}/offers")).json()) == 1
    for change, field in (
        ({"segments": [{"power_w": 1.0, "price_per_mwh": 5.0}]}, "id"),
        ({"id": "b", "pool": "pool-9"}, "pool"),
        ({"id": "b", "product": "MAGIC"}, "product"),
        ({"id": "b", "end_ns": start_ns + 2 * HOUR_NS}, "start_ns, end_ns"),
        ({"id": "b", "start_ns": start_ns - 48 * HOUR_NS, "end_ns": start_ns - 47 * HOUR_NS}, "start_ns"),
        ({"id": "b", "segments": offer["segments"][::-1]}, "segments[1].price_per_mwh"),
        ({"id": "b", "segments": [{"power_w": -1.0, "price_per_mwh": 5.0}]}, "segments[0].power_w"),
    ):
        answer = await http.post(f"{api}/offers", json={**offer, **change})
        assert answer.status_code in (404, 409), answer.text
        assert answer.json()["field"] == field
        assert answer.json()["limit"]
    # A second offer of the hour comes on top of the first, as the market adds them up.
    more = {**offer, "id": "mine-3", "segments": [{"power_w": 2_900_000.0, "price_per_mwh": 1.0}]}
    answer = await http.post(f"{api}/offers", json=[more])
    assert answer.json()[0]["state"] == "refused"
    assert answer.json()[0]["holder"].startswith("ENERGY (reservation:")
    # The rest of the pool's rating is sold as reserve at the same time at most once: the book names who holds it.
    second = {**offer, "id": "mine-2", "product": "SPIN", "segments": [{"power_w": 2_900_000.0, "price_per_mwh": 1.0}]}
    answer = await http.post(f"{api}/offers", json=[second])
    assert answer.json()[0]["state"] == "refused"
    assert answer.json()[0]["holder"]


async def what_is_proposed_can_be_sent(http: httpx.AsyncClient, api: str, sold_day: date) -> None:
    """Tomorrow's one dear hour, at no less than its devices ask; the battery is never sold beyond what it stores.

    From ten in the evening on tomorrow is the day that is sold already, whose account one more award would change: it is
    proposed then, and not sent.
    """
    proposed = (await http.get(f"{api}/offers/proposal", params={"pool": "pool-1", "hours": 3})).json()["offers"]
    (offer,) = proposed
    assert from_ns(offer["start_ns"]).astimezone(ZONE).hour == 18
    prices = [step["price_per_mwh"] for step in offer["segments"]]
    assert prices == sorted(prices)
    # Half of the load's rating and the battery's, less a margin of a quarter.
    assert sum(step["power_w"] for step in offer["segments"]) == 0.75 * (0.5 * 2_000_000 + 500_000)
    if from_ns(offer["start_ns"]).astimezone(ZONE).date() != sold_day:
        sent = await http.post(f"{api}/offers", json=proposed)
        assert sent.json()[0]["state"] in ("offered", "awarded"), sent.text
    none = await http.get(f"{api}/offers/proposal", params={"pool": "pool-1", "day": "2021-01-01"})
    assert none.json()["offers"] == []
    assert "and a whole day of prices of HB_NORTH" in none.json()["why"]
    wrong = await http.get(f"{api}/offers/proposal", params={"pool": "pool-9"})
    assert (wrong.status_code, wrong.json()["limit"]) == (404, "one of pool-1")
