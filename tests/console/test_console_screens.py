"""The screens in a real browser: they draw, say the truth of the API, ask nobody else, keep budgets and WCAG 2.2 AA."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from console_stage import Running
from msgspec import structs

from tieline.bench.redraw import CHROMIUM
from tieline.desk.apply import apply
from tieline.desk.facts import EventChanged, EventTracked, Fact
from tieline.desk.programs import EventState, ProgramEvent
from tieline.times import HOUR_NS, MINUTE_NS

STATIC = Path(__file__).parents[2] / "src" / "tieline" / "console" / "static"
WEB = Path(__file__).parents[2] / "console-web"
SCREENS = {
    "/": "Delivery against instruction", "/feeders": "broken limits first", "/feeder/feeder-01": "One-line",
    "/events": "Compose", "/market": "Hour by hour", "/alarms": "each needs an action",
    "/settlement": "Asked against delivered", "/audit": "every decision, in order", "/docs": "OpenAPI 3.1",
    "/links": "Protocol monitor", "/resource/battery-000003": "SCADA view", "/resource/feeder-01": "Device tree",
    "/replay": "every screen as it was known then", "/trace/RECORD": "Trace",
}  # fmt: skip
needs_chromium = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium: apt-get install chromium")


class _Seen:
    """A page that is signed in, and what went wrong or abroad on it."""

    def __init__(self, page, url: str, record: str) -> None:
        self.page, self.url, self.record = page, url, record
        self.abroad: list[str] = []
        self.errors: list[str] = []
        host = urlsplit(url).netloc
        page.on("request", lambda r: urlsplit(r.url).netloc in (host, "") or self.abroad.append(r.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))

    def show(self, path: str, text: str) -> None:
        self.page.goto(self.url + path.replace("RECORD", self.record))
        self.page.get_by_text(text, exact=False).first.wait_for(timeout=60_000)


@pytest.fixture(scope="module")
def seen(running: Running, browser) -> Iterator[_Seen]:
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.add_cookies([{"name": "tieline_session", "value": running.cookies["ann"], "url": running.url}])
    record = next(iter(running.stage.node.journal.of_kind("AwardTaken"))).id
    yield _Seen(context.new_page(), running.url, record)
    context.close()


@needs_chromium
@pytest.mark.parametrize("path", SCREENS)
def test_every_screen_draws_without_an_error_or_a_request_abroad(seen: _Seen, path: str) -> None:
    seen.show(path, SCREENS[path])
    assert seen.errors == []
    assert seen.abroad == []
    wide = seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0


@needs_chromium
@pytest.mark.parametrize("path", SCREENS)
def test_screens_meet_wcag_2_2_aa_by_axe_in_both_palettes(seen: _Seen, path: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    seen.show(path, SCREENS[path])
    rules = {
        "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]},
        "rules": {"heading-order": {"enabled": True}},  # a good practice of its own, which no level of WCAG asks for
    }
    for _ in range(2):
        found = Axe().run(seen.page, options=rules)
        assert len(found.response["passes"]) > 10
        assert [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found.response["violations"]] == []
        before = seen.page.evaluate("document.documentElement.dataset.theme")
        seen.page.get_by_role("button", name=re.compile("^Use the (dark|light) palette$")).click()
        seen.page.locator(f"html:not([data-theme='{before}'])").wait_for(state="attached", timeout=60_000)


@needs_chromium
def test_the_overview_shows_the_figures_of_the_api(seen: _Seen, running: Running) -> None:
    seen.show("/", SCREENS["/"])
    with running.client("ann") as client:
        view = client.get("/api/v1/overview").json()
    text = seen.page.locator(".figures").inner_text()
    assert f"{view['reporting']:,} / {view['devices']:,}" in text
    asked_w = view["instructed_w"]
    assert (f"{asked_w / 1e3:.0f} kW" if asked_w >= 1e5 else f"{asked_w / 1e3:.1f} kW") in text


@needs_chromium
def test_a_click_on_a_cell_opens_its_resource(seen: _Seen) -> None:
    seen.show("/", SCREENS["/"])
    seen.page.locator("canvas[role=application]").click(position={"x": 4, "y": 20})
    seen.page.wait_for_url("**/resource/**", timeout=60_000)
    seen.page.get_by_text("In control now").wait_for(timeout=60_000)


@needs_chromium
def test_ctrl_k_finds_a_resource_by_keyboard_alone(seen: _Seen) -> None:
    seen.show("/", SCREENS["/"])
    seen.page.keyboard.press("Control+k")
    seen.page.keyboard.type("battery-000002")
    seen.page.locator("#hits li").first.wait_for(timeout=60_000)
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_url("**/resource/battery-000002", timeout=60_000)


@needs_chromium
@pytest.mark.parametrize(
    ("guess", "screen"),
    [("/resources/battery-000003", "/resource/battery-000003"), ("/feeders/feeder-01", "/feeder/feeder-01"),
     ("/monitor", "/links"), ("/protocols", "/links")],
)  # fmt: skip
def test_a_path_of_the_api_or_the_menu_leads_to_its_screen(seen: _Seen, guess: str, screen: str) -> None:
    seen.page.goto(seen.url + guess)
    seen.page.wait_for_url(f"**{screen}", timeout=60_000)
    seen.page.locator("main .screen, main .resource").first.wait_for(timeout=60_000)
    assert seen.page.get_by_text("There is no screen").count() == 0


@needs_chromium
def test_a_day_that_cant_be_settled_yet_stands_with_what_it_lacks(seen: _Seen, running: Running) -> None:
    """Nothing keeps readings here, and no prices were sent: both are said by name."""
    ((pool, day), awards), *_ = running.trader.days.days().items()
    over_ns = max(award.end_ns for award in awards) + 24 * HOUR_NS

    async def look() -> None:
        standing = await running.trader.days._look_at(pool, day, awards, over_ns)
        running.trader.days.standing[pool, day] = standing

    asyncio.run_coroutine_threadsafe(look(), running.loop).result(30)
    with running.client("ann") as client:
        (told, *_) = client.get("/api/v1/settlements").json()
    assert told["state"] == "waiting"
    assert "readings: none are kept here" in told["missing"]
    seen.show("/settlement", "Days with awards")
    line = seen.page.locator("section", has_text="Days with awards").locator("tbody tr").first.inner_text()
    assert all(lack in line for lack in told["missing"])
    assert "waits" in line


@needs_chromium
def test_the_settlement_screen_shows_an_award_beside_what_was_withheld_of_it_and_why(
    seen: _Seen, running: Running
) -> None:
    with running.client("ann") as client:
        told = client.get("/api/v1/settlement").json()["intervals"]
    held_back = next(one for one in told if max(one["withheld"].values(), default=0.0) > 1_000.0)
    seen.show("/settlement", "Asked against delivered")
    table = seen.page.locator("[aria-label=Intervals] table")
    heads = table.locator("th").all_inner_texts()
    assert heads == ["Interval", "Awarded", "Instructed", "Delivered", "Withheld, by cause", "Lacking, by cause"]
    row = table.locator("tr", has=seen.page.locator(f"a[href='/trace/{held_back['record'].replace(':', '%3A')}']"))
    cells = dict(zip(heads, row.locator("td").all_inner_texts(), strict=True))
    for cause, watts in held_back["withheld"].items():
        if watts > 1_000.0:
            assert f"{cause.replace('_', ' ')} {_kw(watts)}" in cells["Withheld, by cause"]
    assert [cells["Awarded"], cells["Instructed"]] == [_kw(held_back["awarded_w"]), _kw(held_back["asked_w"])]


def _kw(watts: float) -> str:
    return f"{watts / 1e3:.0f} kW" if watts >= 1e5 else f"{watts / 1e3:.1f} kW"


@needs_chromium
@pytest.mark.parametrize("shown", ["acts", "all"])
def test_renewals_are_one_line_of_the_audit_until_they_are_opened(seen: _Seen, shown: str) -> None:
    seen.show("/audit", SCREENS["/audit"])
    seen.page.locator("select").first.select_option(shown)
    # The former list stands until the one that was asked for has come.
    seen.page.locator("[aria-label=Records][aria-busy=false] tbody tr").first.wait_for(timeout=60_000)
    kind = "ClaimsEnded" if shown == "acts" else "CommandsReported"
    run = seen.page.locator(f"tr:has(td:text-is('{kind}')) button.row").first
    run.wait_for(timeout=60_000)
    count = int(run.inner_text().split()[0])
    before = seen.page.locator("tbody tr").count()
    run.focus()
    seen.page.keyboard.press("Enter")
    seen.page.locator("button.row[aria-expanded=true]").wait_for(timeout=60_000)
    assert count >= 3
    assert seen.page.locator("tbody tr").count() == before + count
    options = seen.page.locator("select option").all_inner_texts()
    assert {"all", "OpenAdrObject", "AccountChanged", "StatementMade"} <= set(options)


@needs_chromium
def test_every_graphic_has_a_table(seen: _Seen) -> None:
    seen.show("/", SCREENS["/"])
    for button in seen.page.get_by_role("button", name="As a table").all():
        button.click()
        break
    assert seen.page.get_by_role("button", name="As a picture").count() >= 1
    assert seen.page.locator("figure table, .fleet table").count() >= 1


@needs_chromium
def test_an_event_is_composed_previewed_and_submitted_by_hand(seen: _Seen, running: Running) -> None:
    seen.show("/events", SCREENS["/events"])
    page = seen.page
    page.get_by_label("Program").select_option("Evening relief")
    page.get_by_label("Power, kW").fill("20")
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("Devices called").wait_for(timeout=60_000)
    page.get_by_text("No contract knows the program 'Evening relief'").wait_for(timeout=60_000)
    page.get_by_role("button", name="Submit for approval").click()
    row = page.locator("tr", has_text="Evening relief")
    row.get_by_text("a second person decides").wait_for(timeout=60_000)
    with running.client("ben") as ben:
        event = next(e for e in ben.get("/api/v1/events").json() if e["program"] == "Evening relief")
        assert event["state"] == "Submitted"
        ben.post(f"/api/v1/events/{event['id']}/deny")
    row.get_by_text("Denied").wait_for(timeout=60_000)


@needs_chromium
def test_what_no_server_counted_of_an_event_stands_beside_what_was_delivered(seen: _Seen, running: Running) -> None:
    now_ns = running.now_ns
    start_ns = now_ns - 40 * MINUTE_NS
    whole = ProgramEvent("event:killed", "Killed relief", "pool-1", "share", start_ns, now_ns - MINUTE_NS, 2e4, "ann")
    body = {key: value for key, value in structs.asdict(whole).items() if key != "state"}
    facts: list[Fact] = [
        EventChanged(whole.id, to.value, "clock", body) for to in (EventState.SCHEDULED, EventState.IN_PROGRESS)
    ]
    for first, last in ((0, 5), (15, 39)):
        between = (start_ns + first * MINUTE_NS, start_ns + last * MINUTE_NS)
        facts.append(EventTracked(whole.id, *between, 2e4, 1.9e4, {}, 1))
    facts.append(EventChanged(whole.id, EventState.COMPLETED.value, "clock", body))

    async def told() -> None:
        for at, fact in enumerate(facts):
            apply(running.stage.node.state, f"told:{at}", fact, start_ns if at < 2 else now_ns)

    asyncio.run_coroutine_threadsafe(told(), running.loop).result(30)
    seen.show("/events", SCREENS["/events"])
    row = seen.page.locator("tr", has_text="Killed relief")
    said = row.get_by_text("not counted:").inner_text(timeout=60_000)
    assert len(re.findall(r"\d\d:\d\d:\d\d", said)) == 2, said
    assert "95 %" in row.inner_text()


@needs_chromium
@pytest.mark.parametrize("wide_px", [320, 390, 430, 700, 1024])
def test_every_screen_of_the_menu_is_in_sight_and_leads_there_on_a_narrow_window(
    running: Running, browser, wide_px: int
) -> None:
    context = browser.new_context(viewport={"width": wide_px, "height": 844}, has_touch=True)
    context.add_cookies([{"name": "tieline_session", "value": running.cookies["ann"], "url": running.url}])
    page = context.new_page()
    page.goto(running.url)
    menu = page.get_by_role("navigation", name="Screens")
    menu.get_by_role("link").first.wait_for(timeout=60_000)
    names = menu.get_by_role("link").all_inner_texts()
    assert len(names) == 9
    seen = []
    for name in names:
        link = menu.get_by_role("link", name=name, exact=True)
        box = link.bounding_box()
        text_px = link.evaluate(
            "e => { const r = document.createRange(); r.selectNodeContents(e); return r.getBoundingClientRect().width }"
        )
        seen.append((name, box["x"] >= 0 and box["x"] + box["width"] <= wide_px and text_px <= box["width"]))
        assert box["height"] >= 24, "WCAG 2.2, 2.5.8: a target is 24 px or more"
        link.tap()
        page.wait_for_url("**" + link.get_attribute("href"), timeout=60_000)
    assert [name for name, is_whole in seen if not is_whole] == []
    context.close()


def _gz(path: Path) -> int:
    return len(gzip.compress(path.read_bytes(), 9))


def test_the_bundle_keeps_its_budgets() -> None:
    """Initial JS at most 80 kB, each lazy chunk at most 60 kB, gzipped (design 7, section 4)."""
    page = (STATIC / "index.html").read_text("utf-8")
    first = set(re.findall(r"/(assets/[\w.-]+\.js)", page))
    assert first
    assert sum(_gz(STATIC / name) for name in first) <= 80_000
    assert all(_gz(path) <= 60_000 for path in (STATIC / "assets").glob("*.js"))


def test_the_bundle_names_no_other_host() -> None:
    """URLs that remain are XML namespaces, which nobody fetches."""
    for path in [STATIC / "index.html", *(STATIC / "assets").iterdir()]:
        found = set(re.findall(r"https?://[\w.-]+", path.read_text("utf-8")))
        assert found <= {"http://www.w3.org"}, path.name


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (WEB / "package-lock.json").read_text("utf-8")


def test_the_committed_bundle_is_what_a_build_gives(tmp_path: Path) -> None:
    import subprocess

    if not (WEB / "node_modules").is_dir():
        pytest.skip("console-web/node_modules is missing: run `make console` first")
    build = ["npx", "--no-install", "vite", "build", "--outDir", str(tmp_path / "out"), "--emptyOutDir"]
    subprocess.run(build, cwd=WEB, check=True, capture_output=True, timeout=120)
    fresh = {p.relative_to(tmp_path / "out"): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    kept = {p.relative_to(STATIC): p.read_bytes() for p in STATIC.rglob("*") if p.is_file()}
    assert fresh == kept
