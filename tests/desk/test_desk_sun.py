"""An award calls no plant to give more than the sun does, and what the sun does by itself is no delivery."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sun_stage import RATED_W, Sun

from sampled import some
from tieline.desk import redispatch
from tieline.desk.event_split import shares
from tieline.resource.batch import Readings
from tieline.resource.identity import Kind
from tieline.times import SECOND_NS

STORES_W, LOAD_W = 10_000.0, 2_000.0
TOO_MUCH_W = 16_000.0
"""More than two stores and a load can give beside what the plants do."""


def _play(it: Sun, minutes: float = 65) -> Sun:
    asyncio.run(it.until(minutes))
    return it


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 10_000), st.booleans(), st.sampled_from([10, 60]))
def test_no_plant_is_told_a_power_by_an_award_that_wants_more_however_the_sun_goes(
    seed: int, tells: bool, poll_s: int
) -> None:
    it = Sun(seed=seed, tells=tells, poll_s=poll_s)
    it.award(TOO_MUCH_W, minutes=30)
    _play(it, 35)
    assert it.pinned_w(until=35) == 0.0
    assert it.true_wh(until=30) == pytest.approx(0.0, abs=0.1), "all that the sun gave came"
    assert it.counted_wh(until=30) == pytest.approx(0.0, abs=0.1), "and none of it is the pool's doing"
    for interval in it.tracked()[1:6]:
        assert interval.asked_w == TOO_MUCH_W
        assert interval.delivered_w == pytest.approx(STORES_W + LOAD_W, rel=0.01)
        assert interval.causes == pytest.approx({"unavailable": TOO_MUCH_W - interval.delivered_w}, rel=0.01)


@pytest.mark.parametrize("seed", [1, 3])
def test_the_market_is_told_of_nothing_upward_that_the_sun_alone_would_bring(seed: int) -> None:
    it = _play(Sun(seed=seed), 5)
    it.award(TOO_MUCH_W, start=5)
    _play(it, 20)
    up_w = [up_w for up_w, _ in it.declared_w[6:]]
    assert max(up_w) <= STORES_W + LOAD_W + 1.0
    assert shares(it.state, "feeder-1", 50_000.0, it.clock.ns).most_w <= STORES_W + LOAD_W + 1.0


@pytest.mark.parametrize("tells", [True, False])
def test_a_plant_that_was_called_to_less_is_let_go_when_the_market_wants_more(tells: bool) -> None:
    it = Sun(seed=3, tells=tells, stores=0)
    it.award(-4_000.0, minutes=30)
    it.award(TOO_MUCH_W, start=30, minutes=30, name="b")
    _play(it, 60)
    assert it.pinned_w(since=2, until=29) > 1_000.0, "else nothing is shown"
    assert it.pinned_w(since=32, until=60) == 0.0
    assert it.true_wh(since=35, until=60) == pytest.approx(0.0, abs=0.1)
    assert it.counted_wh(since=35, until=60) == pytest.approx(0.0, abs=1.0)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 10_000), st.sampled_from([10, 60]), st.floats(1_000.0, 4_000.0))
def test_of_plants_called_to_less_it_counts_what_they_give_less_than_their_sun(
    seed: int, poll_s: int, power_w: float
) -> None:
    """Their meters say what the sun would let them give.

    What each beat sees is counted to a fiftieth; a cloud's edge may pass between two beats, of which it sees nothing.
    """
    it = Sun(seed=seed, poll_s=poll_s, stores=0)
    it.award(-power_w, minutes=40)
    _play(it, 46)
    true_wh, counted_wh = it.true_wh(since=5, until=40), it.counted_wh(since=5, until=40)
    assert counted_wh == pytest.approx(it.seen_wh(since=5, until=40), rel=0.02, abs=5.0)
    if seed % 3 == 0:  # a clear sky
        assert counted_wh == pytest.approx(true_wh, rel=0.04, abs=10.0)
    sun_wh = float(it.sun_w[:, 390:600].sum()) / 360.0
    risen_wh = it.risen_wh(since=5, until=40)  # as a cloud has passed ceilings are too low until the next beat
    assert -true_wh <= 1.04 * power_w * 35 / 60 + risen_wh, "no more is cut off than was asked for"
    assert -true_wh >= 0.9 * min(power_w * 35 / 60, sun_wh), "nor less, while there is so much sun"


@pytest.mark.parametrize("poll_s", some([10, 60]))
def test_of_plants_whose_meters_tell_no_sun_it_counts_by_their_neighbours(poll_s: int) -> None:
    """In the mean of twelve suns within a tenth; where a few are called, and under a clear sky, each within a tenth."""
    off = []
    for seed in range(1, 13):
        it = Sun(seed=seed, tells=False, poll_s=poll_s, stores=0)
        it.award(-2_000.0, minutes=40)
        _play(it, 46)
        true_wh, counted_wh = it.true_wh(since=5, until=40), it.counted_wh(since=5, until=40)
        off.append(counted_wh / true_wh - 1.0)
        if seed % 3 == 0:
            assert counted_wh == pytest.approx(true_wh, rel=0.1)
    assert float(np.mean(np.abs(off))) < 0.1


@pytest.mark.parametrize("tells", [True, False])
def test_a_plant_whose_sun_a_cloud_took_has_missed_nothing(tells: bool) -> None:
    """Half of what the plants give is to be held back; the sun goes to a tenth within a minute, for ten."""
    it = Sun(seed=3, tells=tells, stores=0)
    it.sun_w[:, 420:480] *= 0.1
    it.award(-6_000.0, minutes=30)
    _play(it, 35)
    assert (it.state.missed_until_ns[it.plants] == 0).all()
    assert (it.state.responses.strikes[it.plants] == 0).all()
    assert set().union(*(fact.causes for fact in it.tracked())) <= {"unavailable", "rebound"}


def test_a_plant_that_rises_while_nobody_holds_it_has_its_sun_as_its_base_at_once() -> None:
    it = _play(Sun(seed=3, tells=False, poll_s=10), 30)
    assert it.base_error(since=-55, until=30) < 0.005


def test_a_held_plant_that_gives_less_than_it_may_gives_its_sun() -> None:
    """A limit lets the plants have 3 kW each, which is more than they give."""

    async def play() -> Sun:
        it = Sun(seed=3, tells=False, poll_s=10)
        await it.until(0)
        await it.limit("feeder-1", 20_000.0)
        await it.until(20)
        return it

    it = asyncio.run(play())
    held = it.state.commands.high_w[it.plants] < RATED_W
    assert held.any()
    assert (it.power_w[it.plants] < it.ceiling_w[it.plants] - 500.0).all()
    assert it.state.base_w[it.plants] == pytest.approx(it.sun_w[:, it._at - 1], rel=0.02)


def test_a_car_that_is_done_is_not_called_for_what_it_drew_a_minute_ago() -> None:
    desk = Stage1(fleet_of([Kind.EV_CHARGER, Kind.EV_CHARGER]))
    fleet, rows = desk.state.fleet, np.array([0, 1], np.int32)

    def read(power_w: tuple[float, float]) -> None:
        desk.clock.ns += 60 * SECOND_NS
        at_ns, good = np.full(2, desk.clock.ns), np.zeros(2, np.uint32)
        codes = np.full(2, fleet.power_code, np.uint16)
        desk.desk.readings(Readings(rows, codes, np.array(power_w), good, at_ns, at_ns, "t"))
        fleet.available_up_w[:] = -np.array(power_w)

    for _ in range(10):
        read((-5_000.0, -5_000.0))
    read((0.0, -5_000.0))
    up_w, _ = redispatch.unlimited(desk.state, rows, 1.0, desk.clock.ns)
    assert up_w == pytest.approx([0.0, 5_000.0], rel=0.05)
