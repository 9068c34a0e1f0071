"""The verbs that ask a data folder: they write nothing, end in time, and make no journal."""

import json
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tieline.console.auth.accounts import Account
from tieline.console.auth.roles import Role
from tieline.console.auth.sessions import KeptSession
from tieline.desk.facts import CommandsIssued
from tieline.desk.packed import Packed
from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.links.endpoint.openadr.book import Change
from tieline.node.cli import main
from tieline.store.asking import ask
from tieline.store.journal import SqliteJournal
from tieline.store.registry import load
from tieline.times import SECOND_NS


class Ticks:
    """A clock on which each look takes a second."""

    def __init__(self) -> None:
        self.looks = 0

    def now_ns(self) -> int:
        self.looks += 1
        return self.looks * SECOND_NS


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def said(result: Result) -> str:
    """What the verb says of a fault: one line."""
    assert result.exit_code != 0
    text = result.output if isinstance(result.exception, SystemExit) else str(result.exception)
    assert len(text.strip().splitlines()) == 1, text
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    assert run("init", str(made)).exit_code == 0
    journal = SqliteJournal(made / "journal.db")
    journal.append([Record(f"r{n}", "Test", "line\none", n, (), b"\x01") for n in range(5)])
    journal.close()
    return made


def test_a_folder_just_made_is_healthy_and_has_an_empty_registry(tmp_path: Path) -> None:
    run("init", str(tmp_path / "new"))
    found = json.loads(run("doctor", "--data", str(tmp_path / "new"), "--json").stdout)
    assert found["healthy"] is True
    assert found["registry"] == {"ok": True, "says": "0 devices"}


@pytest.mark.parametrize(
    "verb", [["replay"], ["doctor"], ["why", "x"], ["export", "LineSettled", "out.csv"], ["sql", "select 1"]]
)
def test_no_question_makes_a_journal_where_there_is_none(tmp_path: Path, verb: list[str]) -> None:
    run("init", str(tmp_path))  # all but the journal
    for left in tmp_path.glob("journal*"):
        left.unlink()
    before = sorted(tmp_path.iterdir())
    assert run(*verb, "--data", str(tmp_path)).exit_code != 0
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{other}' AS x", "VACUUM", "VACUUM INTO '{other}'", "PRAGMA journal_mode=DELETE", "PRAGMA user_version=7",
        "DELETE FROM record", "UPDATE record SET kind='x'", "INSERT INTO setting VALUES ('a', x'00')", "DROP TABLE record",
        "CREATE TABLE x (a)", "CREATE TEMP TABLE x (a)", "BEGIN", "REINDEX", "ANALYZE", "SELECT load_extension('{other}')",
    ],
)  # fmt: skip
def test_whatever_would_write_is_refused_in_one_line(folder: Path, tmp_path: Path, query: str) -> None:
    other = tmp_path / "other.db"
    before = (folder / "journal.db").read_bytes()
    assert "is refused: the records are read-only here" in said(
        run("sql", query.format(other=other), "--data", str(folder))
    )
    assert not other.exists()
    assert (folder / "journal.db").read_bytes() == before


def test_a_query_without_end_is_ended_by_the_clock(folder: Path) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c"
    clock = Ticks()
    with pytest.raises(ConfigError, match=r"ended after 10 s: narrow it, or give a longer --timeout"):
        ask(folder / "journal.db", endless, 10 * SECOND_NS, clock)
    assert clock.looks <= 14
    assert "ended after 0.2 s" in said(run("sql", endless, "--timeout", "0.2s", "--data", str(folder)))


def test_rows_beyond_the_most_are_cut_and_said_to_be(folder: Path) -> None:
    answer = ask(folder / "journal.db", "SELECT seq FROM record ORDER BY seq", SECOND_NS, Ticks(), most_rows=3)
    assert (answer.rows, answer.is_cut) == ([(1,), (2,), (3,)], True)
    assert not ask(folder / "journal.db", "SELECT seq FROM record", SECOND_NS, Ticks(), most_rows=5).is_cut


def test_nothing_is_shown_as_null_and_each_row_is_one_line(folder: Path) -> None:
    query = "SELECT NULL AS n, subject, body FROM record LIMIT 1"
    assert run("sql", query, "--data", str(folder)).stdout == "n\tsubject\tbody\nNULL\tline\\none\t01\n"
    found = json.loads(run("sql", query, "--json", "--data", str(folder)).stdout)
    assert found == {
        "columns": ["n", "subject", "body"],
        "rows": [[None, "line\none", "01"]],
        "is_cut": False,
        "missing": [],
    }


@pytest.mark.parametrize(
    "query", ["", "/* nothing */", "SELECT 1; SELECT 2", "SELECT nope", "SELECT zeroblob(900000000)"]
)
def test_a_faulty_query_is_answered_in_one_line(folder: Path, query: str) -> None:
    assert query[:8] in said(run("sql", query, "--data", str(folder)))


@pytest.mark.parametrize("timeout", ["0s", "-1s", "soon"])
def test_a_timeout_that_is_none_is_refused_by_its_name(folder: Path, timeout: str) -> None:
    assert "--timeout" in said(run("sql", "SELECT 1", f"--timeout={timeout}", "--data", str(folder)))


def test_doctor_names_a_changed_record_and_a_journal_that_is_none(folder: Path) -> None:
    db = sqlite3.connect(folder / "journal.db")
    db.execute("UPDATE record SET body=x'02' WHERE seq=3")
    db.commit()
    db.close()
    assert "record 3 was changed" in run("doctor", "--data", str(folder)).stdout
    for left in folder.glob("journal.db*"):
        left.unlink()
    (folder / "journal.db").write_bytes(b"not a database" * 100)
    found = run("doctor", "--data", str(folder), "--json")
    assert found.exit_code == 1
    assert "not a journal" in json.loads(found.stdout)["journal"]["says"]


def test_accounts_and_vtn_objects_are_exported_without_their_secrets(folder: Path, tmp_path: Path) -> None:
    journal = SqliteJournal(folder / "journal.db")
    account = Account("ann", (Role.VIEWER,), "$argon2id$hash", token_hashes=("abc",))
    thing = {"programID": "p", "objectOperations": [{"callbackUrl": "https://v/", "bearerToken": "hush"}]}
    journal.append(
        [
            Record("a1", "AccountChanged", "ann", 6, (), msgspec.msgpack.encode(account)),
            Record(
                "o1",
                "OpenAdrObject",
                "sub-1",
                7,
                (),
                msgspec.msgpack.encode(Change("subscriptions", "sub-1", thing, 1)),
            ),
        ]
    )
    session = KeptSession("c0ffee", "ann", 0, 9.0, 8.0)
    journal.append([Record("s1", "SessionChanged", "ann", 8, (), msgspec.msgpack.encode(session))])
    journal.close()
    for kind, name in (("AccountChanged", "a1"), ("OpenAdrObject", "o1"), ("SessionChanged", "s1")):
        target = tmp_path / f"{kind}.json"
        done = run("export", kind, str(target), "--data", str(folder), "--json")
        assert json.loads(done.stdout)["records"] == 1, done.stderr
        text = target.read_text()
        assert json.loads(text)[0]["id"] == name
        assert "held back" in text
        assert not any(secret in text for secret in ("argon2id", "abc", "hush", "c0ffee"))


def test_commands_are_exported_with_the_name_of_each_device_and_what_it_was_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("id,kind,max_inject_w,max_absorb_w\nb1,battery,5000,5000\nb2,battery,5000,5000\n")
    assert run("import", str(tmp_path / "two.csv"), "--data", str(folder)).exit_code == 0
    ids = load(folder / "registry.bin").ids
    rows, nothing, zero = np.arange(2, dtype=np.int32), np.array([np.nan, 1_500.0]), np.zeros(2)
    low_w, high_w = np.array([-np.inf, -5_000.0]), np.array([np.inf, 5_000.0])
    told = CommandsIssued(
        "commands:1", *map(Packed.of, (rows, nothing, low_w, high_w, zero)), issued_ns=7, valid_from_ns=7,
        valid_until_ns=9, epoch=1, seq=1,
    )  # fmt: skip
    journal = SqliteJournal(folder / "journal.db")
    journal.append([Record("commands:1", "CommandsIssued", "", 7, (), msgspec.msgpack.encode(told))])
    journal.close()
    done = run("export", "CommandsIssued", str(tmp_path / "told.json"), "--data", str(folder))
    assert done.exit_code == 0, done.stderr
    (row,) = [row for row in json.loads((tmp_path / "told.json").read_text()) if row["id"] == "commands:1"]
    assert json.loads(row["rows"]) == list(ids[:2])
    assert json.loads(row["target_w"]) == [None, 1_500.0]
    assert (json.loads(row["low_w"]), json.loads(row["high_w"])) == ([None, -5_000.0], [None, 5_000.0])


def test_why_in_an_empty_registry_says_that_it_is_empty(tmp_path: Path) -> None:
    run("init", str(tmp_path / "new"))
    assert "the registry is empty: `tieline import` first" in run("why", "x", "--data", str(tmp_path / "new")).stderr


def body_of(folder: Path, record: Record, columns: str = "body, caused_by, hash") -> list[str]:
    """Return a record's columns as the table and as `--json` have them."""
    journal = SqliteJournal(folder / "journal.db")
    journal.append([record])
    journal.close()
    query = f"SELECT {columns} FROM record WHERE id = '{record.id}'"
    table = run("sql", query, "--data", str(folder)).stdout.splitlines()[1].replace("\\\\", "\\").split("\t")
    (in_json,) = json.loads(run("sql", query, "--json", "--data", str(folder)).stdout)["rows"]
    assert table == in_json
    return in_json


def test_a_records_body_and_causes_are_text_and_its_hash_is_hex(folder: Path) -> None:
    (rows, power_w) = np.arange(2, dtype=np.int32), np.array([np.nan, 1_500.0])
    told = CommandsIssued(
        "commands:1", *map(Packed.of, (rows, power_w, power_w, power_w, power_w)), issued_ns=7, valid_from_ns=7,
        valid_until_ns=9, epoch=1, seq=1,
    )  # fmt: skip
    record = Record("commands:1", "CommandsIssued", "größe", 7, ("claims:é", "b"), msgspec.msgpack.encode(told))
    body, causes, digest = body_of(folder, record)
    assert json.loads(causes) == ["claims:é", "b"]
    held = json.loads(body)
    assert (held["batch"], held["issued_ns"], held["rows"], held["target_w"]) == (
        "commands:1",
        7,
        [0, 1],
        [None, 1500.0],
    )
    assert len(bytes.fromhex(digest)) == 16


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"größe": [1, "ä"]}'.encode(), '{"größe": [1, "ä"]}'),
        (b"[1.50]", "[1.50]"),
        (b"{no json", b"{no json".hex()),
        (b"\xff{}", "ff7b7d"),
        (b"", ""),
        (b"5", "35"),
        (msgspec.msgpack.encode({"a": {"b": float("nan")}}), '{"a": {"b": null}}'),
        (msgspec.msgpack.encode({1: 2}), msgspec.msgpack.encode({1: 2}).hex()),
        (
            msgspec.msgpack.encode({"dtype": "no", "data": b"x"}),
            msgspec.msgpack.encode({"dtype": "no", "data": b"x"}).hex(),
        ),
    ],
)
def test_bytes_that_are_json_are_text_and_others_are_hex(folder: Path, body: bytes, text: str) -> None:
    assert body_of(folder, Record("x", "Test", "", 7, (), body), "body") == [text]


def test_a_body_in_sql_holds_back_the_secrets_that_an_export_does(folder: Path) -> None:
    account = Account("ann", (Role.VIEWER,), "$argon2id$hash", token_hashes=("abc",))
    body = body_of(folder, Record("a1", "AccountChanged", "ann", 6, (), msgspec.msgpack.encode(account)), "body")[0]
    assert "held back" in body
    assert "argon2id" not in body
    as_json = json.dumps({"session_hash": "c0ffee", "name": "ann"}).encode()
    held = body_of(folder, Record("a2", "Test", "ann", 6, (), as_json), "body")[0]
    assert json.loads(held) == {"session_hash": "held back", "name": "ann"}
