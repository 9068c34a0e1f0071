"""Whom his owner moves: he is left so, what lacks by that is put to his hand, and what comes of it is given."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from test_desk_event_causes import ASKED_W, COUNT, EACH_W, Called, played

from tieline.desk.redispatch import lost_headroom
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS


def local(stage: Called, rows: list[int]) -> None:
    """Let somebody set devices by hand."""
    stage.state.claims.set_local(np.isin(np.arange(COUNT), rows))


def test_what_lacks_by_an_owners_hand_is_put_to_it() -> None:
    async def play(stage: Called) -> None:
        local(stage, [0, 1, 2])
        await stage.beat()
        for _ in range(6):
            await stage.minute([0.0] * 3 + [EACH_W] * 7)

    fact = played(play)[0]
    assert fact.delivered_w == pytest.approx(ASKED_W - 3 * EACH_W)
    assert fact.causes == pytest.approx({"foreign_control": 3 * EACH_W})


@pytest.mark.parametrize("by_claim", [True, False], ids=["by his claim", "at the device"])
def test_what_an_owner_gives_by_his_own_setting_is_given_and_no_lack(by_claim: bool) -> None:
    """Two of them give half as much: that half alone lacks."""

    async def play(stage: Called) -> None:
        if by_claim:
            for row in range(3):
                await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, f"r{row}", value=EACH_W))
        else:
            local(stage, [0, 1, 2])
        await stage.beat()
        for _ in range(6):
            await stage.minute([EACH_W / 2] * 2 + [EACH_W] * 8)

    fact = played(play)[0]
    assert fact.delivered_w == pytest.approx(ASKED_W - EACH_W)
    assert sum(fact.causes.values()) == pytest.approx(EACH_W)


def test_what_a_stronger_service_has_is_given_for_that_though_its_device_is_in_local() -> None:
    async def play(stage: Called) -> None:
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=EACH_W))
        local(stage, [0])
        await stage.beat()
        for _ in range(6):
            await stage.minute([EACH_W] * 10)

    assert played(play)[0].delivered_w == pytest.approx(ASKED_W - EACH_W)


def test_who_is_in_local_is_told_no_hand_back_but_every_limit_that_binds_there_and_his_call_once_he_is_out() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 2))
        devices = stage.devices
        at = stage.state.fleet.column("is_local")
        end_ns = stage.clock.ns + HOUR_NS
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=3_000.0, end_ns=end_ns))
        await stage.desk.settle()
        told = len(devices.batches)
        at[0] = 1.0
        for _ in range(30):  # beyond its lease, too
            stage.clock.ns += MINUTE_NS
            await stage.desk.settle()
        assert len(devices.batches) == told
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-9e3, high=1_000.0))
        await stage.desk.settle()
        assert (np.isnan(devices.target_w[0]), devices.high_w[0]) == (True, 1_000.0)
        stage.state.claims.set_local(np.zeros(len(at), np.bool_))
        at[0] = 0.0
        await stage.desk.settle()
        assert devices.target_w[0] == 1_000.0

    asyncio.run(play())


def test_what_a_hand_takes_of_a_pools_headroom_is_told_as_its_own_cause() -> None:
    """A device in LOCAL says that it can move nowhere; what it could without that hand is what the hand took."""
    stage = Stage1(fleet_of([Kind.BATTERY] * 2))
    fleet, rows = stage.state.fleet, np.arange(2, dtype=np.int32)
    fleet.energy_available_wh[:] = fleet.energy_wh
    fleet.column("available_up_w")[0] = 0.0
    stage.state.claims.set_local(np.array([True, False]))
    lost_w = lost_headroom(stage.state, rows, np.ones(2, np.bool_), 1.0, 1 / 12, stage.clock.ns)
    assert {cause: watts for cause, watts in lost_w.items() if watts} == {"foreign_control": 5_000.0}
