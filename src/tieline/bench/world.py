"""A simulated day of a thousand devices over the protocol stacks, with faults, twice: the same to the bit."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tieline.node.demo import quiet, run_headless
from tieline.simulate.territory import build
from tieline.simulate.world import World
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, parse_iso

BAR = 60.0
IN_PROCESS_BAR_S = 10.0
"""The same day with no desk above: a thousand devices with their feeders' power flow each minute."""
UNIT = "s"
WHAT = (
    "a simulated day, 1,000 devices, wire faults on; run twice and compared by the journal's hash; what is compiled "
    "once on a machine is compiled before, by an hour of 60; its folder is thrown away, so that no commit waits for "
    "the disk"
)


def in_process(devices: int, steps: int, seed: int) -> float:
    """Return the seconds that so many minutes of physics take with every feeder solved each minute, no desk above."""
    world = World(build(devices, np.random.default_rng([seed, 0])), np.random.default_rng([seed, 1]))
    free, low, high = np.full(devices, np.nan), np.full(devices, -np.inf), np.full(devices, np.inf)
    begin_ns, began = parse_iso("2022-08-17T00:00:00-05:00"), time.perf_counter()
    for step in range(1, steps + 1):
        world.step(begin_ns + step * MINUTE_NS, 60.0, free, low, high)
    return time.perf_counter() - began


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Play the day twice, and measure the slower."""
    quiet()
    devices, length_ns = (60, HOUR_NS) if quick else (1_000, DAY_NS)
    took, digests, held, began = [], [], True, time.perf_counter()
    run_headless(60, seed, "heatwave", HOUR_NS, lambda line: None)
    before_s = time.perf_counter() - began
    progress(f"compiled, if it was not before: an hour of 60 in {before_s:.1f} s")
    for turn in range(2):
        began = time.perf_counter()
        result = run_headless(devices, seed, "heatwave", length_ns, lambda line: None)
        took.append(time.perf_counter() - began)
        digests.append(result["digest"])
        held &= bool(result["held"])
        progress(f"run {turn + 1}: {took[-1]:.1f} s, {digests[-1]}")
    in_process_s, million_s = in_process(1_000, 1_440, seed), in_process(20_000 if quick else 1_000_000, 3, seed) / 3
    progress(f"in process: a day of 1,000 in {in_process_s:.1f} s; a step of a million in {1e3 * million_s:.0f} ms")
    value = max(took)
    same, in_time = digests[0] == digests[1], quick or in_process_s <= IN_PROCESS_BAR_S
    return {
        "value": round(value, 2), "ok": value <= BAR and in_time and same and held, "identical": same,
        "promises_held": held, "compiling_s": round(before_s, 2), "devices": devices, "digest": digests[0],
        "in_process_day_s": round(in_process_s, 2), "in_process_bar_s": IN_PROCESS_BAR_S,
        "step_of_a_million_s": round(million_s, 3),
    }  # fmt: skip
