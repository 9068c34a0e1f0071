"""What the message monitor lists of the signed link."""

from pathlib import Path

import msgspec
from ews_scene import CHICAGO, DAY, Scene, play

from tieline.desk.facts import BatchTaken, from_record, to_record
from tieline.desk.ports import BatchAnswer, DispatchBatch
from tieline.node.read_monitor import messages
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS, market_day


def test_its_instructions_stand_under_its_own_protocol_and_name_and_none_under_the_other_markets(
    tmp_path: Path,
) -> None:
    async def act(scene: Scene) -> None:
        await scene.offer()
        await scene.until(market_day(DAY, CHICAGO).start_ns + HOUR_NS // 2)

    batch = play(act).desk.batches[0]
    fact = BatchTaken(batch, BatchAnswer(batch.uid, tuple(one.id for one in batch.instructions), ()))
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append([to_record(fact, "r1", "pool:north", batch.received_ns, ())])
    (shown,) = messages(journal, journal.last_seq, "ews", 10)
    assert (shown.protocol, shown.link) == ("ews", "ews")
    assert "VDI" in shown.raw
    assert messages(journal, journal.last_seq, "iso_web", 10) == []
    journal.close()


def test_what_was_recorded_before_links_were_named_is_still_the_isos(tmp_path: Path) -> None:
    old = {
        "uid": "7",
        "sent_ns": 1,
        "received_ns": 2,
        "expires_ns": 3,
        "instructions": [],
        "frame": "f",
        "native": "<a/>",
    }
    answer = {"uid": "7", "accepted": [], "declined": []}
    body = msgspec.msgpack.encode({"batch": old, "answer": answer})
    fact = BatchTaken(DispatchBatch("7", 1, 2, 3, (), "f"), BatchAnswer("7", (), ()))
    read = from_record(msgspec.structs.replace(to_record(fact, "r1", "pool:north", 2, ()), body=body))
    assert isinstance(read, BatchTaken)
    assert (read.batch.protocol, read.batch.link) == ("iso_web", "iso")
