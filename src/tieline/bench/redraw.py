"""How long the console takes to redraw a million devices: sort, layout and paint, in a real browser.

A served demo signs the browser in; what its live socket sends of the fleet is replaced by a frame of a million devices
as the server would send it. The browser is Chromium; it and Playwright come with the development extra.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tieline.errors import ConfigError

BAR = 10.0
UNIT = "ms"
WHAT = "a redraw of the fleet's picture at 1,000,000 devices, on 100 and on 2,500 feeders: the slower, best of ten"
GROUPS = (100, 2_500)
SICK = 7
WARM, TIMED = 60, 10
DEVICES, WAIT_S = 200, 120.0
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_REDRAW = "(() => { dispatchEvent(new Event('theme')); return window.fleetPaintMs; })()"


def frame(groups: int, total: int) -> bytes:
    """Return a frame as the live socket sends it: every feeder has a few silent devices, one has a quarter."""
    each, rng = total // groups, np.random.default_rng(1)
    state = np.where(rng.random((groups, each)) < 0.02, 4, 0).astype(np.uint8)
    state[SICK, : each // 4] = 4
    loading = rng.integers(0, 256, groups * each).astype(np.uint8)
    counts = np.stack([(state == code).sum(1) for code in range(7)], 1)
    heads = [
        {"id": f"feeder-{n + 1:02d}", "first": n * each, "count": each, "abnormal": int(counts[n, 4]),
         "states": counts[n].tolist()}
        for n in range(groups)
    ]  # fmt: skip
    head = json.dumps({"topic": "fleet", "revision": 1, "now_ns": 1, "groups": heads}).encode()
    return struct.pack("<I", len(head)) + head + state.tobytes() + loading.tobytes()


def shown(browser: Any, url: str, session: str, sent: bytes) -> Any:
    """Return a page of the console that shows the fleet of this frame; its context is the page's alone."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.add_cookies([{"name": "tieline_session", "value": session, "url": url}])
    page = context.new_page()

    def relay(socket: Any) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda message: socket.send(sent if isinstance(message, bytes) else message))

    page.route_web_socket("**/api/v1/live", relay)
    page.goto(url)
    page.locator(".key.k4").wait_for(timeout=WAIT_S * 1e3)
    return page


def redraws_ms(page: Any, count: int) -> list[float]:
    """Redraw so often, one after the other, and return how long each took (ms)."""
    return [float(page.evaluate(_REDRAW)) for _ in range(count)]


@contextmanager
def _served() -> Iterator[tuple[str, str]]:
    """Give the address of a served demo and a session of its operator."""
    command = [sys.executable, "-u", "-m", "tieline", "demo", "--devices", str(DEVICES), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        try:
            link = next((found for line in child.stdout if (found := re.search(r"(http\S+)/enrol#(\S+)", line))), None)
            if link is None:
                raise ConfigError("the demo ended before it gave a link to sign in: run `tieline demo` to see why")
            asked = urllib.request.Request(
                f"{link[1]}/api/v1/enrol",
                json.dumps({"secret": link[2]}).encode(),
                {"content-type": "application/json"},
            )
            with urllib.request.urlopen(asked, timeout=WAIT_S) as answer:
                cookie = re.search(r"tieline_session=([^;]+)", answer.headers["set-cookie"])
            assert cookie is not None
            yield link[1], cookie[1]
        finally:
            child.terminate()


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Redraw as often as the browser's compiler takes to be done with it, as on a screen that lives; then ten times."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as missing:
        raise ConfigError("bench redraw needs a browser's driver: install the extra `dev`") from missing
    if not shutil.which(CHROMIUM):
        raise ConfigError("bench redraw needs a browser: apt-get install chromium")
    total = 100_000 if quick else 1_000_000
    took: dict[int, list[float]] = {}
    with _served() as (url, session), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        for groups in GROUPS:
            page = shown(browser, url, session, frame(groups, total))
            redraws_ms(page, 5 if quick else WARM)
            took[groups] = redraws_ms(page, TIMED)
            page.context.close()
            progress(
                f"{groups} feeders: best {min(took[groups]):.1f} ms, middle {float(np.median(took[groups])):.1f} ms"
            )
        browser.close()
    value = max(min(times) for times in took.values())
    return {
        "value": round(value, 2), "ok": value <= BAR, "devices": total,
        "best_ms": {str(groups): round(min(times), 2) for groups, times in took.items()},
        "middle_ms": {str(groups): round(float(np.median(times)), 2) for groups, times in took.items()},
    }  # fmt: skip
