"""Who is asked to give less: plants' ceilings follow their sun, and no store is let go or moved for what they take."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sun_stage import HOUR, STEP_S, Sun

from tieline.desk.redispatch import SOURCE
from tieline.resource.claim import Quantity

STORES_W = 10_000.0
"""What two stores can take."""
CLEAR = st.integers(1, 3_000).map(lambda drawn: 3 * drawn)
"""Seeds of a sun without clouds: it rises."""


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 10_000), st.booleans(), st.sampled_from([10, 60]), st.floats(0.2, 0.9))
def test_ceilings_of_an_award_for_less_follow_their_sun_and_stores_stand(
    seed: int, tells: bool, poll_s: int, part: float
) -> None:
    """Stores, which are cheaper, take what they can all the time; plants give less by what is left, at each beat."""
    it = Sun(seed=seed, tells=tells, poll_s=poll_s)
    least_w = float(it.sun_w[:, 360:720].sum(axis=0).min())
    power_w = STORES_W + part * least_w

    def look() -> None:
        if it.clock.ns < HOUR:
            return
        target_w, _ = it.state.claims.target_of(it.pool.rows, SOURCE, "pool-1", Quantity.P)
        assert target_w[it.stores].tolist() == [-5_000.0, -5_000.0], "no store is let go, or moved"
        held = np.flatnonzero(np.isfinite(target_w[it.plants]))
        share_w = -it.pool.share_w[held]
        off_w = np.abs(target_w[held] - (it.state.base_w[held] - share_w))
        assert len(held) and (off_w <= np.maximum(25.0, 0.005 * share_w) + 1e-6).all(), "each ceiling follows its sun"

    it.award(-power_w)
    it.looks = look
    asyncio.run(it.until(59.9))


@settings(max_examples=6, deadline=None)
@given(CLEAR, st.sampled_from([10, 60]), st.floats(5_000.0, 13_000.0))
def test_ceilings_of_an_event_for_less_follow_their_sun_and_no_store_is_let_go(
    seed: int, poll_s: int, power_w: float
) -> None:
    """The sun rises under the ceilings by half and more within the hour."""
    it = Sun(seed=seed, poll_s=poll_s)

    async def play() -> None:
        await it.until(-1)
        event, first_w = await it.event(-power_w), np.zeros(0)
        for minute in range(60):
            await it.until(minute + 0.9)
            asked_w = it.asked_w(event)
            first_w = asked_w if minute == 0 else first_w
            assert asked_w[it.stores].tolist() == first_w[it.stores].tolist(), "no store is let go, or moved"
            assert np.isfinite(asked_w[it.plants]).all(), "nor is a plant"
            # What a beat sees of the sun is a poll old, and it stands until the next beat.
            before = max(it._at - (poll_s + 60) // STEP_S, 0)
            rose_w = float(np.abs(it.sun_w[:, it._at] - it.sun_w[:, before]).sum())
            if minute:
                assert -it.moved_w() == pytest.approx(power_w, abs=max(25.0, 0.005 * power_w) + rose_w + 10.0), minute

    asyncio.run(play())


@pytest.mark.long
@settings(max_examples=6, deadline=None)
@given(st.integers(1, 10_000), st.booleans(), st.sampled_from([10, 60]), st.floats(5_000.0, 13_000.0))
def test_no_store_of_an_event_for_less_is_let_go_or_moved_while_plants_can_take_it(
    seed: int, tells: bool, poll_s: int, power_w: float
) -> None:
    """Clouds come and go: where plants hold nothing back any more stores are called for more, and stay."""
    it = Sun(seed=seed, tells=tells, poll_s=poll_s)

    events: list[str] = []
    before_w = [np.full(len(it.state.fleet), np.nan)]

    def look() -> None:
        if not events or it.clock.ns < HOUR:
            return
        asked_w, were_w = it.asked_w(events[0]), before_w[0]
        plants_w = asked_w[it.plants]
        held_w = np.where(np.isfinite(plants_w), it.state.base_w[it.plants] - plants_w, 0.0)
        if it.clock.ns > HOUR and float(np.maximum(held_w, 0.0).sum()) > 0.05 * power_w:
            assert (np.nan_to_num(asked_w[it.stores]) <= np.nan_to_num(were_w[it.stores]) + 1e-6).all()
        before_w[0] = asked_w

    async def play() -> None:
        await it.until(-1)
        events.append(await it.event(-power_w))
        await it.until(59.9)

    it.looks = look
    asyncio.run(play())


@pytest.mark.parametrize("seed", [3, 6, 9])
def test_plants_whose_meters_tell_no_sun_show_it_by_one_that_is_let_go(seed: int) -> None:
    """An event that holds them all would not see the sun rise: what they give less would be a guess."""
    it = Sun(seed=seed, tells=False, poll_s=10)

    async def play() -> None:
        await it.until(-1)
        event, moved_w = await it.event(-8_000.0), []
        for minute in range(60):
            await it.until(minute + 0.9)
            moved_w.append(-it.moved_w())
        assert not np.isfinite(it.asked_w(event)[it.plants]).all()
        assert np.array(moved_w[7:]) == pytest.approx(8_000.0, rel=0.06)
        assert float(np.mean(moved_w[7:])) == pytest.approx(8_000.0, rel=0.03)

    asyncio.run(play())
