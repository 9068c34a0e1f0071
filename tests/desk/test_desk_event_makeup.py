"""What an event's meters lack is made up by others, and what is too much is let go."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st
from programs_stage import START, Programs

from tieline.desk import events
from tieline.desk.event_makeup import Shown, counted_w, let_go
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import ClaimsPlaced, EventTracked, from_record
from tieline.desk.programs import ProgramEvent
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import MINUTE_NS

SIZE_W, ASKED_W = 5_000.0, 50_000.0


class Territory(Programs):
    """Forty rooms and ten batteries in an event of 50 kW; what each would do by itself is played minute by minute."""

    def __init__(self, kinds: list[Kind]) -> None:
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        Stage1.__init__(self, fleet_of(kinds), ledger)
        self.tallies, fleet = EventTallies(), self.state.fleet
        self.rooms = np.array([kind is Kind.THERMOSTAT for kind in kinds])
        fleet.power_w[:] = self.state.base_w[:] = np.where(self.rooms, -SIZE_W, 0.0)
        fleet.available_up_w[:] = np.where(fleet.energy_wh > 0, SIZE_W, np.where(self.rooms, SIZE_W, 0.0))
        fleet.available_down_w[:] = 0.0
        fleet.energy_available_wh[fleet.energy_wh > 0] = 1e5
        self.warm = np.zeros(len(kinds), np.bool_)

    async def minutes(self, count: int) -> list[float]:
        """Let minutes pass; returns what the event's devices give above their base (W), and rooms that are warm cool."""
        fleet, base_w, given_w = self.state.fleet, self.state.base_w.copy(), []
        for _ in range(count):
            self.clock.ns += MINUTE_NS
            target_w = self.devices.target_w
            runs = np.isnan(target_w) | self.warm
            fleet.power_w[:] = np.where(runs, base_w, np.nan_to_num(target_w))
            fleet.available_up_w[self.rooms] = -fleet.power_w[self.rooms]
            fleet.taken_at_ns[:] = self.clock.ns
            given_w.append(float((fleet.power_w - base_w).sum()))
            self.state.base_w[:] = base_w
            await self.beat()
        return given_w

    async def beat(self) -> None:
        counted = self.tallies.count(self.state, self.clock.ns)
        entries = events.due(self.state, self.clock.ns, self.tallies.shown)
        await self.desk.commit([*counted, *entries])
        self.tallies.note(self.state, self.clock.ns)
        await self.desk.settle()
        await self.desk.flush()

    async def begin(self) -> str:
        event = await self.approved(ASKED_W)
        assert isinstance(event, ProgramEvent), event
        self.clock.ns = START
        self.state.fleet.taken_at_ns[:] = START
        await self.beat()
        return event.id

    def called(self) -> np.ndarray:
        """Return which devices the event calls."""
        held = events.newest(self.state, next(iter(self.state.events)))
        found = np.zeros(len(self.state.fleet), np.bool_)
        if held is not None:
            found[held.rows] = True
        return found


MIXED = [Kind.THERMOSTAT] * 40 + [Kind.BATTERY] * 10


def test_rooms_that_grow_warm_are_made_up_by_others_after_the_interval_that_shows_it() -> None:
    async def play() -> None:
        stage = Territory(MIXED)
        await stage.begin()
        at_first = stage.called()
        given = await stage.minutes(5)
        assert given[-1] == pytest.approx(ASKED_W, rel=0.06)
        stage.warm = at_first & stage.rooms
        assert stage.warm.sum() >= 3
        given = await stage.minutes(12)
        assert min(given[-5:]) >= 0.94 * ASKED_W, given
        assert (stage.called() & ~at_first).any(), "others are called"
        assert stage.called()[at_first].all(), "those that it has are asked no less"

    asyncio.run(play())


def test_the_claims_that_make_up_name_the_interval_that_lacked() -> None:
    async def play() -> None:
        stage = Territory(MIXED)
        event = await stage.begin()
        stage.warm = stage.called() & stage.rooms
        await stage.minutes(11)
        lacked = {r.id for r in stage.journal.records if isinstance(from_record(r), EventTracked)}
        placed = [
            r for r in stage.journal.records
            if isinstance(fact := from_record(r), ClaimsPlaced) and fact.program == event and fact.version > 1
        ]  # fmt: skip
        assert placed and all(set(r.caused_by) & lacked for r in placed)

    asyncio.run(play())


def test_what_is_too_much_once_the_rooms_obey_again_is_let_go_and_no_more() -> None:
    async def play() -> None:
        stage = Territory(MIXED)
        await stage.begin()
        stage.warm = stage.called() & stage.rooms
        await stage.minutes(15)
        stores = ~stage.rooms
        before = stage.called()
        stage.warm[:] = False
        given = await stage.minutes(15)
        gone = before & ~stage.called()
        assert max(given[:4]) > 1.1 * ASKED_W, "the rooms obey again"
        assert (gone & stores).any(), "stores are let go"
        assert given[-1] < max(given) and given[-1] >= 0.9 * ASKED_W, given
        assert not gone[stage.rooms].any(), "who is on or off stays"
        assert np.isnan(stage.devices.target_w[gone]).all(), "who is let go is told so"

    asyncio.run(play())


def test_who_was_called_beside_one_that_ignored_its_limit_is_let_go_as_that_one_counts_again() -> None:
    """Ten cars that draw 14 kW give 9; one of them ignores a limit of 0 W for a while, and the others make it up."""

    async def play() -> None:
        stage = Territory([Kind.EV_CHARGER] * 10)
        fleet, base_w = stage.state.fleet, np.array([-5_000.0] + [-1_000.0] * 9)
        fleet.power_w[:] = stage.state.base_w[:] = base_w
        fleet.available_up_w[:], fleet.available_down_w[:] = -base_w, 0.0
        event = await stage.approved(9_000.0)
        assert isinstance(event, ProgramEvent), event
        stage.clock.ns, given_w = START, []
        fleet.taken_at_ns[:] = START
        await stage.beat()
        limit = stage.ask(
            "dso", Level.ENVELOPE, "r0", ClaimKind.LIMIT, low=0.0, high=0.0, start_ns=START + 3 * MINUTE_NS,
            end_ns=START + 23 * MINUTE_NS,
        )  # fmt: skip
        await stage.desk.ask(limit)
        for minute in range(1, 31):
            stage.clock.ns += MINUTE_NS
            told_w = stage.devices.target_w
            fleet.power_w[:] = np.where(np.isnan(told_w), base_w, np.nan_to_num(told_w))
            if minute in range(4, 23):
                fleet.power_w[0] = base_w[0]
            fleet.taken_at_ns[:], stage.state.base_w[:] = stage.clock.ns, base_w
            fleet.available_up_w[:] = -fleet.power_w
            given_w.append(float((fleet.power_w - base_w).sum()))
            await stage.beat()
        assert given_w[20] == pytest.approx(9_000.0, rel=0.05), "the others make it up"
        assert max(given_w[25:]) <= 1.1 * 9_000.0, given_w[20:]
        assert min(given_w[25:]) >= 0.9 * 9_000.0, given_w[20:]

    asyncio.run(play())


def test_no_plant_is_called_for_more_than_the_sun_gives() -> None:
    async def play() -> None:
        stage = Territory([*MIXED, *[Kind.PV] * 10])
        fleet = stage.state.fleet
        stage.state.base_w[50:], fleet.power_w[50:] = 3_000.0, 3_400.0  # a cloud has just gone
        await stage.begin()
        assert not stage.called()[50:].any()

    asyncio.run(play())


def test_an_event_that_nothing_is_lacking_of_places_no_claims_anew() -> None:
    async def play() -> None:
        stage = Territory(MIXED)
        event = await stage.begin()
        await stage.minutes(30)
        assert events.newest(stage.state, event).source_version == 1

    asyncio.run(play())


def test_who_is_called_for_a_part_is_asked_for_more_where_another_gives_nothing() -> None:
    """Ten stores are called for 1 kW each; three never give, and nobody else is free."""

    async def play() -> None:
        stage = Territory([Kind.BATTERY] * 10)
        event = await stage.approved(10_000.0)
        assert isinstance(event, ProgramEvent)
        stage.clock.ns = START
        stage.state.fleet.taken_at_ns[:] = START
        await stage.beat()
        assert stage.devices.target_w.tolist() == pytest.approx([1_000.0] * 10)
        stage.warm[:3] = True  # these do as they did
        given = await stage.minutes(20)
        assert given[3] == pytest.approx(7_000.0)
        assert given[-1] == pytest.approx(10_000.0, rel=0.06), given
        assert stage.devices.target_w[:3].tolist() == pytest.approx([1_000.0] * 3), "who gives nothing is asked no more"

    asyncio.run(play())


WATTS = st.floats(-5_000, 5_000)


@given(
    st.lists(st.tuples(st.floats(0, 5_000), st.floats(0, 5_000), WATTS, st.booleans()), max_size=20),
    st.sampled_from([1.0, -1.0]),
)
def test_a_row_counts_for_no_more_than_its_share_nor_than_it_gave_and_was_called_for_since(
    drawn: list, side: float
) -> None:
    rows = np.arange(len(drawn), dtype=np.int32)
    share_w, called_w = np.array([d[0] for d in drawn]), np.array([d[1] for d in drawn])
    given_w, seen = np.array([d[2] for d in drawn]), np.array([d[3] for d in drawn], np.bool_)
    shown = Shown("interval", rows[seen], side * called_w[seen], side * given_w[seen])
    found = counted_w(rows, share_w, side, shown)
    assert (found <= share_w).all()
    assert (found <= given_w + np.maximum(share_w - called_w, 0.0) + 1e-9)[seen].all()
    assert (found[~seen] == share_w[~seen]).all()
    assert (counted_w(rows, share_w, side, None) == share_w).all()


@given(st.lists(st.tuples(WATTS, st.booleans()), max_size=20), st.floats(0, 30_000))
def test_never_more_is_let_go_than_is_too_much(drawn: list, over_w: float) -> None:
    counts_w, may = np.array([d[0] for d in drawn]), np.array([d[1] for d in drawn], np.bool_)
    gone = let_go(counts_w, may, over_w)
    assert not (gone & ~may).any()
    assert counts_w[gone].sum() <= over_w + 1e-6
    stays = may & ~gone & (counts_w > 0)
    assert (counts_w[stays] > over_w - counts_w[gone].sum() - 1e-6).all(), "what still fits would go too"


@pytest.mark.parametrize("is_restarted", [False, True], ids=["while it runs", "after a start"])
def test_whom_somebody_turned_on_by_hand_counts_for_what_his_meter_says_and_others_are_called_at_once(
    is_restarted: bool,
) -> None:
    """Not for what he gave in the minutes before, of which the last interval tells."""

    async def play() -> None:
        stage = Territory(MIXED)
        await stage.begin()
        at_first = stage.called()
        await stage.minutes(7)
        stage.warm = at_first & stage.rooms
        assert stage.warm.sum() >= 3
        stage.state.claims.set_local(stage.warm)
        if is_restarted:
            stage.tallies = EventTallies()
        given = await stage.minutes(2)
        assert given[0] < 0.9 * ASKED_W, "they had been called"
        assert given[1] >= 0.94 * ASKED_W, given
        assert stage.called()[at_first].all(), "let go of by hand, they are called as before"

    asyncio.run(play())
