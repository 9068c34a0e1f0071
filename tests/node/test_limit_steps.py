"""A limit that a control room operates reaches every device that it binds within the bar, whatever its step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uvloop

from tieline.bench._override_devices import RATED_W
from tieline.bench.override import BAR, _devices, _raise, _until
from tieline.desk.dispatch import CHANGE_W
from tieline.desk.state import LEASE_NS
from tieline.rim.supervise import Supervisor

COUNT, OPERATES = 40, 12
STEPS_W = (-600.0, -50.0, -20.0, -0.25, 0.0, 0.25, 20.0, 50.0, 600.0)
"""By how much more each device may draw: caps of 10 kW of span are not placed anew for less than 50 W by themselves."""
LEAST_W, MOST_W = 900.0, 1_900.0
"""Each charges 2 kW by itself, so that every limit between these binds."""
LATEST_S = 5.0
"""What a machine may take that does much else (R18 gives as long); the next minute's beat is mostly later than that."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ends", ["a lower end", "both ends"])
def test_every_step_of_a_limit_is_at_every_device_at_once(tmp_path: Path, seed: int, ends: str) -> None:
    """Each follows the one before at once, whose answers are still on their way: what grows waits for these alone."""
    most_w = COUNT * RATED_W * (1.0 if ends == "a lower end" else 0.5)

    async def main(ports: list[int], are_written: Callable[[np.ndarray], bool]) -> list[float]:
        rng, took_s, draws_w = np.random.default_rng(seed), list[float](), 1_000.0
        async with Supervisor(np.random.default_rng(seed)) as supervisor:
            node, link, scada = await _raise(ports, COUNT, seed, tmp_path, supervisor)
            await _until(lambda: link.health().peers == COUNT, "devices were not found")
            await _until(lambda: bool((node.state.base_w < -1_000.0).all()), "devices were not measured")
            await scada.connect()
            for turn in range(OPERATES):
                before_w = draws_w if turn else 5_000.0
                draws_w = float(np.clip(draws_w + rng.choice(STEPS_W), LEAST_W, MOST_W))
                began_ns = time.monotonic_ns()
                statuses = await scada.limit(0, -COUNT * draws_w, most_w)
                assert [status.name for status in statuses] == ["SUCCESS"] * len(statuses)
                if abs(draws_w - before_w) <= 2.0 * CHANGE_W:
                    continue  # too little to be told: nothing comes that could be waited for

                def is_there(limit_w: float = COUNT * draws_w, offset_ns: int = time.time_ns() - began_ns) -> bool:
                    """Whether what was told last keeps the limit and uses it, and every device has it."""
                    last = node.state.commands
                    keeps = 0.98 * limit_w <= -float(last.low_w.sum()) <= limit_w + 2.0 * COUNT * CHANGE_W
                    return keeps and are_written(last.valid_until_ns - LEASE_NS - offset_ns)

                await _until(is_there, f"{draws_w - before_w:+g} W a device")
                took_s.append((time.monotonic_ns() - began_ns) / 1e9)
        return took_s

    with _devices(COUNT) as (ports, written_ns):
        took_s = uvloop.run(main(ports, lambda since_ns: bool((written_ns >= since_ns).all())))
    assert np.median(took_s) <= BAR, [round(each, 3) for each in took_s]
    assert max(took_s) <= LATEST_S, [round(each, 3) for each in took_s]
