"""An event whose time is over before it began has lapsed: nobody submits or approves it any more."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs_stage import START, Programs

from tieline.desk import events
from tieline.desk.programs import NEXT, EventState, ProgramEvent, advance
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, MINUTE_NS

BEFORE = (EventState.NEW, EventState.SUBMITTED, EventState.APPROVED, EventState.SCHEDULED)


async def brought_to(stage: Programs, state: EventState) -> ProgramEvent:
    event = await stage.compose(40_000.0)
    assert isinstance(event, ProgramEvent)
    if state is not EventState.NEW:
        await stage.step(event.id, EventState.SUBMITTED, "ada")
    if state is EventState.SCHEDULED:
        await stage.step(event.id, EventState.APPROVED, "bo")
    assert stage.state.events[event.id].state is state
    return event


@pytest.mark.parametrize("state", [EventState.NEW, EventState.SUBMITTED, EventState.SCHEDULED])
def test_an_event_whose_time_is_over_before_it_began_lapses_and_gives_its_booking_back(state: EventState) -> None:
    async def play() -> None:
        stage = Programs()
        event = await brought_to(stage, state)
        stage.clock.ns = event.end_ns
        await stage.desk.commit(events.due(stage.state, stage.clock.ns))
        assert (stage.seen(event.id).state, stage.seen(event.id).next) == ("Lapsed", ())
        assert stage.ledger.free_w("pool-1", START)[0] == 100_000.0
        assert events.due(stage.state, stage.clock.ns) == [], "it lapses once"
        for step in (EventState.SUBMITTED, EventState.APPROVED):
            refused = await stage.step(event.id, step, "bo")
            assert isinstance(refused, Refusal)
            assert (refused.reason, refused.field) == ("the event is over already", "end_ns")
        again = Ledger()
        again.set_capacity("pool-1", Capacity(100_000.0, 100_000.0))
        assert stage.replayed(again).digest() == stage.state.digest(), "a restart finds it lapsed"

    asyncio.run(play())


def test_an_event_that_is_not_over_waits_on_though_its_start_is_past() -> None:
    async def play() -> None:
        stage = Programs()
        event = await brought_to(stage, EventState.SUBMITTED)
        stage.clock.ns = event.end_ns - 1
        assert events.due(stage.state, stage.clock.ns) == []
        approved = await stage.step(event.id, EventState.APPROVED, "bo")
        assert isinstance(approved, ProgramEvent)

    asyncio.run(play())


@given(st.integers(-2 * HOUR_NS, 2 * HOUR_NS))
def test_no_event_is_submitted_or_approved_when_its_time_is_over(late_ns: int) -> None:
    for was, to in product(EventState, EventState):
        event = ProgramEvent("e", "peak", "pool-1", "", START, START + 5 * MINUTE_NS, 1e4, "ada", was)
        after = advance(event, to, "bo", event.end_ns + late_ns)
        if late_ns >= 0 and to in (EventState.SUBMITTED, EventState.APPROVED):
            assert isinstance(after, Refusal)
            if was in BEFORE and to in NEXT[was]:
                assert (after.reason, after.field) == ("the event is over already", "end_ns")
        elif not isinstance(after, Refusal):
            assert to in NEXT[was]
