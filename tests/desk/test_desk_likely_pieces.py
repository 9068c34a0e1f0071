"""What is likely of a large pool is worked out behind each beat, piece by piece, and no command waits for a long one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from desk_stage import Stage1, fleet_of

from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award
from tieline.desk.state import DeskState
from tieline.node.read_commitments import Commitments
from tieline.node.read_market import Tracked
from tieline.pool.merit import merit_price
from tieline.resource.identity import Kind
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS, MINUTE_NS

START_NS, HOURS, PIECE_S = 1_722_268_800 * 1_000_000_000 // HOUR_NS * HOUR_NS, 6, 0.1
MIX = (Kind.THERMOSTAT, Kind.WATER_HEATER, Kind.EV_CHARGER, Kind.INTERRUPTIBLE_LOAD, Kind.BATTERY)


def sold(devices: int) -> tuple[DeskState, PoolDesk]:
    """A pool of so many devices with awards for the next hours, of which the first runs."""
    state = Stage1(fleet_of([MIX[at % len(MIX)] for at in range(devices)])).state
    fleet = state.fleet
    fleet.power_w[:] = state.base_w[:] = np.where(fleet.energy_wh > 0.0, 0.0, -1_000.0)
    fleet.energy_available_wh[fleet.energy_wh > 0.0] = 5_000.0
    fleet.taken_at_ns[:], fleet.quality[:] = START_NS, 0
    for hour in range(HOURS):
        since_ns = START_NS + hour * HOUR_NS
        name = f"a{hour}"
        state.awards[name] = Award(name, "o", "pool-1", "ENERGY", since_ns, since_ns + HOUR_NS, 400.0 * devices, 50.0)
    rows = np.arange(devices, dtype=np.int32)
    price = merit_price(fleet.kinds)
    return state, PoolDesk("pool-1", rows, price, np.ones(devices, np.bool_), np.zeros(devices))


@pytest.fixture
def tracked(tmp_path: Path) -> Tracked:
    journal = SqliteJournal(tmp_path / "journal.db")
    return Tracked(journal, lambda: journal.last_seq)


def test_of_fifty_thousand_devices_no_piece_takes_a_tenth_of_a_second(tracked: Tracked) -> None:
    """By the processor's time, as others may use this machine meanwhile; whoever waits comes in between."""
    (state, pool), longest_s, turns = sold(50_000), 0.0, 0

    async def others() -> None:
        nonlocal longest_s, turns
        while True:
            began_s = time.process_time()
            await asyncio.sleep(0)
            longest_s, turns = max(longest_s, time.process_time() - began_s), turns + 1

    async def play() -> float:
        nonlocal longest_s
        made = Commitments(tracked)
        await made.make(state, pool, START_NS - MINUTE_NS, 0, None)  # what is made once, as tables are, is not counted
        waits = asyncio.create_task(others())
        await asyncio.sleep(0)
        began_s = time.process_time()
        await made.make(state, pool, START_NS, 1, None)
        waits.cancel()
        took_s, longest = time.process_time() - began_s, longest_s
        told = made.near(state, pool, START_NS, 1, None)
        assert len(told) == HOURS and all(one.likely_w is not None for one in told), "all of it, at the same beat"
        began_s = time.process_time()
        made.near(state, pool, START_NS + MINUTE_NS // 2, 1, None)
        assert time.process_time() - began_s < 0.01, "and not anew within the minute"
        longest_s = longest
        return took_s

    took_s = asyncio.run(play())
    assert longest_s < PIECE_S, (longest_s, took_s)
    assert turns > HOURS


def test_made_piece_by_piece_behind_a_beat_it_is_what_it_is_at_once(tracked: Tracked) -> None:
    state, pool = sold(50)
    by_pieces = Commitments(tracked, many=0)
    asyncio.run(by_pieces.make(state, pool, START_NS, 1, None))
    found = by_pieces.near(state, pool, START_NS, 1, None)
    assert found == Commitments(tracked).of(state, pool, START_NS, 1, None)
    assert all(one.likely_w is not None for one in found)
