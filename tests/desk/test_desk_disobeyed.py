"""A limit that a device took and does not keep: it is found by the meter, recorded, and worked around."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of, with_generation

from tieline.desk import groups
from tieline.desk.disobedience import KEEPS_NS, beyond
from tieline.desk.state import TOOK
from tieline.desk.watch import decide_contradicted
from tieline.resource.claim import ClaimKind
from tieline.resource.command import Stage
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

LIMIT_W = 9_000.0


async def limited(stage: Stage1, high_w: float) -> None:
    """Put a limit into force at each device, done by its own word, and let the time pass that it has to keep it."""
    for row in range(len(stage.state.fleet)):
        ask = stage.ask(
            "dso", Level.ENVELOPE, f"r{row}", ClaimKind.LIMIT, low=-5e3, high=high_w, end_ns=stage.clock.ns + HOUR_NS
        )
        await stage.desk.ask(ask)
    stage.devices.report(await stage.desk.settle(), Stage.DONE)
    await stage.desk.flush()
    stage.clock.ns += KEEPS_NS
    stage.state.fleet.taken_at_ns[:] = stage.clock.ns


def test_a_command_that_was_done_and_that_the_meter_contradicts_is_recorded_once_and_not_sent_again() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.PV] * 3))
        await limited(stage, 0.0)
        stage.state.fleet.power_w[:] = (3_815.0, 0.0, 200.0)
        sent = len(stage.devices.batches)
        await stage.desk.commit(decide_contradicted(stage.state, stage.clock.ns))
        commands = stage.state.commands
        assert [Stage(int(x)) for x in commands.stage] == [Stage.UNCONFIRMED, Stage.DONE, Stage.DONE]
        assert commands.observed_w[0] == 3_815.0
        stage.clock.ns += MINUTE_NS
        stage.state.fleet.taken_at_ns[:] = stage.clock.ns
        assert decide_contradicted(stage.state, stage.clock.ns) == []
        assert await stage.desk.settle() is None and len(stage.devices.batches) == sent
        assert int(stage.replayed(stage.ledger).commands.stage[0]) == Stage.UNCONFIRMED

    asyncio.run(play())


@pytest.mark.parametrize(("power_w", "high_w", "is_found"), [(4_000.0, 2_000.0, False), (4_000.0, 0.0, True)])
def test_a_machine_in_a_timer_of_its_own_has_not_disobeyed_but_none_has_to_feed_in_where_nothing_may(
    power_w: float, high_w: float, is_found: bool
) -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BIOMASS]))
        await limited(stage, high_w)
        stage.state.fleet.power_w[:] = power_w
        rows, one = np.zeros(1, np.int32), np.ones(1)
        assert beyond(stage.state, rows, stage.clock.ns).all()
        stage.state.claims.hold(rows, 250.0 * one, 5_000.0 * one, np.array([stage.clock.ns + 10 * MINUTE_NS]))
        assert beyond(stage.state, rows, stage.clock.ns).tolist() == [is_found]

    asyncio.run(play())


def test_of_a_device_without_a_meter_nothing_is_found() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        await limited(stage, -2_000.0)
        for power_w, is_found in ((np.nan, False), (0.0, True)):
            stage.state.fleet.power_w[:] = power_w
            assert beyond(stage.state, np.zeros(1, np.int32), stage.clock.ns).tolist() == [is_found]

    asyncio.run(play())


def test_others_on_a_feeder_give_the_room_that_one_who_ignores_its_cap_takes() -> None:
    """Six batteries are called for all that they have; one gives 5 kW whatever it is told."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 6))
        devices, fleet = stage.devices, stage.state.fleet
        until_ns = stage.clock.ns + 40 * HOUR_NS
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-3e4, high=LIMIT_W, end_ns=until_ns)
        )
        for row in range(6):
            await stage.desk.ask(stage.ask("market", Level.MARKET, f"r{row}", value=5_000.0, end_ns=until_ns))
        over, given_w = [], 0.0
        for minute in range(60):
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            await stage.desk.settle()
            await stage.desk.flush()
            stage.clock.ns += 60 * SECOND_NS
            fleet.power_w[:] = np.where(np.isnan(devices.target_w), 0.0, np.minimum(devices.target_w, devices.high_w))
            fleet.power_w[0] = 5_000.0
            fleet.taken_at_ns[:] = stage.clock.ns
            given_w = float(fleet.power_w.sum())
            if given_w > LIMIT_W + 1e-6:
                over.append(minute)
        assert max(over, default=0) <= 3, "the others give way within minutes, for as long as the cap is ignored"
        assert given_w > 0.9 * LIMIT_W, "no more room is given up than is taken"

    asyncio.run(play())


@pytest.mark.parametrize(("follows", "is_found"), [(False, True), (True, False)])
def test_a_limit_that_moves_at_each_beat_gives_nobody_new_time_and_who_follows_a_beat_late_keeps_it(
    follows: bool, is_found: bool
) -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        found, told_w = [], [700.0 + 400.0 * beat for beat in range(8)]
        for before_w, low_w in zip([0.0, *told_w], told_w, strict=False):
            end_ns = stage.clock.ns + HOUR_NS
            await stage.desk.ask(
                stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=low_w, high=5e3, end_ns=end_ns)
            )
            stage.devices.report(await stage.desk.settle(), Stage.DONE)
            await stage.desk.flush()
            stage.clock.ns += 80 * SECOND_NS
            stage.state.fleet.power_w[:] = before_w if follows else -10.0
            stage.state.fleet.taken_at_ns[:] = stage.clock.ns
            found.append(bool(beyond(stage.state, np.zeros(1, np.int32), stage.clock.ns)[0]))
        assert found == [False] * 3 + [is_found] * 5
        columns, again = stage.state.commands, stage.replayed(stage.ledger).commands
        assert (columns.eased_low_w == again.eased_low_w).all() and (columns.eased_ns == again.eased_ns).all()
        assert columns.answer.tolist() == again.answer.tolist() == [TOOK]

    asyncio.run(play())


@pytest.mark.parametrize("beat_s", [15, 60, 80, 100, 240])
@pytest.mark.parametrize("age_s", [0, 55])
def test_who_ignores_a_limit_that_moves_is_found_until_it_obeys_though_the_limit_stood_still_meanwhile(
    beat_s: int, age_s: int
) -> None:
    """The limit grows for half an hour, stands still for half an hour, and grows again; readings may be a beat old."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        began_ns, row, found, low_w = stage.clock.ns, np.zeros(1, np.int32), list[bool](), 0.0
        while (since_s := (stage.clock.ns - began_ns) / SECOND_NS) < 5_700.0:
            if since_s < 1_800.0 or since_s > 3_600.0:
                low_w += 0.3 * beat_s
            ends = {"low": 700.0 + low_w, "high": 5e3, "end_ns": stage.clock.ns + HOUR_NS}
            await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, **ends))
            if (batch := await stage.desk.settle()) is not None:
                stage.devices.report(batch, Stage.DONE)
            await stage.desk.flush()
            stage.clock.ns += beat_s * SECOND_NS
            stage.state.fleet.power_w[:] = -10.0 if since_s < 5_400.0 else 700.0 + low_w
            stage.state.fleet.taken_at_ns[:] = stage.clock.ns - age_s * SECOND_NS
            found.append(bool(beyond(stage.state, row, stage.clock.ns)[0]))
        first, obeys = found.index(True), -(-5_400 // beat_s)
        assert first * beat_s <= 480
        assert all(found[first:obeys]) and not any(found[obeys:])

    asyncio.run(play())


@pytest.mark.parametrize("does_w", [5_000.0, 3_000.0])
@pytest.mark.parametrize("early", [0, 3, 12])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_cap_that_is_ignored_is_not_moved_so_that_the_other_makes_room_and_the_one_is_found(
    side: float, early: int, does_w: float
) -> None:
    """Two batteries behind a limit of 1 kW: one gives (or draws) more whatever it is told, the other may move as much.

    Beats come each minute, but for a few at first that lie closer than a battery's time to follow.
    """

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        devices, fleet, rows = stage.devices, stage.state.fleet, np.arange(2, dtype=np.int32)
        end_ns = stage.clock.ns + 2 * HOUR_NS
        fleet.power_w[:], stage.state.base_w[:] = (side * does_w, 0.0), (side * does_w, 0.0)
        low_w, high_w = sorted((side * 1_000.0, side * -1e4))
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, high=high_w, end_ns=end_ns)
        )
        over, found = [], []
        for beat in range(early + 12):
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            batch = await stage.desk.settle()
            if batch is not None:
                devices.report(batch, Stage.DONE)
            await stage.desk.flush()
            stage.clock.ns += (3 if beat < early else 60) * SECOND_NS
            fleet.power_w[:] = (side * does_w, np.clip(0.0, devices.low_w[1], devices.high_w[1]))
            fleet.taken_at_ns[:] = stage.clock.ns
            if side * float(fleet.power_w.sum()) > 1_000.0:
                over.append(beat)
            found.append(beyond(stage.state, rows, stage.clock.ns).tolist())
        assert max(over, default=0) <= early + 3
        assert found[-1] == [True, False]
        assert found.index([True, False]) <= early + 8

    asyncio.run(play())


@pytest.mark.parametrize("high_w", [4_000.0, 5_500.0])
def test_what_one_gives_beyond_its_cap_is_made_good_under_a_limit_on_generation_however_near_it_is(
    high_w: float,
) -> None:
    """Two PV plants may give so much together: one gives 3 kW whatever it is told, the other up to that."""

    async def play() -> None:
        stage = with_generation([Kind.PV] * 2)
        devices, fleet, over = stage.devices, stage.state.fleet, []
        fleet.power_w[:] = stage.state.base_w[:] = 3_000.0
        end_ns, group = stage.clock.ns + 2 * HOUR_NS, "feeder-1-generation"
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=-1e6, high=high_w, end_ns=end_ns)
        )
        for minute in range(15):
            await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
            await stage.desk.settle()
            await stage.desk.flush()
            stage.clock.ns += 60 * SECOND_NS
            fleet.power_w[:] = (3_000.0, min(3_000.0, float(devices.high_w[1])))
            fleet.taken_at_ns[:] = stage.clock.ns
            if float(fleet.power_w.sum()) > high_w:
                over.append(minute)
        assert max(over, default=0) <= 9
        assert float(fleet.power_w.sum()) > 0.9 * high_w

    asyncio.run(play())
