"""A limit is told since when it was asked, whenever its caps moved or its lease was renewed since; a target as one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from test_why_parts import START_NS, asked, play
from test_why_stands import ask

from tieline.desk.ports import Ask, Granted
from tieline.desk.screens import AskLimit
from tieline.desk.state import LAPSED
from tieline.node.operator import NodeOperator
from tieline.node.read_resource import resource_view
from tieline.node.read_trace import told_of
from tieline.node.reader import NodeReader, Sources
from tieline.node.runtime import Node
from tieline.resource.batch import Readings
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.resource.point import code
from tieline.times import MINUTE_NS, SECOND_NS, iso, parse_iso

ASKED_NS = START_NS + 2 * SECOND_NS
NAMES = ("feeder-1", "home-1")
ALL_ASKED = {name: {(iso(ASKED_NS), iso(ASKED_NS))} for name in NAMES}


def measured(node: Node, *powers_w: float) -> None:
    rows, now_ns = np.arange(len(powers_w), dtype=np.int32), node.clock.now_ns()
    point, at = np.full(len(rows), code("power_w"), np.uint16), np.full(len(rows), now_ns)
    node.desk.readings(Readings(rows, point, np.array(powers_w), np.zeros(len(rows), np.uint32), at, at, "meter"))


def of_master(node: Node, minutes: float = 2.0, **other: object) -> Ask:
    """What a master asks whose association renews it: from now on, for a short lease."""
    now_ns = node.clock.now_ns()
    what = {"low": -9e9, "high": 4_000.0, "kind": ClaimKind.LIMIT, "resource": "feeder-1", **other}
    wish = structs.replace(
        ask(node, 0.0), source="dnp3:dno", program="limit", level=Level.ENVELOPE,
        start_ns=now_ns, version=now_ns, end_ns=now_ns + int(minutes * MINUTE_NS), people=(), because="DNP3 operate",
    )  # fmt: skip
    return structs.replace(wish, **what)


def instants(node: Node) -> dict[str, set[tuple[str, str]]]:
    """Since when and when it was asked, of all limits on each: as the API says, and what the screen shows."""
    state, now_ns, found = node.state, node.clock.now_ns(), {}
    for name in NAMES:
        over_api = told_of(state, node.journal, [], name, now_ns)
        screen = resource_view(state, {}, name, {}, now_ns)
        found[name] = {(limit["by"]["from"], limit["by"]["asked"]) for limit in over_api["limits"] if limit["by"]}
        found[name] |= {(iso(claim.start_ns), iso(claim.start_ns)) for claim in screen.claims if claim.kind == "limit"}
    return found


def shown_on_feeder(operator: NodeOperator) -> list[tuple[str, float | None]]:
    """Each limit that the screen of the feeder shows: since when, and the sum of the upper caps that hold it."""
    view = NodeReader(operator.node, Sources(utility="w", setting="LIVE", zone="UTC")).feeder("feeder-1")
    return [(iso(one.start_ns), one.caps_high_w) for one in view.asked] + [(one.id, None) for one in view.limits]


def placed_ns(node: Node) -> set[int]:
    return {batch.start_ns for batch, alive in node.state.claims.batches() if alive.any()}


def test_a_limit_whose_caps_have_moved_is_told_since_it_was_asked(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        measured(node, 4_000.0, 0.0, 0.0)
        await asyncio.sleep(2.0)
        assert isinstance(await operator.limit("feeder-1", AskLimit(-9e6, 4e3, 10, "works"), "ann"), Granted)
        for _ in range(6):
            measured(node, 0.0, 4_000.0, 0.0)
            await asyncio.sleep(20.0)
            await node.beat()
        assert min(placed_ns(node)) > ASKED_NS, "its caps have moved"
        # Nobody acknowledges here what one gave up, so that what another could grow by is held by neither.
        (caps_w,) = {float(batch.high[alive].sum()) for batch, alive in node.state.claims.batches() if alive.any()}
        assert 0.0 < caps_w <= 4e3
        assert shown_on_feeder(operator) == [(iso(ASKED_NS), pytest.approx(caps_w))], "once, with its caps"
        assert instants(node) == ALL_ASKED

    play(tmp_path, act)
    for name in NAMES:
        assert f"by console (ENVELOPE) since {iso(ASKED_NS)} until" in asked(tmp_path, name)
        limits = [limit["by"] for limit in json.loads(asked(tmp_path, name, "--json"))["limits"] if limit["by"]]
        assert {(by["from"], by["asked"]) for by in limits} == {(iso(ASKED_NS), iso(ASKED_NS))}


def test_a_limit_in_the_place_of_another_that_people_asked_for_says_so(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        measured(node, 0.0, 0.0, 0.0)
        first = await operator.limit("feeder-1", AskLimit(-9e6, 4e3, 60, "crew at work"), "ann")
        second = await operator.limit("feeder-1", AskLimit(-9e6, 9e6, 5, "a look"), "bob")
        assert isinstance(first, Granted) and isinstance(second, Granted)
        assert first.replaces == ""
        assert "-9000000 to 4000 W" in second.replaces and "crew at work (ann)" in second.replaces
        assert await operator.release("feeder-1", "bob") is True
        third = await operator.limit("feeder-1", AskLimit(-9e6, 4e3, 60, "crew at work"), "ann")
        assert isinstance(third, Granted) and third.replaces == "", "what was released is replaced by nothing"

    play(tmp_path, act)


def test_a_limit_that_its_master_renews_is_told_since_it_was_asked_and_anew_when_it_says_something_else(
    tmp_path: Path,
) -> None:
    told = []

    async def act(node: Node, operator: NodeOperator) -> None:
        measured(node, 3_000.0, 0.0, 0.0)
        await asyncio.sleep(2.0)
        for _ in range(3):
            assert isinstance(await node.desk.ask(of_master(node)), Granted)
            await node.beat()
            told.append(instants(node))
            await asyncio.sleep(60.0)
        assert isinstance(await node.desk.ask(of_master(node, high=2_000.0)), Granted)
        told.append(instants(node))
        await asyncio.sleep(60.0)
        assert isinstance(await node.desk.ask(of_master(node, high=2_000.0)), Granted)
        key = ("dnp3:dno", "limit", "feeder-1", "P")
        await node.desk.withdraw(*key[:3], Quantity.P, "", LAPSED)
        await node.desk.settle()
        told.append({name: {(one["from"], one["from"]) for one in _ended(node, name)} for name in NAMES})

    play(tmp_path, act)
    assert told[:3] == [ALL_ASKED] * 3
    tightened = iso(ASKED_NS + 3 * MINUTE_NS)
    assert told[3:] == [{name: {(tightened, tightened)} for name in NAMES}] * 2
    assert f"limit granted to dnp3:dno (ENVELOPE, limit) on feeder-1 from {tightened} until" in asked(
        tmp_path, "home-1"
    )


def _ended(node: Node, name: str) -> list[dict[str, str]]:
    ended = told_of(node.state, node.journal, [], name, node.clock.now_ns())["ended"]
    assert len(ended) == 1
    return list(ended)


def test_a_limit_that_is_to_begin_later_is_told_from_then_on_and_when_it_was_asked(tmp_path: Path) -> None:
    begins_ns = START_NS + 2 * MINUTE_NS

    async def act(node: Node, operator: NodeOperator) -> None:
        assert isinstance(await node.desk.ask(of_master(node, 10.0, start_ns=begins_ns)), Granted)

    play(tmp_path, act)
    at = iso(begins_ns + MINUTE_NS)
    (limit,) = json.loads(asked(tmp_path, "feeder-1", "--at", at, "--json"))["limits"]
    assert (limit["by"]["from"], limit["by"]["asked"]) == (iso(begins_ns), iso(START_NS))


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"kind": ClaimKind.SET, "value": 3e3}, "  target on 2 of them: 3000 W by dnp3:dno (UTILITY) since"),
        ({"kind": ClaimKind.GATE}, "  on 2 of them what is weaker is held out by dnp3:dno (UTILITY) since"),
    ],
)
def test_what_stands_on_a_group_as_a_whole_and_is_no_limit_is_told_as_what_it_is(
    tmp_path: Path, what: dict[str, object], says: str
) -> None:
    """A target was told as a limit, open to open."""
    is_gate = what["kind"] is ClaimKind.GATE
    quantity = {"quantity": Quantity.CONNECT, "value": 0.0} if is_gate else {"low": -np.inf}

    async def act(node: Node, operator: NodeOperator) -> None:
        await asyncio.sleep(2.0)
        for _ in range(2):
            wish = of_master(node, level=Level.UTILITY, **{**quantity, **what})
            said = await node.desk.ask(wish)
            assert isinstance(said, Granted), str(said)
            await node.beat()
            await asyncio.sleep(30.0)

    play(tmp_path, act)
    told, answer = asked(tmp_path, "feeder-1"), json.loads(asked(tmp_path, "feeder-1", "--json"))
    assert f"{says} {iso(ASKED_NS)}" in told
    assert "limit on" not in told and answer["limits"] == []
    (found,) = answer["gates" if is_gate else "targets"]
    assert (found["on"], found["resources"], found["by"]["from"]) == ("feeder-1", 2, iso(ASKED_NS))
    assert is_gate or found["value"] == found["share"] == 3_000.0


def test_an_instant_after_the_last_record_is_answered_with_until_when_anything_is_recorded(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        assert isinstance(await node.desk.ask(of_master(node)), Granted)
        await node.desk.settle()
        await asyncio.sleep(60)
        assert isinstance(await node.desk.ask(of_master(node)), Granted)
        await node.desk.settle()

    play(tmp_path, act)
    for name in NAMES:
        last = json.loads(asked(tmp_path, name, "--json"))
        assert last["recorded_until"] is None
        ends = last["at"]
        for at_ns, until in ((parse_iso(ends), ends), (parse_iso(ends) - 30 * SECOND_NS, None), (START_NS * 2, ends)):
            answer = json.loads(asked(tmp_path, name, "--at", iso(at_ns), "--json"))
            assert answer["recorded_until"] == until
            said = f"nothing is recorded after {ends}" in asked(tmp_path, name, "--at", iso(at_ns))
            assert said is (until is not None)


def test_an_instant_before_the_first_record_is_not_answered_with_who_ran_by_himself(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        await asyncio.sleep(60)
        assert isinstance(await node.desk.ask(of_master(node)), Granted)
        await node.desk.settle()

    play(tmp_path, act)
    first_ns = None
    for name in (*NAMES, "pool-1"):
        before = json.loads(asked(tmp_path, name, "--at", "1990-01-01T00:00:00Z", "--json"))
        first_ns = first_ns or parse_iso(before["recorded_from"])
        assert (before["recorded_from"], before["recorded_until"]) == (iso(first_ns), None)
        for at_ns, is_before in ((first_ns - 1, True), (first_ns, False), (first_ns + SECOND_NS, False)):
            answer = json.loads(asked(tmp_path, name, "--at", iso(at_ns), "--json"))
            assert answer["recorded_from"] == (iso(first_ns) if is_before else None)
            said = asked(tmp_path, name, "--at", iso(at_ns))
            assert (f"nothing is recorded before {iso(first_ns)}" in said) is is_before
            assert not is_before or not any(word in said for word in ("themselves", "itself", "nobody"))
    assert first_ns is not None and first_ns > START_NS
