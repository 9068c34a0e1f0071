"""Capability envelopes over the API: of a device, of pools and feeders, now and as they were known."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_stage import Running

from tieline.bench.redraw import CHROMIUM
from tieline.times import iso

ALL = {"lasts": "5m,1h,4h", "notice": "1m,1d"}


def powers(view: dict, way: str = "up") -> list[float]:
    return [held["power_w"] for held in view[way][-1]["held"]]


def test_feeders_add_up_to_the_fleet_and_a_pool_is_what_its_page_says(running: Running) -> None:
    with running.client("ann") as http:
        feeders = http.get("/api/v1/capability", params={**ALL, "by": "feeder", "count": 1000}).json()
        (pool,) = http.get("/api/v1/capability", params=ALL).json()
        own = http.get(f"/api/v1/resources/{pool['resource']}/capability", params=ALL).json()
        first = http.get("/api/v1/capability", params={**ALL, "by": "feeder", "count": 1, "at": 1}).json()
    assert len(feeders) > 1 and sum(one["devices"] for one in feeders) == 200
    assert [one["resource"] for one in first] == [feeders[1]["resource"]]
    assert 0 < pool["can_be_called"] <= pool["devices"] and powers(own)[0] > 0
    more, less = powers(pool), powers(pool, "down")
    assert more == sorted(more, reverse=True) and less == sorted(less, reverse=True)
    for cell in pool["up"]:
        assert all(held["firm_w"] <= held["power_w"] + 1e-6 for held in cell["held"])
    assert pool["up"][0]["resources"] <= pool["up"][1]["resources"] <= pool["can_be_called"]


def test_a_device_says_its_own_and_at_a_past_instant_what_was_known_then(running: Running) -> None:
    with running.client("ann") as http:
        kept = http.get("/api/v1/past").json()
        name = http.get("/api/v1/search", params={"text": "battery", "count": 1}).json()[0]["id"]
        now = http.get(f"/api/v1/resources/{name}/capability", params=ALL).json()
        then = http.get(f"/api/v1/resources/{name}/capability", params={**ALL, "as_of": iso(kept["first_ns"])}).json()
    assert now["resource"] == then["resource"] == name and now["devices"] == 1
    assert then["now_ns"] == kept["first_ns"] < now["now_ns"]
    assert [held["lasts_s"] for held in now["down"][0]["held"]] == [300.0, 3_600.0, 14_400.0]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/capability?lasts=soon", "lasts"),
        ("/api/v1/capability?lasts=0s", "lasts"),
        ("/api/v1/capability?notice=2y", "notice"),
        ("/api/v1/capability?by=owner", "by"),
        ("/api/v1/capability?count=0", "count"),
        ("/api/v1/capability?length=1h", "length"),
        (f"/api/v1/capability?lasts={','.join(f'{k}m' for k in range(1, 14))}", "lasts"),
    ],
)
def test_what_is_not_understood_is_refused_by_field_value_and_limit(running: Running, path: str, field: str) -> None:
    with running.client("ann") as http:
        answer = http.get(path)
    assert answer.status_code == 422 and answer.json()["field"] == field and answer.json()["limit"]


def test_an_unknown_resource_is_missing_and_a_stranger_sees_nothing(running: Running) -> None:
    with running.client("ann") as http:
        assert http.get("/api/v1/resources/none/capability").status_code == 404
    with running.client(None) as http:
        assert http.get("/api/v1/capability").status_code == 401


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium: apt-get install chromium")
def test_the_page_of_a_pool_shows_what_it_can_be_called_for_by_length(running: Running, browser) -> None:
    context = browser.new_context()
    context.add_cookies([{"name": "tieline_session", "value": running.cookies["ann"], "url": running.url}])
    page = context.new_page()
    page.goto(f"{running.url}/resource/pool-1")
    panel = page.locator("section", has=page.get_by_role("heading", name="Can be called for"))
    panel.wait_for(timeout=60_000)
    with running.client("ann") as http:
        view = http.get("/api/v1/resources/pool-1/capability").json()
    assert f"{view['can_be_called']} of {view['devices']} can be called" in panel.inner_text()
    assert [row.split("\t")[0] for row in panel.locator("tbody").inner_text().splitlines()] == ["15 min", "1 h", "4 h"]
    assert "W" in panel.locator("tbody tr").first.inner_text()
    context.close()
