"""What the screen says of an act goes with what became of it: no word stands there that is over, or stands twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from console_stage import Running, left_over

from tieline.bench.redraw import CHROMIUM
from tieline.desk.people import TwoPeople

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium: apt-get install chromium")
WAITS = "a second person must confirm it within 10 minutes"


@contextmanager
def shown(running: Running, browser, path: str) -> Iterator:
    """A page that ann sees, on a desk where two devices and more take two people."""
    state = running.stage.node.state
    before, state.two_people = state.two_people, TwoPeople(devices=2)
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.add_cookies([{"name": "tieline_session", "value": running.cookies["ann"], "url": running.url}])
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    try:
        page.goto(running.url + path)
        yield page
        assert errors == []
    finally:
        state.two_people = before
        context.close()


def decided_by_ben(running: Running, action: str, to: str) -> None:
    """Let ben confirm the one act of a kind that waits, or drop it."""
    with running.client("ben") as ben:
        (waits,) = [w for w in ben.get("/api/v1/waiting").json() if w["action"] == action]
        body = {"payload": waits["payload"]} if to == "confirm" else None
        ben.post(f"/api/v1/waiting/{waits['id']}/{to}", json=body).raise_for_status()


def becomes(page, said: str) -> None:
    """The word that it waits makes room for what became of it."""
    page.get_by_text(said).wait_for(timeout=60_000)
    assert page.get_by_text(WAITS).count() == 0


def test_a_mode_that_waited_is_told_as_confirmed_or_as_refused(running: Running, browser) -> None:
    for to, said in (("drop", "It will not happen: ben"), ("confirm", "It is done: ben confirmed it.")):
        with shown(running, browser, "/feeder/feeder-02") as page:
            page.get_by_role("button", name="Disabled …").click()
            page.get_by_label("Because").fill("works on the line")
            page.get_by_role("button", name="Set Disabled").click()
            page.get_by_text(WAITS).wait_for(timeout=60_000)
            page.wait_for_timeout(3_000)
            page.get_by_text(WAITS).wait_for(timeout=1_000)  # nobody has decided yet
            decided_by_ben(running, "set_mode", to)
            becomes(page, said)
    with running.client("ann") as ann, running.client("ben") as ben:
        back = ann.post("/api/v1/feeders/feeder-02/mode", json={"mode": "Automatic", "because": "done"}).json()
        if "payload" in back:
            ben.post(f"/api/v1/waiting/{back['id']}/confirm", json={"payload": back["payload"]}).raise_for_status()


def test_a_wide_limit_that_waited_is_told_as_confirmed_and_its_tile_says_each_end_once(
    running: Running, browser
) -> None:
    with shown(running, browser, "/resource/feeder-03") as page:
        page.get_by_role("button", name="Limit …").click()
        page.get_by_label("At least, kW into the grid").fill("-777")
        page.get_by_label("At most, kW into the grid").fill("888")
        page.get_by_label("Because").fill("works")
        page.get_by_role("button", name="Put into force").click()
        page.get_by_text(WAITS).wait_for(timeout=60_000)
        decided_by_ben(running, "limit", "confirm")
        becomes(page, "It is done: ben confirmed it.")
        page.goto(f"{running.url}/feeder/feeder-03")
        tile = page.locator(".figure", has=page.get_by_text("Limit in force"))
        tile.get_by_text("888 kW").wait_for(timeout=60_000)
        assert tile.inner_text().count("777") == 1
    with running.client("ann") as ann:
        ann.post("/api/v1/resources/feeder-03/release").raise_for_status()


def test_an_event_is_told_as_approved_and_its_extension_as_confirmed(running: Running, browser) -> None:
    group, power_w = left_over(running)
    with shown(running, browser, "/events") as page:
        page.get_by_label("Group").fill(group)
        page.get_by_label("Power, kW into the grid").fill(str(round(power_w / 1e3, 1)))
        page.get_by_label("Starts in, minutes").fill("1")
        page.get_by_role("combobox", name="Program").select_option("Told relief")
        page.get_by_role("button", name="Preview").click()
        page.get_by_role("button", name="Submit for approval").click()
        page.get_by_text("A second person must approve it.").wait_for(timeout=60_000)
        with running.client("ben") as ben:
            (event,) = [e for e in ben.get("/api/v1/events").json() if e["program"] == "Told relief"]
            ben.post(f"/api/v1/events/{event['id']}/approve").raise_for_status()
            page.get_by_text(re.compile("^The event is (Approved|Scheduled|In Progress)")).wait_for(timeout=60_000)
            page.get_by_label("Minutes more for Told relief").fill("5")
            page.get_by_role("button", name="min longer").first.click()
            page.get_by_text(WAITS).wait_for(timeout=60_000)
            decided_by_ben(running, "decide_event", "confirm")
            becomes(page, "It is done: ben confirmed it.")
            ben.post(f"/api/v1/events/{event['id']}/cancel").raise_for_status()


def test_the_release_of_the_kill_switch_is_told_as_confirmed(running: Running, browser) -> None:
    with shown(running, browser, "/alarms") as page, running.client("ann") as ann:
        ann.post("/api/v1/kill", json={"pressed": True, "because": "drill"}).raise_for_status()
        page.locator(".killed").wait_for(timeout=60_000)
        page.get_by_role("button", name="Release …").click()
        page.get_by_label("Because").fill("the drill is over")
        page.get_by_role("button", name="Ask to release").click()
        page.get_by_text(WAITS).wait_for(timeout=60_000)
        decided_by_ben(running, "kill", "confirm")
        becomes(page, "It is done: ben confirmed it.")


def test_of_nothing_owed_there_is_no_share_and_what_is_not_measured_is_unknown(running: Running, browser) -> None:
    """Behind the kill switch the ISO calls for 0 W: the view that the server sends is changed to that on its way."""
    for gave_w, says in ((1_200.0, False), (None, True)):
        with shown(running, browser, "/docs") as page:

            def on_its_way(socket, gave_w: float | None = gave_w) -> None:
                def passes(told: str | bytes) -> None:
                    if isinstance(told, str) and json.loads(told)["topic"] == "overview":
                        said = json.loads(told)
                        said["view"] |= {"instructed_w": 0.0, "delivered_w": gave_w}
                        told = json.dumps(said)
                    socket.send(told)

                server = socket.connect_to_server()
                server.on_message(passes)

            page.route_web_socket(re.compile("/api/v1/live$"), on_its_way)
            page.goto(running.url)
            tile = page.locator(".figure", has=page.get_by_text("Delivered / instructed"))
            tile.get_by_text("/ 0 W").wait_for(timeout=60_000)
            note = tile.locator(".note").inner_text()
            assert ("unknown" in note) is says
            assert note.startswith("unknown · until") if says else note.startswith("until")
