"""A market that asks to be told later is told then, and not with the next minute's beat."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from test_desk_declares import Market, Pool
from test_desk_upward import limited, positions

from tieline.desk.facts import AvailabilityDeclared, from_record
from tieline.errors import LinkDown
from tieline.rim.supervise import Supervisor
from tieline.simulate.loop import VirtualLoop, run_virtual
from tieline.times import SECOND_NS


class Busy(Market):
    """A market that asks so often to be told after so many seconds, and notes when it was called."""

    def __init__(self, times: int, after_s: float | None, clock: VirtualLoop) -> None:
        super().__init__()
        self.times, self.after_s, self.clock = times, after_s, clock
        self.called_s: list[float] = []

    async def declare(self, pool: str, up_w: float, down_w: float, reason: str) -> None:
        self.called_s.append(round(self.clock.time(), 3))
        if len(self.called_s) <= self.times:
            error = LinkDown("busy")
            error.after_s = self.after_s
            raise error
        await super().declare(pool, up_w, down_w, reason)


@pytest.mark.parametrize(
    ("times", "after_s", "called_s"),
    [
        (1, 2.0, [0.0, 2.0]), (3, 7.0, [0.0, 7.0, 14.0, 21.0]), (1, 0.0, [0.0, 2.0]), (1, 3_600.0, [0.0, 60.0]),
        (0, 2.0, [0.0]), (1, None, [0.0]),
    ],
)  # fmt: skip
def test_a_busy_market_is_told_when_it_asked_to_be_within_bounds(
    times: int, after_s: float | None, called_s: list[float]
) -> None:
    """No beat comes meanwhile; None: it was not reached, and said nothing of later."""

    async def main(loop: VirtualLoop) -> None:
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = Pool()
            await stage.beats(3)
            stage.desk.market = market = Busy(times, after_s, loop)
            stage.cycle.upward.spawn, stage.cycle.upward.sleep = supervisor.spawn, asyncio.sleep
            await limited(stage, 20_000.0)
            stage.heard()
            await stage.cycle.beat(stage.clock.ns)
            beat_ns, began_s = stage.clock.ns, loop.time()
            stage.clock.ns += 30 * SECOND_NS
            await asyncio.sleep(100.0)
            assert [at - began_s for at in market.called_s] == pytest.approx(called_s, abs=1e-3)
            assert (stage.pool.undeclared == "") is (times < len(called_s))
            assert len(market.told) == int(times < len(called_s))
            assert [fact.declared for fact in positions(stage)] == [times == 0], "recorded once, as it was then"
            facts = (from_record(record) for record in stage.journal.records)
            said = [fact for fact in facts if isinstance(fact, AvailabilityDeclared) and fact.at_ns >= beat_ns]
            assert [fact.at_ns - beat_ns for fact in said] == (
                [] if after_s is None else [0] if times == 0 else [30 * SECOND_NS]
            ), "and when it was told is told"

    run_virtual(main)


def test_a_beat_that_comes_before_tells_it_and_the_wait_then_says_nothing_more() -> None:
    async def main(loop: VirtualLoop) -> None:
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            stage = Pool()
            await stage.beats(3)
            stage.desk.market = market = Busy(1, 30.0, loop)
            stage.cycle.upward.spawn, stage.cycle.upward.sleep = supervisor.spawn, asyncio.sleep
            await limited(stage, 20_000.0)
            stage.heard()
            await stage.cycle.beat(stage.clock.ns)
            await asyncio.sleep(5.0)
            stage.clock.ns += 5 * SECOND_NS
            await stage.cycle.beat(stage.clock.ns)
            await asyncio.sleep(100.0)
            assert len(market.called_s) == 2
            assert len(market.told) == 1

    run_virtual(main)
