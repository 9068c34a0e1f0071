"""An owner takes all that stands behind his site out on his page, after one question, and back in by one tap."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
from test_console_contracts import opened

TIELINE = [sys.executable, "-m", "tieline"]
TABLE = """id,kind,max_inject_w,max_absorb_w,energy_wh,feeder,site,owner,pool
battery-1,battery,5000,5000,10000,feeder-1,site-1,ann,pool-1
heater-1,water_heater,0,3000,0,feeder-1,site-1,ann,pool-1
battery-2,battery,5000,5000,10000,feeder-1,site-2,ann,pool-1
"""


def test_one_tap_takes_all_of_a_site_out_and_one_back_in(browser, tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text(TABLE)
    for words in (["init", "works"], ["import", "devices.csv", "--data", "works"]):
        subprocess.run([*TIELINE, *words], cwd=tmp_path, check=True, capture_output=True)
    serve = [*TIELINE, "serve", "--data", "works", "--port", "0", "--for", "1m"]
    with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        line = next(line for line in server.stdout if "one-time link for admin" in line)
        url, secret = line.split()[-1].split("/enrol#")
        first, owner = (httpx.Client(base_url=f"{url}/api/v1", timeout=60) for _ in range(2))
        first.post("/enrol", json={"secret": secret, "password": "a long pass phrase"}).raise_for_status()
        asks = {"name": "ann", "roles": ["owner"], "scope": ["battery-1", "heater-1", "battery-2"]}
        invited = first.post("/accounts", json=asks).json()
        owner.post("/enrol", json={"secret": invited["secret"], "password": "another pass phrase"}).raise_for_status()

        def outs() -> list[bool]:
            views = (first.get(f"/resources/{name}").json() for name in ("battery-1", "heater-1", "battery-2"))
            return [view["market"]["opted_out"] for view in views]

        page = opened(browser, url, owner, "/")
        panel = page.get_by_label("All of site-1")
        panel.get_by_role("button", name="Opt out of all of it").click(timeout=30_000)
        panel.get_by_role("button", name="Stay in").click()
        assert outs() == [False] * 3, "asked and left: nothing was said"
        assert page.get_by_label("All of site-2").count() == 0, "one device has its own button"
        panel.get_by_role("button", name="Opt out of all of it").click()
        panel.get_by_role("button", name="Yes, all of it").click()
        panel.get_by_text("You have opted out of all of it.").wait_for(timeout=30_000)
        assert outs() == [True, True, False]
        alone = owner.post("/resources/heater-1/opt-in")
        assert (alone.status_code, alone.json()["detail"]) == (409, "its whole site is out"), alone.text
        panel.get_by_role("button", name="Take part again with all of it").click()
        panel.get_by_role("button", name="Opt out of all of it").wait_for(timeout=30_000)
        assert outs() == [False] * 3
        page.context.close()
        server.terminate()
