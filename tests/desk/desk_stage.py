"""A small desk to act on: a fleet in columns, a journal in memory, a clock that is told the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tieline.desk.apply import apply
from tieline.desk.desk import Desk
from tieline.desk.facts import from_record
from tieline.desk.ports import Ask
from tieline.desk.state import DeskState
from tieline.desk.unlimited import Alone, is_told_limit, unlimited_w
from tieline.fleet.claims import ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet, Group
from tieline.fleet.grouped import Groups
from tieline.fleet.ledger import Capacity, Ledger
from tieline.flow.record import Record
from tieline.resource.admission import Principal
from tieline.resource.batch import CommandBatch, CommandReports
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.command import RejectWord, Stage
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.times import HOUR_NS

START_NS = 1_700_000_000_000_000_000


class Hands:
    """A clock that shows what it is told."""

    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns


class MemoryJournal:
    """Keeps records in memory, and lets others run before it says that they are durable."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def ready(self) -> None:
        """It can always keep records."""

    async def append(self, records: Iterable[Record]) -> int:
        self.records += list(records)
        await asyncio.sleep(0)
        return len(self.records)


class Devices:
    """A command link whose devices hear what `hears` lets through, and whose answers `answers` lets through."""

    name = "devices"

    def __init__(self, count: int, clock: Hands, switched: frozenset[int] = frozenset()) -> None:
        self.clock, self.switched = clock, switched
        self.low_w, self.high_w = np.full(count, -np.inf), np.full(count, np.inf)
        self.target_w, self.until_ns = np.full(count, np.nan), np.zeros(count, np.int64)
        self.seen = np.zeros(count, np.int64)
        self.batches: list[CommandBatch] = []
        self.hears: Callable[[int], np.ndarray] = lambda n: np.ones(n, np.bool_)
        self.answers: Callable[[int], np.ndarray] = lambda n: np.ones(n, np.bool_)
        self.desk: Desk | None = None

    async def send(self, batch: CommandBatch) -> None:
        self.batches.append(batch)
        self.deliver(batch.take(self.hears(len(batch))))

    def deliver(self, batch: CommandBatch) -> None:
        batch = batch.take(self.seen[batch.rows] < batch.seq)
        rows = batch.rows
        self.seen[rows] = batch.seq
        self.target_w[rows], self.low_w[rows], self.high_w[rows] = batch.target_w, batch.low_w, batch.high_w
        self.until_ns[rows] = batch.valid_until_ns
        heard = batch.take(self.answers(len(batch)))
        if len(heard) and self.desk is not None:
            self.report(heard, Stage.ACCEPTED)

    def report(self, batch: CommandBatch, stage: Stage, observed_w: float = np.nan, native: str = "") -> None:
        count = len(batch)
        self.desk.reports(
            CommandReports(
                batch.id, self.name, batch.rows, np.full(count, stage, np.uint8),
                np.full(count, self.clock.ns, np.int64), np.full(count, RejectWord.NONE, np.uint8),
                np.full(count, observed_w), (native,) * count if native else (), (),
            )
        )  # fmt: skip


PEOPLE = {
    "dso": Principal("dso", Level.GRID_EMERGENCY),
    "owner": Principal("owner", Level.OWNER_NEED),
    "market": Principal("market", Level.MARKET),
    "iso": Principal("iso", Level.RELIABILITY),
    "operator": Principal("operator", Level.GRID_EMERGENCY, is_person=True),
}


def fleet_of(kinds: list[Kind], per_feeder: int = 1_000_000, rating_w: float = 5_000.0) -> Fleet:
    """Devices of given kinds on feeders of so many, all in one pool; generators only inject, loads only absorb."""
    count = len(kinds)
    feeders = -(-count // per_feeder)
    groups = [Group("sub-1", Kind.SUBSTATION, Purpose.ELECTRICAL, -1)]
    groups += [Group(f"feeder-{n + 1}", Kind.FEEDER, Purpose.ELECTRICAL, 0) for n in range(feeders)]
    groups.append(Group("pool-1", Kind.POOL, Purpose.POOL, -1))
    stores = np.array([kind in (Kind.BATTERY, Kind.MECHANICAL_STORAGE, Kind.HYBRID_SITE) for kind in kinds])
    makes = np.array([kind in (Kind.PV, Kind.BACKUP_GENERATOR, Kind.BIOMASS, Kind.CHP) for kind in kinds])
    return Fleet(
        [f"r{n}" for n in range(count)], np.array([KIND_CODE[kind] for kind in kinds], np.uint8),
        np.where(stores | makes, rating_w, 0.0), np.where(makes, 0.0, rating_w), np.where(stores, 2 * rating_w, 0.0),
        np.zeros(count), np.zeros(count), groups,
        {
            Purpose.ELECTRICAL: (1 + np.arange(count) // per_feeder).astype(np.int32),
            Purpose.POOL: np.full(count, len(groups) - 1, np.int32),
        },
    )  # fmt: skip


class Stage1:
    """A desk over a fleet with one link that carries all rows."""

    def __init__(self, fleet: Fleet, ledger: Ledger | None = None, switched: frozenset[int] = frozenset()) -> None:
        self.clock, self.journal = Hands(), MemoryJournal()
        self.ledger = ledger or Ledger()
        if not self.ledger.capacities:
            self.ledger.set_capacity("pool-1", Capacity(1e6, 1e6))
        self.state = DeskState.empty(fleet, ClaimBook(fleet), self.ledger)
        fleet.quality[:] = 0
        fleet.power_w[:] = 0.0
        fleet.taken_at_ns[:] = self.clock.ns
        self.desk = Desk(self.state, self.journal, self.clock, PEOPLE)
        self.devices = Devices(len(fleet), self.clock, switched)
        self.devices.desk = self.desk
        self.desk.bind(self.devices, "test", {row: fleet.id_of(row) for row in range(len(fleet))})

    def ask(self, who: str, level: Level, resource: str, kind: ClaimKind = ClaimKind.SET, **what: object) -> Ask:
        now = self.clock.ns
        base = {
            "source": f"test:{who}", "principal": who, "program": "p", "level": level, "resource": resource,
            "quantity": Quantity.P, "kind": kind, "version": now, "start_ns": now, "end_ns": now + HOUR_NS // 6,
        }  # fmt: skip
        return Ask(**{**base, **what})

    def replayed(self, ledger: Ledger) -> DeskState:
        """The state that the journal alone tells."""
        fleet = self.state.fleet
        again = DeskState.empty(fleet, ClaimBook(fleet), ledger)
        for record in self.journal.records:
            fact = from_record(record)
            if fact is not None:
                apply(again, record.id, fact, record.recorded_at_ns)
        return again


def unlimited_of_all_w(state: DeskState, low_w: float, high_w: float, now_ns: int) -> float:
    """What all devices would come to without limits, under one on all of them (W; infinite: none)."""
    groups = Groups(state.fleet, ["sub-1"])
    return float(unlimited_w(state, groups, {"sub-1": (low_w, high_w)}, now_ns)[0])


def alone_w(state: DeskState, rows: NDArray[np.int32], now_ns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each of `rows` would give and draw (W) without what limits told it, calls as well, where both are sides."""
    return Alone.of(state, rows, is_told_limit(state, rows, now_ns), now_ns).by(np.zeros(len(rows)))


def with_generation(kinds: list[Kind]) -> Stage1:
    """A desk whose feeder has a group of what gives, as a limit on generation alone needs it."""
    plain = fleet_of(kinds)
    gives = plain.max_inject_w > 0
    parents = {**plain.parents, Purpose.CURTAILMENT: np.where(gives, len(plain.groups), -1).astype(np.int32)}
    made = [*plain.groups, Group("feeder-1-generation", Kind.GENERATION, Purpose.CURTAILMENT, -1)]
    fleet = Fleet(
        plain.ids, plain.kinds, plain.max_inject_w, plain.max_absorb_w, plain.energy_wh, plain.default_w, plain.safe_w,
        made, parents,
    )  # fmt: skip
    return Stage1(fleet)


def with_sites(kinds: list[Kind], site_of: list[int]) -> Stage1:
    """Devices on one feeder, each at a site."""
    plain, sites = fleet_of(kinds), max(site_of) + 1
    first = len(plain.groups)
    made = [*plain.groups, *(Group(f"site-{n}", Kind.SITE, Purpose.SITE, -1) for n in range(sites))]
    parents = {**plain.parents, Purpose.SITE: (first + np.array(site_of)).astype(np.int32)}
    return Stage1(
        Fleet(
            plain.ids, plain.kinds, plain.max_inject_w, plain.max_absorb_w, plain.energy_wh, plain.default_w,
            plain.safe_w, made, parents,
        )
    )  # fmt: skip
