"""One desk for all tests of the console; those that do anything at random to it come last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from console_stage import Running, opened

from tieline.bench.redraw import ARGS, CHROMIUM


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with opened(tmp_path_factory.mktemp("desk")) as found:
        yield found


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
