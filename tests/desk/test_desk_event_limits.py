"""Program events beside stronger limits: nobody is credited what a limit took, nor barred by one that is far off."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from programs_stage import START, Programs

from tieline.desk import charging, events
from tieline.desk.event_split import shares
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import ScheduleMade
from tieline.desk.packed import Packed
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.fleet.ledger import SLOT_NS
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS


def test_a_car_that_leaves_gives_an_event_what_it_was_asked_and_not_what_it_stopped_drawing() -> None:
    """Ten cars draw 5 kW each and are asked for 100 W each; then five of them leave."""

    async def main() -> None:
        stage = Programs()
        stage.state.base_w[:] = stage.state.fleet.power_w[:] = -5_000.0
        event = await stage.approved(1_000.0)
        assert isinstance(event, ProgramEvent)
        stage.clock.ns = START
        await stage.desk.commit(events.due(stage.state, START))
        stage.state.fleet.power_w[:] = [0.0] * 5 + [-4_900.0] * 5
        tallies, facts = EventTallies(), []
        for minute in range(12):
            stage.state.fleet.taken_at_ns[:] = START + minute * MINUTE_NS
            facts += tallies.count(stage.state, START + minute * MINUTE_NS)
        assert facts[0].fact.delivered_w == pytest.approx(1_000.0)

    asyncio.run(main())


def test_a_limit_that_is_far_off_bars_nobody_though_one_device_stands_at_its_cap() -> None:
    """Feeder-1 draws 5 kW of the 20 that it may, all of it by one car that its old cap holds to less."""

    async def main() -> None:
        stage = Programs()
        fleet = stage.state.fleet
        stage.state.base_w[:] = fleet.power_w[:] = [0.0] * 5 + [-5_000.0] * 5
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-20_000.0, high=25_000.0,
                          start_ns=START, end_ns=START + HOUR_NS)  # fmt: skip
        stage.clock.ns = START
        await stage.desk.ask(limit)
        stage.state.base_w[0] = fleet.power_w[0] = -5_000.0
        assert stage.state.claims.limits_above(np.arange(5), Level.PROGRAM, START)[0][0] > -5_000.0
        found = shares(stage.state, "pool-1", 10_000.0, START)
        assert set(range(5)) <= set(found.rows.tolist())
        assert found.limited == 0
        seen = events.preview(stage.state, ComposeEvent("x", "pool-1", START, START + HOUR_NS, 10_000.0), START)
        assert seen.limited == 0
        tight = stage.ask("dso", Level.ENVELOPE, "feeder-2", ClaimKind.LIMIT, low=-10_000.0, high=25_000.0,
                          start_ns=START, end_ns=START + HOUR_NS)  # fmt: skip
        await stage.desk.ask(tight)
        assert shares(stage.state, "pool-1", 10_000.0, START).limited == 5

    asyncio.run(main())


def test_an_event_calls_nobody_where_a_stronger_limit_bites_and_a_limit_takes_its_part_from_what_it_gave() -> None:
    """Feeder-1 draws 25 kW and may draw 10: what one of it gives up is room for the others, so feeder-2 serves alone."""

    async def main() -> None:
        stage = Programs()
        fleet = stage.state.fleet
        stage.state.base_w[:] = fleet.power_w[:] = -5_000.0
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-10_000.0, high=25_000.0,
                          start_ns=START, end_ns=START + HOUR_NS)  # fmt: skip
        stage.clock.ns = START
        await stage.desk.ask(limit)
        found = shares(stage.state, "pool-1", 5_000.0, START)
        assert sorted(found.rows.tolist()) == [5, 6, 7, 8, 9]
        assert found.share_w.sum() == pytest.approx(5_000.0)
        assert found.target_w == pytest.approx([-4_000.0] * 5)
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        event = await stage.approved(10_000.0, start_ns=START + SLOT_NS)
        assert isinstance(event, ProgramEvent)
        stage.clock.ns = START + SLOT_NS
        await stage.desk.commit(events.due(stage.state, stage.clock.ns))
        again = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-10_000.0, high=25_000.0,
                          end_ns=START + HOUR_NS)  # fmt: skip
        await stage.desk.ask(again)
        low_w, _ = stage.state.claims.limits_above(np.arange(5), Level.PROGRAM, stage.clock.ns)
        assert -10_000.0 <= low_w.sum() < -9_000.0
        fleet.power_w[:] = [*low_w, *[-4_000.0] * 5]
        tallies, facts = EventTallies(), []
        for minute in range(12):
            fleet.taken_at_ns[:] = stage.clock.ns + minute * MINUTE_NS
            facts += tallies.count(stage.state, stage.clock.ns + minute * MINUTE_NS)
        assert facts[0].fact.delivered_w == pytest.approx(5_000.0), "feeder-1 gives to the limit, feeder-2 to the event"

    asyncio.run(main())


def test_a_feeder_that_draws_far_less_than_its_limit_serves_an_event_whatever_its_bases_say() -> None:
    """Its cars drew 25 kW as the limit of 20 kW came, and all but one are done: the limit holds nobody any more."""

    async def main() -> None:
        stage = Programs()
        fleet = stage.state.fleet
        stage.state.base_w[:] = fleet.power_w[:] = -5_000.0
        stage.clock.ns = START
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-20_000.0, high=25_000.0,
                          start_ns=START, end_ns=START + HOUR_NS)  # fmt: skip
        await stage.desk.ask(limit)
        await stage.desk.settle()
        assert shares(stage.state, "feeder-1", 3_000.0, START).limited == 5
        fleet.power_w[:5] = [-3_000.0, 0.0, 0.0, 0.0, 0.0]
        assert stage.state.base_w[:5].sum() == -25_000.0
        found = shares(stage.state, "feeder-1", 3_000.0, START)
        assert found.limited == 0
        assert found.share_w.sum() == pytest.approx(3_000.0)

    asyncio.run(main())


def test_what_an_event_lacks_as_a_limit_takes_it_is_put_to_the_limit_and_its_preview_warns() -> None:
    """Feeder-1 alone is asked, draws 25 kW and may draw 10: all that it could give is the limit's."""

    async def main() -> None:
        stage = Programs()
        stage.state.base_w[:] = stage.state.fleet.power_w[:] = -5_000.0
        stage.clock.ns = START
        limit = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-10_000.0, high=25_000.0,
                          start_ns=START, end_ns=START + HOUR_NS)  # fmt: skip
        await stage.desk.ask(limit)
        wish = ComposeEvent("peak", "feeder-1", START, START + HOUR_NS, 8_000.0)
        seen = events.preview(stage.state, wish, START)
        assert (seen.devices, seen.limited) == (0, 5)
        assert seen.warning == (
            "nobody could give any of the 8.0 kW now: 5 under a limit that takes what they would give"
        )
        event = await stage.approved(8_000.0, group="feeder-1")
        await stage.desk.commit(events.due(stage.state, START))
        tallies, facts = EventTallies(), []
        for minute in range(12):
            stage.state.fleet.taken_at_ns[:] = START + minute * MINUTE_NS
            facts += tallies.count(stage.state, START + minute * MINUTE_NS)
        assert facts[0].fact.causes == pytest.approx({"dno_limit": 8_000.0})
        assert isinstance(event, ProgramEvent)

    asyncio.run(main())


def test_a_store_that_is_to_fill_up_for_an_award_meanwhile_is_not_counted_on() -> None:
    """Five of ten batteries are scheduled to charge in the second half of the event, five long after it."""
    stage = Programs()
    steps, rows = 8, np.arange(10, dtype=np.int32)
    power_w = np.zeros((10, steps), np.float32)
    power_w[:5, 1], power_w[5:, 6] = -3_000.0, -3_000.0
    made = ScheduleMade("s", "pool-1", START, HOUR_NS // 2, steps, ("a",), Packed.of(rows), Packed.of(power_w.ravel()))
    stage.state.schedules["pool-1"] = made
    assert charging.planned(stage.state, START, START + HOUR_NS).tolist() == [0, 1, 2, 3, 4]
    assert charging.planned(stage.state, START, START + HOUR_NS // 2).tolist() == []
    seen = events.preview(stage.state, ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 50_000.0), START)
    assert (seen.devices, seen.scheduled, seen.expected_w) == (5, 5, 25_000.0)


def test_a_device_that_may_not_give_is_counted_as_limited_and_the_kill_switch_is_told_before_an_event_is_sent() -> None:
    async def main() -> None:
        stage = Programs()
        stage.clock.ns = START
        works = stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-25_000.0, high=0.0,
                          start_ns=START, end_ns=START + HOUR_NS)  # fmt: skip
        await stage.desk.ask(works)
        wish = ComposeEvent("peak", "feeder-1", START, START + HOUR_NS, 8_000.0)
        seen = events.preview(stage.state, wish, START)
        assert (seen.devices, seen.limited) == (0, 5)
        assert "5 under a limit" in seen.warning
        stage.state.authority["kill"] = "on"
        other = events.preview(stage.state, ComposeEvent("x", "feeder-2", START, START + HOUR_NS, 8_000.0), START)
        assert other.warning.startswith("the kill switch is pressed")

    asyncio.run(main())


def test_a_reason_that_is_too_long_is_refused_and_never_cut_in_silence() -> None:
    stage = Programs()
    wish = ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 1_000.0, why="x" * 401)
    refusal = events.refusal_of(stage.state, wish, stage.clock.ns)
    assert refusal is not None
    assert (refusal.field, refusal.value, refusal.limit) == ("why", "401 characters", "up to 400")


def test_a_refusal_names_instants_as_people_read_them() -> None:
    """`START` is 2023-11-14T22:15:00Z."""

    async def main() -> None:
        stage = Programs()
        ends_first = events.refusal_of(stage.state, ComposeEvent("peak", "pool-1", START, START - MINUTE_NS, 1e3), 0)
        past = events.refusal_of(
            stage.state, ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 1e3), START + HOUR_NS
        )
        for refusal in (ends_first, past):
            assert refusal is not None
        assert (ends_first.value, ends_first.limit) == ("2023-11-14T22:14:00Z", "after 2023-11-14T22:15:00Z")
        assert (past.value, past.limit) == ("2023-11-14T23:15:00Z", "after 2023-11-14T23:15:00Z")
        event = await stage.compose(1_000.0)
        assert isinstance(event, ProgramEvent)
        await stage.step(event.id, EventState.SUBMITTED, "ada")
        stage.clock.ns = START + HOUR_NS + MINUTE_NS
        late = await stage.step(event.id, EventState.APPROVED)
        assert isinstance(late, Refusal)
        assert (late.value, late.limit) == ("2023-11-14T23:15:00Z", "after 2023-11-14T23:16:00Z")

    asyncio.run(main())
