"""At steps of what is asked a pool gives what is asked: what goes on as it was told is no gift beside it, and counts."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from steps_stage import AWARD_W, BEGINS_NS, Steps

from sampled import some
from tieline.times import MINUTE_NS

LEAST, MOST = 0.8, 1.25
STEPS, STEP_MIN = 12, 5


SMALL, LARGE = (0.65, 0.8), (0.3, 0.5)
"""So much of what is asked at most every other interval asks: stores can give less by that, or not by as much."""


def played(seed: int, by_schedule: bool, low: tuple[float, float] = SMALL) -> tuple[Steps, list[float]]:
    """An hour in which each dispatch interval asks another power, and what each asked (W)."""
    it, powers_w = Steps(seed, by_schedule=by_schedule), list[float]()

    async def play() -> None:
        await it.until(5)
        for at in range(STEPS):
            part = it.rng.uniform(0.85, 1.0) if at % 2 else it.rng.uniform(*low)
            powers_w.append(float(part) * AWARD_W)
            await it.instruct(powers_w[-1])
            await it.until(5 + (at + 1) * STEP_MIN)
        await it.until(5 + STEPS * STEP_MIN + 2)

    asyncio.run(play())
    return it, powers_w


@pytest.mark.parametrize("seed", some(range(6), 2))
@pytest.mark.parametrize("by_schedule", [True, False])
def test_a_pool_that_could_give_much_more_gives_what_each_step_asks(seed: int, by_schedule: bool) -> None:
    it, powers_w = played(seed, by_schedule)
    found = []
    for at, asked_w in enumerate(powers_w):
        start_ns = BEGINS_NS + (5 + at * STEP_MIN) * MINUTE_NS
        found.append(it.mean_w(start_ns, start_ns + STEP_MIN * MINUTE_NS) / asked_w)
    assert min(found) >= LEAST and max(found) <= MOST, np.round(found, 2).tolist()


@pytest.mark.parametrize("seed", some(range(6), 2))
@pytest.mark.parametrize("by_schedule", [True, False])
def test_what_is_counted_as_delivered_is_what_devices_gave(seed: int, by_schedule: bool) -> None:
    it, _ = played(seed, by_schedule, LARGE)
    for one in it.intervals():
        gave_w = it.mean_w(one.start_ns, one.end_ns)
        assert abs(one.delivered_w - gave_w) <= 0.1 * AWARD_W, (one.start_ns, one.asked_w, one.delivered_w, gave_w)


@pytest.mark.parametrize("seed", some(range(6), 2))
@pytest.mark.parametrize("by_schedule", [True, False])
def test_what_goes_on_as_it_was_told_while_less_is_asked_has_nobody_asked_for_less_at_the_next_step(
    seed: int, by_schedule: bool
) -> None:
    """Nobody can have loads back before their turn: that too much came of them says nothing of what others give."""
    it, powers_w = played(seed, by_schedule, LARGE)
    found = []
    for at, asked_w in enumerate(powers_w):
        if at % 2:
            start_ns = BEGINS_NS + (5 + at * STEP_MIN) * MINUTE_NS
            found.append(it.mean_w(start_ns, start_ns + STEP_MIN * MINUTE_NS) / asked_w)
    assert min(found) >= 0.97 and max(found) <= 1.03, np.round(found, 3).tolist()


@pytest.mark.parametrize("seed", some(range(6), 2))
@pytest.mark.parametrize("by_schedule", [True, False])
def test_no_heater_is_called_and_let_go_again_between_two_steps(seed: int, by_schedule: bool) -> None:
    it, _ = played(seed, by_schedule, LARGE)
    for at in range(STEPS):
        start_ns = BEGINS_NS + (5 + at * STEP_MIN) * MINUTE_NS
        marks = range(start_ns - MINUTE_NS, start_ns + STEP_MIN * MINUTE_NS, MINUTE_NS)
        called = np.array([np.abs(it.asked_w(mark)[it.switched]) > 1.0 for mark in marks])
        turns = (called[1:] != called[:-1]).sum(axis=0)
        assert turns.max() <= 1, (at, np.flatnonzero(turns > 1).tolist())
