"""What people do in the browser: an owner on a phone, two operators, a newcomer on the tour; axe has nothing to say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from console_stage import Running, left_over

from patience import seen
from tieline.bench.redraw import CHROMIUM
from tieline.console.auth.roles import Role
from tieline.desk.people import TwoPeople

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium: apt-get install chromium")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}}


def _page(browser, running: Running, cookie: str, width: int = 1400, height: int = 900):
    context = browser.new_context(viewport={"width": width, "height": height})
    context.add_cookies([{"name": "tieline_session", "value": cookie, "url": running.url}])
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda m: m.type == "error" and page.errors.append(m.text))
    page.goto(running.url)
    return page


def _problems(page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    return [found["id"] for found in Axe().run(page, options={**RULES}).response["violations"]]


@pytest.fixture(scope="module")
def olga(running: Running) -> str:
    """The cookie of an owner of one battery."""
    mine = next(name for name in running.stage.node.state.fleet.ids if name.startswith("battery"))
    with running.client("ann") as admin:
        made = admin.post("/api/v1/accounts", json={"name": "olga-b", "roles": ["owner"], "scope": [mine]})
    answer = httpx.post(
        f"{running.url}/api/v1/enrol",
        json={"secret": made.json()["secret"], "password": "a long password"},
        timeout=60.0,
    )
    return re.search(r"tieline_session=([^;]+)", answer.headers["set-cookie"])[1]  # type: ignore[index]


def test_an_owner_opts_out_and_back_with_two_taps_on_a_phone(running: Running, browser, olga: str) -> None:
    page = _page(browser, running, olga, 390, 844)
    page.get_by_text("Why", exact=True).wait_for(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert _problems(page) == []
    page.get_by_role("button", name="Opt out").click()
    page.get_by_role("button", name="Yes, opt out").click()
    page.get_by_text("You have opted out: nobody steers it.").wait_for(timeout=60_000)
    page.get_by_role("button", name="Take part again").click()
    page.get_by_role("button", name="Opt out").wait_for(timeout=60_000)
    assert page.errors == []
    page.context.close()


@pytest.mark.long
def test_an_event_whose_time_is_over_reads_lapsed_and_can_not_be_submitted(running: Running, browser) -> None:
    page = _page(browser, running, running.cookies["ann"])
    page.goto(f"{running.url}/events")
    group, _ = left_over(running)
    wish = {"program": "Too late", "group": group, "power_w": 10_000.0}
    with running.client("ann") as ann:
        now_ns = running.now_ns
        event = ann.post("/api/v1/events", json={**wish, "start_ns": now_ns, "end_ns": now_ns + 8 * 10**9}).json()
        row = page.locator("tr", has_text="Too late")
        row.get_by_role("button", name="Submit").wait_for(timeout=60_000)
        row.get_by_text("Lapsed").wait_for(timeout=60_000)
        assert row.get_by_role("button").count() == 0
        assert _problems(page) == []
        refused = ann.post(f"/api/v1/events/{event['id']}/submit")
        assert (refused.status_code, refused.json()["field"]) == (409, "end_ns")
        assert "the event is over already" in refused.json()["detail"]
    assert page.errors == []
    page.context.close()


def test_a_new_link_of_an_account_is_told_to_its_holder_on_the_screen(running: Running, browser) -> None:
    first = running.console.accounts.invite("ida", (Role.VIEWER,), sets_password=False)
    answer = httpx.post(f"{running.url}/api/v1/enrol", json={"secret": first}, timeout=60.0)
    cookie = re.search(r"tieline_session=([^;]+)", answer.headers["set-cookie"])[1]  # type: ignore[index]
    with running.client("admin") as admin:
        assert admin.post("/api/v1/accounts", json={"name": "ida", "roles": ["viewer"]}).status_code == 200
    page = _page(browser, running, cookie)
    page.get_by_text("Your account: admin made a new one-time link of it").wait_for(timeout=60_000)
    assert _problems(page) == []
    assert page.errors == []
    page.context.close()


def test_the_kill_switch_is_released_by_the_second_operator_on_the_screen(running: Running, browser) -> None:
    first = _page(browser, running, running.cookies["ann"])
    second = _page(browser, running, running.cookies["ben"])
    for page in (first, second):
        page.get_by_role("link", name="Alarms", exact=True).click()
    first.get_by_role("button", name="Press …").click()
    first.get_by_label("Because").fill("drill")
    first.get_by_role("button", name="Stop commands that lead away from safety").click()
    for page in (first, second):
        page.locator(".killed").wait_for(timeout=60_000)
    first.get_by_role("button", name="Release …").click()
    first.get_by_label("Because").fill("the drill is over")
    first.get_by_role("button", name="Ask to release").click()
    first.get_by_text("somebody else confirms").wait_for(timeout=60_000)
    second.get_by_role("button", name="Confirm").wait_for(timeout=60_000)
    assert _problems(second) == []
    second.get_by_role("button", name="Confirm").click()
    second.get_by_text("Not pressed").wait_for(timeout=60_000)
    first.get_by_text("Not pressed").wait_for(timeout=60_000)
    for page in (first, second):
        assert page.errors == []
        page.context.close()


def test_the_tour_leads_a_newcomer_through_five_screens_by_keyboard(running: Running, browser) -> None:
    page = _page(browser, running, running.cookies["ann"])
    page.get_by_role("button", name="Tour").click()
    tour = page.get_by_role("dialog", name="Guided tour")
    seen = []
    for step in range(5):
        tour.get_by_text(f"Step {step + 1} of 5").wait_for(timeout=60_000)
        page.wait_for_url(lambda url: url not in seen, timeout=60_000)
        page.locator("main .panel").first.wait_for(timeout=60_000)
        seen.append(page.url)
        if step == 2:
            assert _problems(page) == []
        button = tour.get_by_role("button", name="Next" if step < 4 else "Done")
        button.focus()
        page.keyboard.press("Enter")
    assert len(set(seen)) == 5
    assert tour.count() == 0
    assert page.errors == []
    page.context.close()


def test_a_screen_that_was_seen_before_is_live_again(running: Running, browser) -> None:
    """Screens loaded once mount in one go: what they subscribe to must not be undone by the frame around them."""
    page = _page(browser, running, running.cookies["ann"])
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    page.reload()
    for name in ("Market", "Events", "Market", "Events", "Market"):
        page.get_by_role("link", name=name, exact=True).click()
        page.locator("main .panel").first.wait_for(timeout=60_000)
    seen(
        lambda: page.wait_for_timeout(50) or sent[-1], lambda frame: '"market"' in frame, "the last screen is asked for"
    )
    page.context.close()


def test_a_past_instant_is_shown_on_every_screen_until_somebody_goes_back(running: Running, browser) -> None:
    page = _page(browser, running, running.cookies["ann"])
    page.get_by_role("link", name="Replay", exact=True).click()
    page.get_by_role("button", name="One step back").click()
    bar = page.get_by_role("region", name="Replay")
    bar.get_by_text("Replay: as known").wait_for(timeout=60_000)
    then = page.locator(".now b").inner_text()
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_role("heading", name="Events").wait_for(timeout=60_000)
    assert page.get_by_role("button", name="Preview").count() == 0  # nothing is done in the past
    page.get_by_role("link", name="Market", exact=True).click()
    page.get_by_text("Hour by hour").wait_for(timeout=60_000)
    assert page.locator(".now b").inner_text() == then
    assert _problems(page) == []
    bar.get_by_role("button", name="Back to now").click()
    page.locator(".now b", has_not_text=then).wait_for(timeout=60_000)
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_role("button", name="Preview").wait_for(timeout=60_000)
    assert page.errors == []
    page.context.close()


def test_an_owner_sets_a_limit_and_takes_it_back_on_a_phone(running: Running, browser, olga: str) -> None:
    page = _page(browser, running, olga, 390, 844)
    page.get_by_text("Nothing yet: a day is settled").wait_for(timeout=60_000)
    page.get_by_text("Your limits").click()
    page.get_by_label("It may give at most, kW").fill("1")
    page.get_by_role("button", name="Set my limits").click()
    page.get_by_role("button", name="Take my limits back").wait_for(timeout=60_000)
    assert "1.0 kW" in page.locator("summary", has_text="Your limits").inner_text()
    assert _problems(page) == []
    page.get_by_role("button", name="Take my limits back").click()
    page.locator("summary", has_text=re.compile("^Your limits$")).wait_for(timeout=60_000)
    assert page.errors == []
    page.context.close()


def test_a_preview_says_cost_and_feeders_and_has_a_table_of_its_minutes(running: Running, browser) -> None:
    page = _page(browser, running, running.cookies["ann"])
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_label("Group").fill(left_over(running)[0])
    page.get_by_label("Power, kW").fill("20")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="What it does to the feeders").wait_for(timeout=60_000)
    assert page.locator("dt", has_text="Cost").count() == 1
    assert page.get_by_role("region", name="What it does to the feeders").get_by_role("row").count() >= 2
    page.get_by_role("button", name="As a table").click()
    assert page.get_by_role("region", name="Expected power").get_by_role("row").count() > 5
    assert _problems(page) == []
    assert page.errors == []
    page.context.close()


def test_two_operators_take_an_event_from_compose_to_cancel_and_its_booking_with_it(running: Running, browser) -> None:
    first = _page(browser, running, running.cookies["ann"])
    second = _page(browser, running, running.cookies["ben"])
    for page in (first, second):
        page.goto(f"{running.url}/events")
        page.get_by_role("heading", name="Compose").wait_for(timeout=60_000)
    first.get_by_label("Program").select_option("Two people")
    for label, text in (("Power, kW", "12"), ("Starts in", "0"), ("Lasts", "30")):
        first.get_by_label(label).fill(text)
    first.get_by_role("button", name="Preview").click()
    first.get_by_text("Devices called").wait_for(timeout=60_000)
    first.get_by_role("button", name="Submit for approval").click()
    mine, theirs = (page.locator("tr", has_text="Two people") for page in (first, second))
    mine.get_by_text("a second person decides").wait_for(timeout=60_000)
    theirs.get_by_role("button", name="Approve").click()
    for row in (mine, theirs):
        row.get_by_text("In Progress").wait_for(timeout=60_000)
        row.get_by_text("12.0 kW", exact=False).nth(1).wait_for(timeout=60_000)  # asked, and booked
    with running.client("ann") as client:
        event = next(e for e in client.get("/api/v1/events").json() if e["program"] == "Two people")
        assert (event["reserved_w"], event["reserved_wh"]) == (12_000.0, 6_000.0)
        assert (event["composed_by"], event["approved_by"]) == ("ann", "ben")
        assert event["called"] > 0
        theirs.get_by_role("button", name="Cancel").click()  # asks once, as it runs
        theirs.get_by_role("button", name="Let it run").click()
        theirs.get_by_role("button", name="Cancel").wait_for(timeout=60_000)
        assert next(e for e in client.get("/api/v1/events").json() if e["id"] == event["id"])["state"] == "In Progress"
        theirs.get_by_role("button", name="Cancel").click()
        theirs.get_by_role("button", name="End it now").click()
        for row in (mine, theirs):
            row.get_by_text("Canceled").wait_for(timeout=60_000)
            row.get_by_text("given back").wait_for(timeout=60_000)
        event = next(e for e in client.get("/api/v1/events").json() if e["program"] == "Two people")
    assert (event["reserved_w"], event["called"]) == (0.0, 0)
    assert [page.errors for page in (first, second)] == [[], []]
    for page in (first, second):
        page.context.close()


@pytest.fixture
def automatic(running: Running) -> Iterator[None]:
    """Give feeder-02 back to Automatic, whatever became of the test."""
    yield
    with running.client("ann") as ann:
        ann.post("/api/v1/feeders/feeder-02/mode", json={"mode": "Automatic", "because": "after the test"})
        assert ann.get("/api/v1/feeders/feeder-02").json()["mode"] == "Automatic"


def test_a_dispatcher_disables_a_feeder_on_its_screen_and_every_screen_says_so(
    running: Running, browser, automatic
) -> None:
    page = _page(browser, running, running.cookies["dispatcher"])
    page.goto(f"{running.url}/feeder/feeder-02")
    page.get_by_role("button", name="Disabled …").click()
    page.get_by_label("Because").fill("works on the line")
    page.get_by_role("button", name="Set Disabled").click()
    page.get_by_text("only the grid operator and stronger levels move its devices").first.wait_for(timeout=60_000)
    with running.client("ann") as client:
        device = client.get("/api/v1/groups/feeder-02/members?at=0&count=1").json()[0]["resource"]
        view = client.get(f"/api/v1/resources/{device}").json()
        assert view["feeder_mode"] == "Disabled"
        assert any("works on the line (dispatcher)" in claim["because"] for claim in view["claims"])
        # The claims are there at once; the next beat decides by them, and who did it is recorded after what was done.
        seen(
            lambda: [node["kind"] for node in client.get(f"/api/v1/resources/{device}/why").json()["nodes"]],
            lambda kinds: "AuthorityChanged" in kinds,
            f"why {device} stands where it does",
        )
        seen(
            lambda: [row["says"] for row in client.get("/api/v1/audit?count=50&kind=Audited").json()["rows"]],
            lambda said: any("set_mode" in text and "Disabled" in text for text in said),
            "who set the mode, in the audit",
        )
    page.get_by_role("button", name="Automatic …").click()
    page.get_by_label("Because").fill("done")
    page.get_by_role("button", name="Set Automatic").click()
    page.get_by_text("the market, programs, prices and people move its devices").first.wait_for(timeout=60_000)
    assert page.errors == []
    page.context.close()


def test_the_screen_of_a_large_feeder_says_that_its_mode_waits_for_a_second_person(running: Running, browser) -> None:
    state = running.stage.node.state
    before, state.two_people = state.two_people, TwoPeople(devices=10)
    try:
        page = _page(browser, running, running.cookies["ann"])
        page.goto(f"{running.url}/feeder/feeder-02")
        page.get_by_role("button", name="Disabled …").click()
        page.get_by_label("Because").fill("works on the line")
        page.get_by_role("button", name="Set Disabled").click()
        page.get_by_text("a second person must confirm it within 10 minutes").wait_for(timeout=60_000)
        with running.client("ben") as ben:
            (waits,) = [w for w in ben.get("/api/v1/waiting").json() if w["action"] == "set_mode"]
            assert ben.get("/api/v1/feeders/feeder-02").json()["mode"] == "Automatic"
            assert ben.post(f"/api/v1/waiting/{waits['id']}/drop").json()["done"] is True
        assert page.errors == []
        page.context.close()
    finally:
        state.two_people = before
