"""What a group would do without its limit, while calls ask its devices for more than the limit lets them do."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, alone_w, fleet_of, unlimited_of_all_w
from sun_stage import HOUR, Sun

from tieline.desk.ports import Award
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS

LATE_FRAC = 0.25
"""What the page says of it: so much of what the event doesn't get may be told beside what comes."""


def told_and_came(seed: int) -> tuple[float, float, float]:
    """Return what is told as the limit ends, the most that comes within 14 minutes, and the event's power.

    A feeder of plants in an even sun, stores and loads serves an event; a limit comes before it or into it.
    """
    rng = np.random.default_rng(seed)
    plants, stores, loads = (int(rng.integers(*ends)) for ends in ((1, 3), (2, 6), (0, 4)))
    power_w, high_w = float(rng.choice([2e3, 5e3, 8e3, 12e3])), float(rng.choice([0.0, 500.0, 3e3, 5e3, -2e3]))
    is_first, ends = bool(rng.integers(2)), int(rng.integers(11, 30)) + int(rng.integers(6)) / 6

    async def main() -> tuple[float, float, float]:
        sun = Sun(plants, stores, loads, seed=seed, feeders=1)
        sun.sun_w[:] = 2_500.0
        rows = sun.state.fleet.leaves("feeder-1")
        await sun.until(-5)
        await sun.event(power_w)
        await sun.until(-4 if is_first else 7)
        await sun.limit("feeder-1", high_w, minutes=60)
        await sun.until(ends)
        told_w = unlimited_of_all_w(sun.state, -1e6, high_w, sun.clock.ns)
        await sun.release("feeder-1")
        since = len(sun.powers_w)
        await sun.until(ends + 14)
        return told_w, max(float(each[rows].sum()) for each in sun.powers_w[since:]), power_w

    return asyncio.run(main())


@pytest.mark.parametrize("seed", [2_016, *range(12)])
def test_what_an_event_brings_back_once_its_limit_ends_is_no_more_than_is_told_and_not_far_below(seed: int) -> None:
    told_w, came_w, power_w = told_and_came(seed)
    assert came_w <= told_w + 60.0, "a plant may be told so much under its sun as its ceiling is let go"
    assert told_w <= came_w + LATE_FRAC * power_w + 1_500.0


def test_an_event_of_8_kw_that_a_limit_of_5_kw_holds_comes_back_within_seconds_and_is_told_before() -> None:
    async def main() -> None:
        sun = Sun(2, 3, 1, feeders=1)
        rows = sun.state.fleet.leaves("feeder-1")
        await sun.until(-3)
        await sun.event(8_000.0)
        await sun.until(10)
        await sun.limit("feeder-1", 5_000.0, minutes=60)
        await sun.until(20)
        told_w = unlimited_of_all_w(sun.state, -1e6, 5_000.0, sun.clock.ns)
        asked_w = np.nansum(sun.asked_w(next(iter(sun.state.events)))[sun.stores])
        assert asked_w == pytest.approx(7_059.0, abs=1.0)
        await sun.release("feeder-1")
        await sun.until(20 + 1 / 6)
        came_w = float(sun.power_w[rows].sum())
        assert came_w > 9_000.0, "the limit held it to less than 5 kW"
        assert came_w - 60.0 <= told_w <= came_w + LATE_FRAC * 8_000.0

    asyncio.run(main())


def test_an_event_that_begins_within_half_an_hour_counts_as_far_as_its_devices_can_serve_it() -> None:
    async def main() -> None:
        sun = Sun(1, 2, 0, feeders=1)
        sun.sun_w[:] = 2_500.0
        await sun.until(-50)
        await sun.event(8_000.0)
        await sun.limit("feeder-1", 500.0, minutes=60)
        for minute, comes_w in ((-31, 2_500.0), (-29, 10_500.0)):
            await sun.until(minute)
            told_w = unlimited_of_all_w(sun.state, -1e6, 500.0, sun.clock.ns)
            assert told_w == pytest.approx(comes_w, abs=LATE_FRAC * 8_000.0 + 60.0)
        assert sun.clock.ns < HOUR

    asyncio.run(main())


def called(kind: Kind, side: float, power_w: float, **fleet_of_it: float) -> Stage1:
    """Return two devices called for 4 kW to a side, that a limit on their feeder holds to so much (W)."""
    stage = Stage1(fleet_of([kind, kind]))
    fleet, last = stage.state.fleet, stage.state.commands
    fleet.power_w[:] = side * power_w
    fleet.energy_available_wh[:] = 5_000.0
    for name, value in fleet_of_it.items():
        fleet.column(name)[:] = value

    async def ask() -> None:
        for row in range(2):
            await stage.desk.ask(stage.ask("market", Level.MARKET, f"r{row}", value=side * 4_000.0))

    asyncio.run(ask())
    last.valid_until_ns[:] = stage.clock.ns + HOUR_NS
    last.low_w[:], last.high_w[:] = -5_000.0, 5_000.0
    (last.high_w if side > 0 else last.low_w)[:] = side * power_w
    last.target_w[:] = side * power_w
    return stage


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("held_w", [0.0, 500.0, 3_000.0])
def test_what_stores_are_called_for_comes_back_whole_on_the_side_that_a_limit_holds(side: float, held_w: float) -> None:
    stage = called(Kind.BATTERY, side, held_w, available_up_w=0.0, available_down_w=0.0)
    ends = (-np.inf, 2 * held_w) if side > 0 else (-2 * held_w, np.inf)
    rows = np.arange(2, dtype=np.int32)
    assert unlimited_of_all_w(stage.state, *ends, stage.clock.ns) == pytest.approx(side * 8_000.0)
    gives_w, draws_w = alone_w(stage.state, rows, stage.clock.ns)
    assert gives_w - draws_w == pytest.approx(np.full(2, side * 4_000.0)), "whosever limit it is"


def test_a_store_that_is_empty_or_that_its_owner_took_out_of_the_call_does_not_come_back() -> None:
    stage = called(Kind.BATTERY, 1.0, 0.0, available_up_w=0.0)
    stage.state.fleet.energy_available_wh[0] = 0.0
    assert unlimited_of_all_w(stage.state, -np.inf, 0.0, stage.clock.ns) == pytest.approx(4_000.0)

    async def out() -> None:
        now_ns = stage.clock.ns
        gate = stage.ask("owner", Level.OWNER_NEED, "r1", ClaimKind.GATE, value=0.0, quantity=Quantity.CONNECT,
                         end_ns=now_ns + HOUR_NS)  # fmt: skip
        await stage.desk.ask(gate)

    asyncio.run(out())
    assert unlimited_of_all_w(stage.state, -np.inf, 0.0, stage.clock.ns) == pytest.approx(0.0)


def test_an_award_to_draw_that_an_import_limit_holds_off_counts_as_far_as_its_stores_can_charge() -> None:
    stage = called(Kind.BATTERY, -1.0, 500.0, available_down_w=4_500.0)
    state, now_ns = stage.state, stage.clock.ns

    async def withdraw() -> None:
        for row in range(2):
            await stage.desk.withdraw("test:market", "p", f"r{row}", Quantity.P, "f")

    asyncio.run(withdraw())
    state.commands.target_w[:] = np.nan
    state.base_w[:] = 0.0
    at_rest_w = unlimited_of_all_w(state, -1_000.0, np.inf, now_ns)
    for power_w, comes_w in ((-3_000.0, -3_000.0), (-20_000.0, -9_000.0), (9_000.0, 0.0)):
        state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", now_ns, now_ns + HOUR_NS, power_w, 50.0)
        found_w = unlimited_of_all_w(state, -1_000.0, np.inf, now_ns)
        assert found_w == pytest.approx(at_rest_w + comes_w)
