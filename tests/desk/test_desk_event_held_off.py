"""What a limit holds off has nothing to give: no event is told it can, calls it, or is credited with what it drew."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import pytest
from desk_stage import PEOPLE, Stage1, fleet_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from programs_stage import START, Programs

from tieline.desk import events
from tieline.desk.desk import Desk
from tieline.desk.desk_views import EventPreview
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import EventTracked, from_record
from tieline.desk.ports import Granted
from tieline.desk.programs import ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.fleet.able import able_w
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

SIZE_W, CAR_W, SIX_AMPERES_W = 2_000.0, 7_200.0, 1_380.0
WHO = {Level.ENVELOPE: "dso", Level.OWNER_NEED: "owner"}


class Street(Programs):
    """Loads that are on or off, by their kind or by their link, and cars; each would draw so much if nobody held it."""

    def __init__(self, kinds: list[Kind], would_w: list[float], base_frac: float = 1.0) -> None:
        is_car = np.array([kind is Kind.EV_CHARGER for kind in kinds])
        fleet = fleet_of(kinds)
        fleet.max_absorb_w[:] = np.where(is_car, CAR_W, SIZE_W)
        self.switched = frozenset(np.flatnonzero(~is_car).tolist())
        Stage1.__init__(self, fleet, self._ledger(), self.switched)
        self.is_car, self.would_w, self.tallies = is_car, np.array(would_w), EventTallies()
        self.uncalled_wmin, self.low_w = np.zeros(len(kinds)), np.full(len(kinds), -np.inf)
        self.state.base_w[:] = np.where(is_car, self.would_w, base_frac * self.would_w)
        self._read()

    @staticmethod
    def _ledger() -> Ledger:
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        return ledger

    async def limit(self, row: int, level: Level, low_w: float) -> None:
        """Have a device draw no more than so much (W, below 0) for hours."""
        ask = self.ask(WHO[level], level, f"r{row}", ClaimKind.LIMIT, low=low_w, high=0.0,
                       end_ns=self.clock.ns + 9 * HOUR_NS)  # fmt: skip
        assert isinstance(await self.desk.ask(ask), Granted)

    async def free(self, row: int, level: Level) -> None:
        await self.desk.withdraw(f"test:{WHO[level]}", "p", f"r{row}", Quantity.P, f"free-{row}-{self.clock.ns}")

    async def minutes(self, count: int) -> None:
        """Let minutes pass; counts what each device drew less for its targets than within its limits alone."""
        for _ in range(count):
            self.clock.ns += MINUTE_NS
            self._read()
            alone_w = self._does_w(np.full(len(self.would_w), np.nan))
            self.uncalled_wmin += self.state.fleet.power_w - alone_w
            await self.beat()

    async def beat(self) -> None:
        """Beat as an operator does."""
        counted = self.tallies.count(self.state, self.clock.ns)
        entries = events.due(self.state, self.clock.ns, self.tallies.shown)
        await self.desk.commit([*counted, *entries])
        self.tallies.note(self.state, self.clock.ns)
        await self.desk.settle()
        await self.desk.flush()

    def restarted(self, is_learnt: bool) -> None:
        """Kill the server and start it anew: what it knows is its journal, what devices say, and what it had learnt."""
        base_w, told = self.state.base_w.copy(), self.devices
        self.state = self.replayed(self._ledger())
        is_free = (told.until_ns <= self.clock.ns) | (np.isnan(told.target_w) & (told.low_w <= -SIZE_W))
        self.state.base_w[:] = base_w if is_learnt else np.where(is_free, self.state.fleet.power_w, 0.0)
        self.desk = Desk(self.state, self.journal, self.clock, PEOPLE)
        told.desk, self.tallies = self.desk, EventTallies()
        self.desk.bind(told, "test", {row: self.state.fleet.id_of(row) for row in range(len(self.would_w))})

    def _does_w(self, target_w: np.ndarray) -> np.ndarray:
        """Return what devices do as they are told these targets within the limits that they hold."""
        told, needs_w = self.devices, np.where(self.is_car, SIX_AMPERES_W, SIZE_W)
        low_w = np.where(told.until_ns > self.clock.ns, told.low_w, -np.inf)
        within_w = np.maximum(np.where(np.isnan(target_w), self.would_w, target_w), low_w)
        rests = np.where(self.is_car, within_w > 0.5 - needs_w, within_w > -0.5 * needs_w) | (low_w > 0.5 - needs_w)
        return np.where(rests, 0.0, np.where(self.is_car, within_w, self.would_w))

    def _read(self) -> None:
        fleet, told = self.state.fleet, self.devices
        target_w = np.where(told.until_ns > self.clock.ns, told.target_w, np.nan)
        fleet.power_w[:], fleet.taken_at_ns[:] = self._does_w(target_w), self.clock.ns
        fleet.available_up_w[self.is_car] = -fleet.power_w[self.is_car]
        fleet.available_down_w[self.is_car] = (CAR_W + fleet.power_w)[self.is_car]

    def preview(self, power_w: float) -> EventPreview:
        """Return what an event of the next hour would do."""
        found = events.preview(self.state, ComposeEvent("peak", "pool-1", START, START + HOUR_NS, power_w),
                               self.clock.ns)  # fmt: skip
        assert isinstance(found, EventPreview), found
        return found

    def facts(self) -> list[EventTracked]:
        return [fact for r in self.journal.records if isinstance(fact := from_record(r), EventTracked)]

    def credited_wmin(self) -> np.ndarray:
        """Return what each device was credited with for events (W min)."""
        found = np.zeros(len(self.would_w))
        for fact in self.facts():
            minutes = (fact.end_ns - fact.start_ns) / (60 * SECOND_NS)
            found[fact.rows.array()] += fact.row_w.array() * minutes
        return found


@pytest.mark.parametrize("kind", [Kind.THERMOSTAT, Kind.INTERRUPTIBLE_LOAD, Kind.EV_CHARGER])
@pytest.mark.parametrize("restarts", [0, 3])
def test_a_load_that_its_owner_holds_off_gives_an_event_nothing_however_often_the_server_started_anew(
    kind: Kind, restarts: int
) -> None:
    """A thermostat of 2 kW that is on or off may draw 500 W; an event of 400 W called it, and got 500 of it."""

    async def play() -> None:
        stage = Street([kind], [-SIZE_W])
        await stage.limit(0, Level.OWNER_NEED, -500.0)
        await stage.beat()
        await stage.minutes(2)
        assert stage.state.fleet.power_w[0] == 0.0
        for _ in range(restarts):
            stage.restarted(is_learnt=True)
            await stage.minutes(1)
        seen = stage.preview(400.0)
        assert (seen.can_give_w, seen.expected_w, seen.devices, seen.limited) == (0.0, 0.0, 0, 1)
        assert "1 under a limit that takes what they would give" in seen.warning
        assert isinstance(await stage.approved(400.0), ProgramEvent)
        await stage.minutes(12)
        facts = stage.facts()
        assert facts and all(fact.delivered_w == 0.0 for fact in facts)
        assert all(fact.causes == pytest.approx({"own_limit": 400.0}) for fact in facts)

    asyncio.run(play())


@dataclass(frozen=True)
class Limit:
    """A limit on a device: whose, to how much (W), from and until which minute (0: before the event begins)."""

    row: int
    level: Level
    low_w: float
    begins: int
    ends: int


COUNT, LAST = 4, 11
LIMITS = st.lists(
    st.builds(
        Limit, st.integers(0, COUNT - 1), st.sampled_from(list(WHO)), st.integers(0, 25).map(lambda n: -100.0 * n),
        st.integers(0, LAST), st.integers(1, LAST),
    ),
    max_size=COUNT, unique_by=lambda limit: limit.row,
)  # fmt: skip
KINDS = st.lists(
    st.sampled_from([Kind.THERMOSTAT, Kind.INTERRUPTIBLE_LOAD, Kind.EV_CHARGER]), min_size=COUNT, max_size=COUNT
)
STOPPED = [Limit(row, Level.OWNER_NEED, -500.0, 0, LAST) for row in range(COUNT)]


@settings(max_examples=15, deadline=None)
@given(
    KINDS, st.lists(st.sampled_from([0.0, 1.0]), min_size=COUNT, max_size=COUNT), st.floats(0.0, 1.0), LIMITS,
    st.sampled_from([400.0, 1_500.0, 6_000.0, -1_500.0, -6_000.0]),
    st.lists(st.tuples(st.integers(1, LAST), st.booleans()), max_size=3),
)  # fmt: skip
@example([Kind.INTERRUPTIBLE_LOAD] * COUNT, [1.0] * COUNT, 0.6, STOPPED, 400.0, [(2, True), (9, False)])
@example([Kind.EV_CHARGER] * COUNT, [1.0] * COUNT, 1.0, STOPPED, 1_500.0, [])
@example([Kind.EV_CHARGER] * COUNT, [0.0] * COUNT, 1.0, STOPPED, -6_000.0, [])
def test_no_device_is_credited_with_more_than_the_event_changed_of_what_its_meter_shows(
    kinds: list[Kind], runs: list[float], base_frac: float, limits: list[Limit], event_w: float,
    restarts: list[tuple[int, bool]],
) -> None:  # fmt: skip
    """Bases of loads that cycle are means, nearer to 0 than what they draw while they are on, and a lost one is 0."""
    side = np.sign(event_w)
    would_w = [-run * (3_000.0 if kind is Kind.EV_CHARGER else SIZE_W) for kind, run in zip(kinds, runs, strict=True)]

    async def play() -> None:
        stage = Street(kinds, would_w, base_frac if side > 0.0 else 1.0)
        stage.clock.ns = START - 2 * MINUTE_NS
        assert isinstance(await stage.approved(event_w), ProgramEvent)
        for minute in range(LAST + 1):
            for limit in (one for one in limits if one.begins == minute):
                await stage.limit(limit.row, limit.level, limit.low_w)
            for limit in (one for one in limits if one.ends == minute > one.begins):
                await stage.free(limit.row, limit.level)
            await stage.beat()
            await stage.minutes(1)
            for _, is_learnt in (one for one in restarts if one[0] == minute):
                stage.restarted(is_learnt or side < 0.0)
            if minute == 0:
                fleet, everyone = stage.state.fleet, np.arange(COUNT, dtype=np.int32)
                most_w = float(able_w(fleet, everyone)[0 if side > 0.0 else 1].sum())
                assert side * stage.preview(event_w).can_give_w <= most_w + 1.0
        await stage.minutes(2)
        assert (side * stage.credited_wmin() <= side * stage.uncalled_wmin + 1.0).all(), stage.credited_wmin()

    asyncio.run(play())
