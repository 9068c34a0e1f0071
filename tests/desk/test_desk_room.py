"""Devices that are let go together come back as far as their feeder has room, and none waits for ever."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_desk_switched import RATED_W, _beat

from tieline.desk.release import LATEST_NS, SPREAD_S
from tieline.desk.room import has_room
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

REBOUNDS_MIN = 20
LAST_MIN = int((SPREAD_S[Kind.WATER_HEATER] * SECOND_NS + LATEST_NS) // MINUTE_NS)


@settings(max_examples=6, deadline=None)
@given(st.integers(25, 60), st.floats(0.2, 0.9))
def test_tanks_that_were_held_draw_no_more_together_as_they_come_back_than_they_would_have_uncalled(
    count: int, duty: float
) -> None:
    """Each that is let go heats for twenty minutes at full power, and then draws its mean."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.WATER_HEATER] * 2 * count, per_feeder=count))
        state, devices = stage.state, stage.devices
        state.base_w[:] = -duty * RATED_W
        freed_min = np.full(2 * count, -1)
        for feeder in ("feeder-1", "feeder-2"):
            await stage.desk.ask(
                stage.ask("dso", Level.ENVELOPE, feeder, ClaimKind.LIMIT, low=0.0, high=9e9,
                          end_ns=stage.clock.ns + 3 * HOUR_NS)
            )  # fmt: skip
        for _ in range(3):
            await _beat(stage, np.zeros(2 * count))
        for feeder in ("feeder-1", "feeder-2"):
            await stage.desk.withdraw("test:dso", "p", feeder, Quantity.P, "f")
        for minute in range(LAST_MIN + 3):
            free = devices.low_w <= -0.5 * RATED_W
            freed_min = np.where(free & (freed_min < 0), minute, freed_min)
            draws_w = np.where(free, np.where(minute - freed_min < REBOUNDS_MIN, RATED_W, duty * RATED_W), 0.0)
            if minute < LATEST_NS // MINUTE_NS:  # before anybody is let go as he waited long enough
                base_w = -state.base_w.reshape(2, count).sum(axis=1)
                assert (draws_w.reshape(2, count).sum(axis=1) <= base_w + 0.5 * RATED_W + 1.0).all()
            await _beat(stage, -draws_w)
        assert (freed_min >= 0).all(), "nobody waits beyond the last minute"
        assert (state.release_at_ns == 0).all()

    asyncio.run(play())


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000), st.booleans()), min_size=1, max_size=30))
def test_who_fits_is_the_first_in_turn_and_never_more_than_the_room_and_half_a_device(
    drawn: list[tuple[int, int, bool]],
) -> None:
    """By a plain loop over each feeder."""
    count = len(drawn)
    stage = Stage1(fleet_of([Kind.WATER_HEATER] * count, per_feeder=7))
    state = stage.state
    state.fleet.quality[:] = 0
    state.base_w[:] = [-base for base, _, _ in drawn]
    state.fleet.power_w[:] = [-power for _, power, _ in drawn]
    state.release_by_ns[:] = np.arange(count)[::-1] // 2
    rows = np.array([row for row, (_, _, ready) in enumerate(drawn) if ready], np.int32)
    fits = has_room(state, rows, np.zeros(count, np.bool_), stage.clock.ns)
    expected = {}
    for feeder in range(-(-count // 7)):
        mine = range(7 * feeder, min(7 * feeder + 7, count))
        room_w, let_w = sum(drawn[row][0] - drawn[row][1] for row in mine), 0.0
        for row in sorted((row for row in mine if drawn[row][2]), key=lambda row: (state.release_by_ns[row], row)):
            adds_w = max(RATED_W - drawn[row][1], 0.0)
            expected[row] = let_w + 0.5 * adds_w <= room_w
            let_w += adds_w
    assert dict(zip(rows.tolist(), fits.tolist(), strict=True)) == expected


def test_a_feeder_of_a_large_fleet_comes_back_in_turn_though_it_is_a_small_part_of_that_fleet() -> None:
    """Forty tanks of two thousand are let go: two in a hundred of the fleet, and all of their feeder."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.WATER_HEATER] * 2_000, per_feeder=40))
        state, devices = stage.state, stage.devices
        state.base_w[:] = -0.3 * RATED_W
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=0.0, high=9e9,
                      end_ns=stage.clock.ns + 3 * HOUR_NS)
        )  # fmt: skip
        for _ in range(3):
            await _beat(stage, np.zeros(2_000))
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        await _beat(stage, np.zeros(2_000))
        waits = np.flatnonzero(state.release_at_ns > stage.clock.ns)
        assert len(waits) >= 35 and waits.max() < 40, "its own tanks wait for their turn, and nobody else's"
        assert (devices.low_w[waits] > -0.5 * RATED_W).all(), "and stay off until then"

    asyncio.run(play())
