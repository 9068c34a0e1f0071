"""The records with those that are still being written answer as the journal will once it holds them all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tieline.flow.record import Record
from tieline.store.journal import SqliteJournal
from tieline.store.trace import trace
from tieline.store.unwritten import WithUnwritten

KINDS = ("A", "B")


@st.composite
def told(draw: st.DrawFn) -> list[Record]:
    """Some records, each caused by some before it."""
    count, found = draw(st.integers(1, 9)), list[Record]()
    for at in range(count):
        causes = draw(st.sets(st.sampled_from([one.id for one in found]), max_size=3)) if found else set()
        kind, subject = draw(st.sampled_from(KINDS)), draw(st.sampled_from(("f", "g")))
        found.append(Record(f"record:{at}", kind, subject, 10 * at, tuple(sorted(causes)), b"\x80"))
    return found


@given(told(), st.data())
def test_what_waits_to_be_written_is_read_as_it_will_be(records: list[Record], data: st.DataObject) -> None:
    """However much of it is written: of what waits, a part may be durable already, though nobody was told so yet."""
    first = data.draw(st.integers(0, len(records)))
    second = data.draw(st.integers(first, len(records)))
    with tempfile.TemporaryDirectory() as folder:
        whole, part = SqliteJournal(Path(folder) / "whole.db"), SqliteJournal(Path(folder) / "part.db")
        whole.append(records)
        if second:
            part.append(records[:second])
        view, ids = WithUnwritten(part, records[first:], lambda: part.last_seq), [one.id for one in records]
        assert view.last_seq == whole.last_seq
        assert list(view.replay()) == list(whole.replay())
        assert list(view.replay(first)) == list(whole.replay(first))
        assert view.many([*ids, "nothing"]) == whole.many(ids)
        assert view.causes_of(ids) == whole.causes_of(ids)
        assert set(view.effects_of(ids, 1_000)) == set(whole.effects_of(ids, 1_000))
        assert [view.seq_at(at) for at in range(0, 95, 5)] == [whole.seq_at(at) for at in range(0, 95, 5)]
        for kind in KINDS:
            assert list(view.of_kind(kind, 5, 60, first)) == list(whole.of_kind(kind, 5, 60, first))
            assert view.about("f", (kind,), 5) == whole.about("f", (kind,), 5)
        for name in [*ids, "nothing"]:
            assert view.holds(name) == whole.holds(name)
            assert view.get(name) == whole.get(name)
            assert _drawn(view, name) == _drawn(whole, name)
        whole.close()
        part.close()


def test_what_the_journal_takes_while_it_is_looked_at_is_told_once() -> None:
    records = [Record(f"record:{at}", "A", "f", at, (f"record:{at - 1}",) if at else (), b"\x80") for at in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        journal.append(records[:2])
        view = WithUnwritten(journal, records[2:], lambda: journal.last_seq)
        journal.append(records[2:])
        assert [one.id for one in view.replay()] == [one.id for one in records]
        assert [one.id for one in view.about("f")] == [one.id for one in records]
        assert [one.id for one in view.of_kind("A")] == [one.id for one in records]
        assert [(cause, one.id) for cause, one in view.effects_of(["record:2"], 9)] == [("record:2", "record:3")]
        journal.close()


def _drawn(records: SqliteJournal | WithUnwritten, name: str) -> tuple[list[Record], set[tuple[str, str]]] | None:
    found = trace(records, name)
    return None if found is None else (list(found.records), set(found.edges))
