"""A data folder that was damaged: every verb says in one line which file it is and what to do, and none goes on."""

import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from tieline.desk.facts import Audited
from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.store.journal import SqliteJournal

TABLE = "id,kind,max_inject_w,max_absorb_w\n" + "".join(f"battery-{k},battery,5000,5000\n" for k in range(3))


def run(*words: str) -> Result:
    done = CliRunner().invoke(main, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def _records() -> list[Record]:
    body = msgspec.msgpack.encode(Audited("server", "start", "found", "x" * 40))
    return [Record(f"r{n}", "Audited", "battery-1", n, (), body) for n in range(3_000)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three devices and 3,000 records, many pages long."""
    made = tmp_path / "works"
    assert run("init", str(made)).exit_code == 0
    (tmp_path / "devices.csv").write_text(TABLE)
    assert run("import", str(tmp_path / "devices.csv"), "--data", str(made)).exit_code == 0
    journal = SqliteJournal(made / "journal.db")
    journal.append(_records())
    journal.close()
    return made


# --- a page of the journal --------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(folder: Path) -> Path:
    """The page of the records' table that holds record 1,500 is overwritten."""
    path = folder / "journal.db"
    with sqlite3.connect(path) as db:
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    raw = bytearray(path.read_bytes())
    page = raw.index(b"r1500Audited") // page_bytes
    assert page > 1
    raw[page * page_bytes] ^= 0xFF  # its kind
    path.write_bytes(raw)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("replay",),
        ("why", "battery-1"),
        ("export", "Audited", "out.csv"),
        ("sql", "SELECT count(*) FROM record WHERE length(body) > 1"),
        ("sql", "SELECT count(*) FROM record, resource"),
        ("serve", "--port", "0", "--for", "1s"),
    ],
)
def test_a_page_that_cannot_be_read_ends_a_verb_with_one_line_that_names_file_and_fix(
    damaged: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    words = tuple(str(tmp_path / word) if word.endswith(".csv") else word for word in words)
    done = run(*words, "--data", str(damaged))
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"tieline: {damaged / 'journal.db'} = 'database disk image is malformed': the file is damaged"
    )
    assert "put it back from a backup" in line


def test_doctor_names_the_file_and_the_first_record_that_cannot_be_read(damaged: Path) -> None:
    done = run("doctor", "--data", str(damaged), "--json")
    (fault,) = json.loads(done.stdout)["journal"]["faults"]
    assert done.exit_code == 1
    assert (fault["field"], fault["value"]) == (str(damaged / "journal.db"), "database disk image is malformed")
    first = int(fault["limit"].rpartition("record ")[2].split()[0])
    assert 1_300 < first <= 1_501  # the page holds some before it


@pytest.mark.parametrize(
    "words", [("replay",), ("why", "battery-1"), ("export", "Audited"), ("serve", "--port", "0", "--for", "1s")]
)
def test_a_record_whose_body_was_changed_ends_a_verb_with_one_line_that_names_it(
    folder: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("UPDATE record SET body = ? WHERE seq = 7", (b"\xa3\x97\x97\x97",))
    if words[0] == "export":
        words = (*words, str(tmp_path / "out.csv"))
    done = run(*words, "--data", str(folder))
    assert done.exit_code == 2, done.output
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tieline: record ")
    assert "was changed" in last
    assert "tieline doctor" in last
