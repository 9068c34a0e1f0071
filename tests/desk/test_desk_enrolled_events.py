"""Whom the book of enrolments lets a program's events call: who is enrolled in it through the call, and nobody else."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from programs_stage import COUNT, START, Programs
from test_desk_contracted_events import PROGRAM, Contracted

from tieline.contract.enrolment import ProgramEnrolment, State, Step, Why, enrolment_id
from tieline.desk import events
from tieline.desk.consents import decide_agreed
from tieline.desk.desk_views import EventPreview
from tieline.desk.enrolled import Enrolled
from tieline.desk.enrolled_calls import decide_book
from tieline.desk.event_stack import newest
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, FOREVER_NS, HOUR_NS, MINUTE_NS, iso, to_ns

LONG_AGO = START - 100 * DAY_NS
TO_ACTIVE = (
    Step(State.AUTHORISED, Why.CONSENT_GIVEN, "ann", LONG_AGO),
    Step(State.SUBMITTED, Why.SENT, "ann", LONG_AGO),
    Step(State.CONFIRMED, Why.NO_REVIEW_ASKED, "ann", LONG_AGO),
    Step(State.ACTIVE, Why.STARTED, "clock", LONG_AGO),
)


def enrolled(
    row: int, program: str = "peak", starts_ns: int = LONG_AGO, ends_ns: int = FOREVER_NS,
    steps: tuple[Step, ...] = TO_ACTIVE,
) -> ProgramEnrolment:  # fmt: skip
    """The enrolment of a device of the stage."""
    resource = f"r{row}"
    return ProgramEnrolment(
        id=enrolment_id(resource, resource, program, starts_ns), program=program, contract=f"c{row}", location=resource,
        resource=resource, kind="battery", fuel="none", market="utility-dr", power_w=5e3, rating_w=5e3,
        starts_ns=starts_ns, ends_ns=ends_ns, made_ns=LONG_AGO, steps=steps,
    )  # fmt: skip


def book(*every: ProgramEnrolment) -> dict[str, ProgramEnrolment]:
    return {one.id: one for one in every}


class Booked(Contracted):
    """Ten batteries under ten contracts, and a book of enrolments."""

    async def take(self, *every: ProgramEnrolment) -> None:
        """Let the desk take a book, and do what follows at once."""
        await self.desk.commit(decide_book(self.state, book(*every), self.clock.ns))
        await self.desk.commit(decide_agreed(self.state, self.clock.ns))
        await self.desk.settle()

    def preview(self, power_w: float = 40_000.0, start_ns: int = START) -> EventPreview | Refusal:
        wish = ComposeEvent("peak", "pool-1", start_ns, start_ns + HOUR_NS, power_w)
        return events.preview(self.state, wish, self.clock.ns)

    def holds(self, event: str) -> list[int]:
        """Whom claims of an event that are alive hold."""
        held = newest(self.state, event)
        if held is None:
            return []
        winner = self.state.claims.arbitrate(self.clock.ns, held.rows).winner
        return [int(row) for row in held.rows[winner >= 0]]


def test_an_event_calls_those_alone_that_are_enrolled_in_its_program() -> None:
    async def play() -> None:
        stage = Booked()
        await stage.take(enrolled(1), enrolled(2), enrolled(3, "heat"))
        shown = stage.preview()
        assert isinstance(shown, EventPreview)
        assert (shown.devices, shown.unenrolled, shown.unagreed) == (2, COUNT - 2, 0)
        assert shown.left_out["r3"] == "not enrolled in peak (enrolments)"
        assert set(shown.left_out) == {f"r{n}" for n in range(COUNT)} - {"r1", "r2"}
        event = await stage.approved(40_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.at(START)
        assert stage.called(event.id) == [1, 2]

    asyncio.run(play())


def test_where_a_book_is_asked_and_contracts_are_not_enrolments_alone_decide() -> None:
    async def play() -> None:
        stage = Programs()
        await stage.desk.commit(decide_book(stage.state, book(enrolled(4)), stage.clock.ns))
        event = await stage.approved(40_000.0)
        assert isinstance(event, ProgramEvent)
        stage.clock.ns = START
        stage.state.fleet.taken_at_ns[:] = START
        await stage.desk.commit(events.due(stage.state, START))
        held = newest(stage.state, event.id)
        assert held is not None and held.rows.tolist() == [4]

    asyncio.run(play())


def test_who_is_enrolled_is_still_called_only_as_his_contract_lets_him_be() -> None:
    async def play() -> None:
        stage = Booked(covered=2)
        await stage.take(*(enrolled(n) for n in range(4)))
        shown = stage.preview()
        assert isinstance(shown, EventPreview)
        assert (shown.devices, shown.unenrolled, shown.unagreed) == (2, 6, 2)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (enrolled(0, "heat"), "not enrolled in peak"),
        (enrolled(0, starts_ns=START + DAY_NS), f"not enrolled in peak before {iso(START + DAY_NS)}"),
        (enrolled(0, starts_ns=START + MINUTE_NS), f"not enrolled in peak before {iso(START + MINUTE_NS)}"),
        (
            enrolled(0, ends_ns=START + HOUR_NS - MINUTE_NS),
            f"enrolled in peak only until {iso(START + HOUR_NS - MINUTE_NS)}",
        ),
        (
            enrolled(0, steps=(*TO_ACTIVE, Step(State.SUSPENDED, Why.SAFETY, "bo", START - DAY_NS))),
            f"its enrolment in peak is suspended since {iso(START - DAY_NS)} (safety)",
        ),
        (
            enrolled(0, steps=(*TO_ACTIVE, Step(State.ENDED, Why.OWNER_LEFT, "bo", START - DAY_NS))),
            f"its enrolment in peak is ended since {iso(START - DAY_NS)} (owner left)",
        ),
        (
            enrolled(0, steps=TO_ACTIVE[:3]),
            f"its enrolment in peak is confirmed since {iso(LONG_AGO)} (no review asked), and nobody has begun it "
            "(`tieline enrolments advance`)",
        ),
        (enrolled(0, steps=()), "its enrolment in peak is draft"),
    ],
)
def test_an_event_on_nobody_who_is_enrolled_is_refused_with_the_reason(one: ProgramEnrolment, why: str) -> None:
    async def play() -> None:
        stage = Booked()
        await stage.take(one)
        wish = ComposeEvent("peak", "r0", START, START + HOUR_NS, 1_000.0)
        _, refused = events.decide_compose(stage.state, wish, "ada", stage.clock.ns)
        assert isinstance(refused, Refusal)
        assert (refused.reason, refused.field, refused.value) == (why, "resource", "r0")
        assert refused.rule == ("enrolments" if one.program == "heat" else one.id)

    asyncio.run(play())


def test_who_begins_before_an_event_is_counted_in_its_preview_and_called_once_he_has_begun() -> None:
    async def play() -> None:
        stage, day = Booked(), START + DAY_NS
        coming = [enrolled(n, starts_ns=START + 20 * HOUR_NS, steps=TO_ACTIVE[:3]) for n in range(2)]
        await stage.take(*coming)
        shown = stage.preview(start_ns=day)
        assert isinstance(shown, EventPreview) and shown.devices == 2
        event = await stage.approved(10_000.0, start_ns=day, end_ns=day + HOUR_NS)
        assert isinstance(event, ProgramEvent)
        stage.clock.ns = START + 21 * HOUR_NS
        began = Step(State.ACTIVE, Why.STARTED, "clock", stage.clock.ns)
        steps = (*TO_ACTIVE[:3], began)
        await stage.take(enrolled(0, starts_ns=START + 20 * HOUR_NS, steps=steps), coming[1])
        await stage.at(day)
        assert stage.called(event.id) == [0], "nobody began the other"

    asyncio.run(play())


def test_who_is_suspended_while_an_event_runs_is_let_go_with_the_reason_and_others_are_called() -> None:
    async def play() -> None:
        stage = Booked()
        await stage.take(*(enrolled(n) for n in range(8)))
        event = await stage.approved(20_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.at(START)
        before = stage.called(event.id)
        gone = before[0]
        stage.clock.ns = START + MINUTE_NS
        lost = Step(State.SUSPENDED, Why.DEVICE_LOST, "bo", stage.clock.ns)
        await stage.take(*(enrolled(n, steps=(*TO_ACTIVE, lost) if n == gone else TO_ACTIVE) for n in range(8)))
        assert gone not in stage.holds(event.id)
        assert [aside.why for aside in stage.state.set_aside] == [
            f"set aside: its enrolment in peak is suspended since {iso(stage.clock.ns)} (device lost)"
        ]
        for _ in range(3):
            await stage.at(stage.clock.ns + 10**9)
        held = newest(stage.state, event.id)
        assert held is not None and gone not in held.rows
        assert held.value.sum() == pytest.approx(20_000.0, rel=0.06)
        assert decide_agreed(stage.state, stage.clock.ns) == [], "said once"

    asyncio.run(play())


def test_an_event_is_not_made_longer_than_the_enrolments_of_those_it_called_run() -> None:
    async def play() -> None:
        stage = Booked()
        ends_ns = START + HOUR_NS + 30 * MINUTE_NS
        await stage.take(*(enrolled(n, ends_ns=ends_ns) for n in range(COUNT)))
        event = await stage.approved(10_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.at(START)
        _, longer = events.decide_extend(stage.state, event.id, 30, "ada with bo", stage.clock.ns)
        assert isinstance(longer, ProgramEvent)
        _, refused = events.decide_extend(stage.state, event.id, 31, "ada with bo", stage.clock.ns)
        assert isinstance(refused, Refusal) and refused.reason == f"enrolled in peak only until {iso(ends_ns)}"

    asyncio.run(play())


def test_a_book_that_changes_later_changes_nothing_of_what_was_decided_and_a_replay_finds_the_same() -> None:
    async def play() -> None:
        stage = Booked()
        await stage.take(enrolled(1), enrolled(2))
        event = await stage.approved(10_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.at(START)
        await stage.at(START + HOUR_NS)
        seq = len(stage.journal.records)
        await stage.take(enrolled(7))
        later = START + 2 * HOUR_NS
        second = await stage.approved(5_000.0, start_ns=later, end_ns=later + HOUR_NS)
        assert isinstance(second, ProgramEvent)
        await stage.at(later)
        assert stage.called(second.id) == [7]
        again = stage.replayed(Ledger())
        assert again.enrolled is not None and stage.state.enrolled is not None
        assert again.enrolled.digest() == stage.state.enrolled.digest()
        assert again.called == stage.state.called
        assert set(again.enrolled.by_id) == {enrolled(7).id}
        told = [record for record in stage.journal.records if record.kind == "EnrolmentsTaken"]
        assert len(told) == 2 and stage.journal.records.index(told[1]) >= seq
        assert decide_book(stage.state, book(enrolled(7)), stage.clock.ns) == [], "the same book is no news"

    asyncio.run(play())


def test_a_folder_that_asks_no_book_any_more_calls_as_contracts_let_it() -> None:
    async def play() -> None:
        stage = Booked()
        await stage.take()
        refused = stage.preview()
        assert isinstance(refused, Refusal) and refused.reason == "not enrolled in peak"
        await stage.desk.commit(decide_book(stage.state, None, stage.clock.ns))
        assert stage.state.enrolled is None and stage.replayed(Ledger()).enrolled is None
        shown = stage.preview()
        assert isinstance(shown, EventPreview) and shown.devices == COUNT
        assert decide_book(stage.state, None, stage.clock.ns) == []

    asyncio.run(play())


def test_a_program_calls_no_device_of_a_kind_that_it_does_not_take() -> None:
    async def play() -> None:
        stage = Contracted(programs=PROGRAM.replace('kinds = ["battery"]', 'kinds = ["thermostat", "water_heater"]'))
        refused = await stage.compose(10_000.0)
        assert isinstance(refused, Refusal)
        assert (refused.reason, refused.value, refused.limit, refused.rule) == (
            "peak takes no battery", "battery", "thermostat, water_heater", "peak 2023.1",
        )  # fmt: skip

    asyncio.run(play())


FLEET = Programs().state.fleet
NEW_YORK, SYDNEY = ZoneInfo("America/New_York"), ZoneInfo("Australia/Sydney")
CHANGES = (date(2023, 3, 12), date(2023, 11, 5), date(2024, 3, 10), date(2023, 10, 1), date(2024, 4, 7))
"""Days of 23 and 25 hours of both places."""


def midnight_ns(day: date, zone: ZoneInfo) -> int:
    return to_ns(datetime.combine(day, time(), zone))


@given(
    zone=st.sampled_from([NEW_YORK, SYDNEY]),
    about=st.sampled_from(CHANGES),
    spans=st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 3), st.integers(1, 4), st.booleans()), max_size=12),
    start_min=st.integers(-2 * 1_440, 3 * 1_440),
    minutes=st.integers(1, 12 * 60),
)
def test_who_may_be_called_is_enrolled_on_each_local_day_that_the_call_touches_and_others_are_told_why(
    zone: ZoneInfo, about: date, spans: list[tuple[int, int, int, bool]], start_min: int, minutes: int
) -> None:
    """Enrolments run from local midnight to local midnight; each local day that a call touches has to be one of them."""
    start_ns = midnight_ns(about, zone) + start_min * MINUTE_NS
    end_ns = start_ns + minutes * MINUTE_NS
    made, days_of = dict[str, ProgramEnrolment](), dict[str, tuple[int, set[date]]]()
    for row, first, count, is_active in spans:
        days = [about + timedelta(days=first + n) for n in range(count)]
        ends_ns = midnight_ns(days[-1] + timedelta(days=1), zone)
        steps = tuple(structs.replace(each, at_ns=0) for each in (TO_ACTIVE if is_active else TO_ACTIVE[:3]))
        one = enrolled(row, starts_ns=midnight_ns(days[0], zone), ends_ns=ends_ns, steps=steps)
        made[one.id] = one
        days_of[one.id] = row, set(days) if is_active else set()
    known = Enrolled(FLEET)
    known.take(made.values(), ())
    touched, at_ns = set[date](), start_ns
    while at_ns < end_ns:  # day by day of the place's calendar
        day = datetime.fromtimestamp(at_ns / 1e9, zone).date()
        touched.add(day)
        at_ns = midnight_ns(day + timedelta(days=1), zone)
    serves = known.serves("peak", start_ns, end_ns, start_ns)
    assert {row for row in range(COUNT) if serves[row]} == {row for row, days in days_of.values() if touched <= days}
    barred = np.flatnonzero(~serves).astype(np.int32)
    whys = known.refusals("peak", barred, start_ns, end_ns, start_ns)
    assert [why.value for why in whys] == [f"r{row}" for row in barred.tolist()]
    assert all("peak" in why.reason for why in whys)


def test_an_enrolment_on_a_group_is_one_of_all_its_devices() -> None:
    async def play() -> None:
        stage = Booked()
        await stage.take(structs.replace(enrolled(0), resource="feeder-1"), enrolled(7, steps=TO_ACTIVE[:3]))
        shown = stage.preview()
        assert isinstance(shown, EventPreview)
        assert set(shown.left_out) == {f"r{n}" for n in range(5, COUNT)}
        assert shown.left_out["r7"].startswith("its enrolment in peak is confirmed since")
        event = await stage.approved(40_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.at(START)
        assert set(stage.called(event.id)) <= set(range(5)) and stage.called(event.id)

    asyncio.run(play())


def test_an_event_of_whose_group_nobody_is_enrolled_any_more_is_not_approved_and_books_nothing() -> None:
    async def play() -> None:
        stage = Booked()
        await stage.take(enrolled(1))
        event = await stage.compose(4_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.step(event.id, EventState.SUBMITTED, "ada")
        await stage.take()
        refused = await stage.step(event.id, EventState.APPROVED)
        assert isinstance(refused, Refusal) and refused.reason == "not enrolled in peak"
        assert stage.seen(event.id).reserved_w == 0.0 and stage.seen(event.id).state == "Submitted"

    asyncio.run(play())


@settings(max_examples=25)
@given(
    spans=st.dictionaries(st.integers(0, COUNT - 1), st.tuples(st.integers(-3, 2), st.integers(1, 4)), min_size=1),
    power_w=st.floats(1_000.0, 60_000.0) | st.floats(-60_000.0, -1_000.0),
    hour=st.integers(0, 25),
    suspended=st.sets(st.integers(0, COUNT - 1)),
)
def test_whom_an_event_holds_from_its_start_to_its_end_is_enrolled_on_its_local_day(
    spans: dict[int, tuple[int, int]], power_w: float, hour: int, suspended: set[int]
) -> None:
    """On the day of 25 hours in New York, wherever in it; and who is suspended meanwhile is held no more."""
    about = date(2023, 11, 5)
    start_ns = midnight_ns(about, NEW_YORK) + hour * HOUR_NS
    days_of = {row: {about + timedelta(days=first + n) for n in range(count)} for row, (first, count) in spans.items()}
    last = datetime.fromtimestamp((start_ns + HOUR_NS - 1) / 1e9, NEW_YORK).date()
    first = datetime.fromtimestamp(start_ns / 1e9, NEW_YORK).date()
    may = {row for row, days in days_of.items() if {first, last} <= days}

    def made(row: int, lost_ns: int | None = None) -> ProgramEnrolment:
        days = sorted(days_of[row])
        steps = tuple(structs.replace(each, at_ns=0) for each in TO_ACTIVE)
        if lost_ns is not None:
            steps = (*steps, Step(State.SUSPENDED, Why.DEVICE_LOST, "bo", lost_ns))
        ends_ns = midnight_ns(days[-1] + timedelta(days=1), NEW_YORK)
        return enrolled(row, starts_ns=midnight_ns(days[0], NEW_YORK), ends_ns=ends_ns, steps=steps)

    async def play() -> None:
        stage = Booked()
        stage.clock.ns = start_ns - HOUR_NS
        stage.state.fleet.taken_at_ns[:] = stage.clock.ns
        await stage.take(*(made(row) for row in days_of))
        event = await stage.approved(power_w, start_ns=start_ns, end_ns=start_ns + HOUR_NS)
        if isinstance(event, Refusal):
            assert not may, event
            return
        await stage.at(start_ns)
        assert stage.holds(event.id) and set(stage.holds(event.id)) <= may
        stage.clock.ns += MINUTE_NS
        await stage.take(*(made(row, stage.clock.ns if row in suspended else None) for row in days_of))
        assert set(stage.holds(event.id)) <= may - suspended
        for _ in range(2):
            await stage.at(stage.clock.ns + MINUTE_NS)
            assert set(stage.holds(event.id)) <= may - suspended
        assert stage.replayed(Ledger()).called == stage.state.called

    asyncio.run(play())
