"""What a pool learnt that some of its rows lack is asked of others for as long as those are called, and no longer."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from award_stage import FREE_W, Hour
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline.desk.trim import learnt

MOST_W, LESS_W = 24_000.0, 12_000.0
SETTLED_S, SLOW_S = 620, 5
LAST = (6, 7, 8)
"""By merit these batteries are called last, and none of them for half of what the whole pool is called for."""
FEW_W = st.lists(st.floats(-5_000.0, 5_000.0), min_size=4, max_size=4)


class Weak(Hour):
    """Some of its rows give a part of what they are told."""

    def __init__(self, rows: tuple[int, ...], gives_frac: float, *, by_schedule: bool) -> None:
        self.rows, self.gives_frac = np.array(rows), gives_frac
        super().__init__(by_schedule=by_schedule)
        offer, award = self.state.offers["o"], self.state.awards["a"]
        self.state.offers["o"] = replace(offer, segments=(replace(offer.segments[0], power_w=MOST_W),))
        self.state.awards["a"] = replace(award, power_w=MOST_W)

    def obey(self) -> None:
        super().obey()
        free_w = FREE_W[self.rows]
        self.power_w[self.rows] = free_w + (self.power_w[self.rows] - free_w) * self.gives_frac


async def supersede(it: Weak, *powers_w: float) -> list[np.ndarray]:
    """Ask for powers one after another, four minutes each, once all were asked for; return what was given each time."""
    await it.instruct(MOST_W)
    await it.until(SETTLED_S)
    found = []
    for n, power_w in enumerate(powers_w):
        await it.instruct(power_w)
        await it.until(SETTLED_S + 240 * (n + 1))
        found.append(it.given_w[SETTLED_S + 240 * n + SLOW_S :])
    return found


@pytest.mark.parametrize("gives_frac", [0.3, 0.5, 0.8])
def test_a_batch_for_less_asks_nothing_more_for_rows_that_it_no_longer_calls(gives_frac: float) -> None:
    async def play() -> None:
        it = Weak(LAST, gives_frac, by_schedule=False)
        (given_w,) = await supersede(it, LESS_W)
        # A row that lags may serve the last of it, and lag by a part of that.
        assert given_w.max() <= 1.05 * LESS_W, given_w
        assert given_w.min() >= 0.9 * LESS_W, given_w

    asyncio.run(play())


def test_what_is_called_again_is_made_good_again_and_meanwhile_nothing_is_forgotten() -> None:
    async def play() -> None:
        it = Weak(LAST, 0.7, by_schedule=False)
        await it.until(30)
        await it.instruct(MOST_W)
        await it.until(SETTLED_S)
        before_w = it.given_w[-1]
        assert before_w < MOST_W - 500.0
        taught_w = it.pool.trim_w
        assert taught_w > 500.0
        await it.instruct(LESS_W)
        await it.until(SETTLED_S + 60)
        assert it.given_w[-1] == pytest.approx(LESS_W, rel=0.05)
        await it.instruct(MOST_W)
        await it.until(SETTLED_S + 120)
        assert it.pool.trim_w == pytest.approx(taught_w, rel=0.05)
        assert it.given_w[-1] == pytest.approx(before_w, rel=0.05)

    asyncio.run(play())


def test_who_lags_and_is_called_on_is_made_good_for_on() -> None:
    async def play() -> None:
        it = Weak((0, 1, 2), 0.8, by_schedule=False)
        (given_w,) = await supersede(it, MOST_W - 4_000.0)
        assert given_w[20:].min() > 18_500.0, "17 kW is what comes of it where nothing is made good"

    asyncio.run(play())


@given(st.floats(-9_000.0, 9_000.0), FEW_W, FEW_W, FEW_W, st.floats(0.0, 9_000.0))
def test_of_what_was_learnt_no_more_counts_than_was_learnt_and_all_of_it_while_shares_stay(
    power_w: float, share_w: list[float], row_w: list[float], other_w: list[float], most_w: float
) -> None:
    found = learnt(power_w, np.array(share_w), np.array(row_w), MOST_W)
    assert found.counts_w(np.array(share_w), 9_000.0, LESS_W) == pytest.approx(power_w, abs=1e-6)
    counts_w = found.counts_w(np.array(other_w), most_w, LESS_W)
    assert abs(counts_w) <= min(abs(power_w), most_w) + 1e-6
    assert counts_w * power_w >= 0.0
    assert found.counts_w(np.array(other_w), 9_000.0, MOST_W) == power_w, "while as much is owed, whoever is called"
