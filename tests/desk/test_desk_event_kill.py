"""Behind the kill switch a program event calls nobody, as no market does; released, it calls again while it runs."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from programs_stage import COUNT, START
from test_desk_event_sum import Called
from test_desk_last_hop import kill

from tieline.desk import events
from tieline.desk.programs import EventState
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

ROWS = np.arange(COUNT, dtype=np.int32)


def called(stage: Called) -> int:
    """Return how many devices anybody's claim sets."""
    return int((stage.state.claims.arbitrate(stage.clock.ns, ROWS).winner >= 0).sum())


def test_pressed_the_switch_lets_an_events_devices_go_at_once_and_released_they_are_called_again() -> None:
    async def play() -> None:
        stage = Called()
        event = await stage.begun(20_000.0, START, START + HOUR_NS)
        assert await stage.minutes(5) == pytest.approx([20_000.0] * 5)
        await kill(stage, True, "ada")
        assert await stage.minutes(1) == [0.0], "in the beat of the press, not as their lease ends"
        assert called(stage) == 0
        assert np.isnan(stage.state.commands.target_w).all()
        assert await stage.minutes(9) == [0.0] * 9
        assert stage.seen(event).state == EventState.IN_PROGRESS.value
        assert stage.seen(event).called == 0
        await kill(stage, False, "ada", "bo")
        assert await stage.minutes(10) == pytest.approx([20_000.0] * 10)
        await stage.minutes(2)
        before, first, second, after = stage.tracked(event)[:4]
        assert (before.delivered_w, after.delivered_w) == pytest.approx((20_000.0, 20_000.0))
        for fact in (first, second):
            assert fact.delivered_w == 0.0
            assert fact.causes == pytest.approx({"kill_switch": 20_000.0})

    asyncio.run(play())


def test_what_an_event_could_not_have_called_without_the_switch_is_not_put_to_it() -> None:
    """Six of ten batteries opt out: four could give 20 of the 30 kW."""

    async def play() -> None:
        stage = Called()
        for row in range(6):
            gate = {"quantity": Quantity.CONNECT, "end_ns": START + HOUR_NS}
            await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, f"r{row}", ClaimKind.GATE, **gate))
        event = await stage.begun(30_000.0, START, START + HOUR_NS)
        await stage.minutes(5)
        await kill(stage, True, "ada")
        await stage.minutes(7)
        (fact,) = [fact for fact in stage.tracked(event) if fact.start_ns == START + 5 * MINUTE_NS]
        assert fact.causes == pytest.approx({"kill_switch": 20_000.0, "opt_out": 10_000.0})

    asyncio.run(play())


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_two_events_that_are_stopped_add_up_again_once_the_switch_is_released(side: float) -> None:
    """Whichever was composed first: the one that began first has the first watts."""

    async def play() -> None:
        stage = Called()
        second = await stage.begun(side * 15_000.0, START + 2 * MINUTE_NS, START + HOUR_NS)
        first = await stage.begun(side * 20_000.0, START, START + HOUR_NS)
        assert await stage.minutes(4) == pytest.approx([side * w for w in (2e4, 2e4, 3.5e4, 3.5e4)])
        await kill(stage, True, "ada")
        assert await stage.minutes(6) == [0.0] * 6
        await kill(stage, False, "ada", "bo")
        assert await stage.minutes(7) == pytest.approx([side * 35_000.0] * 7)
        for event, power_w in ((first, side * 20_000.0), (second, side * 15_000.0)):
            fact = stage.tracked(event)[-1]
            assert fact.start_ns == START + 10 * MINUTE_NS
            assert fact.delivered_w == pytest.approx(power_w)
        assert not stage.state.claims.arbitrate(stage.clock.ns, ROWS).conflict.any()

    asyncio.run(play())


@pytest.mark.parametrize("is_extended", [False, True])
def test_an_event_that_begins_behind_the_switch_calls_nobody_until_it_is_released(is_extended: bool) -> None:
    async def play() -> None:
        stage = Called()
        event = await stage.begun(20_000.0, START, START + HOUR_NS)
        await kill(stage, True, "ada")
        assert await stage.minutes(6) == [0.0] * 6
        assert called(stage) == 0
        if is_extended:
            entries, _ = events.decide_extend(stage.state, event, 10, "bo", stage.clock.ns)
            await stage.desk.commit(entries)
            assert await stage.minutes(1) == [0.0]
        await kill(stage, False, "ada", "bo")
        assert await stage.minutes(2) == pytest.approx([20_000.0] * 2)
        assert stage.tracked(event)[0].causes == pytest.approx({"kill_switch": 20_000.0})

    asyncio.run(play())


@pytest.mark.parametrize("ends", ["by its clock", "cancelled"])
@pytest.mark.parametrize("is_released", [False, True])
def test_an_event_that_was_stopped_ends_as_any_and_a_replay_knows_it(ends: str, is_released: bool) -> None:
    async def play() -> None:
        stage = Called()
        event = await stage.begun(20_000.0, START, START + 10 * MINUTE_NS)
        await stage.minutes(3)
        await kill(stage, True, "ada")
        await stage.minutes(3)
        assert stage.replayed(Ledger()).digest() == stage.state.digest()
        if is_released:
            await kill(stage, False, "ada", "bo")
            await stage.minutes(2)
        if ends == "cancelled":
            await stage.step(event, EventState.CANCELED)
        await stage.minutes(6)
        over = EventState.CANCELED if ends == "cancelled" else EventState.COMPLETED
        assert stage.state.events[event].state is over
        assert called(stage) == 0
        again = stage.replayed(Ledger())
        assert again.digest() == stage.state.digest()
        assert again.event_lacks == stage.state.event_lacks
        ids = [record.id for record in stage.journal.records]
        assert len(set(ids)) == len(ids), "a journal keeps the first of one id"

    asyncio.run(play())


def test_limits_and_owners_stay_in_force_where_the_switch_ends_what_an_event_called() -> None:
    async def play() -> None:
        stage = Called()
        works = stage.ask("dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=-1_000.0, high=1_000.0,
                          start_ns=START, end_ns=START + HOUR_NS)  # fmt: skip
        await stage.desk.ask(works)
        gate = {"quantity": Quantity.CONNECT, "end_ns": START + HOUR_NS}
        await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, "r1", ClaimKind.GATE, **gate))
        await stage.begun(20_000.0, START, START + HOUR_NS)
        await stage.minutes(2)
        await kill(stage, True, "ada")
        await stage.minutes(2)
        assert called(stage) == 0
        assert (stage.devices.low_w[0], stage.devices.high_w[0]) == (-1_000.0, 1_000.0)
        assert stage.state.opted_out[1]

    asyncio.run(play())


def test_a_device_that_is_let_go_behind_the_switch_names_the_press_as_its_cause() -> None:
    async def play() -> None:
        stage = Called()
        await stage.begun(20_000.0, START, START + HOUR_NS)
        await stage.minutes(2)
        await kill(stage, True, "ada")
        await stage.minutes(1)
        records = {record.id: record for record in stage.journal.records}
        last = [record for record in stage.journal.records if record.kind == "CommandsIssued"][-1]
        causes = {records[name].kind for name in last.caused_by}
        assert "ClaimsEnded" in causes
        (ended,) = [records[name] for name in last.caused_by if records[name].kind == "ClaimsEnded"]
        assert "AuthorityChanged" in {records[name].kind for name in ended.caused_by}

    asyncio.run(play())
