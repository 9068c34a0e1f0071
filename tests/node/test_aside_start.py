"""A start takes in what stood aside: each record once and in order, or where the journal went on, the press alone."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.desk.entry import Entry
from tieline.desk.facts import Audited, AuthorityChanged
from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.node.aside_start import left_aside, take_aside
from tieline.node.cli import main
from tieline.node.config import JournalSettings
from tieline.node.journals import journal_to_write
from tieline.store.aside import Aside
from tieline.store.journal import SqliteJournal


def said(name: str, at_ns: int = 0) -> Record:
    return Entry(name, Audited("ann", "limit", "done", name), "s", ("c",)).record(7_000 + at_ns)


def moved(name: str, value: str) -> Record:
    return Entry(name, AuthorityChanged("kill", value, "ann"), "").record(9_000)


GROUPS = [[said("a", 1), said("b", 2)], [moved("press", "on")], [said("d", 3), said("e"), said("f", 5)]]
ALL = [record for group in GROUPS for record in group]


def told(journal: SqliteJournal) -> list[tuple[str, int]]:
    return [(record.id, record.recorded_at_ns) for record in journal.replay()]


def outage(folder: Path, before: int = 2) -> SqliteJournal:
    """Put groups aside behind some records, and return the journal as it is left."""
    journal = SqliteJournal(folder / "journal.db")
    journal.append([said(f"before-{number}") for number in range(before)])
    aside = Aside(folder, lambda: journal.end)
    for group in GROUPS:
        aside.append(group)
    return journal


@given(st.integers(0, 2), st.integers(0, 6), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_start_takes_what_stood_aside_once_however_much_the_journal_had_and_whenever_it_is_killed(
    tmp_path_factory: pytest.TempPathFactory, before: int, had: int, kills: int
) -> None:
    folder = tmp_path_factory.mktemp("start")
    first = outage(folder, before)
    first.append(ALL[:had])  # what a commit that was cut did keep
    first.close()
    shutil.copytree(folder / "journal.aside", folder / "copy")
    for _ in range(1 + kills):
        journal = journal_to_write(folder, JournalSettings())
        wanted = [*(said(f"before-{number}") for number in range(before)), *ALL]
        assert told(journal) == [(one.id, one.recorded_at_ns) for one in wanted]  # type: ignore[arg-type]
        assert (journal.verify(), journal.end_fault()) == (None, "")
        assert not (folder / "journal.aside").exists() and not list(folder.glob("*.left*"))
        journal.close()
        shutil.copytree(folder / "copy", folder / "journal.aside")  # killed between the commit and its end


def test_groups_of_two_outages_that_were_not_let_go_are_taken_though_the_journal_went_on_between(
    tmp_path: Path,
) -> None:
    journal = outage(tmp_path)
    journal.append([*ALL, said("between")])
    Aside(tmp_path, lambda: journal.end).append([said("second")])
    take_aside(tmp_path, journal)
    assert [name for name, _ in told(journal)][-2:] == ["between", "second"]
    assert not list(tmp_path.glob("*.left*"))


@pytest.mark.parametrize("how", ["another server went on", "an older backup", "a backup and another server"])
def test_where_the_journal_went_on_without_it_the_press_alone_is_taken_and_the_rest_is_put_away_and_named(
    tmp_path: Path, how: str
) -> None:
    journal = outage(tmp_path)
    if how != "another server went on":
        journal.close()
        with sqlite3.connect(tmp_path / "journal.db") as db:
            db.execute("DELETE FROM record WHERE seq > 1")
        shutil.rmtree(tmp_path / "journal.index", ignore_errors=True)
        journal = SqliteJournal(tmp_path / "journal.db")
    if how != "an older backup":
        journal.append([said("foreign"), said("foreign-2")])
    count = journal.last_seq
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "journal.aside", copy)
    take_aside(tmp_path, journal)
    assert [name for name, _ in told(journal)[count:]] == ["press"]
    says: list[str] = []
    (entry,) = left_aside(tmp_path, says.append)
    assert "journal.aside.left" in says[0] and "look what else is to be done again" in says[0]
    assert [one.id for one in left_aside(tmp_path, says.append)] == [entry.id]
    (tmp_path / "journal.aside.left").rename(tmp_path / "journal.aside")  # killed before it was put away
    take_aside(tmp_path, journal)
    assert [name for name, _ in told(journal)[count:]] == ["press"]
    assert [group.records for group in Aside(tmp_path).groups()] == []
    assert {path.name for path in (tmp_path / "journal.aside.left").iterdir()} == {path.name for path in copy.iterdir()}


def test_where_the_journal_went_on_a_press_that_was_released_aside_is_not_taken(tmp_path: Path) -> None:
    journal = outage(tmp_path)
    Aside(tmp_path, lambda: journal.end).append([moved("release", "off")])
    journal.append([said("foreign")])
    take_aside(tmp_path, journal)
    assert told(journal)[-1][0] == "foreign"


@given(st.integers(1, 3), st.integers(0, 200), st.integers(1, 255))
@settings(max_examples=20, deadline=None)
def test_a_group_that_was_changed_refuses_the_start_and_stays_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, number: int, at: int, by: int
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    outage(folder).close()
    path = folder / "journal.aside" / str(number)
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] ^= by
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=f"aside/{number} = 'changed'.*move .*journal.aside away, start, and press"):
        journal_to_write(folder, JournalSettings())
    assert path.read_bytes() == raw


def test_a_folder_that_is_moved_takes_what_stood_aside_with_it(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    outage(tmp_path / "here").close()
    (tmp_path / "here").rename(tmp_path / "there")
    journal = journal_to_write(tmp_path / "there", JournalSettings())
    assert [name for name, _ in told(journal)][2:] == [record.id for record in ALL]  # type: ignore[arg-type]
    journal.close()


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == code, done.output
    return done.output


def test_doctor_and_every_answer_name_what_stands_aside(tmp_path: Path) -> None:
    folder = tmp_path / "works"
    run("init", str(folder))
    (tmp_path / "devices.csv").write_text("id,kind,max_inject_w,max_absorb_w\nbattery-1,battery,5000,5000\n")
    run("import", str(tmp_path / "devices.csv"), "--data", str(folder))
    outage(folder).close()
    data, says = ("--data", str(folder)), f"6 records wait in {folder / 'journal.aside'}: a server takes them"
    found = json.loads(run("doctor", *data, "--json"))["journal"]
    assert found["ok"] and says in found["says"]
    assert says in run("why", "battery-1", *data)
    assert says in run("sql", "SELECT count(*) FROM record", *data)
    assert says in run("replay", *data)
    assert says in run("export", "Audited", str(tmp_path / "acts.csv"), *data)
    path = folder / "journal.aside" / "1"
    path.write_bytes(path.read_bytes()[:-1])
    assert "journal.aside/1 = 'changed'" in run("doctor", *data, code=1)
    assert "journal.aside/1 = 'changed'" in run("why", "battery-1", *data)
    (folder / "journal.aside").rename(folder / "journal.aside.left")
    assert "not taken, as its start said: journal.aside.left" in run("doctor", *data)
