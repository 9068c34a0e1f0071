"""What lacks under a network operator's limit while others pay back: the limit's is what would not lack without it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_desk_declares import HOUR, Pool

from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.ports import Award
from tieline.market.settlement import is_excused
from tieline.resource.claim import ClaimKind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

SERVE, EACH_W = 8, 5_000.0
LIMIT_AT, LAST = 6, 17
"""The limit comes in the second interval; the third lies under it wholly."""


def award_of(power_w: float) -> Award:
    return Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, power_w, 50.0)


async def tracked(owed_w: float, paid_back_w: float, limited: int) -> IntervalTracked:
    """Play three intervals in which the last two of ten batteries pay back a call; return what the third came to.

    From the second one on the network operator lets the first few feed nothing in.
    """
    stage = Pool()
    state, pool = stage.state, stage.pool
    state.awards["a"] = award_of(owed_w)
    pool.eligible[SERVE:] = False
    for minute in range(LAST):
        stage.heard()
        state.rebounds_until_ns[SERVE:] = stage.clock.ns + HOUR_NS
        state.base_w[SERVE:], state.fleet.power_w[SERVE:] = 0.0, -paid_back_w / 2.0
        if minute == LIMIT_AT:
            for row in range(limited):
                await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, f"r{row}", ClaimKind.LIMIT, low=-1e6, high=0.0))
        await stage.cycle.beat(stage.clock.ns)
        stage.clock.ns += MINUTE_NS
    facts = [fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked)]
    return facts[2]


def lacks_w(fact: IntervalTracked) -> float:
    return fact.asked_w - fact.delivered_w


def test_a_limit_that_comes_while_others_pay_back_has_what_would_not_lack_without_it() -> None:
    """Eight give up to 40 kW: 30 that are owed and 8 that two pay back. A limit on four of them leaves 20."""
    fact = asyncio.run(tracked(30_000.0, 8_000.0, 4))
    assert lacks_w(fact) == pytest.approx(18_000.0, rel=0.01)
    assert fact.causes == pytest.approx({"dno_limit": 18_000.0}, rel=0.01)
    assert is_excused("dno_limit")


def test_what_lacks_without_the_limit_as_well_stays_with_those_who_pay_back() -> None:
    """Of 36 kW and 10 that are paid back 6 lack without a limit on four as well, and 26 with it: 20 are its own."""
    fact = asyncio.run(tracked(36_000.0, 10_000.0, 4))
    assert fact.causes == pytest.approx({"dno_limit": 20_000.0, "rebound": 6_000.0}, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 7), st.integers(0, 10), st.integers(0, SERVE))
@example(6, 8, 8)
def test_the_limits_part_is_the_lack_less_what_lacks_without_it(fives: int, paid_kw: int, limited: int) -> None:
    """And all causes together are the lack: played once with the limit, and once without."""
    owed_w, paid_w = fives * EACH_W, paid_kw * 1_000.0
    fact, free = (asyncio.run(tracked(owed_w, paid_w, count)) for count in (limited, 0))
    lacking_w, anyway_w = max(lacks_w(fact), 0.0), max(lacks_w(free), 0.0)
    assert sum(fact.causes.values()) == pytest.approx(lacking_w, abs=2.0)
    its_w = fact.causes.get("dno_limit", 0.0)
    assert its_w == pytest.approx(max(lacking_w - anyway_w, 0.0), abs=0.01 * owed_w)
    assert its_w <= limited * EACH_W + 1.0


def test_no_limit_has_a_part_of_what_those_pay_back_who_feed_in_freely() -> None:
    """It holds what they may draw, and they pay back within it: without it they would take no less."""

    async def play() -> IntervalTracked:
        stage = Pool()
        state = stage.state
        state.awards["a"] = award_of(40_000.0)
        stage.pool.eligible[SERVE:] = False
        for row in (8, 9):
            await stage.desk.ask(stage.ask("dso", Level.ENVELOPE, f"r{row}", ClaimKind.LIMIT, low=-4_000.0, high=1e6))
        for _ in range(7):
            stage.heard()
            state.rebounds_until_ns[SERVE:] = stage.clock.ns + HOUR_NS
            state.base_w[SERVE:], state.fleet.power_w[SERVE:] = 0.0, -2_000.0
            await stage.cycle.beat(stage.clock.ns)
            stage.clock.ns += MINUTE_NS
        return next(fact for r in stage.journal.records if isinstance(fact := from_record(r), IntervalTracked))

    fact = asyncio.run(play())
    assert fact.causes == pytest.approx({"rebound": 4_000.0}, rel=0.01)
    assert np.isclose(sum(fact.causes.values()), lacks_w(fact), atol=1.0)
