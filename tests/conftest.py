"""Settings for all tests: the same examples every time, and no deadline that a busy machine could miss."""

import atexit
import fcntl
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

LONGEST = (
    "docs/test_docs_blocks.py", "story/test_story.py", "node/test_alarm_faults.py", "plan/test_plan_large.py",
    "month/test_simulated_month.py", "node/test_market_days.py", "plan/test_plan_bench.py",
    "desk/test_desk_cycling.py", "node/test_load_forecasts_kept.py", "node/test_load_forecasts.py",
    "desk/test_desk_response.py", "node/test_serve_record.py", "node/test_serve_restart.py",
    "story/test_story_busy.py", "plan/test_plan_regulator.py", "desk/test_desk_likely.py",
    "simulate_clearing/test_clearing_peer.py", "node/test_serve_links.py", "node/test_why_local.py",
)  # fmt: skip
"""Files that take ten seconds of a core and more: begun first, so that no worker is left alone with one at the end."""

settings.register_profile("tieline", deadline=None, derandomize=True)
settings.load_profile("tieline")
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    place = {Path(__file__).parent / name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


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


@pytest.fixture(scope="session")
def quick_bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Return what `tieline bench NAME --quick --json` prints: run once for all workers, whoever asks it first."""
    ours = tmp_path_factory.getbasetemp()
    folder = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours

    def run(name: str) -> subprocess.CompletedProcess[str]:
        kept = folder / f"bench-{name}.pickle"
        with open(folder / f"bench-{name}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                words = [sys.executable, "-m", "tieline", "bench", name, "--quick", "--json"]
                env = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[1] / "src"))
                done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=240, check=False)
                kept.write_bytes(pickle.dumps(done))
        done = pickle.loads(kept.read_bytes())  # our own, of a minute ago
        assert isinstance(done, subprocess.CompletedProcess)
        return done

    return run
