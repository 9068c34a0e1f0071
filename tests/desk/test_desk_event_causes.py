"""What an event lacks is put to what held its devices when it was lacking, and not to what came afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs_stage import COUNT, START, Programs
from test_desk_last_hop import kill

from tieline.desk import events
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import EventTracked, from_record
from tieline.desk.programs import ProgramEvent
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

ASKED_W = 20_000.0
EACH_W = ASKED_W / COUNT


class Called(Programs):
    """Ten batteries in an event of 20 kW, 2 of each; a minute is played at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies = EventTallies()

    async def begin(self) -> None:
        assert isinstance(await self.approved(ASKED_W), ProgramEvent)
        self.clock.ns = START
        await self.desk.commit(self.tallies.count(self.state, START))
        await self.desk.commit(events.due(self.state, START))
        self.tallies.note(self.state, START)

    async def minute(self, gives_w: Sequence[float]) -> None:
        """Let a minute pass in which each battery gives so much."""
        self.clock.ns += MINUTE_NS
        self.state.fleet.taken_at_ns[:], self.state.fleet.power_w[:] = self.clock.ns, gives_w
        await self.beat()

    async def beat(self) -> None:
        await self.desk.commit(self.tallies.count(self.state, self.clock.ns))

    async def opt_out(self, row: int) -> None:
        gate = {"quantity": Quantity.CONNECT, "end_ns": START + HOUR_NS}
        await self.desk.ask(self.ask("owner", Level.OWNER_NEED, f"r{row}", ClaimKind.GATE, **gate))
        await self.beat()

    def facts(self) -> list[EventTracked]:
        return [fact for r in self.journal.records if isinstance(fact := from_record(r), EventTracked)]


def played(play: Callable[[Called], Awaitable[None]]) -> list[EventTracked]:
    async def main() -> list[EventTracked]:
        stage = Called()
        await stage.begin()
        await play(stage)
        return stage.facts()

    return asyncio.run(main())


HALF = [EACH_W] * 5 + [0.0] * 5


def test_what_lacked_before_an_owner_opted_out_is_not_the_owners() -> None:
    """Five give nothing for four minutes; then their owners opt out, and the interval ends a minute later."""

    async def play(stage: Called) -> None:
        for _ in range(4):
            await stage.minute(HALF)
        for row in range(5, 10):
            await stage.opt_out(row)
        for _ in range(2):
            await stage.minute(HALF)

    fact = played(play)[0]
    assert fact.delivered_w == pytest.approx(10_000.0)
    assert fact.causes == pytest.approx({"underperformed": 8_000.0, "opt_out": 2_000.0})


def test_what_lacked_behind_the_kill_switch_is_put_to_it_though_it_is_released_by_the_intervals_end() -> None:
    async def play(stage: Called) -> None:
        await kill(stage, True, "ada")
        await stage.beat()
        for _ in range(3):
            await stage.minute(HALF)
        await kill(stage, False, "ada", "bo")
        await stage.beat()
        for _ in range(3):
            await stage.minute(HALF)

    fact = played(play)[0]
    assert fact.causes == pytest.approx({"kill_switch": 6_000.0, "underperformed": 4_000.0})


def test_who_opted_out_before_the_kill_switch_was_pressed_stays_the_cause_behind_it() -> None:
    """Nobody who is out would give anything without the switch; the others would."""

    async def play(stage: Called) -> None:
        for row in range(3):
            await stage.opt_out(row)
        await kill(stage, True, "ada")
        await stage.beat()
        for _ in range(6):
            await stage.minute([0.0] * COUNT)

    fact = played(play)[0]
    assert fact.causes == pytest.approx({"opt_out": 6_000.0, "kill_switch": 14_000.0})


MINUTE = st.tuples(
    st.lists(st.floats(-1_000.0, 3_000.0), min_size=COUNT, max_size=COUNT), st.integers(0, COUNT), st.booleans()
)


@given(st.lists(MINUTE, min_size=6, max_size=11))
def test_delivered_and_causes_are_what_was_asked_whatever_came_and_went(
    minutes: list[tuple[list[float], int, bool]],
) -> None:
    async def play(stage: Called) -> None:
        for gives_w, out, is_killed in minutes:
            if out < COUNT:
                await stage.opt_out(out)
            stage.state.authority["kill"] = "on" if is_killed else "off"
            await stage.beat()
            await stage.minute(gives_w)

    facts = played(play)
    assert facts
    for fact in facts:
        if ASKED_W - fact.delivered_w > 1.0:
            assert fact.delivered_w + sum(fact.causes.values()) == pytest.approx(ASKED_W, abs=1e-6)
        else:
            assert fact.causes == {}
        assert all(watts > 0.0 for watts in fact.causes.values())


def test_asked_less_delivered_is_all_that_lacked_less_what_other_intervals_gave_beyond_the_asked() -> None:
    """Bases drift down by 1 kW after five minutes: to stay where they were told is then 3 kW of each, 2 were asked."""

    async def play(stage: Called) -> None:
        for _ in range(5):
            await stage.minute(HALF)
        stage.state.base_w[:] -= EACH_W / 2
        await stage.beat()
        for _ in range(6):
            await stage.minute([EACH_W] * COUNT)
        (event,) = stage.state.events
        view = stage.seen(event)
        assert view.over_wh == pytest.approx(10_000.0 / 12), "half of the asked, for five minutes"
        assert view.lacks_wh == pytest.approx({"underperformed": 10_000.0 / 12})
        closes_wh = sum(view.lacks_wh.values()) - view.over_wh
        assert view.asked_wh - view.delivered_wh == pytest.approx(closes_wh, abs=1e-6)

    assert [fact.delivered_w for fact in played(play)[:2]] == pytest.approx([10_000.0, 30_000.0])
