"""What a program event moves is the event's: the pool's market interval doesn't count those watts again."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_desk_declares import HOUR, Pool

from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.pay_back import pays_back_w
from tieline.desk.ports import Granted
from tieline.desk.tracking import counted_w, moved_by_program, waiting_w
from tieline.node.read_market import delivery
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

OWED_W, EVENT_W = 25_000.0, 1_500.0


class Both(Pool):
    """Five batteries serve an award of 25 kW; the five others were called in the hour before."""

    def __init__(self) -> None:
        super().__init__()
        self.state.awards["a"] = self.state.awards["a"].__class__(
            "a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, OWED_W, 50.0
        )
        self.pool.eligible[5:] = False
        self.state.rebounds_until_ns[5:] = HOUR + HOUR_NS
        self.does_w = np.zeros(10)
        """What each does beside what the pool calls it for."""

    async def beat(self) -> None:
        self.heard()
        self.state.fleet.power_w[:] += self.does_w
        self.state.base_w[:] = 0.0
        await self.cycle.beat(self.clock.ns)

    async def minutes(self, count: int) -> None:
        for _ in range(count):
            await self.beat()
            self.clock.ns += MINUTE_NS

    async def called(self, rows: list[int], level: Level = Level.PROGRAM) -> None:
        for row in rows:
            what = {"value": EVENT_W, "end_ns": self.clock.ns + HOUR_NS, "source": "openadr", "program": f"peak-{row}"}
            assert isinstance(await self.desk.ask(self.ask("market", level, f"r{row}", **what)), Granted)
        await self.beat()  # as a served desk does at each claim
        self.does_w[rows] = EVENT_W

    @property
    def tracked(self) -> list[IntervalTracked]:
        return [fact for r in self.journal.records if isinstance(fact := from_record(r), IntervalTracked)]


def test_what_an_event_has_devices_give_is_not_counted_for_the_market_as_well() -> None:
    async def play() -> tuple[list[IntervalTracked], float | None]:
        stage = Both()
        await stage.minutes(1)
        await stage.called([6, 7, 8])
        await stage.minutes(6)
        return stage.tracked, delivery(stage.state, stage.pool, stage.clock.ns)[1]

    tracked, on_screen = asyncio.run(play())
    assert len(tracked) == 1 and not {6, 7, 8} & set(tracked[0].rows.array().tolist())
    assert tracked[0].delivered_w == pytest.approx(OWED_W, rel=0.01)
    assert on_screen == pytest.approx(OWED_W, rel=0.01), "as the screen has it"


def test_what_they_gave_before_the_event_called_them_is_the_pools() -> None:
    """A battery that goes on giving for three minutes after its call, and is called by an event then."""

    async def play() -> IntervalTracked:
        stage = Both()
        stage.does_w[9] = EVENT_W
        await stage.minutes(3)
        await stage.called([9])
        await stage.minutes(4)
        return stage.tracked[0]

    fact = asyncio.run(play())
    given = dict(zip(fact.rows.array().tolist(), fact.row_w.array().tolist(), strict=True))
    assert given[9] == pytest.approx(EVENT_W * 3 / 5, rel=0.01), "three minutes before the call"


def test_what_devices_stray_from_their_base_that_nobody_calls_any_more_is_told_apart() -> None:
    async def play() -> IntervalTracked:
        stage = Both()
        stage.does_w[8] = 2_669.0
        await stage.minutes(7)
        return stage.tracked[0]

    fact = asyncio.run(play())
    assert fact.uncalled_w == pytest.approx(2_669.0)
    assert fact.delivered_w - fact.uncalled_w == pytest.approx(float(fact.row_w.array()[fact.rows.array() != 8].sum()))


@given(st.lists(st.floats(-5_000.0, 5_000.0), min_size=10, max_size=10), st.sets(st.integers(0, 9)))
def test_every_watt_of_a_device_is_counted_for_the_pool_or_for_the_event_and_never_for_both(
    does_w: list[float], named: set[int]
) -> None:
    """Named by the market as well, a device is the market's, as that stands above a program."""

    async def play() -> None:
        stage = Both()
        await stage.minutes(1)
        await stage.called(sorted(named))
        stage.heard()
        stage.state.fleet.power_w[:] = does_w
        state, rows, now_ns, share_w = stage.state, stage.pool.rows, stage.clock.ns, stage.pool.share_w
        mine = moved_by_program(state, rows, now_ns)
        assert np.flatnonzero(mine).tolist() == sorted(row for row in named if row >= 5)
        counted = counted_w(state, rows, share_w, 1.0, now_ns)
        assert counted == pytest.approx(np.where(mine, 0.0, does_w))
        assert pays_back_w(state, rows[mine], share_w[mine], 1.0, now_ns) == 0.0, "nor is it made good by others"
        assert (waiting_w(state, rows[mine], share_w[mine], 1.0, now_ns) == 0.0).all()

    asyncio.run(play())
