"""A simulated day of a thousand devices over the protocol stacks, with faults, twice: the same to the bit."""

from __future__ import annotations

import time
from collections.abc import Callable

from tieline.node.demo import quiet, run_headless
from tieline.times import DAY_NS, HOUR_NS

BAR = 60.0
UNIT = "s"
WHAT = "a simulated day, 1,000 devices, wire faults on; run twice and compared by the journal's hash"


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Play the day twice, and measure the slower."""
    quiet()
    devices, length_ns = (60, HOUR_NS) if quick else (1_000, DAY_NS)
    took, digests, held = [], [], True
    for turn in range(2):
        began = time.perf_counter()
        result = run_headless(devices, seed, "heatwave", length_ns, lambda line: None)
        took.append(time.perf_counter() - began)
        digests.append(result["digest"])
        held &= bool(result["held"])
        progress(f"run {turn + 1}: {took[-1]:.1f} s, {digests[-1]}")
    value = max(took)
    same = digests[0] == digests[1]
    return {
        "value": round(value, 2), "ok": value <= BAR and same and held, "identical": same, "promises_held": held,
        "devices": devices, "digest": digests[0],
    }  # fmt: skip
