"""Devices that are let go come back staged: together they draw no more than their feeder bears."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import Stage1, fleet_of

from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import MINUTE_NS, SECOND_NS


def test_ten_thousand_air_conditioners_come_back_with_at_most_0_15_of_their_load_in_5_min() -> None:
    async def play() -> tuple[np.ndarray, np.ndarray]:
        count, draws_w = 10_000, 3_000.0
        stage = Stage1(fleet_of([Kind.THERMOSTAT] * count, per_feeder=1_000))
        state = stage.state
        state.base_w[:], state.fleet.power_w[:] = -draws_w, -draws_w
        state.limiter.system_w = np.inf
        state.limiter.feeder_w[:] = np.inf
        await stage.desk.ask(stage.ask("dso", Level.RELIABILITY, "pool-1", value=-0.0))
        await stage.desk.settle()
        assert (stage.devices.target_w == 0.0).all()
        state.fleet.power_w[:] = 0.0
        stage.clock.ns += 5 * MINUTE_NS
        await stage.desk.withdraw("test:dso", "p", "pool-1", Quantity.P, "f")
        back = np.zeros((80, 10))
        for minute in range(80):
            await stage.desk.settle()
            on = np.isnan(stage.devices.target_w) | (stage.devices.until_ns <= stage.clock.ns)
            back[minute] = np.bincount(np.arange(count) // 1_000, on, 10)
            state.fleet.power_w[on] = -draws_w
            stage.clock.ns += MINUTE_NS
        return back, stage.devices.target_w

    back, target = asyncio.run(play())
    rises = (back[5:] - back[:-5]).sum(axis=1) / 10_000
    # Each that comes back runs at once, and some time at full instead of its duty: 4/3 of its mean load.
    assert rises.max() * 4 / 3 <= 0.15
    assert ((back[5:] - back[:-5]) / 1_000).max() * 4 / 3 <= 0.16, "each feeder by itself, too"
    assert np.isnan(target).all(), "all are free in the end"
    assert 30 <= int(np.argmax(back.sum(axis=1) >= 10_000)) <= 60


def test_an_owners_tap_and_a_handful_are_never_staged() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.THERMOSTAT] * 100))
        stage.state.base_w[:] = stage.state.fleet.power_w[:] = -3_000.0
        stage.state.fleet.min_hold_s[:] = 0.0
        stage.state.limiter.system_w = stage.state.limiter.feeder_w[:] = np.inf
        await stage.desk.ask(stage.ask("dso", Level.RELIABILITY, "pool-1", value=0.0))
        await stage.desk.settle()
        for row in range(40):
            out = {"quantity": Quantity.CONNECT, "source": f"owner:r{row}", "end_ns": 2**63 - 1}
            await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, f"r{row}", ClaimKind.GATE, **out))
        stage.clock.ns += SECOND_NS
        await stage.desk.settle()
        assert np.isnan(stage.devices.target_w[:40]).all()
        assert np.isfinite(stage.devices.target_w[40:]).all()
        await stage.desk.withdraw("test:dso", "p", "pool-1", Quantity.P, "f")
        await stage.desk.settle()
        assert np.isfinite(stage.devices.target_w[40:]).sum() > 50, "sixty at once are staged"

    asyncio.run(play())
