"""What no server counted of a program event is said beside its sums: they hold nothing of that time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs_stage import COUNT, START, Programs

from tieline.desk import events
from tieline.desk.event_tracking import EventTallies
from tieline.desk.event_views import EventView
from tieline.desk.facts import EventTracked, from_record
from tieline.desk.programs import ProgramEvent
from tieline.fleet.ledger import Ledger
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

ASKED_W = 20_000.0
EACH_W = ASKED_W / COUNT


class Running(Programs):
    """Ten batteries that give all of 20 kW, and servers that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies = EventTallies()

    async def beat(self) -> None:
        self.state.fleet.taken_at_ns[:], self.state.fleet.power_w[:] = self.clock.ns, EACH_W
        await self.desk.commit(self.tallies.count(self.state, self.clock.ns))
        await self.desk.commit(events.due(self.state, self.clock.ns))
        self.tallies.note(self.state, self.clock.ns)

    async def run(self, seconds: int) -> None:
        """Let a server run, that beats each minute and once more at the end."""
        until_ns = self.clock.ns + seconds * SECOND_NS
        while self.clock.ns < until_ns:
            self.clock.ns = min(self.clock.ns + MINUTE_NS, until_ns)
            await self.beat()

    async def die(self, seconds: int) -> None:
        """Let the server die, and the next one begin so much later."""
        self.tallies = EventTallies()
        self.clock.ns += seconds * SECOND_NS
        await self.beat()

    def facts(self) -> list[EventTracked]:
        return [fact for r in self.journal.records if isinstance(fact := from_record(r), EventTracked)]


Lives = list[tuple[int, int]]


def lived(lives: Lives, lasts_ns: int = HOUR_NS, late_s: int = 0) -> tuple[Running, EventView]:
    """Play servers that run and are dead for so many seconds, and return the stage and the event's view."""

    async def main() -> tuple[Running, EventView]:
        stage = Running()
        event = await stage.approved(ASKED_W, end_ns=START + lasts_ns)
        assert isinstance(event, ProgramEvent)
        stage.clock.ns = START + late_s * SECOND_NS
        await stage.beat()
        for runs_s, dead_s in lives:
            await stage.run(runs_s)
            if dead_s:
                await stage.die(dead_s)
        return stage, stage.seen(event.id)

    return asyncio.run(main())


def spans_s(view: EventView) -> list[tuple[int, int]]:
    return [((a - START) // SECOND_NS, (b - START) // SECOND_NS) for a, b in view.uncounted]


def test_an_event_of_one_server_has_no_gap_also_where_its_first_beat_is_late() -> None:
    for late_s in (0, 40):
        _, view = lived([(4000, 0)], late_s=late_s)
        assert (view.state, view.uncounted, view.counted_to_ns) == ("Completed", (), START + HOUR_NS)


def test_what_died_with_a_server_and_what_none_counted_after_it_is_one_gap() -> None:
    """Killed 7 minutes in: two minutes of the running five die with it, and three until the next server."""
    _, view = lived([(420, 180), (900, 0)])
    assert spans_s(view) == [(300, 600)]
    assert view.counted_to_ns == START + 1200 * SECOND_NS, "an interval is known as the next one begins"
    assert (view.asked_wh, view.delivered_wh) == pytest.approx((ASKED_W / 4, ASKED_W / 4)), "of 15 of 20 minutes"


def test_an_event_of_which_nothing_was_counted_before_the_kill_is_counted_from_the_next_server_on() -> None:
    assert spans_s(lived([(150, 90), (600, 0)])[1]) == [(0, 240)]


def test_an_event_that_ended_while_no_server_ran_says_how_much_of_its_end_is_missing() -> None:
    _, view = lived([(420, 4000)])
    assert (view.state, spans_s(view)) == ("Completed", [(300, 3600)])


def test_an_event_that_came_due_while_no_server_ran_is_missing_from_its_start() -> None:
    assert spans_s(lived([(600, 0)], late_s=1200)[1]) == [(0, 1200)]
    _, view = lived([(60, 0)], late_s=4000)
    assert (view.state, view.uncounted) == ("Lapsed", ()), "it never began"


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(1, 1200)), min_size=1, max_size=5), st.integers(600, 6000))
def test_what_was_counted_and_what_was_not_make_up_the_events_time(lives: Lives, lasts_s: int) -> None:
    stage, view = lived([*lives, (301, 0)], lasts_s * SECOND_NS)
    facts = stage.facts()
    held = sorted([(fact.start_ns, fact.end_ns) for fact in facts] + list(view.uncounted))
    assert held[0][0] == START
    assert all(a[1] == b[0] for a, b in pairwise(held)), held
    over_ns = min(stage.clock.ns, START + lasts_s * SECOND_NS)
    # Of one that runs, the last interval is still being counted.
    assert held[-1][1] == over_ns if view.state == "Completed" else over_ns - held[-1][1] <= 5 * MINUTE_NS
    assert stage.replayed(Ledger()).event_counted == stage.state.event_counted, "it follows from the record alone"
