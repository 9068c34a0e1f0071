"""How long a warm `tieline demo` takes to a live console, and what a million resources weigh."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

import numpy as np

BAR = 5.0
UNIT = "s"
WHAT = "`tieline demo` (10,000 devices, warm) to a console that answers; and memory at 1,000,000 resources"
MEMORY_BAR_GIB = 6.0


def _to_console(devices: int) -> float:
    """Return how long a demo takes until its console answers (s; inf: it never does), on a port that is free."""
    command = [sys.executable, "-u", "-m", "tieline", "demo", "--devices", str(devices), "--port", "0"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        try:
            url = next((found[1] for line in child.stdout if (found := re.search(r"(http\S+)/enrol#", line))), None)
            while url is not None and time.perf_counter() - began < 120 and child.poll() is None:
                try:
                    with urllib.request.urlopen(f"{url}/healthz", timeout=1) as answer:
                        if answer.status == 200:
                            return time.perf_counter() - began
                except OSError:
                    time.sleep(0.05)
            return float("inf")
        finally:
            child.terminate()


def _million(count: int) -> float:
    """Return the peak memory (GiB) of this process after a fleet of so many lived some minutes and was settled."""
    from tieline.desk.state import DeskState
    from tieline.fleet.claims import ClaimBook
    from tieline.fleet.ledger import Ledger
    from tieline.simulate.territory import build
    from tieline.simulate.world import World
    from tieline.times import SECOND_NS

    territory = build(count, np.random.default_rng(1))
    world = World(territory, np.random.default_rng(2))
    state = DeskState.empty(territory.fleet, ClaimBook(territory.fleet), Ledger())
    free, low, high = np.full(count, np.nan), np.full(count, -np.inf), np.full(count, np.inf)
    for n in range(3):
        now_ns = 1_660_000_000 * SECOND_NS + n * 60 * SECOND_NS
        world.step(now_ns, 60.0, free, low, high)
        state.fleet.take_readings(world.readings(now_ns))
        state.claims.arbitrate(now_ns)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Start once to warm up, then measure three starts; then weigh the million."""
    devices = 100 if quick else 10_000
    _to_console(devices)
    took = []
    for turn in range(1 if quick else 3):
        took.append(_to_console(devices))
        progress(f"start {turn + 1}: {took[-1]:.2f} s")
    memory_gib = _million(10_000 if quick else 1_000_000)
    progress(f"peak memory {memory_gib:.2f} GiB")
    value = float(np.median(took))
    return {
        "value": round(value, 2), "ok": value <= BAR and memory_gib <= MEMORY_BAR_GIB, "devices": devices,
        "memory_gib": round(memory_gib, 2), "memory_bar_gib": MEMORY_BAR_GIB,
    }  # fmt: skip
