"""One desk for all tests of the console; those that do anything at random to it come last."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from console_stage import Running, opened

from tieline.bench.redraw import ARGS, CHROMIUM

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with opened(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(autouse=True)
def _put_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put back what a failed test left on the one desk, so that those after it fail for their own faults alone."""
    yield
    if not request.node.stash.get(FAILED, False) or "running" not in request.fixturenames:
        return
    running = request.getfixturevalue("running")
    with running.client("ann") as ann, running.client("ben") as ben:
        for waits in ben.get("/api/v1/waiting").json():
            ben.post(f"/api/v1/waiting/{waits['id']}/drop")
        if ann.get("/api/v1/shell").json()["is_killed"]:
            waits = ann.post("/api/v1/kill", json={"pressed": False, "because": "a test failed"}).json()
            ben.post(f"/api/v1/waiting/{waits['id']}/confirm", json={"payload": waits["payload"]})
        for event in ann.get("/api/v1/events").json():
            if event["composed_by"] in ("ann", "ben") and event["state"] in ("Scheduled", "In Progress"):
                ann.post(f"/api/v1/events/{event['id']}/cancel")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A browser for a module; each test opens a context of its own.

    For no longer than a module: while it is there its loop runs in this thread, and nothing else can run one.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield found
        found.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what drives a browser, and let requests at random come last: they press switches and opt devices out."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: item.path.name == "test_console_fuzzed.py")
