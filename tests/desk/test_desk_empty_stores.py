"""No store is asked for more than it holds, or has room for, while others can make up for it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk import groups, redispatch
from tieline.desk.dispatch import CHANGE_W
from tieline.fleet.able import SUSTAIN_H
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

RATED_W, SIZE_WH = 5_000.0, 10_000.0
LOW = st.sampled_from([0.0, 0.002, 0.03, 0.2])
"""How full a store is: of 10 kWh, nothing, 240 W for five minutes, 3.6 kW, and more than it can give in them."""
STORES = st.lists(st.tuples(LOW, st.booleans()), min_size=2, max_size=8)


def stage_of(socs: list[float], tells: list[bool] | None = None) -> Stage1:
    """Batteries that tell how full they are, and some of them, who know no better, that they can move by their rating."""
    stage = Stage1(fleet_of([Kind.BATTERY] * len(socs)))
    fleet, rows = stage.state.fleet, np.arange(len(socs))
    fleet.column("soc_frac")[rows] = socs
    for row in np.flatnonzero([] if tells is None else tells):
        fleet.available_up_w[row] = fleet.available_down_w[row] = RATED_W
    return stage


async def placed(stage: Stage1) -> None:
    await stage.desk.commit(groups.decide_regulation(stage.state, stage.clock.ns))
    await stage.desk.settle()
    await stage.desk.flush()


@given(STORES, st.floats(0.1, 1.5))
@settings(deadline=None, max_examples=150)
def test_an_import_limit_presses_no_store_to_give_more_than_it_holds_for_five_minutes(
    drawn: list[tuple[float, bool]], part: float
) -> None:
    """A feeder is to give at least so much, as another beside it lacks that."""
    socs, tells = ([one[at] for one in drawn] for at in (0, 1))
    count = len(socs)
    can_w = np.minimum(np.array(socs) * SIZE_WH / SUSTAIN_H, RATED_W)

    async def play() -> None:
        stage = stage_of(socs, tells)
        needs_w = part * float(can_w.sum())
        limit = stage.ask(
            "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=needs_w, end_ns=stage.clock.ns + HOUR_NS
        )
        await stage.desk.ask(limit)
        await placed(stage)
        told_w = np.maximum(stage.devices.low_w[:count], 0.0)
        assert (told_w <= can_w + CHANGE_W).all(), (told_w.tolist(), can_w.tolist())
        if part <= 0.9:
            assert told_w.sum() >= needs_w - count * CHANGE_W, "and those that can make up for the others"

    asyncio.run(play())


@given(STORES, st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=150)
def test_an_export_limit_presses_no_full_store_to_charge(drawn: list[tuple[float, bool]], part: float) -> None:
    rooms, tells = ([one[at] for one in drawn] for at in (0, 1))
    can_w = np.minimum(np.array(rooms) * SIZE_WH / SUSTAIN_H, RATED_W)

    async def play() -> None:
        stage = stage_of([1.0 - room for room in rooms], tells)
        needs_w = part * float(can_w.sum())
        limit = stage.ask(
            "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, high=-needs_w, end_ns=stage.clock.ns + HOUR_NS
        )
        await stage.desk.ask(limit)
        await placed(stage)
        told_w = np.maximum(-stage.devices.high_w, 0.0)
        assert (told_w <= can_w + CHANGE_W).all(), (told_w.tolist(), can_w.tolist())
        assert told_w.sum() >= needs_w - len(rooms) * CHANGE_W

    asyncio.run(play())


@given(STORES, st.floats(0.05, 1.0), st.sampled_from([5, 10, 15]), st.sampled_from([1.0, -1.0]))
@settings(deadline=None, max_examples=150)
def test_a_setpoint_on_a_group_is_shared_by_what_each_store_can_keep_up(
    drawn: list[tuple[float, bool]], part: float, minutes: int, side: float
) -> None:
    has = np.array([one[0] for one in drawn])
    lasts_w = np.minimum(has * SIZE_WH * 60.0 / minutes, RATED_W)

    async def play() -> None:
        stage = stage_of((has if side > 0 else 1.0 - has).tolist())
        value_w = side * part * float(lasts_w.sum())
        until_ns = stage.clock.ns + minutes * MINUTE_NS
        await stage.desk.ask(stage.ask("dso", Level.UTILITY, "feeder-1", value=value_w, end_ns=until_ns))
        await stage.desk.settle()
        told_w = side * np.nan_to_num(stage.devices.target_w)
        assert (told_w <= lasts_w + CHANGE_W).all(), (told_w.tolist(), lasts_w.tolist())
        assert told_w.sum() == pytest.approx(abs(value_w), abs=1.0)

    asyncio.run(play())


@given(STORES, st.sampled_from([0.25, 1.0, 3.0]), st.sampled_from([1.0, -1.0]), st.floats(-2_000.0, 2_000.0))
@settings(deadline=None, max_examples=150)
def test_no_award_counts_on_more_than_a_store_holds_until_its_end_or_has_room_for(
    drawn: list[tuple[float, bool]], hours: float, side: float, base_w: float
) -> None:
    """Giving less than by itself, or taking less, needs neither energy nor room. Room is looked at for five minutes."""
    has, tells = np.array([one[0] for one in drawn]), [one[1] for one in drawn]
    stage = stage_of((has if side > 0 else 1.0 - has).tolist(), tells)
    state, rows = stage.state, np.arange(len(has), dtype=np.int32)
    state.base_w[:] = state.fleet.power_w[:] = base_w
    may, price = np.ones(len(has), np.bool_), np.ones(len(has))
    room = redispatch.headroom(state, rows, may, price, hours, stage.clock.ns)
    moves_w = room.up_w if side > 0 else room.down_w
    assert (moves_w <= has * SIZE_WH / (hours if side > 0 else SUSTAIN_H) + max(-side * base_w, 0.0) + 1e-6).all()
