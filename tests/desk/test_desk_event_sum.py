"""Program events that ask the same devices at one time add up, as they are booked; and each is counted its own part."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs_stage import COUNT, START, Programs

from tieline.desk import events
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import EventTracked, from_record
from tieline.desk.programs import EventState, ProgramEvent
from tieline.fleet.ledger import Capacity
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

TEN_NS = 10 * MINUTE_NS


class Called(Programs):
    """Its devices do within the minute what they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies = EventTallies()
        self.state.limiter.system_w = self.state.limiter.feeder_w[:] = np.inf
        self.clock.ns = START

    async def begun(self, power_w: float, start_ns: int, end_ns: int) -> str:
        event = await self.approved(power_w, start_ns=start_ns, end_ns=end_ns)
        assert isinstance(event, ProgramEvent)
        return event.id

    async def minutes(self, count: int) -> list[float]:
        """Let minutes pass; return what all devices give at the end of each (W)."""
        gave = []
        for _ in range(count):
            self.state.fleet.taken_at_ns[:] = self.clock.ns
            self.state.claims.expire(self.clock.ns)  # as a beat begins, and as any record does
            await self.desk.commit(self.tallies.count(self.state, self.clock.ns))
            await self.desk.commit(events.due(self.state, self.clock.ns))
            self.tallies.note(self.state, self.clock.ns)
            await self.desk.settle()
            lives = self.devices.until_ns > self.clock.ns
            self.state.fleet.power_w[:] = np.where(lives, np.nan_to_num(self.devices.target_w), 0.0)
            gave.append(float(self.state.fleet.power_w.sum()))
            self.clock.ns += MINUTE_NS
        return gave

    def tracked(self, event: str) -> list[EventTracked]:
        facts = (from_record(record) for record in self.journal.records)
        return [fact for fact in facts if isinstance(fact, EventTracked) and fact.event == event]


@pytest.mark.parametrize("seconds", [1, 30, 59, 60])
@pytest.mark.parametrize("is_read_late", [False, True])
def test_an_event_is_counted_to_its_last_second_though_its_claims_ran_out_with_it(
    seconds: int, is_read_late: bool
) -> None:
    """Any record at its end drops them, and the beat that counts comes at its end or after."""
    end_ns = START + 8 * MINUTE_NS + seconds * SECOND_NS

    async def play() -> None:
        stage = Called()
        event = await stage.begun(20_000.0, START, end_ns)
        await stage.minutes(9)
        stage.clock.ns = end_ns + (2 * SECOND_NS if is_read_late else 0)
        stage.state.claims.expire(stage.clock.ns)
        await stage.desk.commit(stage.tallies.count(stage.state, stage.clock.ns))
        await stage.desk.commit(events.due(stage.state, stage.clock.ns))
        await stage.desk.commit(stage.tallies.count(stage.state, stage.clock.ns + SECOND_NS))
        facts = stage.tracked(event)
        assert facts[-1].end_ns == end_ns
        assert sum(f.end_ns - f.start_ns for f in facts) == end_ns - START
        for fact in facts:
            assert (fact.asked_w, fact.delivered_w) == pytest.approx((20_000.0, 20_000.0)), fact
            assert not fact.causes

    asyncio.run(play())


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_two_that_begin_together_are_told_their_sum_and_each_is_counted_its_own(side: float) -> None:
    async def play() -> None:
        stage = Called()
        first = await stage.begun(side * 20_000.0, START, START + HOUR_NS)
        second = await stage.begun(side * 15_000.0, START, START + HOUR_NS)
        assert await stage.minutes(12) == pytest.approx([side * 35_000.0] * 12)
        for event, power_w in ((first, side * 20_000.0), (second, side * 15_000.0)):
            (_, fact) = stage.tracked(event)
            assert (fact.asked_w, fact.delivered_w) == pytest.approx((power_w, power_w))
        assert not stage.state.claims.arbitrate(stage.clock.ns, np.arange(COUNT, dtype=np.int32)).conflict.any()

    asyncio.run(play())


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_one_that_ends_leaves_the_other_what_it_asked(is_cancelled: bool) -> None:
    async def play() -> None:
        stage = Called()
        first = await stage.begun(20_000.0, START, START + (HOUR_NS if is_cancelled else 2 * TEN_NS))
        second = await stage.begun(15_000.0, START + TEN_NS, START + 3 * TEN_NS)
        assert await stage.minutes(10) == pytest.approx([20_000.0] * 10)
        assert await stage.minutes(10) == pytest.approx([35_000.0] * 10)
        if is_cancelled:
            await stage.step(first, EventState.CANCELED)
        assert await stage.minutes(10) == pytest.approx([15_000.0] * 10)
        assert [fact.delivered_w for fact in stage.tracked(second)[1:3]] == pytest.approx([15_000.0] * 2)
        assert await stage.minutes(1) == [0.0]

    asyncio.run(play())


def test_the_one_that_stands_on_top_may_end_first_or_the_one_beneath_be_prolonged() -> None:
    async def play() -> None:
        stage = Called()
        first = await stage.begun(20_000.0, START, START + 2 * TEN_NS)
        await stage.begun(15_000.0, START + TEN_NS, START + 2 * TEN_NS)
        await stage.minutes(15)
        entries, longer = events.decide_extend(stage.state, first, 10, "bo", stage.clock.ns)
        await stage.desk.commit(entries)
        assert isinstance(longer, ProgramEvent)
        assert await stage.minutes(15) == pytest.approx([35_000.0] * 5 + [20_000.0] * 10)
        assert await stage.minutes(1) == [0.0]

    asyncio.run(play())


def test_what_the_devices_have_not_is_lacked_by_the_later_one() -> None:
    async def play() -> None:
        stage = Called()
        first = await stage.begun(30_000.0, START, START + HOUR_NS)
        second = await stage.begun(30_000.0, START + TEN_NS, START + HOUR_NS)
        assert (await stage.minutes(18))[-1] == pytest.approx(50_000.0)
        assert stage.tracked(first)[-1].delivered_w == pytest.approx(30_000.0)
        assert stage.tracked(second)[-1].delivered_w == pytest.approx(20_000.0)

    asyncio.run(play())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 9).map(lambda n: n * 1e3)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_whatever_begins_and_ends_the_devices_are_told_the_sum_of_what_runs(drawn: list) -> None:
    async def play() -> None:
        stage = Called()
        stage.ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        for first, count, power_w in drawn:
            await stage.begun(power_w, START + first * 5 * MINUTE_NS, START + (first + count) * 5 * MINUTE_NS)
        for step in range(11):
            runs_w = sum(power_w for first, count, power_w in drawn if first <= step < first + count)
            assert await stage.minutes(5) == pytest.approx([runs_w] * 5, abs=1.0)

    asyncio.run(play())
