"""Rooms that were let go a moment ago are about to run: what is told of a pool then counts on what they will take."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.facts import IntervalTracked, PositionChanged, from_record
from tieline.desk.pay_back import comes_on, pays_back_w
from tieline.desk.planned import Planned
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.desk.trim import NOTHING, learnt
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
EACH_W, MEAN_W, RUNS_W = 5_000.0, 1_000.0, 5_000.0
"""What a battery gives, what a room draws on the whole, and while it runs."""
LESS_AT, RUNS_MIN = 10, 8
"""The minute from which so much less is owed that all rooms are let go, and for how long each then runs."""


class Rooms:
    """Batteries on feeder-1, one on feeder-2 with rooms that draw their mean until they were called once.

    A room that is let go is on a minute later, and runs for `RUNS_MIN` minutes.
    """

    def __init__(self, batteries: int, rooms: int) -> None:
        kinds = [Kind.BATTERY] * batteries + [Kind.THERMOSTAT] * rooms
        self.stage = Stage1(fleet_of([*kinds[:batteries], *kinds[batteries:], Kind.BATTERY], batteries))
        self.state, self.count = self.stage.state, batteries + rooms + 1
        self.rooms = np.arange(self.count)[batteries:-1]
        price = np.zeros(self.count)
        price[self.rooms] = 60.0
        self.pool = PoolDesk(
            "pool-1", np.arange(self.count, dtype=np.int32), price, np.ones(self.count, np.bool_), np.zeros(self.count)
        )
        self.desk = Desk(self.state, self.stage.journal, self.stage.clock, PEOPLE, on_change=self._changed)
        self.stage.desk = self.stage.devices.desk = self.desk
        self.desk.bind(self.stage.devices, "test", {row: self.state.fleet.id_of(row) for row in range(self.count)})
        self.cycle = Cycle(self.desk, {"pool-1": self.pool})
        self.more_w, self.less_w = (batteries + 1) * EACH_W + rooms * MEAN_W, batteries * EACH_W
        less_ns = HOUR + LESS_AT * MINUTE_NS
        for name, start_ns, end_ns, power_w in (
            ("a", HOUR, less_ns, self.more_w), ("b", less_ns, HOUR + HOUR_NS, self.less_w)
        ):  # fmt: skip
            self.state.awards[name] = Award(name, "o", "pool-1", "ENERGY", start_ns, end_ns, power_w, 50.0)
        self.state.is_switched[self.rooms] = True
        self.state.base_w[self.rooms] = -MEAN_W
        self.held_wh = 20_000.0
        self.let_go_ns = np.full(self.count, 2**62)
        self.was_off = np.zeros(self.count, np.bool_)
        self.stage.clock.ns = HOUR
        self.obey()

    def _changed(self, cause: str) -> None:
        self.cycle.because(cause)

    def obey(self) -> None:
        """Have all devices do as they were told, and tell it."""
        fleet, told, now_ns = self.state.fleet, self.stage.devices, self.stage.clock.ns
        power_w = np.clip(np.nan_to_num(told.target_w), told.low_w, told.high_w)
        off = np.isfinite(told.target_w) & (told.until_ns > now_ns)
        self.let_go_ns = np.where(off, 2**62, np.where(self.was_off, now_ns, self.let_go_ns))
        self.was_off = off
        since_ns = now_ns - self.let_go_ns
        runs = (since_ns >= MINUTE_NS) & (since_ns < MINUTE_NS * (1 + RUNS_MIN))
        rests = (since_ns >= 0) & ~runs
        by_itself_w = np.where(runs, -RUNS_W, np.where(rests, 0.0, -MEAN_W))
        power_w[self.rooms] = np.where(off, 0.0, by_itself_w)[self.rooms]
        fleet.power_w[:] = power_w
        fleet.energy_available_wh[:] = np.where(fleet.energy_wh > 0, self.held_wh, np.nan)
        fleet.taken_at_ns[:], fleet.quality[:] = now_ns, 0

    async def beat(self, seconds: float) -> None:
        """Let so many seconds pass, by a beat."""
        self.stage.clock.ns += round(seconds * SECOND_NS)
        self.obey()
        await self.cycle.beat(self.stage.clock.ns)
        await self.desk.flush()
        self.obey()

    async def limit(self) -> None:
        """Have the network's operator let nothing on feeder-1 feed in."""
        await self.desk.ask(
            self.stage.ask(
                "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-1e6, high=0.0, end_ns=HOUR + HOUR_NS
            )
        )
        await self.desk.settle()

    @property
    def gained_w(self) -> float:
        """What the pool gives above what it would on the whole."""
        return float(self.state.fleet.power_w.sum()) + len(self.rooms) * MEAN_W

    def moved(self) -> PositionChanged:
        """What was recorded of the limit."""
        (found,) = [f for r in self.stage.journal.records if isinstance(f := from_record(r), PositionChanged)]
        return found

    async def until_let_go(self) -> None:
        """Call the rooms, and let them go."""
        await self.beat(1.0)
        for _ in range(LESS_AT - 1):
            await self.beat(60.0)
        assert (self.pool.share_w[self.rooms] > 1.0).all(), "all are called"
        await self.beat(60.0)
        assert (np.abs(self.pool.share_w[self.rooms]) <= 1.0).all(), "and let go"


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(1, 50))
def test_what_a_limit_leaves_is_told_as_what_comes_of_it_minutes_later(
    batteries: int, rooms: int, after_s: int
) -> None:
    """It was told that rooms that were just let go rest, and could be called: each took 4 kW within two minutes."""

    async def play() -> None:
        it = Rooms(batteries, rooms)
        await it.until_let_go()
        await it.beat(after_s)
        await it.limit()
        await it.beat(1.0)
        moved, gained_w = it.moved(), list[float]()
        for _ in range(4):
            await it.beat(60.0)
            gained_w.append(it.gained_w)
        comes_w = float(np.mean(gained_w[1:]))
        assert moved.owed_w == pytest.approx(it.less_w)
        assert moved.after_up_w <= max(comes_w, 0.0) + rooms * MEAN_W + 10.0, "a room that rests may be called yet"
        assert moved.feasible_w <= comes_w + 10.0
        assert moved.feasible_w <= moved.after_up_w

    asyncio.run(play())


def test_who_pays_back_and_can_be_called_is_told_as_what_comes_of_a_call() -> None:
    """Its pay-back was taken off what was declared as well: 2 kW of the 6 that came a minute later."""

    async def play() -> None:
        it = Rooms(3, 1)
        await it.until_let_go()
        for _ in range(6):
            await it.beat(60.0)
        assert it.state.fleet.power_w[it.rooms].tolist() == [-RUNS_W], "it runs yet, and may be called"
        await it.limit()
        await it.beat(1.0)
        moved = it.moved()
        await it.beat(60.0)
        assert it.gained_w == pytest.approx(EACH_W + MEAN_W)
        assert moved.after_up_w == pytest.approx(it.gained_w)
        assert moved.feasible_w == pytest.approx(it.gained_w)

    asyncio.run(play())


def test_what_a_schedule_has_a_store_give_is_declared_though_it_could_not_go_on_so_to_the_end() -> None:
    """3 kWh for an hour are 3 kW; the schedule asks 5 of it in these minutes, and that is what comes."""

    async def play() -> None:
        it = Rooms(2, 1)
        it.held_wh = 3_000.0
        await it.beat(1.0)
        assert it.pool.available[0] == pytest.approx(3 * 3_000.0 + MEAN_W, rel=0.01), "by merit it is spread"
        power_w = np.array([[5_000.0, 0.0]], np.float32)
        rows = np.array([0, 1], np.int32)
        it.pool.planned = Planned(("a",), HOUR, HOUR_NS, HOUR, rows, power_w)
        await it.beat(60.0)
        assert it.pool.share_w[0] == pytest.approx(5_000.0)
        assert it.pool.available[0] == pytest.approx(5_000.0 + 2 * 3_000.0 + MEAN_W, rel=0.02)

    asyncio.run(play())


def test_others_are_called_for_what_rooms_take_before_their_meters_tell() -> None:
    """Without the limit a battery rests that can give what a room takes: from the next beat on nothing lacks."""

    async def play() -> None:
        it = Rooms(3, 1)
        await it.until_let_go()
        await it.beat(5.0)
        for _ in range(6):
            await it.beat(60.0)
            assert it.gained_w >= it.less_w - 10.0
        tracked = [f for r in it.stage.journal.records if isinstance(f := from_record(r), IntervalTracked)]
        less = [f for f in tracked if f.start_ns >= HOUR + LESS_AT * MINUTE_NS]
        assert less and all(f.delivered_w >= f.asked_w - 30.0 for f in less)

    asyncio.run(play())


def test_a_room_is_taken_to_come_on_only_until_its_meter_had_time_to_tell() -> None:
    it = Rooms(3, 2)
    rows, now_ns = it.pool.rows, it.stage.clock.ns
    share_w = np.zeros(it.count)
    it.state.rebounds_until_ns[it.rooms] = now_ns + HOUR_NS
    it.state.fleet.power_w[it.rooms] = 0.0
    assert not comes_on(it.state, rows, now_ns).any(), "nobody was let go"
    it.state.commands.let_go_ns[it.rooms] = now_ns - MINUTE_NS
    assert comes_on(it.state, rows, now_ns).sum() == 2
    assert pays_back_w(it.state, rows, share_w, 1.0, now_ns) == pytest.approx(2 * (RUNS_W - MEAN_W))
    assert pays_back_w(it.state, rows, share_w, -1.0, now_ns) == pytest.approx(2 * MEAN_W), "who rests takes no less"
    it.state.fleet.power_w[it.rooms[0]] = -RUNS_W
    assert comes_on(it.state, rows, now_ns).sum() == 1, "whose meter says that it runs is on by now"
    assert pays_back_w(it.state, rows, share_w, 1.0, now_ns) == pytest.approx(2 * (RUNS_W - MEAN_W))
    it.state.commands.let_go_ns[it.rooms] = now_ns - 3 * MINUTE_NS
    assert not comes_on(it.state, rows, now_ns).any(), "one that still rests does so by itself"


WATTS = st.lists(st.floats(-9_000.0, 9_000.0), min_size=4, max_size=4)


@given(st.floats(-9_000.0, 9_000.0), WATTS, WATTS, st.lists(st.booleans(), min_size=4, max_size=4))
def test_of_what_was_learnt_what_is_put_to_rows_that_are_out_is_gone_and_no_more(
    power_w: float, share_w: list[float], row_w: list[float], out: list[bool]
) -> None:
    found, mask = learnt(power_w, np.array(share_w), np.array(row_w), 20_000.0), np.array(out)
    left = found.without(mask)
    if found.part is None:
        assert left is found, "what is put to nobody stays whole"
        return
    assert left.power_w == pytest.approx(power_w * float(found.part[~mask].sum()), abs=1e-3)
    if left is not NOTHING:
        assert left.part is not None and float(left.part.sum()) == pytest.approx(1.0)
        assert not left.part[mask].any()


def test_what_others_gave_too_much_is_no_help_once_a_limit_holds_them_down() -> None:
    """Two batteries give 4 kW beyond their calls, and the rest is asked for less; the limit on those two ends that."""

    async def play() -> None:
        it = Rooms(2, 1)
        await it.beat(1.0)
        it.pool.learnt = learnt(-4_000.0, it.pool.share_w, it.pool.share_w + np.array([2e3, 2e3, 0.0, 0.0]), it.more_w)
        await it.limit()
        await it.beat(1.0)
        assert it.pool.trim_w == 0.0
        assert it.pool.share_w[-1] == pytest.approx(EACH_W), "all that is left is called"

    asyncio.run(play())


@pytest.mark.parametrize(("owed_w", "asked_w"), [(7_000.0, 4_900.0), (14_000.0, 12_000.0), (16_000.0, 16_000.0)])
def test_less_is_asked_for_what_was_given_too_much_only_as_far_as_others_are_left(
    owed_w: float, asked_w: float
) -> None:
    """Three batteries and a room have 16 kW, and gave 3 kW too much lately; 0.3 of what is owed is learnt at most."""

    async def play() -> None:
        it = Rooms(2, 1)
        it.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, owed_w, 50.0)
        del it.state.awards["b"]
        await it.beat(1.0)
        it.pool.learnt = learnt(-3_000.0, it.pool.share_w, it.pool.share_w + 750.0, owed_w)
        await it.beat(1.0)
        assert float(it.pool.share_w.sum()) == pytest.approx(asked_w)

    asyncio.run(play())
