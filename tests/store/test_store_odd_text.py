"""Text from outside in records: what no database could keep is refused alone, the same in SQLite and PostgreSQL."""

import asyncio
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pg_server import IS_THERE, PgServer
from tieline.desk.facts import Audited, to_record
from tieline.errors import ConfigError, Unrecordable
from tieline.flow.record import MOST_SUBJECT_BYTES, Record, subject_of
from tieline.ids import derive
from tieline.store.faults import RecordFault
from tieline.store.group import GroupCommit
from tieline.store.journal import SqliteJournal, SqlJournal
from tieline.store.rows import INSERT
from tieline.store.unwritten import WithUnwritten

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not IS_THERE, reason="no PostgreSQL is installed")

RANDOM_HEX = random.Random(3).randbytes(5_000).hex()
"""Doesn't compress, as what an index keeps does where it can."""
WIDE = "".join(map(chr, random.Random(5).sample(range(0x1F300, 0x1FAFF), 1_500)))
ODD = st.one_of(
    st.text(st.characters(), max_size=40),  # lone surrogates and NUL too
    st.sampled_from(
        ["", "\0", "a\0b", "\ud800", "\udfff\ud800", "e" * 10_000, RANDOM_HEX, RANDOM_HEX[:3_000], WIDE, "e\u0301" * 5_000,
         "\u202e", "\U0010ffff" * 600, "\0" * 3_000, " ' \" ? %s \\u0000 ;--"]
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[PgServer]:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        made = PgServer(folder)
        made.start()
        yield made
        made.end()


@pytest.fixture
def both(server: PgServer) -> Iterator[tuple[SqlJournal, SqlJournal]]:
    from tieline.store.postgres import PostgresJournal

    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute("DROP SCHEMA public CASCADE")
        db.execute("CREATE SCHEMA public")
    lite, ours = SqliteJournal(Path(":memory:")), PostgresJournal(server.url)
    yield lite, ours
    lite.close()
    ours.close()


def said(detail: str) -> Audited:
    return Audited("otto", "release", "refused", detail)


def test_whatever_a_subject_is_the_record_is_kept_and_found_alike_by_both(both: tuple[SqlJournal, SqlJournal]) -> None:
    made: list[Record] = []

    @settings(max_examples=80, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(ODD)
    def holds(text: str) -> None:
        record = to_record(said("x"), derive("odd", text, len(made)), text, len(made), ())
        made.append(record)
        assert len(record.subject.encode()) <= MOST_SUBJECT_BYTES
        assert subject_of(record.subject) == record.subject
        for journal in both:
            beside = WithUnwritten(journal, [record], lambda journal=journal: journal.last_seq)
            assert record.id in {found.id for found in beside.about(text)}
            assert journal.append([record]) == len(made)
            assert record.id in {found.id for found in journal.about(text)}
            assert journal.about(text) == journal.about(record.subject)

    holds()
    lite, ours = both
    assert len(made) > 50
    assert (ours.last_seq, ours.last_hash) == (lite.last_seq, lite.last_hash)
    assert [ours.verify(), lite.verify()] == [None, None]


def test_two_long_names_are_two_subjects() -> None:
    assert subject_of(RANDOM_HEX) != subject_of(RANDOM_HEX + "0")
    assert subject_of("battery-1") == "battery-1"


def test_what_no_record_can_hold_is_refused_alone_by_both_and_the_next_is_kept(
    both: tuple[SqlJournal, SqlJournal],
) -> None:
    """Past what makes records, as one of an older release that is moved."""
    kept = 0

    @settings(max_examples=80, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(ODD, ODD)
    def holds(name: str, subject: str) -> None:
        nonlocal kept
        kept += 1
        record = Record(f"r{kept}:{name}", "Test", subject, kept, (), b"x")
        faults = []
        for journal in both:
            try:
                journal.append([record])
                faults.append("")
            except RecordFault as fault:
                faults.append(str(fault).partition(": record")[2])
                journal.append([Record(f"r{kept}", "Test", "battery-1", kept, (), b"x")])
            assert journal.last_seq == kept
        assert faults[0] == faults[1]

    holds()
    assert both[0].last_hash == both[1].last_hash


def test_what_a_database_itself_refuses_for_its_content_is_no_lost_database(
    both: tuple[SqlJournal, SqlJournal],
) -> None:
    for journal in both:
        journal.append([Record("a", "Test", "s", 1, (), b"")])
        with pytest.raises(RecordFault):
            journal.append([Record("b", "Test", "s", 2**63, (), b"")])
        assert journal.append([Record("c", "Test", "s", 2, (), b"")]) == 2
    line = both[1]._line  # type: ignore[attr-defined]
    for subject, says in ((RANDOM_HEX, "index row (size|requires)"), ("a\0b", "NUL")):
        with pytest.raises(RecordFault, match=says):
            line.execute(INSERT, (9, "z", "Test", subject, 1, b"", b"", b""))
        assert not line.is_lost


def test_of_a_group_what_cant_be_kept_is_refused_alone_and_all_else_is_kept_in_its_order(
    both: tuple[SqlJournal, SqlJournal],
) -> None:
    def fact(name: str, subject: str = "s", at_ns: int = 1) -> Record:
        return Record(name, "Test", subject, at_ns, (), b"")

    async def main(journal: SqlJournal) -> None:
        loop = asyncio.get_running_loop()
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        asked = [[fact("a")], [fact("b"), fact("c", "\0")], [fact("d")], [fact("e", at_ns=2**63)], [fact("f")]]
        answers = await asyncio.gather(*map(group.append, asked), return_exceptions=True)
        assert [isinstance(answer, RecordFault) for answer in answers] == [False, True, False, True, False]
        assert not group.down
        assert await group.append([fact("g")]) == 4

    for journal in both:
        asyncio.run(main(journal))
        assert [record.id for record in journal.replay()] == ["a", "d", "f", "g"]
        assert journal.verify() is None


def test_a_fact_with_half_a_character_or_a_number_too_large_is_refused_by_name() -> None:
    with pytest.raises(Unrecordable, match=r"Audited: 'abc.*ud800' holds half of a character"):
        to_record(said("abc\ud800"), "a", "s", 1, ())
    with pytest.raises(Unrecordable, match="64 bits"):
        to_record(said(2**65), "a", "s", 1, ())  # type: ignore[arg-type]
    with pytest.raises(Unrecordable, match=r"U\+0000 in its id"):
        to_record(said("abc"), "a\0", "s", 1, ())


def test_a_database_that_cant_keep_each_character_is_refused_at_the_start(server: PgServer) -> None:
    from tieline.store.postgres import PostgresJournal

    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS latin")
        db.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(ConfigError, match="its encoding is LATIN1: make the database with ENCODING 'UTF8'"):
        PostgresJournal(server.url.replace("/postgres?", "/latin?"))
