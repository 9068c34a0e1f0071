"""One desk for all tests of the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from console_stage import Running, opened


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with opened(tmp_path_factory.mktemp("desk")) as found:
        yield found
