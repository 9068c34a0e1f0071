"""An event that is composed with a key of its sender is composed once, however often it is sent and whatever dies."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from programs_stage import START, Programs

from tieline.desk import events
from tieline.desk.apply import apply
from tieline.desk.facts import from_record
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ONCE, ComposeEvent
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS

WISH = ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 10_000.0)


class Sent(Programs):
    """A desk to which events are sent, and one that was killed after so many records."""

    async def sent(self, wish: ComposeEvent, key: str, by: str = "ada") -> ProgramEvent | Refusal:
        entries, answer = events.decide_compose(self.state, wish, by, self.clock.ns, key)
        await self.desk.commit(entries)
        return answer

    def killed_after(self, count: int) -> DeskState:
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(1e5, 1e5))
        state = DeskState.empty(self.state.fleet, ClaimBook(self.state.fleet), ledger)
        for record in self.journal.records[:count]:
            if (fact := from_record(record)) is not None:
                apply(state, record.id, fact, record.recorded_at_ns)
        return state


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=8))
def test_as_many_events_stand_as_keys_were_sent_and_a_key_with_another_body_is_refused(
    sent: list[tuple[str, bool]],
) -> None:
    async def play() -> None:
        stage, first = Sent(), dict[str, tuple[bool, str]]()
        for key, is_other in sent:
            wish = structs.replace(WISH, power_w=9_000.0) if is_other else WISH
            answer = await stage.sent(wish, key)
            if key in first and first[key][0] != is_other:
                assert isinstance(answer, Refusal)
                assert (answer.rule, answer.holder, answer.value) == (ONCE, first[key][1], key)
            else:
                assert isinstance(answer, ProgramEvent)
                assert first.setdefault(key, (is_other, answer.id)) == (is_other, answer.id)
        assert set(stage.state.events) == {name for _, name in first.values()}

    asyncio.run(play())


def test_sent_again_after_a_kill_at_any_record_it_is_one_event_still() -> None:
    async def play() -> None:
        stage = Sent()
        made = await stage.sent(WISH, "k")
        assert isinstance(made, ProgramEvent)
        await stage.step(made.id, EventState.SUBMITTED, "ada")
        await stage.step(made.id, EventState.APPROVED)
        assert len(stage.journal.records) >= 4
        for count in range(len(stage.journal.records) + 1):
            state = stage.killed_after(count)
            known = set(state.events)
            entries, answer = events.decide_compose(state, WISH, "ada", stage.clock.ns, "k")
            assert isinstance(answer, ProgramEvent)
            assert (answer.id, bool(entries)) == (made.id, not known)
            other = structs.replace(WISH, power_w=9_000.0)
            assert isinstance(events.decide_compose(state, other, "ada", stage.clock.ns, "k")[1], Refusal) is bool(
                known
            )

    asyncio.run(play())


def test_one_that_began_or_was_made_longer_since_is_found_by_its_key() -> None:
    async def play() -> None:
        stage = Sent()
        made = await stage.sent(WISH, "k")
        assert isinstance(made, ProgramEvent)
        await stage.step(made.id, EventState.SUBMITTED, "ada")
        await stage.step(made.id, EventState.APPROVED)
        entries, _ = events.decide_extend(stage.state, made.id, 5, "bo", stage.clock.ns)
        await stage.desk.commit(entries)
        stage.clock.ns = START + 2 * HOUR_NS
        again = await stage.sent(WISH, "k")
        assert isinstance(again, ProgramEvent)
        assert (again.id, again.state) == (made.id, EventState.SCHEDULED)

    asyncio.run(play())


@pytest.mark.parametrize(("key", "by"), [("", "ada"), ("k", "bo")], ids=["without a key", "by somebody else"])
def test_without_a_key_or_with_anothers_it_is_an_event_of_its_own(key: str, by: str) -> None:
    async def play() -> None:
        stage = Sent()
        one, other = await stage.sent(WISH, key), await stage.sent(WISH, "k")
        mine = await stage.sent(WISH, key, by)
        assert isinstance(one, ProgramEvent) and isinstance(other, ProgramEvent) and isinstance(mine, ProgramEvent)
        assert mine.id not in (one.id, other.id)

    asyncio.run(play())
