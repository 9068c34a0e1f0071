"""What the screens say where there is no award, and of a command whose time is over: what is true, not a blank word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from console_stage import Running

from tieline.bench.redraw import CHROMIUM
from tieline.desk.views import AlarmView
from tieline.node.read_alarms import AlarmBook
from tieline.times import SECOND_NS

Change = Callable[[dict[str, Any]], None]
needs_chromium = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium: apt-get install chromium")


@pytest.fixture
def page(running: Running, browser) -> Iterator:
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.add_cookies([{"name": "tieline_session", "value": running.cookies["ann"], "url": running.url}])
    yield context.new_page()
    context.close()


def changed(page, topic: str, change: Change) -> None:
    """Let a view be changed on its way from the server: the desk itself is all tests', and stays as it is."""

    def between(socket) -> None:
        server = socket.connect_to_server()

        def to_page(message) -> None:
            if isinstance(message, str):
                told = json.loads(message)
                if told.get("topic") == topic and told.get("view"):
                    change(told["view"])
                    message = json.dumps(told)
            socket.send(message)

        server.on_message(to_page)

    page.route_web_socket("**/*", between)


def figure(page, label: str) -> str:
    found = page.locator(".figure", has_text=label).first
    found.wait_for(timeout=60_000)
    return found.inner_text()


@needs_chromium
@pytest.mark.parametrize(
    ("awarded_w", "price", "value", "note"),
    [(None, None, "nothing", "no award"), (5_000.0, None, "5.0 kW", "its price is not known"), (5_000.0, 20.0, "5.0 kW", "20")],
)  # fmt: skip
def test_an_hour_without_an_award_is_awarded_nothing_and_not_something_unknown(
    page, running: Running, awarded_w: float | None, price: float | None, value: str, note: str
) -> None:
    def change(view: dict[str, Any]) -> None:
        for hour in view["hours"]:
            hour |= {"awarded_w": awarded_w, "price_per_mwh": price}

    changed(page, "market", change)
    page.goto(running.url + "/market")
    said = figure(page, "This hour awarded")
    assert value in said and note in said and "unknown" not in said, said


@needs_chromium
@pytest.mark.parametrize(("ahead_s", "label"), [(600, "Holds until"), (-600, "Held until")])
def test_a_command_whose_time_is_over_is_not_said_to_hold(page, running: Running, ahead_s: int, label: str) -> None:
    name, seen = "battery-000003", []

    def change(view: dict[str, Any]) -> None:
        at = view["now_ns"] + ahead_s * SECOND_NS
        view["command"] = {
            "batch": "b", "target_w": 1_000.0, "low_w": None, "high_w": None, "stage": "done", "issued_ns": at, "delivered_ns": at,
            "acknowledged_ns": at, "effective_ns": at, "verified_ns": at, "valid_until_ns": at, "revert_w": 0.0, "observed_w": 1_000.0,
            "reached": [True] * 5,
        }  # fmt: skip
        seen.append(at)

    changed(page, f"resource:{name}", change)
    page.goto(running.url + f"/resource/{name}")
    row = page.locator("dl > *", has_text=label).first
    row.wait_for(timeout=30_000)
    panel = page.locator("section", has_text="five states").inner_text()
    assert seen and ("its time is over" in panel) is (ahead_s < 0), panel
    assert ("then falls back to" in panel) is (ahead_s > 0), panel


def test_an_alarm_that_is_held_back_says_how_long_its_trouble_lasted_or_that_it_is_new() -> None:
    alarm = AlarmView("a", 2, "a", "trouble of a", "", "", 0, "/", 1, 0)
    book, said = AlarmBook(), []
    for at_s in (1_000.0, 1_000.3, 1_020.4, 1_059.9):
        assert book.keep([(alarm, 60 * SECOND_NS)], int(at_s * SECOND_NS)) == []
        said.append(book.suppressed[0].why)
    assert said[:2] == ["has just been found: a person is called once it has lasted for 60 s"] * 2
    assert said[2:] == [f"has lasted for {s} s of 60 s until a person is called" for s in (20, 59)]
    assert book.keep([(alarm, 60 * SECOND_NS)], 1_060 * SECOND_NS) == [alarm]
