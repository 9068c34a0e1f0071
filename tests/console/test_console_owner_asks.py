"""What is asked in an owner's name: it is of a device of his, and its refusal names what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from test_console_unknown import HandClock, _fleet, _hear, on_node

from tieline.desk.screens import OwnerLimit
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader
from tieline.node.runtime import Node
from tieline.resource.claim import Refusal


def test_an_owners_limit_with_its_ends_swapped_is_refused_as_that(tmp_path: Path) -> None:
    async def act(node: Node, reader: NodeReader, operator: NodeOperator, clock: HandClock) -> None:
        await _hear(node, 0.0)
        refused = await operator.owner_limit(node.state.fleet.ids[0], OwnerLimit(500.0, -500.0), "olga")
        assert isinstance(refused, Refusal)
        assert (refused.field, refused.value, refused.limit) == ("low_w, high_w", "500.0, -500.0", "low <= high")
        assert "low first" in refused.reason

    on_node(tmp_path, _fleet(2, 10), act)
