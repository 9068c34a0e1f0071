"""What of an alarm is a record: that somebody acknowledged it; and the page of the records says no more."""

from __future__ import annotations

import asyncio
from pathlib import Path

from test_why_parts import play

from tieline.desk.facts import AlarmChanged, from_record
from tieline.desk.ports import LinkHealth, Session
from tieline.node.operator import NodeOperator
from tieline.node.reader import NodeReader, Sources
from tieline.node.reference import records_page
from tieline.node.runtime import Node


def test_an_alarm_that_comes_is_acknowledged_and_goes_leaves_the_record_that_the_page_tells_of(tmp_path: Path) -> None:
    states: list[str] = []

    async def act(node: Node, _: NodeOperator) -> None:
        reader = NodeReader(node, Sources(utility="w", setting="LIVE", zone="UTC"))
        operator = NodeOperator(node, reader)
        for session in (Session.DOWN, Session.LIVE):
            node.desk.health(LinkHealth("street", "modbus", session, node.clock.now_ns()))
            for _ in range(3):
                await asyncio.sleep(60.0)
                await node.beat()
            standing = reader.alarms()
            assert len(standing) == (1 if session is Session.DOWN else 0)
            for alarm in standing:
                assert await operator.acknowledge(alarm.id, "ann") is None
        states.extend(
            fact.state for record in node.journal.replay() if isinstance(fact := from_record(record), AlarmChanged)
        )

    play(tmp_path, act)
    assert states == ["acknowledged"]
    (told,) = [line for line in records_page().splitlines() if line.startswith("| `AlarmChanged`")]
    assert {word for word in ("acknowledged", "raised", "cleared") if word in told} == set(states)
