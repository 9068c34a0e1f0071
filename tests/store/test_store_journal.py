"""The journal keeps what it acknowledged: once, in order, and any changed bit is found."""

import asyncio
import resource
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, inspect
from sqlalchemy.dialects import postgresql, sqlite

from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.simulate.loop import VirtualLoop, run_virtual
from tieline.store.group import GroupCommit
from tieline.store.journal import JournalDamaged, SqliteJournal, StoreDown, StoreError
from tieline.store.lock import FolderLock
from tieline.store.migrate import migrate
from tieline.store.schema import ddl, metadata
from tieline.store.schema_sqlite import STATEMENTS
from tieline.store.trace import trace


def fact(name: str, *causes: str, body: bytes = b"x", subject: str = "pool-1") -> Record:
    return Record(name, "Test", subject, 1, causes, body)


def test_what_was_appended_is_replayed_in_order_after_a_restart(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")
    assert journal.append([fact("a"), fact("b", "a")]) == 2
    assert journal.append([fact("c", "b", "a")]) == 3
    last = journal.last_hash
    journal.close()
    again = SqliteJournal(tmp_path / "j")
    assert [(r.seq, r.id, r.caused_by) for r in again.replay()] == [
        (1, "a", ()),
        (2, "b", ("a",)),
        (3, "c", ("b", "a")),
    ]
    assert [r.id for r in again.replay(2)] == ["c"]
    assert (again.last_seq, again.last_hash, again.verify()) == (3, last, None)


def test_the_same_record_twice_has_one_effect(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")
    journal.append([fact("a"), fact("a", body=b"other")])
    assert journal.append([fact("a"), fact("b")]) == 2
    assert [r.body for r in journal.replay()] == [b"x", b"x"]


@given(st.lists(st.integers(0, 230), min_size=1, max_size=4), st.integers(1, 400), st.randoms(use_true_random=False))
def test_a_batch_of_any_size_leaves_what_its_records_leave_one_by_one(sizes: list, names: int, random: Random) -> None:
    whole, single = SqliteJournal(":memory:"), SqliteJournal(":memory:")
    for size in sizes:
        batch = [
            fact(f"r{random.randrange(names)}", *(f"r{random.randrange(names)}" for _ in range(random.randrange(4))),
                 body=random.randbytes(random.randrange(9)))
            for _ in range(size)
        ]  # fmt: skip
        for record in batch:
            single.append([record])
        assert whole.append(batch) == single.last_seq
    rows = [journal._db.execute("SELECT * FROM record ORDER BY seq").fetchall() for journal in (whole, single)]
    types = {tuple(map(type, row)) for row in rows[0]}
    assert rows[0] == rows[1]
    assert types <= {(int, str, str, str, int, bytes, bytes, bytes)}
    assert whole.verify() is None
    asked = [f"r{n}" for n in range(names)]
    assert whole.effects_of(asked, 10_000) == single.effects_of(asked, 10_000)
    assert whole.many(asked) == single.many(asked)


@given(st.data())
def test_any_changed_bit_is_found(data: st.DataObject) -> None:
    journal = SqliteJournal(":memory:")
    journal.append([fact(f"r{n}", f"r{n - 1}", body=bytes([n] * 8)) for n in range(20)])
    db = journal._db
    seq = data.draw(st.integers(1, 20))
    column = data.draw(st.sampled_from(["id", "kind", "subject", "recorded_at_ns", "caused_by", "body", "hash"]))
    value = db.execute(f"SELECT {column} FROM record WHERE seq=?", (seq,)).fetchone()[0]
    if isinstance(value, int):
        changed: object = value ^ (1 << data.draw(st.integers(0, 40)))
    else:
        raw = bytearray(value.encode() if isinstance(value, str) else value)
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 6))
        changed = raw.decode("latin1") if isinstance(value, str) else bytes(raw)
    db.execute(f"UPDATE record SET {column}=? WHERE seq=?", (changed, seq))
    assert journal.verify() == seq


def test_a_removed_record_is_found(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")
    journal.append([fact(f"r{n}") for n in range(5)])
    journal._db.execute("DELETE FROM record WHERE seq=5")
    assert journal.verify() == 5


def test_a_full_disk_keeps_nothing_of_the_batch_and_the_journal_lives_on(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")
    journal.append([fact("a")])
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(StoreDown, match="full"):
        journal.append([fact(f"big{n}", body=b"y" * 100_000) for n in range(50)])
    journal._db.execute("PRAGMA max_page_count=1000000")
    assert journal.append([fact("b")]) == 2
    assert journal.verify() is None


def test_what_waits_while_the_disk_is_full_is_kept_once_there_is_room_and_who_comes_meanwhile_is_told_to_wait(
    tmp_path: Path,
) -> None:
    journal = SqliteJournal(tmp_path / "j")
    journal.append([fact("a")])
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={pages + 2}")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        waits = loop.create_task(group.append([fact(f"big{n}", body=b"y" * 100_000) for n in range(5)]))
        await group.went_down.wait()
        with pytest.raises(StoreDown, match="full"):
            await group.append([fact("later")])
        journal._db.execute("PRAGMA max_page_count=1000000")
        assert await waits == 6
        await group.came_up.wait()
        assert await group.append([fact("after")]) == 7

    asyncio.run(main())
    assert journal.verify() is None
    assert [record.id for record in journal.replay()] == ["a", *(f"big{n}" for n in range(5)), "after"]


GROWS_NO_MORE = """
import os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store_journal import fact
from tieline.store.journal import SqliteJournal, StoreDown
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = SqliteJournal(Path(sys.argv[1]))
journal.append([fact("a")])
size = os.path.getsize(sys.argv[1] + "-wal")
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for _ in range(3):
    try:
        journal.append([fact("b")])
    except StoreDown as error:
        print("waits", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(journal.append([fact("b")]), journal.verify(), [record.id for record in journal.replay()])
"""


def test_a_file_that_may_grow_no_more_is_a_full_disk_and_the_journal_goes_on_once_it_may(tmp_path: Path) -> None:
    """A quota or a limit on files: SQLite calls it an I/O error, and the record is as little there."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    command = [sys.executable, "-c", GROWS_NO_MORE, str(tmp_path / "j"), str(Path(__file__).parent)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) == 4
    assert all(line.startswith("waits") and "free space" in line for line in said[:3])
    assert said[3] == "2 None ['a', 'b']"


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"not a database at all" * 100)
    with pytest.raises(ConfigError, match="not a journal"):
        SqliteJournal(tmp_path / "j")


def test_a_second_server_on_the_same_folder_is_refused_naming_the_first(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(ConfigError, match="in use by process"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


def test_callers_that_wait_share_a_commit_and_keep_their_order(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")

    async def main() -> GroupCommit:
        loop = asyncio.get_running_loop()
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        await asyncio.gather(*(group.append([fact(f"r{n}")]) for n in range(100)))
        return group

    group = asyncio.run(main())
    assert [r.id for r in journal.replay()] == [f"r{n}" for n in range(100)]
    assert group.commits < 20


def test_on_virtual_time_the_commit_runs_in_line(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")

    async def main(loop: asyncio.AbstractEventLoop) -> int:
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        return await group.append([fact("a")])

    assert run_virtual(main) == 1


def test_a_failed_commit_is_told_to_everyone_who_waited() -> None:
    class Broken:
        def append(self, records: object) -> int:
            raise StoreError("disk full")

    async def main() -> list:
        loop = asyncio.get_running_loop()
        group = GroupCommit(Broken(), lambda work, name: loop.create_task(work))
        return await asyncio.gather(*(group.append([fact(str(n))]) for n in range(3)), return_exceptions=True)

    assert [type(r) for r in asyncio.run(main())] == [StoreError] * 3


def test_who_reads_state_and_records_waits_for_what_is_being_written_but_not_for_a_store_that_hangs() -> None:
    class Slow:
        kept, may = 0, threading.Event()

        def append(self, records: list) -> int:
            self.may.wait(10)
            self.kept += len(records)
            return self.kept

    async def main() -> None:
        loop, slow = asyncio.get_running_loop(), Slow()
        group = GroupCommit(slow, lambda work, name: loop.create_task(work))
        assert await group.caught_up(0.0)
        writing = loop.create_task(group.append([fact("a")]))
        await asyncio.sleep(0)
        assert not await group.caught_up(0.05)
        loop.call_later(0.05, slow.may.set)
        assert await group.caught_up(9.0)
        assert slow.kept == 1
        await writing

    asyncio.run(main())


def test_a_trace_goes_back_to_every_cause_and_on_to_every_effect_but_not_to_siblings(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j")
    journal.append([
        fact("award"), fact("claims", "award"), fact("commands", "claims"), fact("report", "commands"),
        fact("line", "report", "award"), fact("other-claims", "award"),
    ])  # fmt: skip
    found = trace(journal, "commands")
    assert [r.id for r in found.records] == ["award", "claims", "commands", "report", "line"]
    assert ("award", "claims") in found.edges
    assert ("report", "line") in found.edges
    assert trace(journal, "nobody") is None


def test_the_schema_is_one_for_sqlite_and_postgresql(tmp_path: Path) -> None:
    text = "\n".join(ddl(postgresql.dialect()))
    assert text.count("CREATE TABLE") == len(metadata.tables)
    assert "BYTEA" in text
    engine = create_engine(f"sqlite:///{tmp_path / 'm'}")
    migrate(engine)
    migrate(engine)
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())
    raw = sqlite3.connect(tmp_path / "m")
    migrated = {row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE '%autoindex%'")}
    SqliteJournal(tmp_path / "direct").close()
    direct = {
        row[0]
        for row in sqlite3.connect(tmp_path / "direct").execute(
            "SELECT name FROM sqlite_master WHERE name NOT LIKE '%autoindex%'"
        )
    }
    assert direct <= migrated


def test_the_schema_as_it_is_written_out_for_sqlite_is_the_one_that_is_declared() -> None:
    assert [text.split() for text in STATEMENTS] == [text.split() for text in ddl(sqlite.dialect())]


@given(st.data())
def test_a_bit_changed_in_the_file_itself_is_found_or_changes_no_record(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "j"
        journal = SqliteJournal(path)
        journal.append([fact(f"r{n}", f"r{n - 1}", body=bytes([n] * 40)) for n in range(60)])
        before = list(journal.replay())
        journal.close()
        raw = bytearray(path.read_bytes())
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(raw)
        try:
            again = SqliteJournal(path)
        except ConfigError:
            return
        try:
            changed = again.verify()
        except JournalDamaged:  # the engine itself can't read it: found as well
            return
        if changed is None:
            assert list(again.replay()) == before


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.integers(0, 6), min_size=1, max_size=4),
)
def test_who_caught_up_finds_nothing_decided_that_is_not_recorded(writers: list, readers: list) -> None:
    """Whoever shares a commit with a reader may decide anew, or have decided, before the reader goes on."""

    async def main(_: VirtualLoop) -> None:
        loop, decided, kept = asyncio.get_running_loop(), [], []

        class Held:
            def append(self, records: list) -> int:
                kept.extend(records)
                return len(kept)

        group = GroupCommit(Held(), lambda work, name: loop.create_task(work))

        async def write(who: int, rests: list) -> None:
            for turn, rest in enumerate(rests):
                for _ in range(rest):
                    await asyncio.sleep(0)
                decided.append(fact(f"{who}-{turn}"))
                await group.append([decided[-1]])

        async def read(rest: int) -> None:
            for _ in range(rest):
                await asyncio.sleep(0)
            assert await group.caught_up(9.0)
            assert {one.id for one in decided} == {one.id for one in kept}
            assert group.unwritten() == []

        await asyncio.gather(*map(write, range(len(writers)), writers), *map(read, readers))

    run_virtual(main)


def test_what_is_being_written_is_told_in_its_order_and_no_more_once_it_is_durable() -> None:
    may = threading.Event()

    class Slow:
        def append(self, records: list) -> int:
            may.wait(10)
            return 1

    async def main() -> None:
        loop = asyncio.get_running_loop()
        group = GroupCommit(Slow(), lambda work, name: loop.create_task(work))
        writing = []
        for name in "abc":
            writing.append(loop.create_task(group.append([fact(name)])))
            await asyncio.sleep(0.01)
        assert [one.id for one in group.unwritten()] == [fact(name).id for name in "abc"]
        may.set()
        await asyncio.gather(*writing)
        assert group.unwritten() == []

    asyncio.run(main())
