"""A server that starts anew knows what the last interval of each event showed: it calls, and lets go, nobody for it."""

from __future__ import annotations

import asyncio

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from programs_stage import START
from test_desk_event_makeup import ASKED_W, MIXED, Territory

from tieline.desk import opting
from tieline.desk.event_tracking import EventTallies
from tieline.desk.event_views import EventView
from tieline.desk.ports import Granted
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import Quantity, Refusal
from tieline.times import MINUTE_NS

Outs = list[tuple[int, int, int]]
"""By device: in which minute it goes out, and how many later it is back in (0: never)."""


class Owned(Territory):
    """A territory whose owners go out and come back, as rooms grow warm."""

    async def out(self, row: int) -> None:
        ask = opting.ask_out(self.state, f"r{row}", "ada", self.clock.ns)
        assert not isinstance(ask, Refusal)
        assert isinstance(await self.desk.ask(ask), Granted)

    async def back(self, row: int) -> None:
        source, program, resource, _ = opting.key_of_out(f"r{row}")
        await self.desk.withdraw(source, program, resource, Quantity.CONNECT, f"in-{row}-{self.clock.ns}")

    async def lived(self, minutes: int, outs: Outs, warm: list[int]) -> str:
        event = await self.begin()
        for minute in range(minutes):
            for row, goes, stays in outs:
                if goes == minute:
                    await self.out(row)
                if stays and goes + stays == minute:
                    await self.back(row)
            if minute == minutes // 2:
                self.warm[warm] = self.rooms[warm]
            await self.minutes(1)
        return event


def goes_on(outs: Outs, warm: list[int], minutes: int, is_restarted: bool) -> tuple[Owned, list[tuple[object, ...]]]:
    """Return a stage and, for each beat up to the next interval's end, what the event's screen and its claims say."""
    found: list[tuple[object, ...]] = []

    async def play() -> Owned:
        stage = Owned(MIXED)
        event = await stage.lived(minutes, outs, warm)
        if is_restarted:
            stage.tallies = EventTallies()
        while True:
            view: EventView = stage.seen(event)
            found.append((view.called, view.opted_out, stage.called().tolist()))
            await stage.minutes(1)
            if (stage.clock.ns - START) % (5 * MINUTE_NS) == 0:
                return stage

    return asyncio.run(play()), found


def test_who_went_out_while_an_event_runs_is_still_counted_so_after_a_start() -> None:
    """Let go as too much, as its share counted for given again: the screen said 3 before the kill, and 0 after it."""
    outs = [(row, 3, 0) for row in (40, 41, 42)]
    _, before = goes_on(outs, [], 11, is_restarted=False)
    _, after = goes_on(outs, [], 11, is_restarted=True)
    assert before[0][1] == 3, "three of those that it calls went out"
    assert after == before


drawn_outs = st.lists(
    st.tuples(st.integers(0, len(MIXED) - 1), st.integers(0, 18), st.integers(0, 9)),
    max_size=6, unique_by=lambda out: out[0],
)  # fmt: skip


@settings(deadline=None, max_examples=15)
@given(drawn_outs, st.lists(st.integers(0, 39), max_size=8), st.integers(1, 23))
def test_a_start_within_an_event_changes_nobody_that_it_calls(outs: Outs, warm: list[int], minutes: int) -> None:
    stage, before = goes_on(outs, warm, minutes, is_restarted=False)
    _, after = goes_on(outs, warm, minutes, is_restarted=True)
    assert after == before
    again, known = stage.replayed(Ledger()), stage.state.event_counted
    for event, counted in known.items():
        shown, told = again.event_counted[event].shown, counted.shown
        assert (shown is None) == (told is None)
        if shown is not None and told is not None:
            assert shown.record == told.record
            for name in ("rows", "called_w", "given_w"):
                assert np.array_equal(getattr(shown, name), getattr(told, name)), name


def test_what_an_interval_showed_is_forgotten_as_the_event_is_over() -> None:
    async def play() -> None:
        stage = Owned(MIXED)
        event = await stage.lived(11, [], [])
        assert stage.state.event_counted[event].shown is not None
        await stage.minutes(60)
        assert stage.state.event_counted[event].shown is None

    asyncio.run(play())


def test_an_event_gets_what_it_asks_again_though_a_server_starts_anew_while_some_are_out() -> None:
    async def play() -> None:
        stage = Owned(MIXED)
        await stage.lived(12, [(40, 3, 0), (41, 3, 0), (42, 4, 0)], [0, 1, 2])
        stage.tallies = EventTallies()
        given_w = await stage.minutes(3)
        assert min(given_w) >= 0.94 * ASKED_W, given_w

    asyncio.run(play())
