"""What is asked in an owner's name: it is of a device of his, and its refusal names what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_console_unknown import HandClock, _fleet, _hear, on_node

from tieline.desk.ports import Ask
from tieline.desk.screens import OwnerLimit
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.runtime import Node
from tieline.resource.claim import ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.times import FOREVER_NS


def test_an_owners_limit_with_its_ends_swapped_is_refused_as_that(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 0.0)
        refused = await operator.owner_limit(node.state.fleet.ids[0], OwnerLimit(500.0, -500.0), "olga")
        assert isinstance(refused, Refusal)
        assert (refused.field, refused.value, refused.limit) == ("low_w, high_w", "500.0, -500.0", "low <= high")
        assert "low first" in refused.reason

    on_node(tmp_path, _fleet(2, 10), act)


@pytest.mark.parametrize("group", ["pool-1", "sub-9", "feeder-01"])
def test_nobody_takes_a_group_out_in_its_owners_name(group: str, tmp_path: Path) -> None:
    """One person would stop the whole of a pool: its devices are many owners', and each is out by himself."""

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 0.0)
        before = dict(node.state.asks)
        for refused in (
            await operator.opt(group, True, "olga"),
            await operator.owner_limit(group, OwnerLimit(-1.0, 1.0), "olga"),
        ):
            assert isinstance(refused, Refusal)
            assert (refused.field, refused.value, refused.limit) == ("resource", group, "a device")
        assert not node.state.opted_out.any() and node.state.asks == before
        device = node.state.fleet.ids[3]
        assert not isinstance(await operator.opt(device, True, "olga"), Refusal)
        assert np.flatnonzero(node.state.opted_out).tolist() == [3]
        unknown = await operator.opt("battery-99", True, "olga")
        assert isinstance(unknown, Refusal) and unknown.reason == "no such device"

    on_node(tmp_path, _fleet(2, 10), act)


def test_a_group_that_was_taken_out_before_comes_back_in(tmp_path: Path) -> None:
    """A journal may hold an opt-out of a group from before such were refused."""

    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 0.0)
        now_ns, source = clock.now_ns(), "owner:feeder-01"
        await node.desk.ask(
            Ask(
                source, "owner", "opt-out", Level.OWNER_NEED, "feeder-01", Quantity.CONNECT, ClaimKind.GATE, now_ns,
                now_ns, FOREVER_NS, because="the owner opted out",
            )
        )  # fmt: skip
        assert node.state.opted_out.sum() == 10
        assert await operator.opt("feeder-01", False, "olga") is None
        assert not node.state.opted_out.any()

    on_node(tmp_path, _fleet(2, 10), act)
