"""What `why` says of a share that stands as an earlier batch placed it, and of an interval that was not counted whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from test_why_parts import START_NS, asked, play

from tieline.desk.entry import Entry
from tieline.desk.facts import AwardTaken, BatchTaken, ClaimsPlaced, IntervalTracked
from tieline.desk.packed import Packed
from tieline.desk.ports import Award, BatchAnswer, DispatchBatch, Instruction
from tieline.desk.redispatch import SOURCE
from tieline.ids import derive
from tieline.node.operator import NodeOperator
from tieline.node.read_trace import told_of
from tieline.node.runtime import Node
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

END_NS = START_NS + HOUR_NS


@dataclass
class Called:
    """A pool with an award, called by batches one after the other; the share of `home-1` is placed by the first."""

    node: Node

    async def award(self) -> None:
        award = Award("a", "o", "pool-1", "ENERGY", START_NS - HOUR_NS, END_NS, 2e3, 50.0)
        await self.node.desk.commit([Entry(derive("award", "a"), AwardTaken(award, None, "f"), "pool-1")])

    async def batch(self, uid: str, revision: int) -> None:
        call = Instruction(f"i{uid}", uid, "pool-1", "ENERGY", START_NS - HOUR_NS, END_NS, 2e3, 50.0, revision)
        batch = DispatchBatch(uid, START_NS, START_NS, END_NS, (call,), "f")
        fact = BatchTaken(batch, BatchAnswer(uid, (call.id,), ()))
        await self.node.desk.commit([Entry(derive("batch", uid), fact, "pool-1", (derive("award", "a"),))])

    async def share(self, uid: str) -> None:
        now_ns, row = self.node.clock.now_ns(), np.array([self.node.state.fleet.row("home-1")], np.int32)
        endless, because = np.array([np.inf]), derive("batch", uid)
        fact = ClaimsPlaced(
            "claims-1", SOURCE, "desk", "pool-1", int(Level.MARKET), 0, Quantity.P.value, ClaimKind.SET.value, because,
            1, now_ns, now_ns, END_NS, Packed.of(row), Packed.of(-endless), Packed.of(endless),
            Packed.of(np.array([2e3])),
        )  # fmt: skip
        await self.node.desk.commit([Entry("claims-1", fact, "pool-1", (because,))])


def test_a_share_that_a_later_batch_left_as_it_is_leads_to_that_batch_too(tmp_path: Path) -> None:
    over_api = []

    async def act(node: Node, operator: NodeOperator) -> None:
        it = Called(node)
        await it.award()
        await it.batch("10", 1)
        await it.share("10")
        before = told_of(node.state, node.journal, [], "home-1", node.clock.now_ns())
        assert before["asked_by_now"] is None, "it is the batch of its claim yet"
        await it.batch("11", 2)
        over_api.append(told_of(node.state, node.journal, [], "home-1", node.clock.now_ns()))

    play(tmp_path, act)
    told, whole = asked(tmp_path, "home-1"), json.loads(asked(tmp_path, "home-1", "--json"))
    assert f"because of {derive('batch', '10')}" in told
    assert f"its pool is asked by {derive('batch', '11')} by now, which leaves it as it is" in told
    chain = [step["id"] for step in whole["chains"][derive("batch", "11")]]
    assert chain == [derive("award", "a"), derive("batch", "11")]
    assert over_api[0]["asked_by_now"] == whole["asked_by_now"] == derive("batch", "11")
    assert over_api[0]["chains"] == whole["chains"]


def test_of_an_interval_in_which_a_server_died_why_says_what_was_not_counted(tmp_path: Path) -> None:
    async def act(node: Node, operator: NodeOperator) -> None:
        rows, now_ns = np.array([node.state.fleet.row("home-1")], np.int32), node.clock.now_ns()
        start_ns = now_ns - 5 * MINUTE_NS
        fact = IntervalTracked(
            "pool-1", start_ns, now_ns, 1e4, 1e4, {}, Packed.of(rows), Packed.of(np.array([1e4])), 1,
            uncounted=((start_ns, start_ns + 2 * MINUTE_NS),),
        )  # fmt: skip
        await node.desk.commit([Entry("interval:1", fact, "pool-1")])

    play(tmp_path, act)
    for resource, gave in (("pool-1", "gave 10000 W of 10000 W asked"), ("home-1", "gave 10000 W above its base")):
        told = asked(tmp_path, resource)
        over = "from 2023-11-14T22:08:20Z to 2023-11-14T22:13:20Z, the last interval of it that was counted by then"
        gap = ", a mean without what was not counted: 2023-11-14T22:08:20Z to 2023-11-14T22:10:20Z"
        assert f"{gave} {over}{gap}" in told
        assert json.loads(asked(tmp_path, resource, "--json"))["delivered"]["uncounted"] == [
            ["2023-11-14T22:08:20Z", "2023-11-14T22:10:20Z"]
        ]
