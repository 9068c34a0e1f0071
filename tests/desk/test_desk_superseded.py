"""What an award is given as batches supersede each other and limits come and end: no more and no less, at once.

What holds a device off its base is known as it begins and ends: the cap of a limit, the timer of a heater that was
switched. A meter tells it a poll later, and by then it may be over.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from award_stage import CAR, FREE_W, HEATER, Hour
from desk_stage import Stage1, fleet_of
from hypothesis import example, given
from hypothesis import strategies as st

from tieline.desk import redispatch
from tieline.desk.on_or_off import whole
from tieline.resource.identity import Kind
from tieline.resource.level import Level

POLLS = pytest.mark.parametrize("polls_s", [(10, 10), (10, 60)])
PLANS = pytest.mark.parametrize("by_schedule", [True, False])
LESS_W = 6_000.0
SLOW_S = 5


@POLLS
@PLANS
def test_a_batch_for_less_counts_what_a_limit_holds_a_car_back(polls_s: tuple[int, int], by_schedule: bool) -> None:
    """Called to rest, and let go by the batch, the car may draw half of what it wants until its limit leaves it more."""

    async def play() -> None:
        it = Hour(polls_s, by_schedule=by_schedule)
        await it.until(40)
        await it.limit("feeder-1", -6_000.0, 3_500.0)
        await it.until(90)
        await it.instruct(LESS_W)
        await it.until(300)
        if by_schedule:
            assert FREE_W[CAR] < it.powers_w[95][CAR] < 0.0, "the limit holds it"
        assert it.given_w[90 + SLOW_S :] == pytest.approx(LESS_W, rel=0.05)

    asyncio.run(play())


@POLLS
@PLANS
@pytest.mark.parametrize("left_s", [60, 25, 13])
def test_once_a_limit_has_ended_the_pool_gives_what_is_asked_and_what_it_held_is_counted_no_more(
    polls_s: tuple[int, int], by_schedule: bool, left_s: int
) -> None:
    """Under it batteries charge for the roof, and a car and a heater are called instead: all that is over at once."""

    async def play() -> None:
        it = Hour(polls_s, by_schedule=by_schedule)
        await it.until(30)
        await it.instruct(LESS_W)
        await it.until(55)
        await it.limit("feeder-1", -20_000.0, 500.0)
        await it.limit("feeder-2", -20_000.0, 500.0)
        await it.until(55 + left_s)
        await it.release("feeder-1")
        await it.release("feeder-2")
        await it.until(240)
        late_s = 55 + left_s + SLOW_S
        assert it.given_w[late_s:] == pytest.approx(LESS_W, rel=0.05)

    asyncio.run(play())


@POLLS
def test_what_a_limit_has_batteries_draw_is_made_up_by_others_at_once_and_a_heater_gives_all_or_nothing(
    polls_s: tuple[int, int],
) -> None:
    """They charge for their roof; without its heater the pool gives a third too little, and a part of it is no call."""

    async def play() -> None:
        it = Hour(polls_s)
        await it.until(30)
        await it.instruct(LESS_W)
        await it.until(75)
        await it.limit("feeder-1", -20_000.0, 500.0)
        await it.limit("feeder-2", -20_000.0, 500.0)
        await it.until(240)
        assert it.powers_w[100][:3] == pytest.approx(-696.0, abs=2.0), "the limit has them charge"
        assert it.powers_w[100][HEATER] == 0.0
        assert it.given_w[75 + SLOW_S :] == pytest.approx(LESS_W, rel=0.05)

    asyncio.run(play())


PARTS = st.lists(
    st.tuples(st.sampled_from([35.0, 42.0, 48.0, 110.0]), st.floats(0.0, 5_000.0), st.booleans()),
    min_size=1, max_size=8,
)  # fmt: skip


@given(PARTS, st.floats(1.0, 30_000.0))
@example([(35.0, 2_000.0, True), (48.0, 1_000.0, False)], 900.0)
@example([(35.0, 5_000.0, False)] * 10 + [(42.0, 2_000.0, True), (48.0, 5_000.0, False)], 50_400.0)
def test_what_is_on_or_off_is_called_for_all_it_can_or_nothing_and_the_others_make_up_for_it(
    rows: list[tuple[float, float, bool]], owed_w: float
) -> None:
    price, up_w, switched = (np.array(column) for column in zip(*rows, strict=True))
    number, nothing = np.arange(len(rows), dtype=np.int32), np.zeros(len(rows))
    room = redispatch.Headroom(number, nothing, up_w, nothing, price, np.ones(len(rows), np.bool_))
    plain = redispatch.allocate(room, owed_w)
    split = whole(plain, room, switched, ~switched)
    assert (split.share_w >= -1e-6).all() and (split.share_w <= up_w + 1e-6).all()
    assert split.target_w == pytest.approx(split.share_w)
    on = switched & (split.share_w > 1e-6)
    assert split.share_w[on] == pytest.approx(up_w[on], abs=1.0)
    gives_w, asked_w = float(split.share_w.sum()), float(plain.share_w.sum())
    size_w = float(up_w[switched].max(initial=0.0))
    assert abs(gives_w - asked_w) <= max(0.5 * size_w, 25.0, 0.005 * owed_w) + 1.0, "no further than the nearer of both"
    smooth_w = float(plain.share_w[~switched].sum())
    if smooth_w >= size_w:
        assert abs(gives_w - asked_w) <= max(25.0, 0.005 * owed_w) + 1.0, "whoever gives in part makes up for it"
    assert split.shortfall_w == pytest.approx(max(owed_w - gives_w, 0.0), abs=1e-6)
    free_w = float((up_w - split.share_w)[~switched].sum())
    assert asked_w - gives_w <= max(25.0, 0.005 * owed_w) + 1.0 or free_w <= 1.0, "nobody is left who could give a part"


def test_a_heater_told_a_part_that_leaves_it_off_is_held_off_by_its_timer_and_one_told_the_most_of_it_runs() -> None:
    stage = Stage1(fleet_of([Kind.WATER_HEATER] * 2, rating_w=3_000.0))
    now_ns = stage.clock.ns
    stage.state.base_w[:] = -3_000.0

    async def play() -> None:
        for name, target_w in (("r0", -900.0), ("r1", -2_900.0)):
            await stage.desk.ask(stage.ask("market", Level.MARKET, name, value=target_w))
        await stage.desk.settle()

    asyncio.run(play())
    low_w, high_w = stage.state.claims.bounds_above(np.arange(2, dtype=np.int32), Level.MARKET, now_ns)
    assert (low_w[0], high_w[0]) == (0.0, 0.0)
    assert low_w[1] == -3_000.0 and high_w[1] < 0.0


HELD = st.lists(
    st.tuples(st.sampled_from([35.0, 42.0, 48.0]), st.floats(0.0, 5_000.0), st.floats(0.0, 1.0)), min_size=1, max_size=4
)


@given(HELD, st.floats(1.0, 15_000.0), st.sampled_from([1.0, -1.0]))
def test_what_rows_are_held_to_give_and_what_others_are_called_for_is_what_is_owed(
    rows: list[tuple[float, float, float]], most_w: float, side: float
) -> None:
    price, can_w, frac = (np.array(column) for column in zip(*rows, strict=True))
    number, nothing, held_w = np.arange(len(rows), dtype=np.int32), np.zeros(len(rows)), frac * can_w
    serves, owed_w = np.ones(len(rows), np.bool_), min(most_w, float(can_w.sum()))
    up_w, down_w = (can_w, nothing) if side > 0 else (nothing, can_w)
    room = redispatch.Headroom(number, nothing, up_w, down_w, price, serves)
    split = redispatch.beside_held(redispatch.allocate, room, side * owed_w, held_w)
    called_w = side * split.share_w
    assert (called_w >= 0.0).all()
    gives_w = np.where(called_w > 1.0, np.maximum(called_w, held_w), held_w)
    assert float(gives_w.sum()) == pytest.approx(max(owed_w, float(held_w.sum())), abs=1.0 * len(rows) + 1.0)
    if owed_w > 1.0 * len(rows):
        assert (called_w > 1.0).any() or held_w.max() <= 1.0, "somebody is asked for it"
