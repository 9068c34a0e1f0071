"""A server that stops ends no control room's operate in the middle: each is recorded and granted, or refused."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from py1815.control import CommandStatus
from structlog.testing import capture_logs

from tieline.bench.override import FEEDER, _fleet
from tieline.desk.facts import ClaimsPlaced, from_record
from tieline.fleet.ledger import Ledger
from tieline.links.grid.dnp3.binding import Binding, Group, Peer
from tieline.links.grid.dnp3.outstation import Dnp3Outstation
from tieline.node.runtime import Node, replayed
from tieline.resource.admission import Principal
from tieline.resource.level import Level
from tieline.rim.clock import SystemClock
from tieline.rim.supervise import Supervisor
from tieline.simulate.scada import Scada
from tieline.store.journal import SqliteJournal

COUNT, SIZE_W = 4, 20_000.0


def test_an_operate_under_way_at_a_stop_is_granted_by_what_is_recorded_and_a_later_one_refused(tmp_path: Path) -> None:
    """The journal's thread is held up while the stop begins, as by a slow disk."""
    may, journal = threading.Event(), SqliteJournal(tmp_path / "journal.db")

    async def main(writer: ThreadPoolExecutor) -> tuple[list[CommandStatus], list[CommandStatus]]:
        clock = SystemClock()
        async with Supervisor(np.random.default_rng(1)) as supervisor:
            state = replayed(_fleet(COUNT), Ledger(), journal)
            principals = {"dno": Principal("dno", Level.ENVELOPE, frozenset({FEEDER}))}
            node = Node(state, journal, clock, supervisor, principals, {}, executor=writer)
            node.published = [FEEDER]
            peer = Peer("dno", 1, may_read=(FEEDER,), may_operate=(FEEDER,), ceiling="ENVELOPE")
            binding = Binding(10, (Group(FEEDER, 0, SIZE_W, SIZE_W),), (peer,), port=0)
            outstation = Dnp3Outstation(binding, node.desk, clock, supervisor, node.desk)
            await outstation.start()
            node.publishers.append(outstation)
            node.start()
            room = Scada(
                "127.0.0.1", outstation.port, master=1, outstation=10,
                spawn=lambda work: supervisor.spawn(work, "scada"),
            )  # fmt: skip
            await room.connect()
            await node.group.drained()
            writer.submit(may.wait, 60)
            first = asyncio.create_task(room.limit(0, -4_000.0, SIZE_W))
            for _ in range(2_000):
                if node.group.unwritten():
                    break
                await asyncio.sleep(0.005)
            ending = asyncio.create_task(node.end())
            await asyncio.sleep(0)
            may.set()
            await ending
            assert node.group.unwritten() == []
            answered = await asyncio.wait_for(first, 20)
            second = await room.limit(0, -2_000.0, SIZE_W)
            await outstation.stop()
            await room.close()
        return answered, second

    with ThreadPoolExecutor(1, "journal") as writer, capture_logs() as logs:
        try:
            granted, refused = asyncio.run(main(writer))
        finally:
            may.set()
    assert set(granted) == {CommandStatus.SUCCESS}
    assert set(refused) == {CommandStatus.DOWNSTREAM_FAIL}
    facts = [from_record(record) for record in journal.replay()]
    assert {fact.source for fact in facts if isinstance(fact, ClaimsPlaced)} == {"dnp3:dno"}
    assert len([fact for fact in facts if isinstance(fact, ClaimsPlaced)]) == 1
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []
    (said,) = [line for line in logs if line["event"] == "operate refused"]
    assert "the server is stopping" in said["refusal"]
    journal.close()
