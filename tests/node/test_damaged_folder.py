"""A data folder that was damaged: every verb says in one line which file it is and what to do, and none goes on."""

import json
import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import tieline.node.serve  # noqa: F401  loaded before the verb is, which then says nothing of loading it
from tieline.desk.facts import Audited, from_record
from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.store.importing import read_fleet
from tieline.store.journal import SqliteJournal
from tieline.store.registry import load, save

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


@pytest.mark.parametrize(
    "what", ["UPDATE record SET subject = 'battery-2' WHERE seq = 1500", "DELETE FROM record WHERE seq = 1500"]
)
@pytest.mark.parametrize(
    "words",
    [
        ("why", "battery-1", "--json"),
        ("export", "Audited", "out.csv", "--json"),
        ("sql", "SELECT count(*) FROM record", "--json"),
    ],
)
def test_a_record_in_the_middle_that_was_changed_or_is_gone_is_told_by_every_verb_that_answers(
    folder: Path, words: tuple[str, ...], what: str, tmp_path: Path
) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        assert db.execute(what).rowcount == 1
    words = tuple(str(tmp_path / word) if word.endswith(".csv") else word for word in words)
    done = run(*words, "--data", str(folder))
    assert done.exit_code == 1
    assert "record 1500 was changed, or is missing" in done.stderr
    if words[0] == "sql":
        answer = json.loads(done.stdout)
        assert answer["rows"] and any("record 1500" in says for says in answer["missing"])


# --- the registry -----------------------------------------------------------------------------------------------------


@given(st.data())
def test_no_changed_byte_of_a_registry_is_taken(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "devices.csv"
        table.write_text(TABLE)
        path = Path(name) / "registry.bin"
        save(read_fleet(table), path)
        raw = bytearray(path.read_bytes())
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
        with pytest.raises(ConfigError, match=r"registry.bin = 'changed': .*: put it back from a backup"):
            load(path)


@pytest.mark.parametrize(
    "words", [("replay",), ("why", "battery-1"), ("serve", "--port", "0", "--for", "1s"), ("import",)]
)
def test_a_changed_registry_ends_a_verb_with_one_line_that_names_file_and_fix(
    folder: Path, words: tuple[str, ...]
) -> None:
    raw = bytearray((folder / "registry.bin").read_bytes())
    raw[150] ^= 1
    (folder / "registry.bin").write_bytes(raw)
    also = (str(folder.parent / "devices.csv"),) if words == ("import",) else ()
    done = run(*words, *also, "--data", str(folder))
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"tieline: {folder / 'registry.bin'} = 'changed': its checksum does not hold: put it back")
    found = run("doctor", "--data", str(folder), "--json")
    (fault,) = json.loads(found.stdout)["registry"]["faults"]
    assert (found.exit_code, fault["field"], fault["value"]) == (1, str(folder / "registry.bin"), "changed")


def test_a_registry_of_before_is_read_and_gets_its_checksum_by_the_next_import(folder: Path) -> None:
    path = folder / "registry.bin"
    before = load(path)
    path.write_bytes(path.read_bytes()[24:])
    says = json.loads(run("doctor", "--data", str(folder), "--json").stdout)["registry"]["says"]
    assert says == "3 devices, without a checksum until the next import"
    assert load(path).ids == before.ids
    assert run("import", str(folder.parent / "devices.csv"), "--data", str(folder)).exit_code == 0
    assert json.loads(run("doctor", "--data", str(folder), "--json").stdout)["registry"]["says"] == "3 devices"


@given(st.data())
def test_a_registry_of_before_is_read_or_refused_whatever_was_changed(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "devices.csv"
        table.write_text(TABLE)
        path = Path(name) / "registry.bin"
        save(read_fleet(table), path)
        raw = bytearray(path.read_bytes()[24:])
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        try:
            load(path)
        except ConfigError as error:
            assert str(error).startswith(str(path))


READING = [("replay",), ("why", "battery-1"), ("export", "Audited", "out.csv"), ("sql", "SELECT count(*) FROM record")]


def _with_file(words: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return tuple(str(folder / word) if word.endswith(".csv") else word for word in words)


# --- a journal that is gone -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_head_without_its_journal_refuses_to_start_and_says_what_to_do(folder: Path, what: str) -> None:
    head = (folder / "journal.head").read_bytes()
    backup = (folder / "journal.db").read_bytes()
    for path in folder.glob("journal.db*"):
        path.unlink()
    if what == "empty":
        (folder / "journal.db").touch()
    done = run("serve", "--data", str(folder), "--port", "0", "--for", "1s")
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line == (
        f"tieline: {folder / 'journal.db'} = '{what}': journal.head beside it knows 3000 records: put the file back from a "
        "backup; to begin without any record on purpose, move journal.head away"
    )
    assert "http" not in done.stdout  # no link for a first admin
    assert (folder / "journal.head").read_bytes() == head
    found = run("doctor", "--data", str(folder), "--json")
    (fault,) = json.loads(found.stdout)["journal"]["faults"]
    assert (found.exit_code, f"tieline: {fault['field']} = '{fault['value']}': {fault['limit']}") == (1, line)
    for words in (*READING, ("sql", "SELECT count(*) FROM record, resource")):
        asked = run(*_with_file(words, folder.parent), "--data", str(folder))
        assert (asked.exit_code, asked.stdout, asked.stderr) == (2, "", f"{line}\n"), words
    assert (folder / "journal.head").read_bytes() == head
    for path in folder.glob("journal.db*"):
        path.unlink()
    (folder / "journal.db").write_bytes(backup)
    assert run("serve", "--data", str(folder), "--port", "0", "--for", "0.3s").exit_code == 0
    assert run("doctor", "--data", str(folder)).exit_code == 0


@pytest.mark.parametrize("words", READING)
def test_a_cut_end_is_told_by_every_verb_in_the_words_of_a_start_and_by_its_exit_code(
    folder: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("DELETE FROM record WHERE seq > 2900")
    says = (
        f"record 2901 is missing: journal.head knows 3000 records, 2900 are left in {folder / 'journal.db'}: put the "
        "file back from a backup; to go on without the others on purpose, move journal.head away"
    )
    assert json.loads(run("doctor", "--data", str(folder), "--json").stdout)["journal"]["says"] == says
    done = run(*_with_file(words, tmp_path), "--data", str(folder), "--json")
    assert (done.exit_code, done.stderr) == (1, f"warning: {says}\n")
    told = json.loads(done.stdout)
    assert told["end"] == says if words == ("replay",) else told["missing"] == [says]
    served = run("serve", "--data", str(folder), "--port", "0", "--for", "0.3s")
    assert (served.exit_code, f"warning: {says}" in served.stdout) == (0, True)
    (folder / "journal.head").unlink()
    assert run("serve", "--data", str(folder), "--port", "0", "--for", "0.3s").exit_code == 0
    again = run(*_with_file(words, tmp_path), "--data", str(folder))
    assert (again.exit_code, again.stderr) == (0, "")  # the way out leads out


def test_without_its_head_an_empty_journal_begins_anew(folder: Path) -> None:
    for path in folder.glob("journal.*"):
        if path.is_file():
            path.unlink()
    assert run("serve", "--data", str(folder), "--port", "0", "--for", "0.3s").exit_code == 0


# --- verbs that write -------------------------------------------------------------------------------------------------

WRITING = [("opt-out", "battery-1"), ("opt-in", "battery-1")]


def _rows(folder: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "journal.db") as db:
        return db.execute("SELECT * FROM record ORDER BY seq").fetchall()


@pytest.mark.parametrize("words", WRITING)
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("DELETE FROM record WHERE seq > 2900", "record 2901 is missing: journal.head knows 3000 records"),
        ("DELETE FROM record WHERE seq = 1500", "record 1500 was changed, or is missing"),
        ("UPDATE record SET subject = 'battery-2' WHERE seq = 1500", "record 1500 was changed, or is missing"),
    ],
)
def test_no_verb_writes_into_a_journal_that_was_changed_or_cut_and_it_says_what_to_do(
    folder: Path, words: tuple[str, ...], what: str, says: str
) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        assert db.execute(what).rowcount
    before = _rows(folder), (folder / "journal.head").read_bytes()
    done = run(*words, "--data", str(folder), "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    error = json.loads(done.stderr)["error"]
    assert error.startswith(says) and error.endswith("; nothing was written")
    assert (_rows(folder), (folder / "journal.head").read_bytes()) == before
    found = json.loads(run("doctor", "--data", str(folder), "--json").stdout)["journal"]["says"]
    assert found.split(":")[0] == says.split(":")[0]  # it names the same record as before


def test_what_was_cut_off_is_given_up_on_purpose_and_the_loss_is_recorded_by_the_verb_as_by_a_start(
    folder: Path,
) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("DELETE FROM record WHERE seq > 2900")
    (folder / "journal.head").rename(folder / "journal.head.away")
    fault = (
        "journal.head is missing beside 2900 records: whether their end was cut off can't be told; put journal.db and "
        "journal.head back from a backup if it was"
    )
    done = run("opt-out", "battery-1", "--data", str(folder))
    assert (done.exit_code, done.stderr) == (0, f"warning: {fault}\n")
    journal = SqliteJournal(folder / "journal.db")
    noted = [from_record(record) for record in journal.replay(2900)]
    journal.close()
    assert [fact.detail for fact in noted if isinstance(fact, Audited)] == [fault]
    assert run("doctor", "--data", str(folder)).exit_code == 0
    again = run("opt-in", "battery-1", "--data", str(folder))
    assert (again.exit_code, again.stderr) == (0, "")


def test_records_that_were_changed_are_not_moved_into_a_database(folder: Path) -> None:
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("UPDATE record SET subject = 'battery-2' WHERE seq = 1500")
    settings = folder / "tieline.toml"
    settings.write_text(settings.read_text() + '\n[journal]\nurl = "postgresql://me@127.0.0.1:1/none"\n')
    done = run("move", "--data", str(folder))
    assert done.exit_code == 2
    assert "record 1500 was changed, or is missing" in done.stderr and "nothing was written" in done.stderr
