"""What cycling loads are counted for, and when they are called and let go, beside a twin that nobody calls."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from cycling_stage import Cycling
from desk_stage import Stage1, fleet_of
from test_desk_paid_once import Both

from sampled import some
from tieline.desk import events
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import EventTracked, from_record
from tieline.desk.least_times import just_let_go
from tieline.desk.programs import EventState
from tieline.desk.screens import ComposeEvent
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, SECOND_NS

SEEDS = some(range(1, 6))


def of_whole_cycles(power_w: np.ndarray) -> float:
    """Return the mean of the last two whole cycles of one device (W), each from a start to the next."""
    starts = np.flatnonzero((power_w[:-1] == 0.0) & (power_w[1:] < 0.0)) + 1
    return float(power_w[starts[-3] : starts[-1]].mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_base_of_a_thermostat_is_its_mean_over_whole_cycles(seed: int) -> None:
    async def play() -> tuple[np.ndarray, np.ndarray]:
        stage = Cycling(16, 0, 1, seed)
        await stage.until(0)
        uncalled_w = np.array(stage.owns_w)
        return stage.state.base_w[:16], np.array([of_whole_cycles(uncalled_w[:, row]) for row in range(16)])

    base_w, mean_w = asyncio.run(play())
    assert base_w == pytest.approx(mean_w, rel=0.12), "a mean of readings over any half an hour is off by a third"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_thermostat_takes_back_after_a_call_or_a_limit_is_not_its_base(seed: int) -> None:
    async def play() -> tuple[np.ndarray, np.ndarray]:
        stage = Cycling(16, 0, 1, seed)
        await stage.until(0)
        before_w = stage.state.base_w.copy()
        stage.award(20_000.0, 0, 40)
        await stage.until(20)
        await stage.limit("feeder-2", -1_000.0, minutes=20)
        await stage.until(75)
        return before_w[:16], stage.state.base_w[:16]

    before_w, after_w = asyncio.run(play())
    assert after_w == pytest.approx(before_w, rel=0.15)


async def by_award(stage: Cycling) -> None:
    stage.award(0.8 * -stage.state.base_w.sum() + 5_000.0)
    await stage.until(60)


async def by_award_under_a_limit(stage: Cycling) -> None:
    stage.award(0.8 * -stage.state.base_w.sum() + 5_000.0)
    await stage.until(15)
    await stage.limit("feeder-1", -9_000.0, minutes=25)
    await stage.until(60)


async def by_event(stage: Cycling) -> None:
    await stage.event(0.7 * -stage.state.base_w.sum() + 5_000.0)
    await stage.until(60)


async def by_award_and_event(stage: Cycling) -> None:
    stage.award(0.3 * -stage.state.base_w.sum() + 5_000.0)
    await stage.event(0.4 * -stage.state.base_w.sum())
    await stage.until(60)


CALLS = (by_award, by_award_under_a_limit, by_event, by_award_and_event)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_counted_over_an_hour_is_what_was_given(call, seed: int) -> None:
    async def play() -> tuple[float, float]:
        stage = Cycling(24, 8, 2, seed)
        await stage.until(0)
        await call(stage)
        await stage.until(62)  # an interval is recorded by the beat after it
        return stage.counted_wh() + stage.event_wh(), stage.true_counted_wh()

    counted_wh, true_wh = asyncio.run(play())
    assert counted_wh == pytest.approx(true_wh, rel=0.1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("call", CALLS)
def test_no_thermostat_is_called_or_let_go_within_its_least_time(call, seed: int) -> None:
    async def play() -> list[tuple[int, float]]:
        stage = Cycling(24, 4, 1, seed)
        await stage.until(0)
        await call(stage)
        await stage.until(75)
        return [change for change in stage.changes() if change[1] < stage.least_s]

    assert asyncio.run(play()) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_under_a_limit_who_was_held_off_or_let_on_stays_so_for_his_least_time(seed: int) -> None:
    """But for the limit itself: where others begin to run by themselves, somebody stops at once."""

    async def play() -> tuple[int, int]:
        stage = Cycling(24, 0, 1, seed)
        await stage.until(5)
        await stage.limit("feeder-1", -12_000.0, minutes=40)
        await stage.until(60)
        changes = stage.changes(with_limits=True)
        return len(changes), sum(since_s < stage.least_s for _, since_s in changes)

    changes, quick = asyncio.run(play())
    assert changes > 10
    assert quick <= 1


class HandedOver(Both):
    """A battery that gives 1.5 kW all the time, for the pool at first and for an event from the middle of a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.tallies = EventTallies()

    async def events(self) -> None:
        """As the server does after each beat, and as an event is due."""
        await self.desk.flush()
        counted = self.tallies.count(self.state, self.clock.ns)
        entries = events.due(self.state, self.clock.ns, self.tallies.shown)
        await self.desk.commit([*counted, *entries])
        if entries:
            self.tallies.note(self.state, self.clock.ns)
            await self.cycle.hand_over(self.clock.ns)
            await self.desk.settle()

    async def compose(self, start_ns: int, power_w: float) -> None:
        wish = ComposeEvent("peak", "r9", start_ns, start_ns + HOUR_NS, power_w)
        entries, event = events.decide_compose(self.state, wish, "ada", self.clock.ns)
        await self.desk.commit(entries)
        for to, by in ((EventState.SUBMITTED, "ada"), (EventState.APPROVED, "bo")):
            entries, answer = events.decide_step(self.state, event.id, to, by, self.clock.ns)
            assert entries, answer
            await self.desk.commit(entries)


def test_what_passes_from_the_pool_to_an_event_is_counted_for_one_of_them_at_a_time() -> None:
    async def play() -> tuple[float, float]:
        stage = HandedOver()
        stage.does_w[9] = 1_500.0
        await stage.compose(stage.clock.ns + 150 * SECOND_NS, 1_500.0)
        for second in range(0, 420, 30):
            if second % 60 == 0:
                await stage.beat()
            await stage.events()
            stage.clock.ns += 30 * SECOND_NS
        first = stage.tracked[0]
        given = dict(zip(first.rows.array().tolist(), first.row_w.array().tolist(), strict=True))
        told = [f for r in stage.journal.records if isinstance(f := from_record(r), EventTracked)]
        assert told[0].rows.array().tolist() == [9]
        assert told[0].row_w.array() == pytest.approx([told[0].delivered_w])
        event_wh = told[0].delivered_w * (told[0].end_ns - told[0].start_ns) / HOUR_NS
        return given[9] * (first.end_ns - first.start_ns) / HOUR_NS, event_wh

    pool_wh, event_wh = asyncio.run(play())
    assert pool_wh == pytest.approx(1_500.0 * 2.5 / 60.0, rel=0.01)
    assert pool_wh + event_wh == pytest.approx(1_500.0 * 5.0 / 60.0, rel=0.01)


def test_after_the_clock_was_set_back_rooms_are_called_and_learnt_as_before() -> None:
    stage = Stage1(fleet_of([Kind.THERMOSTAT]))
    state, rows, now_ns = stage.state, np.zeros(1, np.int32), stage.clock.ns
    state.is_switched[:], state.fleet.min_hold_s[:] = True, 180.0
    state.cycles.own_from_ns[:], state.commands.let_go_ns[:] = now_ns + HOUR_NS, now_ns
    assert state.cycles.pays_back(rows, now_ns).all() and just_let_go(state, rows, now_ns).all()
    assert not state.cycles.pays_back(rows, now_ns - HOUR_NS).any(), "held for an hour, not for as long as it was ahead"
    assert not just_let_go(state, rows, now_ns - HOUR_NS).any()
