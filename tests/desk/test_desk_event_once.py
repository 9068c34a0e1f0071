"""An event tells nobody anew before he had time to answer, unless something changed."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st
from programs_stage import START, Programs

from tieline.desk import events
from tieline.desk.event_stack import newest
from tieline.desk.event_tracking import EventTallies
from tieline.desk.programs import ProgramEvent
from tieline.desk.response import seconds_to_reach
from tieline.fleet.ledger import Capacity, Ledger
from tieline.resource.identity import Kind
from tieline.times import MINUTE_NS, SECOND_NS

KINDS = (
    Kind.THERMOSTAT,
    Kind.WATER_HEATER,
    Kind.SHIFTABLE_LOAD,
    Kind.INTERRUPTIBLE_LOAD,
    Kind.EV_CHARGER,
    Kind.BATTERY,
)
SWITCHED = frozenset((Kind.THERMOSTAT, Kind.WATER_HEATER, Kind.SHIFTABLE_LOAD))


class Slow(Programs):
    """Devices of several kinds and sizes, each of which does as it is told once its kind's time is over, and no sooner."""

    def __init__(self, kinds: list[Kind], sizes_w: np.ndarray) -> None:
        ledger = Ledger()
        ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        Stage1.__init__(self, fleet_of(kinds), ledger)
        self.tallies, fleet = EventTallies(), self.state.fleet
        limiter = self.state.limiter
        limiter.feeder_w[:] = limiter.system_w = 1e9  # what it spreads over minutes is told in steps, by right
        stores = fleet.energy_wh > 0
        fleet.max_absorb_w[:], fleet.max_inject_w[:] = sizes_w, np.where(stores, sizes_w, 0.0)
        self.state.is_switched[:] = [kind in SWITCHED for kind in kinds]
        self.base_w = np.where(stores, 0.0, -sizes_w)
        fleet.power_w[:] = self.state.base_w[:] = self.base_w
        fleet.energy_available_wh[stores] = 1e5
        self.reach_ns = (seconds_to_reach(self.state, np.arange(len(kinds), dtype=np.int32)) * SECOND_NS).astype(
            np.int64
        )
        self.target_w, self.told_ns = np.full(len(kinds), np.nan), np.zeros(len(kinds), np.int64)
        self.out = np.zeros(len(kinds), np.bool_)
        """Who does nothing that he is told."""

    async def at(self, now_ns: int) -> None:
        """Let devices do as they are told by now, have all read, and have a beat."""
        self.clock.ns, told_w, fleet = now_ns, self.devices.target_w, self.state.fleet
        does_w = np.where(np.isnan(told_w) | self.out, self.base_w, told_w)
        there = now_ns - self.told_ns >= self.reach_ns
        fleet.power_w[:] = np.where(there, does_w, fleet.power_w)
        fleet.taken_at_ns[:], self.state.base_w[:] = now_ns, self.base_w
        counted = self.tallies.count(self.state, now_ns)
        await self.desk.commit([*counted, *events.due(self.state, now_ns, self.tallies.shown)])
        self.tallies.note(self.state, now_ns)
        await self.desk.settle()
        await self.desk.flush()
        moved = ~(
            (self.devices.target_w == self.target_w) | (np.isnan(self.devices.target_w) & np.isnan(self.target_w))
        )
        self.told_ns[moved], self.target_w = now_ns, self.devices.target_w.copy()

    async def begin(self, power_w: float, offset_s: int) -> str:
        event = await self.approved(power_w, start_ns=START + offset_s * SECOND_NS)
        assert isinstance(event, ProgramEvent), event
        await self.at(event.start_ns)
        return event.id

    def version(self, event: str) -> int:
        held = newest(self.state, event)
        return 0 if held is None else held.source_version


DEVICES = st.lists(st.tuples(st.sampled_from(KINDS), st.floats(500.0, 7_000.0)), min_size=2, max_size=14)


def _stage(drawn: list[tuple[Kind, float]]) -> Slow:
    return Slow([kind for kind, _ in drawn], np.array([size_w for _, size_w in drawn]))


@settings(deadline=None, max_examples=80)
@given(DEVICES, st.floats(0.05, 1.3))
def test_a_call_that_just_began_is_not_replaced_by_the_beat_that_follows_it(
    drawn: list[tuple[Kind, float]], part: float
) -> None:
    async def play() -> None:
        stage = _stage(drawn)
        event = await stage.begin(part * sum(size_w for _, size_w in drawn), 0)
        version, told = stage.version(event), len(stage.devices.batches)
        for passed_ns in (70 * SECOND_NS // 1_000, SECOND_NS, 20 * SECOND_NS):
            await stage.at(START + passed_ns)
            assert stage.version(event) == version <= 1 and len(stage.devices.batches) == told

    asyncio.run(play())


@settings(deadline=None, max_examples=25)
@given(DEVICES, st.floats(0.1, 0.9), st.integers(0, 299), st.lists(st.integers(1, 59), max_size=3))
def test_whoever_answers_in_his_kinds_time_is_made_up_for_by_nobody(
    drawn: list[tuple[Kind, float]], part: float, offset_s: int, more_s: list[int]
) -> None:
    """An event begins at any second of a dispatch interval, and beats come each minute and in between."""

    async def play() -> None:
        stage = _stage(drawn)
        event = await stage.begin(part * sum(size_w for _, size_w in drawn), offset_s)
        version, told, begins_ns = stage.version(event), len(stage.devices.batches), stage.clock.ns
        marks = [begins_ns - begins_ns % MINUTE_NS + minute * MINUTE_NS for minute in range(1, 17)]
        for now_ns in sorted({*marks, *(mark + second * SECOND_NS for mark in marks for second in more_s)}):
            await stage.at(now_ns)
            if now_ns - begins_ns < 6 * MINUTE_NS:  # later commands are renewed
                assert len(stage.devices.batches) == told
            assert stage.version(event) == version

    asyncio.run(play())


def test_who_does_nothing_is_made_up_for_once_the_interval_shows_it() -> None:
    async def play() -> None:
        stage = _stage([(Kind.BATTERY, 5_000.0)] * 6)
        event = await stage.begin(15_000.0, 0)
        stage.out[:2] = True
        for minute in range(1, 7):
            await stage.at(START + minute * MINUTE_NS)
        assert stage.version(event) == 2
        assert stage.devices.target_w[2:].sum() >= 14_000.0

    asyncio.run(play())
