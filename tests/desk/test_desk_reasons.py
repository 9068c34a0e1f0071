"""Every command and every turn says, of each of its rows, what it is for: what decides, or what let go."""

from __future__ import annotations

import asyncio

import numpy as np
from desk_stage import Stage1, fleet_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_desk_switched import _beat

from tieline.desk.facts import ClaimsEnded, ClaimsPlaced, CommandsIssued, ReleaseStaged, from_record
from tieline.desk.reasons import joined
from tieline.fleet.ledger import Ledger
from tieline.flow.record import Record
from tieline.node.read_trace import of_resource
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS, MINUTE_NS

PER_FEEDER, FEEDERS = 9, 2
COUNT = PER_FEEDER * FEEDERS
ABOUT_ROWS = (ClaimsPlaced, ClaimsEnded, CommandsIssued, ReleaseStaged)
WISHES = ["limit", "set", "gate", "lift", "unset", "open", "none"]
steps = st.lists(
    st.tuples(st.sampled_from(WISHES), st.integers(0, COUNT + FEEDERS - 1), st.integers(2, 40), st.integers(1, 12)),
    min_size=1, max_size=14,
)  # fmt: skip


def reasons_of(record: Record) -> dict[int, tuple[str, ...]]:
    """The causes of each row of a record."""
    fact = from_record(record)
    assert isinstance(fact, CommandsIssued | ReleaseStaged)
    rows = fact.rows.array().tolist()
    if fact.causes is None:
        return dict.fromkeys(rows, record.caused_by)
    of = fact.causes.of.array().tolist()
    return {row: tuple(record.caused_by[at] for at in fact.causes.sets[one]) for row, one in zip(rows, of, strict=True)}


async def act(stage: Stage1, wish: str, where: int, lasts_min: int) -> None:
    """Somebody asks for a device or a feeder, or withdraws what he asked."""
    resource = f"r{where}" if where < COUNT else f"feeder-{where - COUNT + 1}"
    end_ns = stage.clock.ns + lasts_min * MINUTE_NS
    match wish:
        case "limit":
            await stage.desk.ask(
                stage.ask("dso", Level.ENVELOPE, resource, ClaimKind.LIMIT, low=0.0, high=9e9, end_ns=end_ns)
            )
        case "set":
            await stage.desk.ask(stage.ask("market", Level.MARKET, resource, value=-900.0, end_ns=end_ns))
        case "gate":
            out = {"quantity": Quantity.CONNECT, "value": 0.0, "end_ns": end_ns}
            await stage.desk.ask(stage.ask("owner", Level.OWNER_NEED, resource, ClaimKind.GATE, **out))
        case "lift":
            await stage.desk.withdraw("test:dso", "p", resource, Quantity.P, "f")
        case "unset":
            await stage.desk.withdraw("test:market", "p", resource, Quantity.P, "f")
        case "open":
            await stage.desk.withdraw("test:owner", "p", resource, Quantity.CONNECT, "f")


@settings(max_examples=60)
@given(steps, st.integers(0, PER_FEEDER))
def test_each_row_of_a_command_or_turn_has_a_reason_and_no_reason_speaks_of_others_alone(
    drawn: list[tuple[str, int, int, int]], tanks: int
) -> None:
    kinds = ([Kind.WATER_HEATER] * tanks + [Kind.BATTERY] * (PER_FEEDER - tanks)) * FEEDERS

    async def play() -> Stage1:
        stage = Stage1(fleet_of(kinds, per_feeder=PER_FEEDER))
        stage.state.base_w[:] = -1_500.0
        for wish, where, lasts_min, minutes in drawn:
            await act(stage, wish, where, lasts_min)
            for _ in range(minutes):
                await _beat(stage, np.where(np.isnan(stage.devices.target_w), -1_500.0, stage.devices.target_w))
        return stage

    stage = asyncio.run(play())
    records = {record.id: record for record in stage.journal.records}
    for record in records.values():
        if record.kind not in ("CommandsIssued", "ReleaseStaged"):
            continue
        for row, causes in reasons_of(record).items():
            assert causes, f"row {row} of {record.id} has no reason"
            for cause in causes:
                assert cause in records
                fact = from_record(records[cause])
                assert isinstance(fact, ABOUT_ROWS)
                assert fact.rows is None or row in fact.rows.array()


def test_who_comes_back_in_turn_is_told_what_ended_and_never_another_feeders_limit(tmp_path) -> None:
    """Two feeders are held by the same hour's work; one limit is withdrawn, the other's lease runs out."""

    async def play() -> tuple[Stage1, dict[str, str]]:
        stage, ids = Stage1(fleet_of([Kind.WATER_HEATER] * COUNT, per_feeder=PER_FEEDER)), {}
        stage.state.base_w[:] = -1_500.0
        for feeder, lasts_ns in (("feeder-1", 3 * HOUR_NS), ("feeder-2", 4 * MINUTE_NS)):
            end_ns = stage.clock.ns + lasts_ns
            granted = await stage.desk.ask(
                stage.ask("dso", Level.ENVELOPE, feeder, ClaimKind.LIMIT, low=0.0, high=9e9, end_ns=end_ns)
            )
            ids[feeder] = granted.claim
        for _ in range(3):
            await _beat(stage, np.zeros(COUNT))
        await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
        for _ in range(90):
            await _beat(stage, np.zeros(COUNT))
        return stage, ids

    stage, asked = asyncio.run(play())
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append(stage.journal.records)
    for row in range(COUNT):
        mine = f"feeder-{row // PER_FEEDER + 1}"
        other = next(feeder for feeder in asked if feeder != mine)
        told = of_resource(stage.state, journal, f"r{row}", stage.desk, stage.clock.ns)
        ids, kinds = {node.id for node in told.nodes}, {node.kind for node in told.nodes}
        assert asked[mine] in ids and asked[other] not in ids
        assert "ReleaseStaged" in kinds
        assert ("ClaimsEnded" in kinds) == (mine == "feeder-1"), "a lease that ran out has no record of its end"
    journal.close()


def test_who_waits_for_his_turn_is_told_that_and_what_let_him_go(tmp_path) -> None:
    async def play() -> Stage1:
        stage = Stage1(fleet_of([Kind.WATER_HEATER] * COUNT, per_feeder=PER_FEEDER))
        stage.state.base_w[:] = -1_500.0
        end_ns = stage.clock.ns + 3 * HOUR_NS
        await stage.desk.ask(
            stage.ask("dso", Level.ENVELOPE, "feeder-2", ClaimKind.LIMIT, low=0.0, high=9e9, end_ns=end_ns)
        )
        for _ in range(3):
            await _beat(stage, np.zeros(COUNT))
        await stage.desk.withdraw("test:dso", "p", "feeder-2", Quantity.P, "f")
        await _beat(stage, np.zeros(COUNT))
        return stage

    stage = asyncio.run(play())
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append(stage.journal.records)
    waits = np.flatnonzero(stage.state.release_at_ns > stage.clock.ns)
    assert len(waits) > PER_FEEDER // 2
    for row in waits.tolist():
        kinds = {node.kind for node in of_resource(stage.state, journal, f"r{row}", stage.desk, stage.clock.ns).nodes}
        assert {"ReleaseStaged", "ClaimsEnded", "AskWithdrawn"} <= kinds
    journal.close()


def test_after_a_restart_nobody_is_told_again_of_a_lease_that_ran_out_before() -> None:
    async def play() -> Stage1:
        stage = Stage1(fleet_of([Kind.BATTERY] * COUNT, per_feeder=PER_FEEDER))
        await act(stage, "limit", COUNT, lasts_min=3)
        for _ in range(6):
            await _beat(stage, np.zeros(COUNT))
        return stage

    stage = asyncio.run(play())
    again = stage.replayed(Ledger())
    again.claims.expire(stage.clock.ns)
    assert (stage.state.claims.ended == -1).all(), "each was told that it may draw again"
    assert (again.claims.ended == -1).all()


@given(st.lists(st.tuples(*[st.integers(-2, 4)] * 4), min_size=1, max_size=40), st.integers(0, 10**9))
def test_causes_say_of_each_row_exactly_what_its_columns_name(drawn: list[tuple[int, ...]], far: int) -> None:
    """Two columns of one kind, two of others; by a plain loop over the rows."""
    table = np.array(drawn, np.int32)
    table[table > 2] += far
    names = [lambda code: (f"a{code}",)] * 2 + [lambda code: (f"b{code}", f"a{code}"), lambda code: (f"c{code}",)]
    causes, of = joined([(table[:, at], name) for at, name in enumerate(names)], 2)
    assert len(set(causes)) == len(causes)
    for row, codes in enumerate(table.tolist()):
        expected = {name for code, told in zip(codes, names, strict=True) if code >= 0 for name in told(code)}
        found = range(len(causes)) if of is None else of.sets[int(of.of.array()[row])]
        assert {causes[at] for at in found} == expected
    lowest = sorted({code for code in table[:, :2].ravel().tolist() if code >= 0})
    assert list(causes[: len(lowest)]) == [f"a{code}" for code in lowest], "claims come first, in order of placing"
