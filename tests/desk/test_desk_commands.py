"""Reports that come late, twice, out of order or of another batch; and a device that lies about its timer."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.watch import decide_reverts
from tieline.resource.command import TERMINAL, Stage, follows
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import MINUTE_NS


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
