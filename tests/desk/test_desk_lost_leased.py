"""Who is lost after it took its cap counts at that cap while its lease lasts (R16), and then at what it would do."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk import groups
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, SECOND_NS

SIZE_W, LIMIT_W = 5_000.0, 5_000.0


def powers_w(sign: float, lost_from: int, minutes: int, obeys: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return what two batteries do that would all take (sign -1) or give (1) their rating, and when the first's lease
    is over: shapes (minutes, 2), (minutes,). The first is out of reach from a minute on, and falls back to its base
    as its lease ends; or, where it does not obey, does as it likes throughout."""
    found, over = [], []

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        devices, fleet, base_w = stage.devices, stage.state.fleet, sign * SIZE_W
        fleet.power_w[:] = stage.state.base_w[:] = base_w
        ends = (-LIMIT_W, 1e6) if sign < 0 else (-1e6, LIMIT_W)
        end_ns = stage.clock.ns + 3 * HOUR_NS
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=ends[0], high=ends[1], end_ns=end_ns)
        )
        for minute in range(minutes):
            lost = minute >= lost_from
            if lost:
                devices.hears = lambda n: devices.batches[-1].rows > 0
            fleet.quality[0] = int(Quality.NOT_TOPICAL) if lost else 0
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            await stage.desk.settle()
            await stage.desk.flush()
            stage.clock.ns += 60 * SECOND_NS
            lapsed = devices.until_ns <= stage.clock.ns
            does_w = np.where(lapsed, base_w, np.clip(base_w, devices.low_w, devices.high_w))
            if not obeys:
                does_w[0] = base_w
            fleet.power_w[int(lost) :] = does_w[int(lost) :]
            fleet.taken_at_ns[int(lost) :] = stage.clock.ns
            found.append(does_w)
            over.append(bool(lapsed[0]))

    asyncio.run(play())
    return np.array(found), np.array(over)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_room_that_a_lost_ones_cap_leaves_is_the_others_until_its_lease_ends(sign: float) -> None:
    does_w, over = powers_w(sign, lost_from=4, minutes=40)
    sum_w = np.abs(does_w.sum(axis=1))
    assert over[-5:].all() and not over[:10].any(), over
    leased = ~over
    leased[:4] = False
    assert (sum_w[leased] > 0.9 * LIMIT_W).all(), sum_w
    # Its cap is over and nobody can tell it another: all that the limit leaves is what it takes by itself.
    settled = over & np.roll(over, 2)
    settled[:2] = False
    assert (sum_w[settled] <= LIMIT_W + 1.0).all(), sum_w
    assert (sum_w[leased] <= LIMIT_W + 1.0).all(), sum_w


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_who_kept_no_cap_before_it_was_lost_counts_at_what_it_would_do(sign: float) -> None:
    does_w, _ = powers_w(sign, lost_from=12, minutes=20, obeys=False)
    assert (np.abs(does_w.sum(axis=1))[14:] <= LIMIT_W + 1.0).all(), does_w
