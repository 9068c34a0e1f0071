"""Limits on feeders as the desk shows and holds them: the tightest, by what it bounds, for as long as it was asked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from test_console_unknown import HandClock, _fleet, _hear, on_node

from tieline.desk.facts import FACTS, KINDS, from_record
from tieline.desk.ports import Ask
from tieline.desk.screens import AskLimit
from tieline.fleet.columns import Fleet, Group
from tieline.flow.record import Record
from tieline.node.operator import NodeOperator
from tieline.node.read_market import Tracked
from tieline.node.read_words import ACCOUNT, OPENADR, SESSION, says
from tieline.node.reader import NodeReader
from tieline.node.runtime import Node
from tieline.resource.admission import Principal
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS


def _with_generation() -> Fleet:
    """Two feeders of ten; the first five of `feeder-01` are its generation."""
    fleet = _fleet(2, 10)
    groups = [*fleet.groups, Group("feeder-01-generation", Kind.GENERATION, Purpose.CURTAILMENT, -1)]
    parents = {**fleet.parents, Purpose.CURTAILMENT: np.where(np.arange(20) < 5, len(groups) - 1, -1).astype(np.int32)}
    return Fleet(
        fleet.ids, fleet.kinds, fleet.max_inject_w, fleet.max_absorb_w, fleet.energy_wh, fleet.default_w, fleet.safe_w,
        groups, parents,
    )  # fmt: skip


def test_a_limit_of_four_hours_is_held_by_live_commands_for_four_hours(tmp_path: Path) -> None:
    """Nothing about the claim changes meanwhile, so that only its commands' lease tells that they must be renewed."""

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 0.0)
        granted = await operator.limit("feeder-01-generation", AskLimit(-50e3, 0.0, 240, "live-line works"), "ann")
        assert not isinstance(granted, Refusal)
        rows, began_ns = node.state.fleet.leaves("feeder-01-generation"), clock.ns
        for minute in range(1, 240):
            clock.ns = began_ns + minute * MINUTE_NS
            await _hear(node, 0.0)
            await node.beat()
            commands = node.state.commands
            assert (commands.valid_until_ns[rows] > clock.ns).all(), minute
            assert (commands.high_w[rows] <= 0.0).all(), minute
        for _ in range(30):
            clock.ns += MINUTE_NS
            await _hear(node, 0.0)
            await node.beat()
        assert (node.state.commands.high_w[rows] > 0.0).all() or (
            node.state.commands.valid_until_ns[rows] <= clock.ns
        ).all(), "what is over is renewed no more"

    on_node(tmp_path, _with_generation(), act)


def test_a_feeder_shows_the_tightest_of_its_limits_and_names_each(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        node.desk._principals["dno"] = Principal("dno", Level.ENVELOPE, frozenset({"feeder-01"}))
        await _hear(node, 1_000.0)
        assert not isinstance(await operator.limit("feeder-01", AskLimit(-50e3, 40e3, 60, "works"), "ann"), Refusal)
        dno = Ask(
            "dnp3:dno", "dno", "dno", Level.ENVELOPE, "feeder-01", Quantity.P, ClaimKind.LIMIT, 1, clock.ns,
            clock.ns + HOUR_NS, -50e3, 25e3,
        )  # fmt: skip
        assert not isinstance(await node.desk.ask(dno), Refusal)
        view = reader.feeder("feeder-01")
        assert [(limit.source, limit.high_w) for limit in view.asked] == [("dnp3:dno", 25e3), ("console", 40e3)]
        assert (view.row.limit_high_w, view.row.limit_given_w, view.limits) == (25e3, None, ())
        assert [limit.bounds for limit in view.asked] == ["net power"] * 2
        assert view.asked[1].because == "works (ann)"

    on_node(tmp_path, _with_generation(), act)


def test_a_limit_on_generation_is_named_and_counts_what_is_given_alone(tmp_path: Path) -> None:
    """Five devices give 20 kW against a limit of 0 W while five draw as much: the feeder's net power hides it."""

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await operator.limit("feeder-01-generation", AskLimit(-50e3, 0.0, 60, "live-line works"), "ann")
        await _hear(node, 0.0)
        assert reader.alarms() == []
        clock.ns += MINUTE_NS
        await _hear(node, 0.0)
        node.state.fleet.power_w[:3], node.state.fleet.power_w[3:10] = 4_000.0, -4_000.0
        view = reader.feeder("feeder-01")
        assert (view.row.limit_high_w, view.row.limit_given_w, view.row.given_w) == (None, 0.0, 12_000.0)
        ((limit),) = view.asked
        assert (limit.bounds, limit.resource, limit.devices) == ("generation", "feeder-01-generation", 5)
        assert reader.alarms() == [], "devices may take five minutes to obey"
        for _ in range(5):
            clock.ns += MINUTE_NS
            (*_, alarm) = reader.alarms() or [None]
        assert alarm is not None
        assert (alarm.subject, alarm.title) == ("feeder-01-generation", "Over its limit by 12 kW")
        assert reader.feeder("feeder-02").asked == ()

    on_node(tmp_path, _with_generation(), act)


def test_a_generation_group_clutters_no_list(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        assert [row.feeder for row in reader.overview().feeders] == ["feeder-01", "feeder-02"]
        assert [group.id for group in reader.fleet().groups] == ["feeder-01", "feeder-02"]
        assert [hit.id for hit in reader.search("feeder-", 9)] == ["feeder-01", "feeder-02"]
        assert [hit.id for hit in reader.search("FEEDER-01", 9)] == ["feeder-01"]
        for text in ("gener", "feeder-01-g", "feeder-01-generation"):
            assert [hit.id for hit in reader.search(text, 9)] == ["feeder-01-generation"], "asked for, it is found"
        assert "feeder-01" in [group.id for group in reader.resource("feeder-01-generation").ancestors]

    on_node(tmp_path, _with_generation(), act)


def test_a_target_that_nobody_commands_lies_within_the_limits(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        node.state.base_w[:] = 3_000.0
        await operator.limit("feeder-01-generation", AskLimit(-50e3, 0.0, 60, "live-line works"), "ann")
        assert reader.resource("feeder-01-generation").scada.target_w == 0.0
        assert reader.resource("feeder-02").scada.target_w == 30_000.0

    on_node(tmp_path, _with_generation(), act)


def _openadr(number: int, target: str, cause: str) -> Record:
    thing = {
        "eventName": f"dispatch {number}", "targets": [target],
        "payloadDescriptors": [{"payloadType": "DISPATCH_SETPOINT", "units": "KW"}],
        "intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [1.5]}]}],
    }  # fmt: skip
    body = msgspec.msgpack.encode(
        {"kind": "events", "id": f"event-{number}", "thing": thing, "count": number, "by": "tieline"}
    )
    return Record(f"openadr:{number}", OPENADR, f"event-{number}", 7, (cause,), body)


def test_the_trace_of_a_device_leaves_out_what_was_told_to_others(tmp_path: Path) -> None:
    """One batch of commands is told to ten devices by an OpenADR event each; 300 of others come first."""

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 0.0)
        await operator.limit("feeder-01", AskLimit(-50e3, 0.0, 60, "works"), "ann")
        await node.beat()
        batch = node.state.command_batches[int(node.state.commands.batch[3])]
        others = [_openadr(n, f"battery-{10 + n % 7}", batch) for n in range(300)]
        await node.group.append([*others, _openadr(300, "battery-3", batch)])
        told = [node.says for node in reader.why("battery-3").nodes if node.kind == OPENADR]
        assert told == ["OpenADR event dispatch 300 for battery-3: DISPATCH_SETPOINT 1.5 kW, by tieline"]
        assert [node for node in reader.why("battery-4").nodes if node.kind == OPENADR] == []
        assert "CommandsIssued" in {node.kind for node in reader.why("battery-4").nodes}

    on_node(tmp_path, _with_generation(), act)


def test_words_of_an_account_tell_its_roles_and_none_of_its_hashes() -> None:
    body = msgspec.msgpack.encode(
        {"name": "ann", "roles": ["viewer"], "password_hash": "$argon2id$x", "token_hashes": ["ab"]}
    )
    assert says(Record("a", ACCOUNT, "ann", 1, (), body)) == "account ann: viewer; 1 API tokens"


def test_words_of_a_session_tell_whose_it_is_and_nothing_of_its_cookie() -> None:
    kept = {"session_hash": "ab12", "name": "ann", "closings": 0, "until_s": 1_700_000_000.5, "used_s": 0.0}
    told = [says(Record("s", SESSION, "ann", 1, (), msgspec.msgpack.encode({**kept, "is_over": is_over})))
            for is_over in (False, True)]  # fmt: skip
    assert told == ["session of ann in use, until 2023-11-14T22:13:20Z at most", "session of ann ended"]


def test_every_kind_of_record_is_offered_as_a_filter() -> None:
    assert {*KINDS} == {*(fact.__name__ for fact in FACTS), OPENADR, ACCOUNT, SESSION}


def test_no_record_of_a_lived_day_is_told_by_the_name_of_its_class(running) -> None:
    bare = {
        r.kind
        for r in running.stage.node.journal.reader().replay()
        if says(r).replace(" ", "").lower() == r.kind.lower()
    }
    assert bare == set()


class _Counting:
    """A journal that counts what is read from it by kind."""

    def __init__(self, journal) -> None:
        self._journal, self.read = journal, 0

    def of_kind(self, kind: str, since_ns: int = 0, until_ns: int = 2**63 - 1, after_seq: int = 0):
        for record in self._journal.of_kind(kind, since_ns, until_ns, after_seq):
            self.read += 1
            yield record

    def seq_at(self, at_ns: int) -> int:
        return self._journal.seq_at(at_ns)


def test_tracked_intervals_are_read_once_and_are_those_of_a_whole_scan(running) -> None:
    journal = running.stage.node.journal.reader()
    records = list(journal.of_kind("IntervalTracked"))
    assert len(records) > 10
    at = records[len(records) // 2]
    last, counting = [at.seq], _Counting(journal)
    now_ns = records[-1].recorded_at_ns
    tracked = Tracked(counting, lambda: last[0])  # type: ignore[arg-type]
    for since_ns in (now_ns - DAY_NS, now_ns - HOUR_NS, at.recorded_at_ns):
        whole = [from_record(r) for r in records if r.recorded_at_ns >= since_ns]
        assert tracked.since(since_ns, now_ns) == whole
    assert counting.read == len(records)
    last[0] = records[-1].seq + 1
    tracked.since(now_ns - DAY_NS, now_ns)
    assert counting.read == len(records)
    assert tracked.since(now_ns, now_ns + 2 * DAY_NS) == [], "older than a day is let go"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_reading_from_before_the_command_verifies_nothing(tmp_path: Path, share: float) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 0.0)
        clock.ns += MINUTE_NS
        await operator.limit("feeder-01", AskLimit(-50e3, 0.0, 60, "works"), "ann")
        await node.beat()
        node.state.commands.stage[:10] = 2
        stages = reader.resource("feeder-01").stages
        assert (stages["issued"], stages["verified"]) == (10, 0)
        clock.ns += int(share * MINUTE_NS)
        await _hear(node, 0.0)
        assert reader.resource("feeder-01").stages["verified"] == 10

    on_node(tmp_path, _with_generation(), act)
