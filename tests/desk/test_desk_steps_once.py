"""At a step of what is owed each store is told once: whatever is seen a moment later is no reason to tell it again."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from award_stage import HOUR, STORES, Hour

from sampled import some
from tieline.resource.batch import CommandBatch
from tieline.times import SECOND_NS


@pytest.mark.parametrize("seed", some(range(6), 2))
@pytest.mark.parametrize("by_schedule", [True, False])
def test_no_store_is_told_twice_before_it_could_follow_at_the_steps_of_what_is_owed(
    seed: int, by_schedule: bool
) -> None:
    """Devices are read at any second: cars, heaters and plugs answer one after the other behind each step."""
    rng = np.random.default_rng([seed, 5])
    it = Hour((int(rng.choice([5, 10, 20, 60])), int(rng.choice([5, 10, 20, 60]))), by_schedule=by_schedule)
    last_ns, apart_ns = np.full(len(STORES), HOUR - 3_600 * SECOND_NS), list[int]()
    send = it.devices.send

    async def noted(batch: CommandBatch) -> None:
        rows = batch.rows[STORES[batch.rows]]
        apart_ns.extend((it.clock.ns - last_ns[rows]).tolist())
        last_ns[rows] = it.clock.ns
        await send(batch)

    async def play() -> None:
        for minute in sorted(rng.choice(np.arange(2, 20), 4, replace=False).tolist()):
            await it.until(minute * 60)
            await it.instruct(float(rng.uniform(3_000.0, 12_000.0)))
        await it.until(1_300)

    it.devices.send = noted
    asyncio.run(play())
    assert len(apart_ns) > 4, "else nothing is shown"
    assert min(apart_ns) >= 10 * SECOND_NS
