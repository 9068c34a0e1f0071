"""A claim whose lease ends unrenewed says so once, in the journal and in the state that is rebuilt from it."""

import asyncio
from dataclasses import dataclass

import numpy as np
from desk_stage import START_NS, Stage1, fleet_of
from msgspec.structs import replace

from tieline.desk.cycle import Cycle
from tieline.desk.facts import AskLapsed, from_record
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.state import LAPSED
from tieline.fleet.ledger import Ledger
from tieline.flow.record import Record
from tieline.node.read_words import says
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import MINUTE_NS, iso

LEASE_NS = 5 * MINUTE_NS


@dataclass
class Room:
    stage: Stage1
    cycle: Cycle

    async def ask(self, at_ns: int, version: int) -> None:
        self.stage.clock.ns = START_NS + at_ns
        wish = self.stage.ask("dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT)
        wish = replace(
            wish, low=-4_000.0, high=4_000.0, version=version, start_ns=self.stage.clock.ns,
            end_ns=self.stage.clock.ns + LEASE_NS,
        )  # fmt: skip
        await self.stage.desk.ask(wish)

    async def beat(self, at_ns: int) -> None:
        self.stage.clock.ns = START_NS + at_ns
        await self.cycle.beat(self.stage.clock.ns)

    def lapses(self) -> list[Record]:
        return [record for record in self.stage.journal.records if record.kind == "AskLapsed"]


def raised() -> Room:
    stage = Stage1(fleet_of([Kind.BATTERY, Kind.BATTERY]))
    pool = PoolDesk("pool-1", np.arange(2, dtype=np.int32), np.zeros(2), np.ones(2, np.bool_), np.zeros(2))
    return Room(stage, Cycle(stage.desk, {"pool-1": pool}))


def test_a_lapse_is_recorded_once_with_whose_it_was_and_when() -> None:
    room = raised()

    async def play() -> None:
        await room.ask(0, 1)
        for at_ns in (LEASE_NS - 1, LEASE_NS + MINUTE_NS, LEASE_NS + 2 * MINUTE_NS):
            await room.beat(at_ns)

    asyncio.run(play())
    (record,) = room.lapses()
    assert from_record(record) == AskLapsed("test:dso", "p", "feeder-1", "P", START_NS + LEASE_NS)
    granted = next(one for one in room.stage.journal.records if one.kind == "AskGranted")
    assert (record.subject, granted.id in record.caused_by) == ("feeder-1", True)
    assert not room.stage.state.asks
    rebuilt = room.stage.replayed(Ledger())
    assert not rebuilt.asks
    assert rebuilt.ended == room.stage.state.ended
    (ended,) = rebuilt.ended.values()
    assert (ended.ask.source, ended.at_ns) == ("test:dso", START_NS + LEASE_NS)


def test_what_is_renewed_in_time_lapses_once_at_its_end_and_what_is_withdrawn_never() -> None:
    room = raised()

    async def play() -> None:
        for version in range(1, 20):  # an hour and a half of renewals: no record but theirs
            await room.ask(version * (LEASE_NS - 1), version)
            await room.beat(version * (LEASE_NS - 1))
        assert not room.lapses()
        assert await room.stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        await room.beat(100 * LEASE_NS)

    asyncio.run(play())
    assert not room.lapses()


def test_what_lapsed_can_be_asked_anew_and_is_no_lapse_then() -> None:
    room = raised()

    async def play() -> None:
        await room.ask(0, 1)
        await room.beat(2 * LEASE_NS)
        await room.ask(3 * LEASE_NS, 2)
        await room.beat(3 * LEASE_NS + 1)

    asyncio.run(play())
    assert len(room.lapses()) == 1
    assert [live.ask.version for live in room.stage.state.asks.values()] == [2]
    assert not room.stage.state.ended


def test_a_source_that_falls_silent_lapses_in_the_same_record_and_words_as_one_that_is_not_renewed() -> None:
    room = raised()
    stage, at_ns = room.stage, START_NS + MINUTE_NS

    async def play() -> None:
        await room.ask(0, 1)
        stage.clock.ns = at_ns
        assert await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "frame", LAPSED)
        assert not await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "frame", LAPSED)
        await room.beat(2 * MINUTE_NS)

    asyncio.run(play())
    (record,) = room.lapses()
    fact = from_record(record)
    assert fact == AskLapsed("test:dso", "p", "feeder-1", "P", at_ns)
    assert says(record) == f"P claim of test:dso (p) lapsed at {iso(at_ns)}: {LAPSED}"
    assert "AskWithdrawn" not in {one.kind for one in stage.journal.records}
    assert not list(stage.state.claims.batches()), "its limit is gone at once, before its lease is over"
    (ended,) = stage.replayed(Ledger()).ended.values()
    assert (ended.at_ns, ended.why) == (at_ns, LAPSED)
