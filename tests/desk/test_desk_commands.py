"""Reports that come late, twice, out of order or of another batch; and a device that lies about its timer."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.dispatch import AGAIN_NS, next_again_ns
from tieline.desk.watch import decide_reverts
from tieline.resource.batch import Readings
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import TERMINAL, Stage, follows
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Stage)), st.booleans()), max_size=12))
def test_reports_in_any_order_leave_a_command_where_the_table_leads_and_never_move_an_end(reports: list) -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        stage.devices.answers = lambda n: np.zeros(n, np.bool_)
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=1_000.0))
        first = await stage.desk.settle()
        stage.clock.ns += MINUTE_NS
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=2_000.0))
        second = await stage.desk.settle()
        expected, ended, late = Stage.QUEUED, None, 0
        for told, is_old in reports:
            stage.clock.ns += 1
            stage.devices.report(first if is_old else second, told)
            await stage.desk.flush()
            if not is_old:
                late += not follows(told, expected)
                expected = told if follows(told, expected) else expected
            now = Stage(int(stage.state.commands.stage[0]))
            assert now == expected
            assert ended is None or now in (ended, Stage.UNCONFIRMED), "an end stays"
            ended = now if now in TERMINAL else None
        assert stage.state.late_reports == late

    asyncio.run(play())


def test_a_device_that_holds_its_command_after_its_time_is_released_and_recorded_unconfirmed() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=3_000.0, end_ns=stage.clock.ns + MINUTE_NS))
        batch = await stage.desk.settle()
        stage.devices.report(batch, Stage.DONE)
        await stage.desk.flush()
        assert stage.state.commands.stage[0] == Stage.DONE
        stage.state.fleet.power_w[:] = 3_000.0
        stage.clock.ns = batch.valid_until_ns + 3 * MINUTE_NS
        entries, release = decide_reverts(stage.state, stage.clock.ns)
        await stage.desk.commit(entries[:1])
        assert stage.state.commands.stage[0] == Stage.UNCONFIRMED
        await stage.desk.commit(entries[1:])
        await stage.desk.send(release)
        assert np.isnan(stage.devices.target_w[0])
        assert release.caused_by == (entries[0].id,)

    asyncio.run(play())


@pytest.mark.parametrize("power_w", [3_000.0, 1_200.0])
def test_after_a_start_what_a_device_holds_of_an_old_command_is_not_learnt_as_its_base(power_w: float) -> None:
    """Its timer lies, and nobody was there as it should have ended; what stands elsewhere is its own."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY]))
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=3_000.0, end_ns=stage.clock.ns + MINUTE_NS))
        batch = await stage.desk.settle()
        stage.devices.report(batch, Stage.DONE)
        await stage.desk.flush()
        stage.state.fleet.taken_at_ns[:], stage.state.base_w[:] = 0, 0.0  # as a start finds them
        stage.clock.ns = batch.valid_until_ns + 16 * HOUR_NS
        now, one = np.array([stage.clock.ns]), np.zeros(1, np.int32)
        codes, good = np.array([code("power_w")], np.uint16), np.zeros(1, np.uint32)
        for _ in range(3):
            stage.desk.readings(Readings(one, codes, np.array([power_w]), good, now, now, "t"))
            now = now + 10 * SECOND_NS
        entries, release = decide_reverts(stage.state, int(now[0]))
        if power_w == 3_000.0:
            assert release is not None and entries
        else:
            assert release is None
            assert stage.state.base_w[0] == pytest.approx(power_w)

    asyncio.run(play())


def test_a_device_that_never_answered_is_told_anew_while_it_is_in_reach_and_one_that_answered_is_not() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 4))
        for row in range(4):
            limit = {"kind": ClaimKind.LIMIT, "low": -5_000.0, "high": 0.0}
            await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, f"r{row}", **limit))
        stage.state.fleet.quality[:] = int(Quality.GOOD)
        stage.state.fleet.quality[3] = int(Quality.COMM_LOST)
        stage.devices.answers = lambda n: np.zeros(n, np.bool_)
        first = await stage.desk.settle()
        for row, end in ((0, Stage.UNCONFIRMED), (1, Stage.DONE), (2, Stage.UNCONFIRMED), (3, Stage.UNCONFIRMED)):
            one = first.take(first.rows == row)
            stage.devices.report(one, Stage.SENT)
            # The third was read back: it took the command, and does otherwise.
            stage.devices.report(one, end, 100.0 if row == 2 else np.nan)
        await stage.desk.flush()
        stage.clock.ns += AGAIN_NS - MINUTE_NS
        assert await stage.desk.settle() is None
        stage.clock.ns += MINUTE_NS
        again = await stage.desk.settle()
        assert again.rows.tolist() == [0]
        assert again.seq > first.seq and again.high_w.tolist() == [0.0]
        assert again.valid_until_ns > first.valid_until_ns

    asyncio.run(play())


def test_a_limit_that_outlives_many_commands_holds_at_the_device_without_a_gap() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        until_ns = stage.clock.ns + 3 * HOUR_NS
        limit = {"kind": ClaimKind.LIMIT, "low": -5_000.0, "high": 0.0, "end_ns": until_ns}
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "r0", **limit))
        while stage.clock.ns < until_ns:
            await stage.desk.settle()
            assert stage.devices.high_w[0] == 0.0 and stage.devices.until_ns[0] > stage.clock.ns
            stage.clock.ns += MINUTE_NS
        await stage.desk.settle()
        assert len(stage.devices.batches) == 180 // 13 + 2  # one each time that less than eight of 20 minutes are left
        assert {row for batch in stage.devices.batches for row in batch.rows.tolist()} == {0}

    asyncio.run(play())


@pytest.mark.parametrize(("lost", "is_told"), [(1, True), (2, True), (1, False), (2, False)])
def test_an_owner_who_opts_out_is_let_go_within_a_minute_though_his_release_is_lost_on_the_way(
    lost: int, is_told: bool
) -> None:
    """The device is called, and hears nothing of the first release or two; each ends unconfirmed, or is still out."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        state, devices, clock = stage.state, stage.devices, stage.clock
        state.fleet.quality[:], state.fleet.taken_at_ns[:] = 0, clock.ns
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=3_000.0, end_ns=clock.ns + HOUR_NS))
        await stage.desk.settle()
        assert devices.target_w[0] == 3_000.0
        devices.hears = lambda n: np.zeros(n, np.bool_)
        out = stage.ask(
            "owner", Level.OWNER_NEED, "r0", ClaimKind.GATE, quantity=Quantity.CONNECT, end_ns=clock.ns + 9 * HOUR_NS
        )
        await stage.desk.ask(out)
        await stage.desk.settle()
        opted_ns, tries = clock.ns, 1
        while np.isfinite(devices.target_w[0]):
            clock.ns += 20 * SECOND_NS
            if is_told:
                devices.report(devices.batches[-1], Stage.UNCONFIRMED)
            await stage.desk.flush()
            due_ns = next_again_ns(state, clock.ns)
            assert due_ns - opted_ns <= 60 * SECOND_NS
            clock.ns = due_ns
            if tries == lost:
                devices.hears = lambda n: np.ones(n, np.bool_)
            tries += 1
            await stage.desk.settle()
        assert clock.ns - opted_ns <= 60 * SECOND_NS
        await stage.desk.flush()
        assert next_again_ns(state, clock.ns) > clock.ns + HOUR_NS, "who has answered is not told again"

    asyncio.run(play())
