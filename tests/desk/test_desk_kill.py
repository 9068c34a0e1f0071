"""Behind the kill switch nobody is blamed, and what is lost is put to it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from test_desk_declares import HOUR, Pool
from test_desk_last_hop import kill

from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.ports import Instruction
from tieline.desk.redispatch import SOURCE
from tieline.desk.response import unresponsive
from tieline.ids import derive
from tieline.market.settlement import shortfall_causes
from tieline.node.read_market import delivery
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS


class Pressed(Pool):
    """The pool of ten batteries, that owes 40 kW and gives none of it: the switch was pressed before the hour."""

    async def press(self, out: int = 0) -> None:
        for row in range(out):
            gate = {"quantity": Quantity.CONNECT, "end_ns": HOUR + HOUR_NS}
            await self.desk.ask(self.ask("owner", Level.OWNER_NEED, f"r{row}", ClaimKind.GATE, **gate))
        await kill(self, True, "ada")

    def instruct(self, power_w: float) -> None:
        call = Instruction("i", "b", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, power_w, 50.0, 1)
        self.state.instructions["pool-1", "ENERGY"] = {HOUR: call}

    async def minutes(self, count: int, power_w: float = 0.0) -> None:
        """Beat so often, while each device gives so much whatever it is called for."""
        for _ in range(count):
            self.heard()
            self.state.fleet.power_w[:], self.state.base_w[:] = power_w, 0.0
            self.state.fleet.available_up_w[:] = 5_000.0 - power_w
            await self.cycle.beat(self.clock.ns)
            self.clock.ns += MINUTE_NS

    def intervals(self) -> list[IntervalTracked]:
        return [fact for r in self.journal.records if isinstance(fact := from_record(r), IntervalTracked)]


@pytest.mark.parametrize(("out", "by_kill_w", "by_owners_w"), [(0, 40_000.0, 0.0), (3, 35_000.0, 5_000.0)])
@pytest.mark.parametrize("is_instructed", [True, False])
def test_what_is_lost_while_the_switch_is_pressed_is_put_to_it_as_far_as_the_pool_had_it_without(
    out: int, by_kill_w: float, by_owners_w: float, is_instructed: bool
) -> None:
    """Withheld where the ISO called nothing as nothing was declared, a lack where the award itself was owed."""

    async def play() -> tuple[dict[str, float], dict[str, float]]:
        stage = Pressed()
        await stage.press(out)
        if is_instructed:
            stage.instruct(0.0)
        await stage.minutes(12)
        last = stage.intervals()[-1]
        return last.withheld, last.causes

    withheld, causes = asyncio.run(play())
    expected = {cause: w for cause, w in (("kill_switch", by_kill_w), ("opt_out", by_owners_w)) if w}
    assert (withheld, causes)[0 if is_instructed else 1] == pytest.approx(expected)
    assert (withheld, causes)[1 if is_instructed else 0] == {}
    assert not shortfall_causes()["kill_switch"].excused


def test_nobody_is_judged_while_the_switch_is_pressed_nor_before_a_kind_had_its_time_after_the_release() -> None:
    """Batteries that were told before the press stand still for half an hour, and for three minutes more."""

    async def play() -> tuple[list[bool], bool, int]:
        stage = Pressed()
        await stage.minutes(2)
        await stage.press()
        await stage.minutes(30)
        missed = [bool((stage.state.missed_until_ns > 0).any())]
        await kill(stage, False, "ada", "bo")
        await stage.minutes(4)
        missed.append(bool((stage.state.missed_until_ns > 0).any()))
        is_struck = bool((stage.state.responses.strikes > 0).any())
        await stage.minutes(2)
        left_out = int((stage.state.missed_until_ns > stage.clock.ns).sum())
        return missed, is_struck or bool(unresponsive(stage.state.responses, stage.clock.ns).any()), left_out

    missed, is_blamed, left_out = asyncio.run(play())
    assert missed == [False, False]
    assert not is_blamed
    assert left_out == 8, "who still stands still then has missed"


@pytest.mark.parametrize(("power_w", "delivered_w"), [(3_000.0, 0.0), (-500.0, -4_000.0)])
def test_screen_and_record_have_one_figure_where_the_pool_calls_nobody(power_w: float, delivered_w: float) -> None:
    """Eight that were called go on giving 3 kW each as no command reaches them, or take back 500 W."""

    async def play() -> tuple[float | None, float]:
        stage = Pressed()
        await stage.minutes(2, 4_000.0)
        await stage.press()
        stage.instruct(0.0)
        await stage.minutes(10, power_w)
        return delivery(stage.state, stage.pool, stage.clock.ns - 1)[1], stage.intervals()[-1].delivered_w

    shown_w, recorded_w = asyncio.run(play())
    assert shown_w == pytest.approx(delivered_w)
    assert recorded_w == pytest.approx(delivered_w)


@pytest.mark.parametrize("minutes_before", [5, 20])
def test_of_an_award_that_begins_while_the_switch_is_pressed_the_first_interval_is_put_to_it_too(
    minutes_before: int,
) -> None:
    """The ISO was told by then that nothing is to be had, and calls nothing of it."""

    async def play() -> list[dict[str, float]]:
        stage = Pressed()
        stage.clock.ns -= minutes_before * MINUTE_NS
        await stage.press()
        stage.instruct(0.0)
        await stage.minutes(minutes_before + 12)
        return [fact.withheld for fact in stage.intervals() if fact.start_ns >= HOUR]

    first, *others = asyncio.run(play())
    assert others
    for withheld in (first, *others):
        assert withheld == pytest.approx({"kill_switch": 40_000.0})


def test_what_the_market_called_ends_as_the_switch_is_pressed_and_an_award_alone_calls_nobody_behind_it() -> None:
    """Without an instruction the award itself is owed; loads that are to be shed would end nearer to their safe power."""

    async def play() -> tuple[int, list[int], int]:
        stage = Pressed()
        await stage.minutes(3, 4_000.0)
        called = int(np.isfinite(stage.state.claims.target_of(stage.pool.rows, SOURCE, "pool-1", Quantity.P)[0]).sum())
        await stage.press()
        counts = []
        for _ in range(8):
            await stage.minutes(1, 4_000.0)
            held_w, _ = stage.state.claims.target_of(stage.pool.rows, SOURCE, "pool-1", Quantity.P)
            counts.append(int(np.isfinite(held_w).sum()))
        await kill(stage, False, "ada", "bo")
        await stage.minutes(1, 0.0)
        held_w, _ = stage.state.claims.target_of(stage.pool.rows, SOURCE, "pool-1", Quantity.P)
        return called, counts, int(np.isfinite(held_w).sum())

    called, counts, after = asyncio.run(play())
    assert called == 8
    assert set(counts) == {0}
    assert after == 8


def test_the_interval_in_which_the_switch_is_released_is_put_to_it_as_well_as_those_before() -> None:
    """What the ISO took back it took back for what was declared: that the cause is gone by its end changes nothing."""

    async def play() -> list[dict[str, float]]:
        stage = Pressed()
        stage.clock.ns -= 10 * MINUTE_NS
        await stage.press()
        stage.instruct(0.0)
        await stage.minutes(21)
        await kill(stage, False, "ada", "bo")
        await stage.minutes(6)
        return [fact.withheld for fact in stage.intervals() if fact.start_ns >= HOUR]

    *_, last = intervals = asyncio.run(play())
    assert len(intervals) == 3
    assert last == pytest.approx({"kill_switch": 40_000.0})


def test_what_the_iso_takes_back_for_a_switch_that_came_and_went_within_an_interval_is_put_to_it() -> None:
    """Pressed for two minutes; the ISO, that was told so, calls nothing of the next interval: that is the switch's. Had
    it been told before it sent its batch that all is back, that is its own."""

    async def play(sent_min: float) -> dict[str, float]:
        stage = Pressed()
        await stage.minutes(6, 4_000.0)
        await stage.press()
        await stage.minutes(2)
        await kill(stage, False, "ada", "bo")
        start_ns = HOUR + 10 * MINUTE_NS
        call = Instruction("i", "b", "pool-1", "ENERGY", start_ns, start_ns + 5 * MINUTE_NS, 0.0, 50.0, 1)
        stage.state.instructions["pool-1", "ENERGY"] = {start_ns: call}
        stage.state.market_ns[derive("batch", "b")] = HOUR + int(sent_min * MINUTE_NS)
        await stage.minutes(9)
        return next(fact for fact in stage.intervals() if fact.start_ns == start_ns).withheld

    assert asyncio.run(play(7.5)) == pytest.approx({"kill_switch": 40_000.0})
    assert asyncio.run(play(9.5)) == pytest.approx({"iso_instruction": 40_000.0})
