"""Devices first, the market after: who takes calls and doesn't answer holds up nobody."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from msgspec.structs import replace
from test_desk_declares import HOUR, Market, Pool

from tieline.desk.facts import IntervalTracked, PositionChanged, from_record
from tieline.desk.ports import Instruction
from tieline.desk.trim import Learnt
from tieline.errors import ConfigError, LinkDown
from tieline.resource.batch import Readings
from tieline.resource.claim import ClaimKind
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS


class Hanging(Market):
    """A market that takes each call, and answers nobody until it may; then it gives up on as many as it is told to."""

    def __init__(self, gives_up: int = 0) -> None:
        super().__init__()
        self.may, self.calls, self.gives_up = asyncio.Event(), 0, gives_up

    async def declare(self, pool: str, up_w: float, down_w: float, reason: str) -> None:
        self.calls += 1
        await self.may.wait()
        if self.calls <= self.gives_up:
            raise LinkDown("no answer")
        await super().declare(pool, up_w, down_w, reason)


async def limited(stage: Pool, power_w: float, version: int = 1) -> None:
    limit = stage.ask(
        "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-power_w, high=power_w, version=version,
        end_ns=stage.clock.ns + HOUR_NS,
    )  # fmt: skip
    stage.cycle.because((await stage.desk.ask(limit)).claim)


def positions(stage: Pool) -> list[PositionChanged]:
    facts = (from_record(record) for record in stage.journal.records)
    return [fact for fact in facts if isinstance(fact, PositionChanged)]


def test_a_market_that_does_not_answer_holds_up_neither_a_limit_nor_the_next_beat() -> None:
    async def play() -> None:
        stage = Pool()
        await stage.beats(3)
        stage.desk.market = market = Hanging()
        stage.cycle.upward.spawn = lambda work, name: asyncio.get_running_loop().create_task(work)
        await limited(stage, 20_000.0)
        async with asyncio.timeout(5.0):
            await stage.beats(1)
            assert stage.devices.high_w.sum() <= 20_000.0, "told, with the market's answer still to come"
            await asyncio.sleep(0)
            assert market.calls == 1 and positions(stage) == []
            await stage.beats(3)
        assert market.calls == 1, "one declaration is out at a time"
        market.may.set()
        await asyncio.sleep(0.05)
        assert [fact.declared for fact in positions(stage)] == [True]
        assert market.told and stage.pool.undeclared == ""

    asyncio.run(play())


def test_where_nobody_runs_it_beside_the_beat_devices_are_told_before_the_market_is() -> None:
    async def play() -> None:
        stage, order = Pool(), []
        await stage.beats(3)

        class Noting(Market):
            async def declare(self, pool: str, up_w: float, down_w: float, reason: str) -> None:
                order.append(float(stage.devices.high_w.sum()))

        stage.desk.market = Noting()
        await limited(stage, 20_000.0)
        await stage.beats(1)
        assert order and order[0] <= 20_000.0

    asyncio.run(play())


@pytest.mark.parametrize("causes", [1, 5])
def test_what_a_market_did_not_take_is_recorded_so_once_each_and_said_again_at_the_next_beat(causes: int) -> None:
    """However many causes wait behind a market that is away, they wait for one try of it and not for one each."""

    async def play() -> None:
        stage = Pool()
        await stage.beats(3)
        stage.desk.market = market = Hanging(gives_up=1)
        market.may.set()
        for turn in range(causes):
            await limited(stage, 20_000.0 - 1_000.0 * turn, version=turn + 1)
            stage.heard()
            # What each cause moved waits, as it does while a declaration is out.
            stage.cycle.upward._runs = turn < causes - 1
            await stage.cycle.beat(stage.clock.ns)
        assert market.calls == 1
        assert [fact.declared for fact in positions(stage)] == [False] * causes
        assert stage.pool.undeclared
        stage.clock.ns += MINUTE_NS
        await stage.beats(1)
        assert market.calls == 2 and market.told and stage.pool.undeclared == ""

    asyncio.run(play())


def test_a_trim_that_a_large_call_left_is_no_larger_than_its_part_of_a_small_one() -> None:
    async def play() -> float:
        stage = Pool()
        await stage.beats(3)
        stage.pool.learnt = Learnt(8_000.0)
        now_ns = stage.clock.ns
        call = Instruction("i", "b", "pool-1", "ENERGY", now_ns, now_ns + 5 * MINUTE_NS, 5_000.0, 50.0, 1)
        stage.state.instructions["pool-1", "ENERGY"] = {now_ns: call}
        await stage.beats(1)
        return float(stage.pool.share_w.sum())

    assert asyncio.run(play()) == pytest.approx(6_500.0), "5 kW and three tenths"


def test_a_pool_whose_devices_give_eight_tenths_of_what_they_are_asked_gives_what_is_owed_within_the_hour() -> None:
    async def play() -> float:
        stage = Pool()
        stage.state.awards["a"] = replace(stage.state.awards["a"], power_w=20_000.0)
        for _ in range(55):
            stage.heard()
            stage.state.fleet.power_w[:] *= 0.8
            await stage.cycle.beat(stage.clock.ns)
            stage.clock.ns += MINUTE_NS
        facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked)]
        return facts[-1].delivered_w

    assert asyncio.run(play()) == pytest.approx(20_000.0, rel=0.02)


def test_what_rows_pay_back_is_asked_of_the_others_at_the_next_beat_and_taken_off_what_is_declared() -> None:
    """Eight give 40 kW; two were called before and draw 2 kW each now: it goes with them, as no trim would."""

    async def play() -> tuple[list[float], list[float]]:
        stage, asked, able = Pool(), [], []
        stage.pool.eligible[8:] = False
        for drawn_w in (0.0, 2_000.0, 2_000.0, 0.0):
            stage.heard()
            stage.state.rebounds_until_ns[8:] = stage.clock.ns + HOUR_NS
            stage.state.fleet.power_w[8:] = -drawn_w
            stage.state.base_w[8:] = 0.0
            stage.state.awards["a"] = replace(stage.state.awards["a"], power_w=20_000.0)
            await stage.cycle.beat(stage.clock.ns)
            asked.append(float(stage.pool.share_w.sum()))
            able.append(stage.pool.available[0])
            stage.clock.ns += MINUTE_NS // 2
        return asked, able

    asked, able = asyncio.run(play())
    assert asked == pytest.approx([20e3, 24e3, 24e3, 20e3])
    assert able == pytest.approx([40e3, 36e3, 36e3, 40e3])


def test_a_pool_that_the_market_does_not_know_is_told_to_nobody_and_keeps_no_other_waiting() -> None:
    class Strange(Market):
        async def declare(self, pool: str, up_w: float, down_w: float, reason: str) -> None:
            raise ConfigError(f"no ISO name for pool {pool!r}")

    async def play() -> None:
        stage = Pool()
        await stage.beats(3)
        stage.desk.market = Strange()
        await limited(stage, 20_000.0)
        await stage.beats(2)
        assert [fact.declared for fact in positions(stage)] == [False]
        assert stage.pool.undeclared == ""

    asyncio.run(play())


def test_what_the_iso_called_below_an_award_before_a_limit_came_is_not_put_to_that_limit() -> None:
    async def play() -> dict[str, float]:
        stage = Pool()
        call = Instruction("i", "b", "pool-1", "ENERGY", HOUR, HOUR + 5 * MINUTE_NS, 30_000.0, 50.0, 1)
        stage.state.instructions["pool-1", "ENERGY"] = {HOUR: call}
        stage.state.declared["pool-1"] = ((HOUR - HOUR_NS, (50_000.0, 0.0)),)
        await stage.beats(4)
        await limited(stage, 5_000.0)  # in the last minute of the interval, long after the ISO had called for less
        await stage.beats(3)
        facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked)]
        return facts[0].withheld

    assert asyncio.run(play()) == pytest.approx({"iso_instruction": 10_000.0})


def test_power_that_a_device_shows_before_it_answered_its_release_is_not_learnt_as_its_base() -> None:
    async def play() -> None:
        stage = Pool()
        await stage.beats(3)
        base_w = stage.state.base_w.copy()
        stage.devices.answers = lambda n: np.zeros(n, np.bool_)
        stage.state.awards.clear()
        stage.clock.ns += MINUTE_NS
        await stage.beats(1)
        held = stage.state.commands.valid_until_ns > stage.clock.ns
        assert np.isnan(stage.state.commands.target_w).all() and held.sum() == 8, "let go, and no answer yet"
        rows, good = np.arange(10, dtype=np.int32), np.zeros(10, np.uint32)
        for second in range(5):
            at_ns = np.full(10, stage.clock.ns + second * SECOND_NS)
            codes = np.full(10, code("power_w"), np.uint16)
            stage.desk.readings(Readings(rows, codes, np.full(10, 4_000.0), good, at_ns, at_ns, "t"))
        assert stage.state.base_w[held] == pytest.approx(base_w[held])
        assert (stage.state.base_w[~held] > base_w[~held] + 100.0).all(), "who was never called is learnt from"

    asyncio.run(play())
