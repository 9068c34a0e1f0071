"""Program events against the reservation book: what is sold is not called twice, and what was called is counted."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from desk_stage import START_NS
from hypothesis import given, settings
from hypothesis import strategies as st
from programs_stage import COUNT, NAMEPLATE_W, START, Programs

from tieline.desk import events
from tieline.desk.desk_views import EventPreview
from tieline.desk.event_reserve import PRODUCT
from tieline.desk.event_split import added_up_w, split_call
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import EventTracked, from_record
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.fleet.ledger import SLOT_NS, Capacity, Held, Ledger
from tieline.resource.claim import Refusal
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS


def test_an_event_over_sold_capacity_is_refused_naming_the_holder_what_is_owed_and_what_is_free() -> None:
    async def play() -> None:
        stage = Programs()
        assert await stage.sell("morning", 70_000.0) is None
        fits = events.preview(stage.state, ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 2e4), START_NS)
        assert isinstance(fits, EventPreview)
        assert (fits.owed_w, fits.free_w, fits.free_wh) == (70_000.0, 30_000.0, 30_000.0)
        refusal = await stage.compose(40_000.0)
        assert isinstance(refusal, Refusal)
        assert refusal.holder.startswith("ENERGY (")
        assert (refusal.field, refusal.value) == ("up_w", "40000")
        assert "30000 W free of 100000 W" in refusal.limit
        assert not stage.state.events

    asyncio.run(play())


def test_an_approved_event_is_booked_in_kw_and_kwh_and_the_market_is_refused_what_it_holds() -> None:
    async def play() -> None:
        stage = Programs()
        event = await stage.approved(40_000.0)
        assert isinstance(event, ProgramEvent)
        view = stage.seen(event.id)
        assert (view.reserved_w, view.reserved_wh) == (40_000.0, 40_000.0)
        assert stage.ledger.free_w("pool-1", START) == (60_000.0, 100_000.0)
        refusal = await stage.sell("evening", 70_000.0)
        assert isinstance(refusal, Refusal)
        assert refusal.holder.startswith(f"{PRODUCT}/peak/{event.id}")
        again = Ledger()
        again.set_capacity("pool-1", Capacity(NAMEPLATE_W, NAMEPLATE_W))
        assert stage.replayed(again).digest() == stage.state.digest(), "a restart finds the bookings"

    asyncio.run(play())


def test_an_award_between_composing_and_approval_makes_the_approval_fail() -> None:
    async def play() -> None:
        stage = Programs()
        event = await stage.compose(40_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.step(event.id, EventState.SUBMITTED, "ada")
        assert await stage.sell("late", 70_000.0) is None
        refusal = await stage.step(event.id, EventState.APPROVED)
        assert isinstance(refusal, Refusal)
        assert refusal.holder.startswith("ENERGY (")
        assert stage.state.events[event.id].state is EventState.SUBMITTED

    asyncio.run(play())


def test_an_event_on_a_feeder_books_its_part_of_the_pool() -> None:
    async def play() -> None:
        stage = Programs()
        assert await stage.sell("morning", 80_000.0) is None
        refusal = await stage.approved(25_000.0, group="feeder-1")
        assert isinstance(refusal, Refusal)
        event = await stage.approved(15_000.0, group="feeder-1")
        assert isinstance(event, ProgramEvent)
        assert stage.ledger.free_w("pool-1", START)[0] == 5_000.0

    asyncio.run(play())


@pytest.mark.parametrize("last", [EventState.CANCELED, EventState.DENIED])
def test_what_was_booked_is_free_again_when_the_event_does_not_happen(last: EventState) -> None:
    async def play() -> None:
        stage = Programs()
        event = await stage.compose(40_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.step(event.id, EventState.SUBMITTED, "ada")
        if last is EventState.CANCELED:
            await stage.step(event.id, EventState.APPROVED)
            assert stage.ledger.free_w("pool-1", START)[0] == 60_000.0
        assert isinstance(await stage.step(event.id, last), ProgramEvent)
        assert stage.ledger.free_w("pool-1", START)[0] == 100_000.0
        assert stage.seen(event.id).reserved_w == 0.0

    asyncio.run(play())


@pytest.mark.parametrize(("first", "then"), [(1, 1), (1, 10), (4, 30), (7, 3)])
def test_an_event_that_holds_most_of_its_pool_is_prolonged_beside_its_own_booking(first: int, then: int) -> None:
    async def play() -> None:
        stage = Programs()
        event = await stage.approved(60_000.0)
        assert isinstance(event, ProgramEvent)
        end_ns = event.end_ns
        for minutes in (first, then):
            entries, longer = events.decide_extend(stage.state, event.id, minutes, "ada", stage.clock.ns)
            assert isinstance(longer, ProgramEvent), longer
            await stage.desk.commit(entries)
            end_ns += minutes * MINUTE_NS
        assert stage.seen(event.id).end_ns == end_ns
        for at in range(event.start_ns, end_ns, MINUTE_NS):
            assert stage.ledger.free_w("pool-1", at)[0] == 40_000.0, "what it gives, once"
        assert stage.ledger.free_w("pool-1", -(-end_ns // SLOT_NS) * SLOT_NS)[0] == 100_000.0

    asyncio.run(play())


def test_an_event_is_not_prolonged_into_an_hour_that_is_sold() -> None:
    async def play() -> None:
        stage = Programs()
        event = await stage.approved(40_000.0)
        assert isinstance(event, ProgramEvent)
        assert await stage.sell("next", 70_000.0, START + HOUR_NS, START + 2 * HOUR_NS) is None
        entries, refusal = events.decide_extend(stage.state, event.id, 10, "ada", stage.clock.ns)
        assert (entries, isinstance(refusal, Refusal)) == ([], True)
        assert await stage.sell("later", 50_000.0, START + 2 * HOUR_NS, START + 3 * HOUR_NS) is None

    asyncio.run(play())


ACTS = st.lists(
    st.tuples(st.sampled_from(["sell", "event", "feeder", "cancel", "extend"]), st.integers(-12, 12), st.integers(0, 9),
              st.integers(1, 6)), min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(ACTS, st.floats(0.2, 1.0))
def test_what_is_promised_to_events_and_awards_together_never_exceeds_what_is_firm(acts: list, frac: float) -> None:
    async def play() -> None:
        stage = Programs()
        stage.ledger.set_firm("pool-1", frac * NAMEPLATE_W, frac * NAMEPLATE_W)
        made: list[str] = []
        for n, (act, tens, first, slots) in enumerate(acts):
            span = {"start_ns": START + first * SLOT_NS, "end_ns": START + (first + slots) * SLOT_NS}
            if act == "sell" and tens > 0:
                await stage.sell(f"offer-{n}", tens * 10_000.0, **span)
            elif act in ("event", "feeder"):
                group = "pool-1" if act == "event" else "feeder-2"
                event = await stage.approved(tens * 10_000.0, group=group, **span)
                made += [event.id] if isinstance(event, ProgramEvent) else []
            elif act == "cancel" and made:
                await stage.step(made[first % len(made)], EventState.CANCELED)
            elif act == "extend" and made:
                entries, _ = events.decide_extend(stage.state, made[first % len(made)], 5 * slots, "ada", START_NS)
                await stage.desk.commit(entries)
            for slot in range(30):
                for side in ("up_w", "down_w"):
                    at = START // SLOT_NS + slot
                    # By hand: each event and each award counts in full; the pieces of one event overlap.
                    held: dict[str, float] = {}
                    for b in stage.ledger.bookings.values():
                        if b.state is not Held.RELEASED and b.first <= at < b.last:
                            held[b.share_class] = max(held.get(b.share_class, 0.0), getattr(b, side))
                    assert sum(held.values()) <= frac * NAMEPLATE_W + 1e-3

    asyncio.run(play())


def test_a_desk_started_within_an_interval_records_the_stretch_that_it_saw_where_it_lay() -> None:
    """Anew at 00:17 of an event from 00:00 to 01:00: what follows covers [00:17, 01:00] without gap or overlap."""

    async def play() -> None:
        stage = Programs()
        event = await stage.approved(40_000.0)
        assert isinstance(event, ProgramEvent)
        tallies, stage.clock.ns = EventTallies(), START
        for minute in range(75):
            if minute == 17:
                tallies = EventTallies()  # the desk died, and with it what it had counted since 00:15
            await stage.desk.commit(tallies.count(stage.state, stage.clock.ns))
            await stage.desk.commit(events.due(stage.state, stage.clock.ns))
            stage.clock.ns += MINUTE_NS
        found = [fact for r in stage.journal.records if isinstance(fact := from_record(r), EventTracked)]
        spans = [((f.start_ns - START) // MINUTE_NS, (f.end_ns - START) // MINUTE_NS) for f in found]
        assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans
        assert [one for one in spans if 12 < one[0] < 20] == [(17, 20)]
        assert sum(end - start for start, end in spans) == 60 - 2 - (spans[0][0]), spans

    asyncio.run(play())


def test_what_an_event_asked_and_got_is_recorded_with_the_cause_of_the_rest() -> None:
    async def play() -> None:
        stage = Programs()
        event = await stage.approved(40_000.0)
        assert isinstance(event, ProgramEvent)
        tallies, fleet = EventTallies(), stage.state.fleet
        stage.clock.ns = START
        for minute in range(75):
            await stage.desk.commit(tallies.count(stage.state, stage.clock.ns))
            await stage.desk.commit(events.due(stage.state, stage.clock.ns))
            runs = stage.state.events[event.id].state is EventState.IN_PROGRESS
            fleet.power_w[:] = 4_000.0 if runs else 0.0
            if minute >= 30:
                fleet.power_w[:5] = 0.0
            stage.clock.ns += MINUTE_NS
        view = stage.seen(event.id)
        assert view.state == EventState.COMPLETED.value
        assert view.asked_wh == pytest.approx(40_000.0, rel=0.02)
        assert view.delivered_wh == pytest.approx(30_000.0, rel=0.03)
        kept = [record for record in stage.journal.records if record.kind == "EventTracked"]
        assert 12 <= len(kept) <= 13
        assert np.isclose(stage.ledger.free_w("pool-1", START)[0], 60_000.0), "what was delivered stays bound"

    asyncio.run(play())


@given(st.lists(st.tuples(st.floats(1, 1e4), st.booleans()), max_size=60), st.floats(1, 5e5))
def test_a_split_gives_what_is_wanted_to_a_switched_load_and_switches_none_in_part(rows, wanted_w):
    gives_w, is_switched = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], np.bool_)
    share_w = split_call(gives_w, is_switched, wanted_w)
    assert ((share_w >= 0) & (share_w <= gives_w + 1e-6)).all()
    switched = share_w[is_switched]
    assert ((switched == 0) | (switched == gives_w[is_switched])).all()
    if np.count_nonzero(share_w) > 1:  # one load alone may be more than is wanted, and is better than none
        assert share_w.sum() <= wanted_w * (1 + 1e-9)
    if not is_switched.any():
        assert share_w.sum() == pytest.approx(min(wanted_w, gives_w.sum()))


@given(st.lists(st.floats(1, 1e4), max_size=60), st.floats(1, 5e5))
def test_what_a_split_comes_to_is_never_told_as_more_than_is_wanted(gives, wanted_w):
    gives_w = np.array(gives)
    share_w = split_call(gives_w, np.zeros(len(gives), np.bool_), wanted_w)
    told_w = added_up_w(share_w, wanted_w)
    assert told_w == pytest.approx(share_w.sum(), rel=1e-12)
    assert told_w <= wanted_w


def test_what_a_stronger_claim_moves_counts_for_that_claim_and_the_lack_is_named() -> None:
    """Ten batteries are called for 20 kW in all; the market then takes five of them for 5 kW each."""

    async def main() -> None:
        stage = Programs()
        event = await stage.compose(20_000.0)
        await stage.step(event.id, EventState.SUBMITTED, "ada")
        await stage.step(event.id, EventState.APPROVED)
        stage.clock.ns = START
        await stage.desk.commit(events.due(stage.state, START))
        await stage.desk.ask(stage.ask("market", Level.MARKET, "feeder-1", value=25_000.0, end_ns=START + HOUR_NS))
        stage.state.fleet.power_w[:] = [5_000.0] * 5 + [2_000.0] * 5
        tallies, facts = EventTallies(), []
        for minute in range(12):
            stage.state.fleet.taken_at_ns[:] = START + minute * MINUTE_NS
            facts += tallies.count(stage.state, START + minute * MINUTE_NS)
        await stage.desk.commit(facts)
        first = facts[0].fact
        assert first.asked_w == pytest.approx(20_000.0)
        assert first.delivered_w == pytest.approx(10_000.0)
        assert first.causes == pytest.approx({"outranked": 10_000.0})
        view = events.view_of(stage.state, stage.state.events[event.id])
        assert view.called == 10
        assert view.lacks_wh["outranked"] == pytest.approx(view.asked_wh - view.delivered_wh)

    asyncio.run(main())


def test_devices_that_a_stronger_claim_moves_are_not_called_a_second_time() -> None:
    async def main() -> None:
        stage = Programs()
        await stage.desk.ask(stage.ask("market", Level.MARKET, "feeder-1", value=25_000.0))
        view = events.preview(stage.state, ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 40_000.0), START_NS)
        assert isinstance(view, EventPreview)
        assert (view.devices, view.can_give_w) == (5, 25_000.0)

    asyncio.run(main())


def test_an_event_that_begins_while_the_market_has_its_devices_says_what_it_lacks_and_calls_them_once_they_are_free():
    """The market stands above a program (levels 7 and 8); what it lets go while the event runs is the event's."""

    async def play() -> None:
        stage, tallies = Programs(), EventTallies()
        event = await stage.approved(20_000.0)
        stage.clock.ns = START
        market = stage.ask("market", Level.MARKET, "pool-1", value=50_000.0, end_ns=START + HOUR_NS)
        await stage.desk.ask(market)

        async def beat() -> None:
            await stage.desk.commit(tallies.count(stage.state, stage.clock.ns))
            await stage.desk.commit(events.due(stage.state, stage.clock.ns))
            await stage.desk.settle()
            stage.clock.ns += MINUTE_NS

        for _ in range(7):
            await beat()
        assert (stage.seen(event.id).state, stage.seen(event.id).called) == ("In Progress", 0)
        assert stage.seen(event.id).lacks_wh, "that nobody was called counts as a lack"
        key = (market.source, market.program, market.resource, market.quantity.value)
        assert await stage.desk.withdraw(*key[:3], market.quantity, "f")
        await beat()
        assert stage.seen(event.id).called == COUNT
        called = [b for b, alive in stage.state.claims.batches() if b.program == event.id and alive.any()]
        assert sum(b.value.sum() for b in called) == pytest.approx(20_000.0)
        records = len(stage.journal.records)
        await beat()
        placed = [r for r in stage.journal.records[records:] if r.kind == "ClaimsPlaced"]
        assert placed == [], "it lacks none any more"
        entries, longer = events.decide_extend(stage.state, event.id, 10, "bo", stage.clock.ns)
        await stage.desk.commit(entries)
        assert isinstance(longer, ProgramEvent)
        (after,) = [b for b, alive in stage.state.claims.batches() if b.program == event.id and alive.any()]
        assert np.array_equal(after.rows, called[0].rows)
        assert after.end_ns == called[0].end_ns + 10 * MINUTE_NS

    asyncio.run(play())
