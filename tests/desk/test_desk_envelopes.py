"""What is published as capability is what dispatch could give: its own measure, length by length, and sums that add up."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.envelopes import able, noticed
from tieline.desk.redispatch import headroom, serving
from tieline.desk.response import seconds_to_reach
from tieline.fleet.columns import KIND_CODE
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.resource.quality import Quality
from tieline.times import HOUR_NS

KINDS = (Kind.BATTERY, Kind.PV, Kind.THERMOSTAT, Kind.WATER_HEATER, Kind.BACKUP_GENERATOR)
LASTS_S, DAY_S = (60.0, 300.0, 900.0, 3_600.0, 14_400.0), 86_400.0
PER_FEEDER = 6


def stage_of(count: int, seed: int) -> Stage1:
    """Devices of all kinds on feeders of six, at work at random; some are silent, some out."""
    rng = np.random.default_rng(seed)
    stage = Stage1(fleet_of([KINDS[k] for k in rng.integers(0, len(KINDS), count)], PER_FEEDER))
    state, fleet = stage.state, stage.state.fleet
    fleet.power_w[:] = rng.uniform(-fleet.max_absorb_w, fleet.max_inject_w)
    state.base_w[:] = rng.uniform(-fleet.max_absorb_w, fleet.max_inject_w)
    fleet.energy_available_wh[:] = np.where(fleet.energy_wh > 0, rng.uniform(0, 1, count) * fleet.energy_wh, np.nan)
    fleet.quality[rng.random(count) < 0.1] = int(Quality.NOT_TOPICAL)
    state.opted_out[rng.random(count) < 0.1] = True
    state.reach_frac[:] = rng.uniform(0.5, 1.0, count)
    return stage


def held_w(stage: Stage1, members: list[np.ndarray], way: str) -> np.ndarray:
    """Power by group and length, whatever the notice."""
    every = np.arange(len(stage.state.fleet), dtype=np.int32)
    found = able(stage.state, every, LASTS_S, stage.clock.ns).of_groups(members, [DAY_S])[way]
    return found.power_w[:, 0, :]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**31), st.floats(-10_000.0, 20_000.0))
def test_every_length_is_what_dispatch_has_for_it_also_under_limits_of_feeders(
    count: int, seed: int, limit_w: float
) -> None:
    async def play() -> None:
        stage = stage_of(count, seed)
        state, now_ns = stage.state, stage.clock.ns
        rows = np.arange(count, dtype=np.int32)
        limit = {"low": -9e9, "high": limit_w, "end_ns": now_ns + HOUR_NS}
        await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, **limit))
        may_serve = serving(state, rows, np.ones(count, np.bool_), now_ns)
        feeders = [state.fleet.leaves(group.id) for group in state.fleet.groups_of(Kind.FEEDER)]
        up_w, down_w = held_w(stage, feeders, "up"), held_w(stage, feeders, "down")
        for k, last_s in enumerate(LASTS_S):
            room = headroom(state, rows, may_serve, np.zeros(count), last_s / 3_600.0, now_ns)
            if last_s >= 300.0:  # dispatch takes no less than an interval of five minutes
                assert up_w[:, k] == pytest.approx([room.up_w[each].sum() for each in feeders], abs=1e-6)
            stored = np.where(
                state.fleet.energy_wh > 0, state.fleet.energy_wh - state.fleet.energy_available_wh, np.inf
            )
            taken_w = np.minimum(np.where(may_serve, room.down_w, 0.0), stored * 3_600.0 / last_s)
            assert down_w[:, k] == pytest.approx([taken_w[each].sum() for each in feeders], abs=1e-6)

    asyncio.run(play())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**31))
def test_feeders_add_up_to_their_pool_and_devices_to_their_feeder(count: int, seed: int) -> None:
    stage = stage_of(count, seed)
    fleet = stage.state.fleet
    feeders = [fleet.leaves(group.id) for group in fleet.groups_of(Kind.FEEDER)]
    for way in ("up", "down"):
        pool_w = held_w(stage, [fleet.leaves("pool-1")], way)[0]
        feeder_w = held_w(stage, feeders, way)
        each_w = held_w(stage, [np.array([row], np.int32) for row in range(count)], way)
        assert feeder_w.sum(axis=0) == pytest.approx(pool_w)
        assert each_w[: len(feeders[0])].sum(axis=0) == pytest.approx(feeder_w[0])


def test_a_member_of_two_groups_counts_in_both() -> None:
    stage = stage_of(10, 3)
    every = stage.state.fleet.leaves("pool-1")
    whole, part, again = held_w(stage, [every, every[:4], every], "up")
    assert whole == pytest.approx(again) and (part <= whole).all()


def test_behind_the_kill_switch_nobody_can_be_called() -> None:
    stage = stage_of(20, 1)
    every = stage.state.fleet.leaves("pool-1")
    assert (held_w(stage, [every], "up") > 0).all()
    stage.state.authority["kill"] = "on"
    assert not held_w(stage, [every], "up").any() and not held_w(stage, [every], "down").any()


def test_notice_admits_devices_by_how_soon_their_kind_gives_in_full() -> None:
    stage = Stage1(fleet_of([Kind.BATTERY, Kind.THERMOSTAT]))
    state, fleet, rows = stage.state, stage.state.fleet, np.arange(2, dtype=np.int32)
    fleet.power_w[:] = state.base_w[:] = np.where(fleet.kinds == KIND_CODE[Kind.THERMOSTAT], -2_000.0, 0.0)
    fleet.energy_available_wh[0] = 2_500.0
    state.reach_frac[1] = 0.9
    found = able(state, rows, [300.0, 3_600.0], stage.clock.ns).of_groups([rows], [5.0, 60.0, 600.0])
    first, soon, later = noticed(found["up"], 0)
    assert seconds_to_reach(state, rows).tolist() == [10.0, 240.0]
    assert [one.power_w for one in first.held] == [0.0, 0.0] and first.resources == 0
    assert [one.power_w for one in soon.held] == [5_000.0, 2_500.0] and soon.energy_wh == 2_500.0
    # A load that stops gives what it draws, as long as it likes; six tenths of that come back.
    assert [one.power_w for one in later.held] == [7_000.0, 4_500.0] and later.energy_wh is None
    assert later.held[1].rebound_wh == pytest.approx(0.6 * 2_000.0)
    assert later.held[1].firm_w == 2_500.0  # it answers nine times of ten
    down = noticed(found["down"], 0)[-1]
    assert [one.power_w for one in down.held] == [5_000.0, 5_000.0] and down.energy_wh == 7_500.0
