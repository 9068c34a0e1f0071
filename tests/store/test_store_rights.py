"""Other accounts of the machine can't read a data folder's records, readings, registry and settings."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.store.index import SPILL
from tieline.store.journal import SqliteJournal
from tieline.store.narrow import narrow, readable_by_others
from tieline.store.series import Historian, Wal


@pytest.fixture(autouse=True)
def widest_umask() -> Iterator[None]:
    """Let a file be as wide as who makes it says: no test hangs on the machine's own mask."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()}


def test_a_journal_and_the_files_beside_it_are_made_for_their_owner_and_his_group_alone(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append([Record(f"r{n}", "Test", "s", n, (), b"x") for n in range(5)])
    assert {"journal.db", "journal.db-wal", "journal.db-shm", "journal.head"} <= set(modes(tmp_path))
    assert all(mode & ~0o640 == 0 for mode in modes(tmp_path).values()), modes(tmp_path)
    journal.close()


def test_what_init_writes_no_other_account_can_read(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["init", str(tmp_path / "works")]).exit_code == 0
    assert set(modes(tmp_path / "works")) >= {"journal.db", "registry.bin", "tieline.toml"}
    assert all(mode & ~0o640 == 0 for mode in modes(tmp_path / "works").values()), modes(tmp_path / "works")


def test_a_start_narrows_a_folder_of_before_and_leaves_what_others_put_there(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["init", str(tmp_path / "works")]).exit_code == 0
    folder = tmp_path / "works"
    Wal(folder / "readings")
    Historian(folder / "historian")
    (folder / "readings" / "00000001.arrows").write_bytes(b"")
    (folder / "historian" / "1.parquet").write_bytes(b"")
    (folder / "journal.db.bak").write_bytes(b"")
    (folder / "asks.csv").write_text("an export")
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666)
    done = CliRunner().invoke(main, ["serve", "--data", str(folder), "--port", "0", "--for", "1s"])
    assert done.exit_code == 0, done.output
    assert "other accounts could read" in done.output
    assert {name for name, mode in modes(folder).items() if mode & ~0o640} == {"asks.csv"}


def test_doctor_names_what_every_account_can_read_but_no_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "works"
    assert CliRunner().invoke(main, ["init", str(folder)]).exit_code == 0
    folder.chmod(0o755)
    assert "rights" not in json.loads(CliRunner().invoke(main, ["doctor", "--data", str(folder), "--json"]).stdout)
    (folder / "journal.db").chmod(0o644)
    (folder / "mqtt.password").write_text("secret")
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    (folder / "both.pem").write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----")
    done = CliRunner().invoke(main, ["doctor", "--data", str(folder), "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["healthy"]
    assert "both.pem, journal.db, mqtt.password:" in found["rights"]["says"]
    folder.chmod(0o750)
    assert readable_by_others(folder) == [], "nobody else comes in"


@given(mode=st.integers(0, 0o777).map(lambda mode: mode | 0o400))
def test_narrowing_takes_rights_and_never_gives_any(tmp_path_factory: pytest.TempPathFactory, mode: int) -> None:
    folder = tmp_path_factory.mktemp("works")
    (folder / "journal.db").touch()
    (folder / "journal.db").chmod(mode)
    found = narrow(folder)
    assert modes(folder) == {"journal.db": mode & 0o640}
    assert bool(found) is bool(mode & ~0o640)
    assert narrow(folder) == []


def test_an_index_beside_a_long_journal_is_narrow_too(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append([Record(f"r{n}", "Test", "s", n, (), b"x") for n in range(SPILL + 1)])
    journal.close()
    assert any(name.startswith("journal.index/") for name in modes(tmp_path))
    assert all(mode & ~0o640 == 0 for mode in modes(tmp_path).values()), modes(tmp_path)


def test_a_journal_of_before_that_is_narrowed_opens_as_it_was(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("CREATE TABLE other (x)")
    db.close()
    narrow(tmp_path)
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append([Record("r1", "Test", "s", 1, (), b"x")])
    assert journal.verify() is None
    journal.close()


def test_who_reads_a_journal_that_a_server_holds_open_takes_no_log_of_it_away(tmp_path: Path) -> None:
    """Opened once more in one process, its locks hold on: else the next reader that closes deletes what is not merged."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.append([Record("r0", "Test", "s", 0, (), b"x")])
    SqliteJournal(path)
    read = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1])\n"
    read += "print(*db.execute('select count(*) from record')); db.close()"
    told = subprocess.run([sys.executable, "-c", read, str(path)], capture_output=True, text=True, check=True)
    log = path.with_name("journal.db-wal")
    assert log.exists(), told.stdout
    journal.append([Record("r1", "Test", "s", 1, (), b"x")])
    again = subprocess.run([sys.executable, "-c", read, str(path)], capture_output=True, text=True, check=True)
    assert again.stdout.split() == ["(2,)"]
    journal.close()
