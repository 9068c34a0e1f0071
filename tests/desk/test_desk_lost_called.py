"""Who is called, or pressed by a limit, and is lost counts at what it took while its lease lasts (R16), and the others
make up for it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk.cycle import Cycle
from tieline.desk.ports import Granted
from tieline.desk.state import LEASE_NS
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

CALLED_W, LIMIT_W = 2_000.0, 500.0
LOST_AT, LET_GO_AT, MINUTES = 3, 4, 40
LEASED = LEASE_NS // MINUTE_NS


def powers_w(sign: float, limited_at: int, free_w: float, *, by_limit: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return what two stores do after each minute's beat, and whether the first holds what it was told then: shapes
    (minutes, 2), (minutes,).

    The first is called, or has to by a limit of its own, to give (sign 1), or to charge (-1), 2 kW, and is out of reach
    from the third minute on: it does not hear that it is let go, and its own timer ends what it was told. The second does
    `free_w` by itself. A limit of 500 W on that side of their feeder comes in a minute of its own.
    """
    found, holds = [], []

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        desk, devices, fleet, end_ns = stage.desk, stage.devices, stage.state.fleet, stage.clock.ns + 3 * HOUR_NS
        cycle, by_itself_w = Cycle(desk, {}), np.array([0.0, sign * free_w])
        fleet.power_w[:] = stage.state.base_w[:] = by_itself_w
        who, presses = "market", (-1e6, -CALLED_W) if sign < 0 else (CALLED_W, 1e6)
        call = stage.ask("market", Level.MARKET, "r0", value=sign * CALLED_W, end_ns=end_ns)
        if by_limit:
            who, kind = "dso", ClaimKind.LIMIT
            call = stage.ask(who, Level.ENVELOPE, "r0", kind, low=presses[0], high=presses[1], end_ns=end_ns)
        assert isinstance(await desk.ask(call), Granted)
        for minute in range(MINUTES):
            if minute == LOST_AT:
                devices.hears = lambda n: devices.batches[-1].rows > 0
                fleet.quality[0] = int(Quality.NOT_TOPICAL)
            if minute == LET_GO_AT:
                assert await desk.withdraw(f"test:{who}", "p", "r0", Quantity.P, "f")
            if minute == limited_at:
                ends = (-1e6, LIMIT_W) if sign > 0 else (-LIMIT_W, 1e6)
                ask = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=ends[0], high=ends[1],
                                end_ns=end_ns)  # fmt: skip
                assert isinstance(await desk.ask(ask), Granted)
            await cycle.beat(stage.clock.ns)
            await desk.flush()
            alive = devices.until_ns > stage.clock.ns
            told_w = np.where(np.isfinite(devices.target_w), devices.target_w, by_itself_w)
            found.append(np.where(alive, np.clip(told_w, devices.low_w, devices.high_w), by_itself_w))
            holds.append(bool(alive[0]))
            stage.clock.ns += 55 * SECOND_NS
            heard = slice(int(minute >= LOST_AT), None)
            fleet.power_w[heard], fleet.taken_at_ns[heard] = found[-1][heard], stage.clock.ns
            stage.clock.ns += 5 * SECOND_NS

    asyncio.run(play())
    return np.array(found), np.array(holds)


@pytest.mark.parametrize("limited_at", [4, 5, 9])
@pytest.mark.parametrize("free_w", [0.0, 3_000.0])
@pytest.mark.parametrize("by_limit", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_who_is_called_and_is_lost_counts_at_what_it_was_told_while_its_lease_lasts_and_the_other_takes_it(
    sign: float, by_limit: bool, free_w: float, limited_at: int
) -> None:
    does_w, holds = powers_w(sign, limited_at, free_w, by_limit=by_limit)
    limited = np.arange(MINUTES) >= limited_at
    assert (limited & holds).sum() >= 9 and (does_w[holds, 0] == sign * CALLED_W).all(), does_w
    assert (sign * does_w.sum(axis=1)[limited] <= LIMIT_W + 1.0).all(), does_w


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_once_the_lease_of_who_is_lost_is_over_the_other_has_the_room_again(sign: float) -> None:
    does_w, holds = powers_w(sign, 5, 3_000.0)
    assert not holds[-10:].any() and (does_w[-10:, 0] == 0.0).all()
    assert (sign * does_w[-5:, 1] >= 0.9 * LIMIT_W).all(), does_w


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_of_who_was_called_and_is_lost_a_limit_that_comes_once_its_lease_is_over_counts_nothing(sign: float) -> None:
    does_w, holds = powers_w(sign, LEASED + 4, 3_000.0)
    assert not holds[LEASED + 4 :].any()
    assert (sign * does_w[LEASED + 4 :, 1] >= 0.9 * LIMIT_W).all(), does_w
    assert (sign * does_w[LEASED + 4 :, 1] <= LIMIT_W).all(), does_w
