"""One desk and one browser for all tests of the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from console_stage import ARGS, CHROMIUM, Running, opened


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with opened(tmp_path_factory.mktemp("desk")) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """One browser for all: each test opens a context of its own, which shares nothing with another."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield found
        found.close()
