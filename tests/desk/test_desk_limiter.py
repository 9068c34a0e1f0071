"""The fleet limiter holds back what is too much for a minute, and nobody for the sake of who can't go anyway."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.fleet.limiter import FleetLimiter
from tieline.node.read_wait import waits
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import MINUTE_NS, SECOND_NS, iso

MOVES = st.tuples(st.integers(1, 5_000), st.sampled_from([3, 5, 7]), st.booleans())


@given(st.lists(MOVES, min_size=1, max_size=24), st.floats(1e3, 2e4), st.floats(1e3, 2e4))
def test_who_is_held_back_does_not_fit_beside_who_goes_unless_a_stronger_one_waits_as_well(
    moves: list[tuple[int, int, bool]], system_w: float, feeder_w: float
) -> None:
    fleet = fleet_of([Kind.BATTERY] * len(moves), per_feeder=4)
    limiter = FleetLimiter(fleet, system_w)
    limiter.feeder_w[:] = feeder_w
    rows = np.arange(len(moves), dtype=np.int32)
    watts, order, free = (np.array(column) for column in zip(*moves, strict=True))
    goes = limiter.allows(rows, watts.astype(float), order, free, 0)
    feeder = limiter.feeder_of
    gone_w, in_all_w = np.bincount(feeder, watts * goes, feeder.max() + 1), float((watts * goes).sum())
    assert goes[free].all()
    paid = goes & ~free
    for at in np.flatnonzero(paid):
        assert gone_w[feeder[at]] <= feeder_w + 1e-6 and in_all_w <= system_w + 1e-6
    for at in np.flatnonzero(~goes):
        fits = gone_w[feeder[at]] + watts[at] <= feeder_w and in_all_w + watts[at] <= system_w
        can = watts <= min(system_w, feeder_w)  # who never can keeps nobody waiting
        assert not fits or (~goes & can & (order < order[at])).any(), "it waits for nobody's sake"


def test_a_small_load_does_not_wait_for_a_large_one_of_its_level_on_another_feeder() -> None:
    """A battery has to wait for its minute; who stands behind it in the table and fits goes at once."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 4, per_feeder=2))
        stage.state.limiter.system_w = 7_000.0
        stage.state.limiter.note(np.array([1], np.int32), np.array([4_000.0]), stage.clock.ns - 10 * SECOND_NS)
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r0", value=4_000.0))
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r2", value=1_800.0))
        await stage.desk.settle()
        assert [list(batch.rows) for batch in stage.devices.batches] == [[2]]
        now_ns = stage.clock.ns
        assert waits(stage.state, 2, 1_800.0, now_ns) == ""
        room = iso((now_ns + 50 * SECOND_NS) // SECOND_NS * SECOND_NS)
        said = "its step waits: 5800 W of 7000 W a minute were moved in all; it goes at about "
        assert waits(stage.state, 0, 4_000.0, now_ns) == said + room

    asyncio.run(play())


def test_who_was_held_back_at_the_last_beat_is_said_to_wait_also_where_it_alone_would_fit() -> None:
    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 4, per_feeder=2))
        stage.state.limiter.system_w = 5_000.0
        stage.state.limiter.note(np.array([1], np.int32), np.array([2_000.0]), stage.clock.ns - 10 * SECOND_NS)
        await stage.desk.ask(stage.ask("iso", Level.RELIABILITY, "r0", value=4_000.0))
        await stage.desk.ask(stage.ask("market", Level.MARKET, "r2", value=1_800.0))
        await stage.desk.settle()
        assert not stage.devices.batches, "the stronger one needs all that is left, and comes first"
        room = iso((stage.clock.ns + 50 * SECOND_NS) // SECOND_NS * SECOND_NS)
        for later_s in (0, 20):
            said = waits(stage.state, 2, 1_800.0, stage.clock.ns + later_s * SECOND_NS)
            assert said == f"its step waits: the fleet limiter lets others go first; it goes at about {room}"
        assert waits(stage.state, 2, None, stage.clock.ns) == "", "nobody wants it to move any more"
        stage.clock.ns += 51 * SECOND_NS
        await stage.desk.settle()
        stage.clock.ns += 61 * SECOND_NS
        await stage.desk.settle()
        assert {int(row) for batch in stage.devices.batches for row in batch.rows} == {0, 2}
        assert waits(stage.state, 2, 1_800.0, stage.clock.ns) == ""

    asyncio.run(play())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_nobody_waits_for_more_than_three_windows_while_small_ones_of_its_level_go_on_moving(seed: int) -> None:
    """The large one needs the whole window, and the small one moves in each: who waited a window is passed by nobody."""
    rng = np.random.default_rng(seed)
    fleet = fleet_of([Kind.BATTERY] * 2)
    limiter = FleetLimiter(fleet, np.inf, np.array([10_000.0, np.inf]))
    rows = np.arange(2, dtype=np.int32)
    if rng.random() < 0.5:
        rows = rows[::-1].copy()
    moves_w, level, none = np.array([10_000.0, 500.0]), np.full(2, 7), np.zeros(2, np.bool_)
    now_ns, began_ns = 0, 0
    while now_ns - began_ns <= 3 * MINUTE_NS:
        goes = limiter.allows(rows, moves_w, level, none, now_ns)
        limiter.hold(rows[~goes], now_ns)
        limiter.note(rows[goes], moves_w[goes], now_ns)
        if goes[0]:
            return
        now_ns += int(rng.integers(1, 30)) * SECOND_NS
    pytest.fail("the large one was passed for ever")


def test_who_can_never_be_moved_by_a_narrow_limit_keeps_nobody_else_waiting() -> None:
    fleet = fleet_of([Kind.BATTERY] * 2)
    limiter = FleetLimiter(fleet, 3_000.0, np.array([3_000.0, 0.0]))
    rows, none = np.arange(2, dtype=np.int32), np.zeros(2, np.bool_)
    goes = limiter.allows(rows, np.array([4_000.0, 1_000.0]), np.array([5, 7]), none, 0)
    assert goes.tolist() == [False, True]


def test_what_was_moved_before_the_clock_was_set_back_counts_for_one_window_and_no_longer() -> None:
    """An hour lost by the clock is not an hour in which nobody may move."""
    fleet = fleet_of([Kind.BATTERY] * 4)
    limiter, row, hour_ns = FleetLimiter(fleet, 3_000.0), np.array([0], np.int32), 60 * MINUTE_NS
    now_ns = 10 * hour_ns
    limiter.note(row, np.array([3_000.0]), now_ns)

    def may(at_ns: int) -> bool:
        moves_w = np.array([3_000.0])
        return bool(limiter.allows(row, moves_w, np.zeros(1, np.int64), np.zeros(1, np.bool_), at_ns)[0])

    back_ns = now_ns - hour_ns
    assert not may(back_ns), "it was moved a moment ago"
    assert limiter.next_room_ns(back_ns) == back_ns + MINUTE_NS
    assert not may(back_ns + MINUTE_NS - 1)
    assert may(back_ns + MINUTE_NS)
