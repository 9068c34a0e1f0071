"""Settings for all tests: the same examples every time, and no deadline that a busy machine could miss."""

import atexit
import gc
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

settings.register_profile("tieline", deadline=None, derandomize=True)
settings.load_profile("tieline")
gc.disable()


def pytest_collection_finish() -> None:
    """Take what was collected out of the garbage collector's rounds: it lives as long as the session.

    Five thousand tests and what they import are a million objects, and every full round would look at all of them,
    while they are collected and until a story settles its heap (`rim.heap`). The last round, at the end, sees them.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@pytest.fixture(autouse=True, scope="module")
def _plain_log() -> Iterator[None]:
    """Let no file's tests run under what another's made of the log: which comes first is the scheduler's affair."""
    yield
    structlog.reset_defaults()
