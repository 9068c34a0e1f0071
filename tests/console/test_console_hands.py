"""What hands meet at the console: where the focus goes, a limit of either end, and a header that stays in one line."""

from collections.abc import Iterator

import pytest
from console_stage import Running
from test_console_people import _page

from tieline.resource.quality import Quality

FOCUSED = "() => document.activeElement.tagName + ' ' + (document.activeElement.textContent || '').slice(0, 20)"


@pytest.fixture
def device(running: Running) -> Iterator[str]:
    """A battery of the territory, whose limit is released whatever became of the test."""
    name = next(name for name in running.stage.node.state.fleet.ids if name.startswith("battery"))
    yield name
    with running.client("ann") as ann:
        ann.post(f"/api/v1/resources/{name}/release")


def claims_of(running: Running, device: str) -> list[tuple[float, float]]:
    with running.client("ann") as ann:
        view = ann.get(f"/api/v1/resources/{device}").json()
    return [(claim["low_w"], claim["high_w"]) for claim in view["claims"] if claim["source"] == "console"]


def composing(running: Running, browser, program: str):
    """Return the page of an event's form, its program filled in."""
    page = _page(browser, running, running.cookies["ann"])
    page.goto(f"{running.url}/events")
    page.get_by_label("Program").select_option(program)
    return page


def previewed(page, power: str):
    """Ask for a preview of a power; return the button that submits what is previewed."""
    page.get_by_label("Power, kW").fill(power)
    page.get_by_role("button", name="Preview").click()
    return page.get_by_role("button", name="Submit for approval")


def test_a_limit_may_be_of_the_lower_end_alone_and_the_focus_goes_back_to_what_opened_the_form(
    running: Running, browser, device: str
) -> None:
    page = _page(browser, running, running.cookies["ann"])
    page.goto(f"{running.url}/resource/{device}")
    opener = page.get_by_role("button", name="Limit …")
    opener.click(timeout=60_000)
    assert page.get_by_role("button", name="Put into force").is_disabled()
    page.get_by_label("At least, kW").fill("-1")
    page.get_by_label("Because").fill("works on the line")
    page.get_by_role("button", name="Put into force").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Limit in force; it ends by itself.").wait_for(timeout=60_000)
    assert page.evaluate(FOCUSED) == "BUTTON Limit …"
    row = running.stage.node.state.fleet.row(device)
    assert claims_of(running, device) == [(-1_000.0, float(running.stage.node.state.fleet.max_inject_w[row]))]
    assert page.errors == []
    page.context.close()


def test_a_limit_on_what_nobody_sees_is_told_as_in_force_and_then_that_nobody_sees_it(
    running: Running, browser, device: str
) -> None:
    """What an answer says stood in the place of what was done."""
    fleet = running.stage.node.state.fleet
    row = fleet.row(device)
    page = _page(browser, running, running.cookies["ann"])
    page.goto(f"{running.url}/resource/{device}")
    page.get_by_role("button", name="Limit …").click(timeout=60_000)
    page.get_by_label("At least, kW").fill("-1")
    page.get_by_label("Because").fill("works on the line")
    was = int(fleet.quality[row])
    try:
        fleet.quality[row] = int(Quality.COMM_LOST)
        page.get_by_role("button", name="Put into force").click()
        told = page.get_by_text("Limit in force; it ends by itself.")
        told.wait_for(timeout=60_000)
        assert f"Note that {device} can't be seen now: until it is heard it goes by" in told.inner_text()
    finally:
        fleet.quality[row] = was
    assert page.errors == []
    page.context.close()


def test_a_power_that_is_no_number_is_told_by_the_name_that_stands_beside_its_field(running: Running, browser) -> None:
    page = composing(running, browser, "Words")
    previewed(page, "abc")
    said = page.get_by_role("alert").inner_text(timeout=60_000)
    assert said == 'Power, kW into the grid: "abc" is no number; give one such as 500'
    page.get_by_label("Power, kW").fill("")
    assert page.get_by_text("is no number").count() == 0, "what is said of a figure goes with the figure"
    previewed(page, "12").wait_for(timeout=60_000)
    assert page.get_by_text("is no number").count() == 0
    assert page.errors == []
    page.context.close()


def test_the_focus_stays_near_where_a_preview_was_submitted(running: Running, browser) -> None:
    page = composing(running, browser, "Focus")
    submit = previewed(page, "12")
    submit.wait_for(timeout=60_000)
    submit.focus()
    page.keyboard.press("Enter")
    page.get_by_text("A second person must approve it").first.wait_for(timeout=60_000)
    submit.wait_for(state="detached", timeout=60_000)
    assert not page.evaluate(FOCUSED).startswith("BODY")
    assert page.errors == []
    page.context.close()


def test_a_preview_of_what_is_called_already_says_so_before_anybody_submits_it(running: Running, browser) -> None:
    page = composing(running, browser, "Words")
    submit = previewed(page, "13")
    submit.wait_for(timeout=60_000)
    assert page.get_by_text("equal event").count() == 0
    submit.click()
    page.get_by_text("A second person must approve it").first.wait_for(timeout=60_000)
    previewed(page, "13").wait_for(timeout=60_000)
    said = page.get_by_role("status").get_by_text("An equal event stands already: event:").inner_text(timeout=60_000)
    assert "by ann (Submitted)" in said
    assert said.endswith(
        "asks for 26,000 W less consumption, or as much more generation: cancel one if it was meant once."
    )
    assert page.errors == []
    page.context.close()
    with running.client("ann") as ann:
        for event in ann.get("/api/v1/events").json():
            if event["power_w"] == 13_000.0:
                ann.post(f"/api/v1/events/{event['id']}/cancel").raise_for_status()


@pytest.mark.parametrize("width", [1440, 1280, 1200])
def test_the_first_line_of_the_header_stays_one_line_with_the_kill_switch_pressed(
    running: Running, browser, width: int
) -> None:
    state = running.stage.node.state
    state.authority["kill"] = "on"
    try:
        page = _page(browser, running, running.cookies["ann"], width=width)
        page.locator(".killed").first.wait_for(timeout=60_000)
        bar = page.locator("header .bar").first
        edges = bar.evaluate("bar => [...bar.children].map(e => e.getBoundingClientRect()).map(r => [r.top, r.bottom])")
        middles = [(top + bottom) / 2 for top, bottom in edges if bottom > top]
        assert max(middles) - min(middles) < 12, edges
        out = page.get_by_role("button", name="Sign out").bounding_box()
        assert out["x"] + out["width"] <= width
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.context.close()
    finally:
        state.authority.pop("kill")
