"""A desk that is started anew in an award goes on with what it told its devices: nobody is moved twice, or at all."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from award_stage import HOUR, STORES, Hour

from tieline.desk.cycle import SCHEDULED_NS, Cycle
from tieline.desk.planned import Planned
from tieline.desk.pool_desk import PoolDesk
from tieline.times import SECOND_NS

BEGUN_S = 400.0


def restarted(hour: Hour, *, is_scheduled: bool) -> tuple[PoolDesk, Planned | None]:
    """Take the desk's beat for a new one's: what was decided and learnt is known, and no schedule is made yet."""
    old = hour.pool
    made = PoolDesk(old.pool, old.rows, old.price, old.eligible, np.zeros(len(old.rows)), is_scheduled=is_scheduled)
    hour.pool, hour.cycle, hour.wakes = made, Cycle(hour.desk, {old.pool: made}), True
    return made, old.planned


async def seconds(hour: Hour, count: int) -> None:
    """Let seconds pass with a beat in each, as links come up and are heard."""
    for _ in range(count):
        hour.wakes = True
        await hour.until((hour.clock.ns - HOUR) / SECOND_NS + 1.0)


@pytest.mark.parametrize("after_s", [1, 8])
def test_an_award_by_schedule_moves_nobody_as_its_first_schedule_is_made_after_a_restart(after_s: int) -> None:
    async def play() -> None:
        hour = Hour()
        await hour.until(BEGUN_S)
        before, told = hour.pool.share_w, len(hour.devices.batches)
        pool, planned = restarted(hour, is_scheduled=True)
        await seconds(hour, after_s)
        pool.planned = planned
        await seconds(hour, 30)
        assert len(hour.devices.batches) == told
        assert pool.share_w == pytest.approx(before)

    asyncio.run(play())


def test_it_waits_for_no_schedule_for_long_and_not_where_another_power_is_asked() -> None:
    async def play(power_w: float | None) -> tuple[int, int]:
        hour = Hour()
        await hour.until(BEGUN_S)
        told = len(hour.devices.batches)
        restarted(hour, is_scheduled=True)
        if power_w is not None:
            await hour.instruct(power_w)
        await seconds(hour, 2)
        soon = len(hour.devices.batches) - told
        await seconds(hour, SCHEDULED_NS // SECOND_NS + 1)
        return soon, len(hour.devices.batches) - told

    assert asyncio.run(play(None)) == (0, 1)
    assert asyncio.run(play(7_000.0))[0] >= 1


@pytest.mark.parametrize("store_w", [5_000.0, 1_000.0])
def test_by_merit_too_who_is_called_goes_on(store_w: float) -> None:
    """Six stores of a kilowatt are too few: loads that are on or off are called, too."""

    async def play() -> None:
        hour = Hour(by_schedule=False)
        hour.state.fleet.max_inject_w[STORES] = store_w
        await hour.until(BEGUN_S)
        before, told = hour.pool.share_w, len(hour.devices.batches)
        pool, _ = restarted(hour, is_scheduled=False)
        await seconds(hour, 5)
        assert pool.share_w == pytest.approx(before)
        assert len(hour.devices.batches) == told

    asyncio.run(play())
