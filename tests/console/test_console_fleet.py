"""The fleet grid at a million devices: it stays one picture, repaints at once, and leads from any feeder to its screen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from console_stage import Running
from test_console_screens import SCREENS

from tieline.bench.redraw import CHROMIUM, GROUPS, SICK, frame, redraws_ms, shown

MOST_HIGH_PX = 640
PIXELS = "document.querySelector('.cells canvas').toDataURL()"
pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") or Path(CHROMIUM).exists()), reason="no chromium: apt-get install chromium"
)


def _page(browser, running: Running, sent: bytes):
    return shown(browser, running.url, running.cookies["ann"], sent)


@pytest.mark.parametrize("groups", GROUPS)
def test_a_million_devices_stay_one_picture(running: Running, browser, groups: int) -> None:
    """How long a redraw takes is told by `tieline bench redraw`, from the page and the frame of here."""
    page = _page(browser, running, frame(groups, 1_000_000))
    high = page.evaluate("document.querySelector('.cells canvas').height")
    seen = page.evaluate(PIXELS)
    assert 0 < high <= MOST_HIGH_PX
    assert all(took > 0 for took in redraws_ms(page, 3))
    assert page.evaluate(PIXELS) == seen
    page.context.close()


def test_the_sick_feeder_stands_first_and_the_others_lead_to_their_screens(running: Running, browser) -> None:
    """The first block is the sick feeder's: its first pixel has the colour of silence. A point below leads on."""
    page = _page(browser, running, frame(2_500, 1_000_000))
    canvas = page.locator(".cells canvas")
    pixel = "(() => [...document.querySelector('.cells canvas').getContext('2d').getImageData(1, 17, 1, 1).data])()"
    stale = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--stale').trim()")
    assert page.evaluate(pixel)[:3] == [int(stale[k : k + 2], 16) for k in (1, 3, 5)]
    box = canvas.bounding_box()
    canvas.hover(position={"x": 4, "y": 4 + 15})
    assert page.locator(".tip").inner_text().startswith(f"feeder-{SICK + 1:02d} ")
    canvas.hover(position={"x": 300, "y": box["height"] - 20})
    named = page.locator(".tip").inner_text().partition(" ")[0]
    canvas.click(position={"x": 300, "y": box["height"] - 20})
    page.wait_for_url(f"**/feeder/{named}", timeout=60_000)
    page.context.close()


@pytest.mark.parametrize("path", [path for path in SCREENS if "RECORD" not in path])
def test_a_phone_needs_no_sideways_scroll(running: Running, browser, path: str) -> None:
    """390 px wide (WCAG 2.2, 1.4.10 asks for 320 without loss; tables may scroll in their own frame)."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_cookies([{"name": "tieline_session", "value": running.cookies["ann"], "url": running.url}])
    page = context.new_page()
    page.goto(running.url + path)
    page.locator(".panel").first.wait_for(timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    context.close()
