"""Over which of its time a pool's interval was counted: what a server that died took with it is named in its record."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_desk_declares import HOUR, Pool

from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.obligation import DISPATCH_STEP_NS
from tieline.desk.packed import Packed
from tieline.flow.record import Record
from tieline.times import SECOND_NS

ROWS = Packed.of(np.zeros(1))


def intervals(stage: Pool) -> dict[int, IntervalTracked]:
    facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked)]
    return {fact.start_ns: fact for fact in facts}


async def beats_at(stage: Pool, *seconds: int) -> None:
    for at_s in seconds:
        stage.clock.ns = HOUR + at_s * SECOND_NS
        stage.heard()
        await stage.cycle.beat(stage.clock.ns)


def span(from_s: int, to_s: int) -> tuple[int, int]:
    return HOUR + from_s * SECOND_NS, HOUR + to_s * SECOND_NS


def test_an_interval_in_which_the_server_was_killed_says_from_when_to_when_it_was_not_counted() -> None:
    """Killed after 140 s of it, up again 20 s later: what was counted before the kill died with it."""

    async def play() -> dict[int, IntervalTracked]:
        stage = Pool()
        await beats_at(stage, -60, 0, 60, 120)
        stage.restart()
        await beats_at(stage, 160, 220, 280, 300, 360, 420, 480, 540, 600)
        return intervals(stage)

    told = asyncio.run(play())
    assert told[HOUR].uncounted == (span(0, 160),)
    assert told[HOUR + DISPATCH_STEP_NS].uncounted == (), "the one after it was counted from its start"


def test_an_interval_whose_clock_stood_still_for_longer_than_is_counted_says_so() -> None:
    async def play() -> dict[int, IntervalTracked]:
        stage = Pool()
        await beats_at(stage, 0, 60, 1_620, 1_680)
        stage.clock.ns = HOUR + 1_800 * SECOND_NS
        await beats_at(stage, 1_800)
        return intervals(stage)

    told = asyncio.run(play())
    gaps = {at: fact.uncounted for at, fact in told.items() if fact.uncounted}
    assert gaps == {HOUR: (span(60, 300),), HOUR + 2 * DISPATCH_STEP_NS: (span(600, 720),)}, (
        "of 26 minutes without a beat the last 15 are counted"
    )


@given(
    st.lists(st.one_of(st.integers(1, 240), st.integers(240, 2_000)), min_size=3, max_size=25),
    st.sets(st.integers(1, 24), max_size=2),
)
def test_what_an_interval_says_was_not_counted_is_all_that_no_beat_of_a_running_server_ended(
    steps_s: list[int], kills: set[int]
) -> None:
    async def play() -> tuple[dict[int, IntervalTracked], list[tuple[int, int]]]:
        stage, at_s, counted = Pool(), 0, list[tuple[int, int]]()
        before_s: int | None = None
        for number, step_s in enumerate(steps_s):
            at_s += step_s
            if number in kills and before_s is not None:
                stage.restart()
                mark_s = before_s // 300 * 300
                counted = [(a, min(b, mark_s)) for a, b in counted if a < mark_s]  # what was not recorded yet is lost
                before_s = None
            await beats_at(stage, at_s)
            if before_s is not None:
                counted.append((max(before_s, at_s - 900), at_s))
            before_s = at_s
        return intervals(stage), counted

    told, counted = asyncio.run(play())
    for start_ns, fact in told.items():
        begins_s = (start_ns - HOUR) // SECOND_NS
        seconds = set(range(begins_s, begins_s + 300))
        for a, b in counted:
            seconds -= set(range(a, b))
        gaps = {s for a, b in fact.uncounted for s in range((a - HOUR) // SECOND_NS, (b - HOUR) // SECOND_NS)}
        assert gaps == {s for s in seconds if s + 1 in seconds or s - 1 in seconds}, "one second alone is no gap"


def test_an_interval_of_a_journal_of_before_says_nothing_of_it() -> None:
    body = msgspec.msgpack.decode(msgspec.msgpack.encode(IntervalTracked("p", 0, 1, 1.0, 1.0, {}, ROWS, ROWS, 1)))
    del body["uncounted"]
    record = Record("r", "IntervalTracked", "p", 1, (), msgspec.msgpack.encode(body))
    told = from_record(record)
    assert isinstance(told, IntervalTracked) and told.uncounted == ()


@pytest.mark.parametrize("late_s", [0, 1])
def test_beats_that_come_a_moment_apart_leave_no_gap(late_s: int) -> None:
    async def play() -> dict[int, IntervalTracked]:
        stage = Pool()
        await beats_at(stage, 0, 61, 121 + late_s, 182, 243, 301 + late_s, 362)
        return intervals(stage)

    assert [fact.uncounted for fact in asyncio.run(play()).values()] == [()]
