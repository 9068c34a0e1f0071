"""Settings for all tests: the same examples every time, and no deadline that a busy machine could miss."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("tieline", deadline=None, derandomize=True)
settings.load_profile("tieline")


@pytest.fixture(autouse=True, scope="module")
def _plain_log() -> Iterator[None]:
    """Let no file's tests run under what another's made of the log: which comes first is the scheduler's affair."""
    yield
    structlog.reset_defaults()
