"""The journal against a real PostgreSQL: the same chain as in SQLite, kept over a crash of the server."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.store.journal import SqliteJournal, StoreError
from tieline.store.trace import trace

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("none"))
psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(
    not (BIN / "initdb").exists() or shutil.which("runuser") is None, reason="no PostgreSQL is installed"
)


class Server:
    """A PostgreSQL of its own, reached by a socket in its folder alone."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.run("initdb", "-D", f"{folder}/db", "-A", "trust", "-N")

    def run(self, tool: str, *words: str) -> None:
        command = ["runuser", "-u", "postgres", "--", str(BIN / tool), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/")

    def start(self) -> None:
        options = f"-c listen_addresses='' -k {self.folder}"
        self.run("pg_ctl", "-D", f"{self.folder}/db", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self, mode: str) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/db", "-w", "-m", mode, "stop")

    @property
    def url(self) -> str:
        return f"postgresql://postgres:secret@/postgres?host={self.folder}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        shutil.chown(folder, "postgres")
        made = Server(folder)
        made.start()
        yield made
        made.stop("immediate")


@pytest.fixture
def url(server: Server) -> str:
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


def test_what_was_acknowledged_is_there_after_the_server_crashed(url: str, server: Server, tmp_path: Path) -> None:
    from tieline.store.postgres import PostgresJournal

    journal = PostgresJournal(url, tmp_path)
    journal.append(facts(0, 50))
    server.stop("immediate")  # no checkpoint: as after a kill
    with pytest.raises(StoreError, match="nothing of"):
        journal.append(facts(50, 1))
    server.start()
    again = PostgresJournal(url, tmp_path)
    assert (again.last_seq, again.verify()) == (50, None)
    assert again.append(facts(49, 2)) == 51
    again.close()


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
