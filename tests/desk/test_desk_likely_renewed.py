"""A limit that its operator renews, as over DNP3, is counted on to hold in an award that begins after its lease ends."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import START_NS, Stage1, fleet_of

from tieline.desk.cycle import Cycle
from tieline.desk.likely import Follows, Likely, likely
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, Granted, Offer, Segment
from tieline.pool.merit import merit_price
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, floor_ns

AHEAD_NS, LEASE_NS = 30 * MINUTE_NS, 5 * MINUTE_NS


def told(renewals: int, lease_ns: int = LEASE_NS, low_w: float = -100_000.0) -> tuple[Likely, float]:
    """Return what is likely of 300 kW that begin in half an hour, and what the pool can give now (W): six of its eight
    stores of 100 kW are held on a feeder that must draw 60 kW, by a limit that was renewed so often."""
    plain = fleet_of([Kind.BATTERY] * 8, 6, 100_000.0)
    plain.max_absorb_w[:], plain.energy_wh[:] = 100_000.0, 400_000.0
    stage = Stage1(plain)
    state, fleet = stage.state, stage.state.fleet
    fleet.power_w[:], fleet.energy_available_wh[:], fleet.taken_at_ns[:] = 0.0, 300_000.0, START_NS
    rows = np.arange(8, dtype=np.int32)
    pool = PoolDesk("pool-1", rows, merit_price(plain.kinds), np.ones(8, np.bool_), np.zeros(8))
    cycle = Cycle(stage.desk, {"pool-1": pool})

    async def act() -> tuple[Likely, float]:
        for _ in range(1 + renewals):
            now_ns = stage.clock.ns
            ask = stage.ask(
                "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=low_w, high=-60_000.0, end_ns=now_ns + lease_ns
            )
            assert isinstance(await stage.desk.ask(ask), Granted)
            await cycle.beat(now_ns)
            stage.clock.ns += MINUTE_NS
            fleet.taken_at_ns[:] = stage.clock.ns
        now_ns, start_ns = stage.clock.ns, floor_ns(stage.clock.ns + AHEAD_NS, 5 * MINUTE_NS)
        over = (start_ns, start_ns + HOUR_NS)
        state.offers["o"] = Offer("o", "pool-1", "ENERGY", *over, (Segment(300_000.0, 50.0),))
        state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", *over, 300_000.0, 50.0)
        up_w = float(cycle.room(pool, now_ns, 1.0).up_w.sum())
        return likely(state, pool, Follows(), now_ns)["a"], up_w

    return asyncio.run(act())


def test_what_is_likely_is_what_a_limit_leaves_that_was_renewed_and_why_is_said() -> None:
    found, up_w = told(renewals=2)
    assert up_w == 200_000.0
    assert found.likely_w == 200_000.0 and found.high_w < 215_000.0
    assert found.lacks_w == {"dno_limit": 100_000.0}


def test_what_was_told_once_to_end_before_it_ends_before_it() -> None:
    found, up_w = told(renewals=0)
    assert (up_w, found.likely_w, found.lacks_w) == (200_000.0, 300_000.0, {})


def test_one_that_lasts_until_then_holds_whether_it_is_renewed_or_not() -> None:
    for renewals in (0, 2):
        assert told(renewals, lease_ns=HOUR_NS)[0].likely_w == 200_000.0
