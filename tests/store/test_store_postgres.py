"""The journal against a real PostgreSQL: the same chain as in SQLite, kept over a crash of the server."""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pg_server import IS_THERE, PASSWORD, PgServer
from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.store.journal import SqliteJournal, StoreDown, StoreError
from tieline.store.trace import trace

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not IS_THERE, reason="no PostgreSQL is installed")


@pytest.fixture(scope="module")
def server() -> Iterator[PgServer]:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        made = PgServer(folder)
        made.start()
        yield made
        made.end()


@pytest.fixture
def url(server: PgServer) -> str:
    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute("DROP SCHEMA public CASCADE")
        db.execute("CREATE SCHEMA public")
    return server.url


def facts(first: int, count: int) -> list[Record]:
    return [
        Record(f"r{n}", "Test", "s?%", n, (f"r{n - 1}",), bytes([n % 251]) * n) for n in range(first, first + count)
    ]


def test_the_chain_is_the_one_of_sqlite_to_the_byte(url: str, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    ours, lite = PostgresJournal(url, tmp_path), SqliteJournal(tmp_path / "lite.db")
    for batch in (facts(0, 5), facts(3, 100)):
        assert ours.append(batch) == lite.append(batch)
    assert (ours.last_seq, ours.last_hash) == (lite.last_seq, lite.last_hash) == (103, ours.last_hash)
    assert list(ours.replay(7)) == list(lite.replay(7))
    assert ours.about("s?%", since_ns=50) == lite.about("s?%", since_ns=50)
    assert trace(ours, "r50") == trace(lite, "r50")
    assert ours.reader().verify() is None
    ours.close()


def test_what_was_acknowledged_is_there_after_the_server_crashed(url: str, server: PgServer, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    journal = PostgresJournal(url, tmp_path)
    journal.append(facts(0, 50))
    server.stop("immediate")  # no checkpoint: as after a kill
    for _ in range(2):  # it stays away
        with pytest.raises(StoreDown):
            journal.append(facts(50, 1))
    server.start()
    assert journal.append(facts(49, 2)) == 51  # the same journal goes on; what was there already is passed over
    journal.close()
    again = PostgresJournal(url, tmp_path)
    assert (again.last_seq, again.verify(), again.last_hash) == (51, None, journal.last_hash)
    again.close()


def test_a_commit_whose_answer_was_lost_is_kept_once(url: str, server: PgServer, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    journal, twin = PostgresJournal(url, tmp_path), SqliteJournal(tmp_path / "twin.db")
    journal.append(facts(0, 5))
    run = journal._line.execute

    def lose_the_answer(sql: str, *bindings: object) -> object:
        answer = run(sql, *bindings)
        if sql == "COMMIT":  # the server has committed, and its word doesn't reach us
            journal._line.close()
            raise StoreDown("cut")
        return answer

    journal._line.execute = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(StoreDown):
        journal.append(facts(5, 3))
    journal._line.execute = run  # type: ignore[method-assign]
    assert journal.last_seq == 5
    assert journal.append(facts(5, 3)) == 8
    assert journal.append(facts(8, 2)) == twin.append(facts(0, 10)) == 10
    assert (journal.last_hash, journal.verify(), journal.end_fault()) == (twin.last_hash, None, "")
    journal.close()


def test_a_journal_that_moved_on_or_was_put_back_meanwhile_is_not_gone_on_with(url: str, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    for number, what in enumerate(["another server appended record 6", "record 5 is not there as it was written"]):
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("DROP TABLE IF EXISTS record")
        journal = PostgresJournal(url, tmp_path / str(number))
        journal.append(facts(0, 5))
        journal._line.close()
        if number == 0:
            other = PostgresJournal(url, tmp_path / "other")
            other.append(facts(50, 1))
            other.close()
        else:
            with psycopg.connect(url, autocommit=True) as db:
                db.execute("DELETE FROM record WHERE seq=5")
        for _ in range(2):
            with pytest.raises(StoreError, match=what) as told:
                journal.append(facts(9, 1))
            assert not isinstance(told.value, StoreDown)
        journal.close()


def test_while_another_server_appends_the_first_stays_away(url: str, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    first = PostgresJournal(url, tmp_path / "1")
    first._line.close()
    second = PostgresJournal(url, tmp_path / "2")
    with pytest.raises(StoreDown, match="another server appends there"):
        first.append(facts(0, 1))
    second.close()
    assert first.append(facts(0, 1)) == 1
    first.close()


def test_a_standby_and_an_ended_session_are_waited_for_and_nothing_is_kept_twice(url: str, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    journal = PostgresJournal(url, tmp_path)
    journal.append(facts(0, 2))
    for count, fault in enumerate(
        ("SET default_transaction_read_only = on", "SET idle_in_transaction_session_timeout = 1"), 2
    ):
        journal._line.execute(fault)
        if "idle" in fault:
            journal._line.execute("BEGIN")
            time.sleep(0.2)
        with pytest.raises(StoreDown):
            journal.append(facts(2, count))
        assert journal.append(facts(2, count)) == 2 + count
    assert journal.verify() is None
    journal.close()


def test_a_reader_is_back_once_the_writer_is(url: str, server: PgServer, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    journal = PostgresJournal(url, tmp_path)
    journal.append(facts(0, 3))
    reader = journal.reader()
    assert reader.holds("r2")
    server.stop("fast")
    with pytest.raises(StoreDown):
        reader.holds("r1")
    with pytest.raises(StoreDown):
        journal.append(facts(3, 1))
    server.start()
    with pytest.raises(StoreDown, match="away"):  # it doesn't knock by itself
        reader.holds("r1")
    journal.append(facts(3, 1))
    assert reader.holds("r3")
    reader.close()
    journal.close()


def test_a_changed_and_a_deleted_record_are_found(url: str, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    journal = PostgresJournal(url, tmp_path)
    journal.append(facts(0, 9))
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("DELETE FROM record WHERE seq=9")
        assert journal.reader().verify() == 9
        db.execute("UPDATE record SET kind='x' WHERE seq=4")
        assert journal.reader().verify() == 4
    journal.close()


def test_a_second_writer_is_refused_and_no_error_shows_the_password(url: str, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    first = PostgresJournal(url, tmp_path)
    wrong = [(url, "another server appends"), ("mysql://a:secret@b/c", "not a PostgreSQL URL"),
             ("postgresql://a:secret@[::/x", "not a URL"), ("postgresql://a:secret@127.0.0.1:1/x", "127.0.0.1:1/x")]  # fmt: skip
    for text, says in wrong:
        with pytest.raises(ConfigError) as told:
            PostgresJournal(text)
        assert says in str(told.value)
        assert "secret" not in str(told.value)
    first.close()


def test_no_word_of_a_question_reaches_the_server_whatever_its_user_may_do(
    server: PgServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user is a superuser: a read-only transaction of his would run programs, and end the server's sessions."""
    from tieline.store.postgres import PostgresJournal

    folder = tmp_path / "works"
    monkeypatch.setenv("TIELINE_JOURNAL_PASSWORD", "secret")
    told = CliRunner().invoke(main, ["init", str(folder), "--journal", url.replace(":secret@", "@")])
    assert told.exit_code == 0, told.output
    journal = PostgresJournal(url, folder)
    journal.append([*facts(0, 2_500), Record("last", "Test", "é'\"", 9, ("r1", "r2"), b"\x01")])
    run = Path(server.folder) / "run"
    with psycopg.connect(server.url, autocommit=True) as other:
        mine = other.info.backend_pid
        for query in (
            f"copy (select 1) to program 'touch {run}'",
            f"COPY (SELECT 1) TO '{run}'",
            f"select pg_terminate_backend({mine})",
            "select lo_from_bytea(0, 'x')",
            "select pg_read_file('/etc/passwd')",
            f"select * from read_text('{server.folder}/log')",
            "SELECT set_config('default_transaction_read_only', 'off', false); DELETE FROM record",
            "WITH gone AS (DELETE FROM record RETURNING *) SELECT * FROM gone",
            "SELECT * FROM resources",
        ):
            told = CliRunner().invoke(main, ["sql", query, "--data", str(folder)])
            assert told.exit_code == 2, (query, told.output)
            assert len(told.output.splitlines()) == 1, told.output
        assert other.execute("SELECT count(*) FROM record").fetchone() == (2_501,)
    assert "there is no table resources: the tables are record, readings, resource" in told.output
    assert not run.exists()
    query = "SELECT seq, id, subject, caused_by, body, hash FROM record WHERE subject LIKE 'é%'"
    told = CliRunner().invoke(main, ["sql", query, "--data", str(folder), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["rows"] == [
        [2_501, "last", "é'\"", '["r1", "r2"]', "01", journal.last_hash.hex()]
    ], told.stdout
    journal.close()


@pytest.mark.parametrize(
    "question",
    [
        ("sql", "SELECT count(*) FROM record"),
        ("sql", "SELECT count(*) FROM resource JOIN record ON subject = resource.id"),
        ("export", "AskGranted", "asks.csv"),
        ("replay",),
    ],
)
def test_a_question_before_the_first_server_says_who_makes_the_journal(
    server: PgServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: tuple[str, ...]
) -> None:
    server.renew()
    monkeypatch.setenv("TIELINE_JOURNAL_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(main, ["init", str(tmp_path / "works"), "--journal", server.url_of_user])
    assert made.exit_code == 0, made.output
    told = CliRunner().invoke(main, [*question, "--data", str(tmp_path / "works")])
    assert told.exit_code == 2
    assert "holds no journal yet: `tieline serve` makes it" in told.output
    assert "relation" not in told.output


def test_a_folder_that_was_just_made_for_a_database_is_healthy_unless_it_had_records(
    server: PgServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.renew()
    monkeypatch.setenv("TIELINE_JOURNAL_PASSWORD", PASSWORD)
    folder, table = tmp_path / "works", tmp_path / "devices.csv"
    table.write_text("id,kind,max_inject_w,max_absorb_w,energy_wh\nbattery-1,battery,5000,5000,10000\n")
    for words in (
        ("init", str(folder), "--journal", server.url_of_user),
        ("import", str(table), "--data", str(folder)),
    ):
        made = CliRunner().invoke(main, list(words))
        assert made.exit_code == 0, made.output
    told = CliRunner().invoke(main, ["doctor", "--data", str(folder), "--json"])
    found = json.loads(told.stdout)
    assert (told.exit_code, found["healthy"], found["journal"]["ok"]) == (0, True, True), told.output
    assert found["journal"]["says"].startswith("no records yet: postgresql://127.0.0.1")
    assert found["journal"]["says"].endswith("holds no journal yet: `tieline serve` makes it")
    (folder / "journal.head").write_bytes(b"another database's")
    told = CliRunner().invoke(main, ["doctor", "--data", str(folder), "--json"])
    assert (told.exit_code, json.loads(told.stdout)["journal"]["ok"]) == (1, False), told.output
