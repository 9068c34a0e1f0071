"""A server's day-ahead offers go by what its loads are foretold to draw; what was known is kept, and the old way as well."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
from data_folder import data_folder
from test_kept_loads import SETTINGS, TABLE, ZONE, shape_w
from test_serve_trades import PASSWORD, gateway, running

from patience import until
from tieline.desk.offering import by_load, day_ahead_offers
from tieline.fleet.columns import KIND_CODE
from tieline.node.config import load_config
from tieline.resource.identity import Kind
from tieline.rim.clock import SystemClock
from tieline.store import registry
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, iso, market_day

DAYS = 30
DEAR = (7, 12)
TYPICAL_W = 0.5 * 2 * 2_000_000.0
MARGIN = 0.75


async def filled(http: httpx.AsyncClient, api: str, token: dict[str, str], today: date) -> None:
    """Thirty days of readings, and six of day-ahead prices with two dear hours."""
    for back in range(DAYS, 0, -1):
        over = market_day(today - timedelta(days=back), ZONE)
        at_ns = list(range(over.start_ns, over.end_ns, 15 * MINUTE_NS))
        values = [-shape_w(at) for at in at_ns] + [0.0] * len(at_ns) * 2
        names = [name for name in ("load-1", "load-2", "battery-1") for _ in at_ns]
        body = {"point": "power_w", "resource": names, "value": values, "taken_at_ns": at_ns * 3}
        answer = await http.post(f"{api}/readings", json=body, headers=token)
        assert answer.json()["taken"] == len(values), answer.text
    sent = {"zone": "system", "market": "day_ahead", "start_ns": [], "price_per_mwh": []}
    for back in range(6, 0, -1):
        over = market_day(today - timedelta(days=back), ZONE)
        hours = list(range(over.start_ns, over.end_ns, HOUR_NS))
        sent["start_ns"] += hours
        sent["price_per_mwh"] += [900.0 if from_ns(at).astimezone(ZONE).hour in DEAR else 30.0 for at in hours]
    answer = await http.post(f"{api}/prices", json=sent)
    assert answer.status_code == 200, answer.text


def offered_w(proposal: dict) -> dict[int, float]:
    """Power by the hour of the day."""
    return {
        from_ns(offer["start_ns"]).astimezone(ZONE).hour: sum(step["power_w"] for step in offer["segments"])
        for offer in proposal["offers"]
    }


@pytest.mark.long
def test_a_served_pool_offers_what_its_loads_are_foretold_to_draw(tmp_path: Path) -> None:
    folder, _ = data_folder(tmp_path, TABLE.replace("battery-1,battery,,500000,500000", "battery-1,battery,,1,1"))
    (folder / "tieline.toml").write_text(SETTINGS + '[pools.pool-1]\noffers = "plain"\n')
    started = SystemClock().now_ns()
    today = from_ns(started).astimezone(ZONE).date()
    tomorrow = market_day(today + timedelta(days=1), ZONE)

    async def signed_in(http: httpx.AsyncClient, api: str) -> None:
        assert (await http.post(f"{api}/sign-in", json={"name": "admin", "password": PASSWORD})).status_code == 200

    async def play() -> None:
        serve = ("-m", "tieline", "serve", "--data", str(folder))
        async with running(*serve) as (url, secret), httpx.AsyncClient(timeout=60) as http:
            api = f"{url}/api/v1"
            await http.post(f"{api}/enrol", json={"secret": secret, "password": PASSWORD})
            await filled(http, api, await gateway(http, url), today)
            assert (await http.get(f"{api}/forecasts")).json() == []
            proposal = (await http.get(f"{api}/offers/proposal", params={"hours": 2})).json()
            assert offered_w(proposal) == dict.fromkeys(DEAR, TYPICAL_W * MARGIN), proposal
        later = str(Path(__file__).parent / "later_server.py")
        async with running(later, str(folder), "1") as (url, _), httpx.AsyncClient(timeout=60) as http:
            api = f"{url}/api/v1"
            await signed_in(http, api)

            async def foretold() -> list:
                views = (await http.get(f"{api}/forecasts", params={"pool": "pool-1"})).json()
                return views if len(views) == 2 and all(view["wape"] for view in views) else []

            for view, lead in zip(await until(foretold, "nothing is foretold"), (0, 1), strict=True):
                over = market_day(today + timedelta(days=lead), ZONE)
                assert (view["pool"], view["kind"], view["starts_ns"][0]) == (
                    "pool-1", "interruptible_load", over.start_ns
                )  # fmt: skip
                expected = [shape_w(at) for at in range(over.start_ns, over.end_ns, HOUR_NS)]
                assert view["mean_w"] == pytest.approx(expected, rel=0.02)
                assert view["wape"][view["model"]] < 0.05 and started < view["known_at_ns"]
                assert view["readings_until_ns"] == market_day(today, ZONE).start_ns
            before = await http.get(f"{api}/forecasts", params={"at": iso(started)})
            assert before.json() == []  # it was not known then
            proposal = (await http.get(f"{api}/offers/proposal", params={"hours": 2})).json()
            for hour, watts in offered_w(proposal).items():
                drawn_w = shape_w(tomorrow.start_ns + hour * HOUR_NS)
                assert watts == pytest.approx(drawn_w * MARGIN, rel=0.02)
            assert len(proposal["offers"]) == 2
        (folder / "tieline.toml").write_text(SETTINGS + '[pools.pool-1]\noffers = "plain"\nloads = "typical"\n')
        async with running(later, str(folder), "2") as (url, _), httpx.AsyncClient(timeout=60) as http:
            api = f"{url}/api/v1"
            await signed_in(http, api)
            proposal = (await http.get(f"{api}/offers/proposal", params={"hours": 2})).json()
            assert offered_w(proposal) == dict.fromkeys(DEAR, TYPICAL_W * MARGIN)

    asyncio.run(play())


def test_a_load_gives_no_more_than_it_draws_and_what_is_not_foretold_is_typical(tmp_path: Path) -> None:
    folder, _ = data_folder(tmp_path, TABLE.replace("load-2,interruptible_load", "heat-1,thermostat"))
    fleet = registry.load(folder / "registry.bin")
    power_w = np.array([500_000.0, 1_000_000.0, 300_000.0])
    drawn_w = {
        Kind.INTERRUPTIBLE_LOAD: np.array([1_500_000.0, 250_000.0, np.nan, -5.0]),
        Kind.THERMOSTAT: np.array([1_500_000.0, 150_000.0, np.nan, 0.0]),
    }
    parts = by_load(fleet, power_w, drawn_w)
    assert parts[:, KIND_CODE[Kind.INTERRUPTIBLE_LOAD]].tolist() == [1.5, 0.25, 1.0, 0.0]
    assert parts[:, KIND_CODE[Kind.THERMOSTAT]].tolist() == [1.0, 0.5, 1.0, 0.0]
    assert (parts[:, KIND_CODE[Kind.BATTERY]] == 1.0).all()
    day, price, cost = market_day(date(2026, 6, 1), ZONE), np.full(24, 10.0), np.zeros(3)
    price[:4] = 100.0
    energy_wh = np.full(3, np.inf)
    made = day_ahead_offers(
        "pool-1", "ENERGY", day, price, power_w * [0, 1, 1], energy_wh, cost, 4, lambda hour: parts[hour, fleet.kinds]
    )
    watts = [sum(step.power_w for step in offer.segments) for offer in made]
    assert watts == [1_350_000.0, 300_000.0, 975_000.0]  # of the fourth hour there is nothing to offer


def test_another_word_for_loads_is_refused_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "tieline.toml"
    path.write_text(SETTINGS + '[pools.pool-1]\nloads = "guess"\n')
    with pytest.raises(Exception, match=r"'guess' at \$\.pools\.pool-1\.loads: give forecast or typical"):
        load_config(path)
