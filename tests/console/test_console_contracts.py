"""An owner reads his contract on his own page, and takes his consent back there: asked once, and never unawares."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "do" / "contracts.md").read_text(encoding="utf-8")
TIELINE = [sys.executable, "-m", "tieline"]


def text_of(name: str) -> str:
    """A file of the docs' own example."""
    found = re.search(rf"```text {re.escape(name)}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[str, httpx.Client, httpx.Client]]:
    """The docs' example, served: its address, the first person and the owner of battery-1."""
    (tmp_path / "devices.csv").write_text(text_of("devices.csv"))
    for words in (["init", "works"], ["import", "devices.csv", "--data", "works"]):
        subprocess.run([*TIELINE, *words], cwd=tmp_path, check=True, capture_output=True)
    for name in ("works/contracts.toml", "works/tieline.toml"):
        (tmp_path / name).write_text(text_of(name))
    serve = [*TIELINE, "serve", "--data", "works", "--for", "3m"]
    with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        line = next(line for line in server.stdout if "one-time link for admin" in line)
        url, secret = line.split()[-1].split("/enrol#")
        first, owner = (httpx.Client(base_url=f"{url}/api/v1", timeout=60) for _ in range(2))
        first.post("/enrol", json={"secret": secret, "password": "a long pass phrase"}).raise_for_status()
        invited = first.post("/accounts", json={"name": "ann", "roles": ["owner"], "scope": ["battery-1"]}).json()
        owner.post("/enrol", json={"secret": invited["secret"], "password": "another pass phrase"}).raise_for_status()
        yield url, first, owner
        server.terminate()


def opened(browser, url: str, client: httpx.Client, path: str):
    context = browser.new_context()
    context.add_cookies([{"name": name, "value": value, "url": url} for name, value in client.cookies.items()])
    page = context.new_page()
    page.goto(url + path)
    return page


def test_an_owner_takes_consent_back_on_his_page_after_one_question(browser, desk) -> None:
    url, first, owner = desk
    page = opened(browser, url, owner, "/")
    panel = page.get_by_label("Contracts")
    panel.get_by_text("0 of 15 calls, 0 of 60 h").wait_for(timeout=30_000)
    assert "ann-2026" in panel.inner_text()
    panel.get_by_role("button", name="Take consent back").click()
    panel.get_by_role("button", name="Leave it").click()
    assert owner.get("/contracts").json()[0]["out_because"] == "", "asked and left: nothing was said"
    panel.get_by_role("button", name="Take consent back").click()
    panel.get_by_role("button", name="Yes, take it back").click()
    panel.get_by_text("nothing: the owner's consent").wait_for(timeout=30_000)
    assert panel.get_by_role("button", name="Take consent back").count() == 0
    (seen,) = owner.get("/contracts").json()
    assert [(word["by"], word["is_given"]) for word in seen["words"]] == [("ann", False)]
    page.context.close()
    screen = opened(browser, url, first, "/resource/battery-1")
    screen.get_by_label("Claims").get_by_text("no contract lets it be called").wait_for(timeout=30_000)
    back = owner.post("/resources/battery-1/opt-in")
    assert (back.status_code, back.json()["rule"]) == (409, "consent"), json.dumps(back.json())
    screen.context.close()
