"""The head beside the journal: a journal that was cut short at its end is seen to be."""

import sqlite3
from pathlib import Path

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.node.config import write_example
from tieline.store.head import Head
from tieline.store.journal import SqliteJournal


def facts(first: int, count: int) -> list[Record]:
    return [Record(f"r{n}", "Test", "s", n, (), b"x") for n in range(first, first + count)]


def kept(path: Path, count: int = 5) -> None:
    journal = SqliteJournal(path)
    journal.append(facts(0, count))
    journal.close()


def change(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


def test_a_deleted_last_record_is_missed(tmp_path: Path) -> None:
    kept(tmp_path / "journal.db")
    assert SqliteJournal(tmp_path / "journal.db").head == (5, SqliteJournal(tmp_path / "journal.db").last_hash)
    change(tmp_path / "journal.db", "DELETE FROM record WHERE seq=5")
    assert SqliteJournal(tmp_path / "journal.db").verify() == 5
    write_example(tmp_path / "tieline.toml")
    assert "record 5 is missing" in CliRunner().invoke(main, ["doctor", "--data", str(tmp_path)]).stdout


def test_records_appended_after_a_loss_do_not_cover_it(tmp_path: Path) -> None:
    kept(tmp_path / "journal.db")
    change(tmp_path / "journal.db", "DELETE FROM record WHERE seq>3")
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append(facts(100, 1))
    assert journal.verify() == 5
    journal.append(facts(200, 9))
    assert journal.verify() == 5


def test_an_emptied_journal_is_not_whole(tmp_path: Path) -> None:
    kept(tmp_path / "journal.db")
    for left in tmp_path.glob("journal.db*"):
        left.unlink()
    journal = SqliteJournal(tmp_path / "journal.db")
    assert (journal.last_seq, journal.verify()) == (0, 1)


def test_a_head_behind_the_journal_or_torn_or_gone_is_no_fault_and_the_next_commit_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    kept(path)
    older = (tmp_path / "journal.head").read_bytes()
    for number, left in enumerate([older, older[:20], b"", None]):
        journal = SqliteJournal(path)
        journal.append(facts(1_000 * (number + 1), 3))
        journal.close()
        if left is None:
            (tmp_path / "journal.head").unlink()
        else:
            (tmp_path / "journal.head").write_bytes(left)
        again = SqliteJournal(path)
        assert again.verify() is None
        again.append(facts(1_000 * (number + 1) + 500, 1))
        assert again.head == (again.last_seq, again.last_hash)
        again.close()


def test_a_server_that_appends_meanwhile_raises_no_false_alarm(tmp_path: Path) -> None:
    kept(tmp_path / "journal.db")
    doctor, server = SqliteJournal(tmp_path / "journal.db"), SqliteJournal(tmp_path / "journal.db")
    server.append(facts(10, 5))
    assert doctor.verify() is None


@given(st.integers(0, 35), st.integers(0, 7))
def test_a_head_with_a_changed_bit_is_no_head(tmp_path_factory: object, at: int, bit: int) -> None:
    path = tmp_path_factory.mktemp("head") / "h"  # type: ignore[attr-defined]
    head = Head(path)
    head.write(7, b"0123456789abcdef")
    assert head.read() == (7, b"0123456789abcdef")
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1 << bit
    path.write_bytes(raw)
    assert head.read() is None
    head.close()
