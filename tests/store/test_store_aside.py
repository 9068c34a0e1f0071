"""What stands aside while a journal is away: in order, whole, and in the journal once, whenever a process ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.flow.begun import act, hastens
from tieline.flow.record import Record
from tieline.node.cli import main
from tieline.node.config import JournalSettings
from tieline.node.journals import journal_to_write
from tieline.store.aside import Aside
from tieline.store.group import GroupCommit
from tieline.store.journal import SqliteJournal, StoreDown, StoreError


def fact(name: str) -> Record:
    return Record(name, "Kind", "s", 7_000 + len(name), ("c",), name.encode() * 9)


GROUPS = [["a", "b"], ["c"], ["d", "e", "f"]]


@given(st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_a_power_cut_at_any_byte_leaves_the_groups_that_were_durable(tmp_path_factory: object, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")  # type: ignore[attr-defined]
    aside, ends = Aside(folder), [0]
    for names in GROUPS:
        aside.append([fact(name) for name in names])
        ends.append(aside.path.stat().st_size)
    raw = aside.path.read_bytes()
    aside.path.write_bytes(raw[: min(cut, len(raw))])
    whole = sum(end <= min(cut, len(raw)) for end in ends[1:])
    assert [record.id for record in aside.records()] == [name for names in GROUPS[:whole] for name in names]


@given(st.integers(12, 80), st.integers(1, 255))
@settings(max_examples=30, deadline=None)
def test_a_byte_that_was_changed_before_the_end_refuses_the_start(tmp_path_factory: object, at: int, by: int) -> None:
    folder = tmp_path_factory.mktemp("changed")  # type: ignore[attr-defined]
    aside = Aside(folder)
    for names in GROUPS:
        aside.append([fact(name) for name in names])
    raw = bytearray(aside.path.read_bytes())
    raw[at] ^= by
    aside.path.write_bytes(raw)
    with pytest.raises(ConfigError, match="changed at byte 0"):
        journal_to_write(folder, JournalSettings())
    assert aside.path.read_bytes() == raw


@given(st.integers(0, 6), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_start_appends_what_stood_aside_once_however_much_the_journal_had(
    tmp_path_factory: object, had: int, is_killed_again: bool
) -> None:
    folder = tmp_path_factory.mktemp("start")  # type: ignore[attr-defined]
    records = [fact(name) for names in GROUPS for name in names]
    first = SqliteJournal(folder / "journal.db")
    first.append([fact("before"), *records[:had]])
    first.close()
    aside = Aside(folder)
    aside.append(records)
    raw = aside.path.read_bytes()
    for _ in range(1 + is_killed_again):
        journal = journal_to_write(folder, JournalSettings())
        assert [(one.id, one.recorded_at_ns) for one in journal.replay()] == [
            (one.id, one.recorded_at_ns) for one in (fact("before"), *records)
        ]
        assert not aside.path.exists()
        journal.close()
        aside.path.write_bytes(raw)  # killed between the commit and the file's end


class Away:
    """A database that doesn't answer until it may, or that refuses what it is given."""

    def __init__(self) -> None:
        self.may, self.kept, self.refuses = threading.Event(), [], ""

    def append(self, records: Iterable[Record]) -> int:
        self.may.wait(20)
        if self.refuses:
            raise StoreError(self.refuses)
        self.kept += [record.id for record in records]
        return len(self.kept)


def test_what_cannot_wait_is_answered_with_all_before_it_though_the_database_is_silent(tmp_path: Path) -> None:
    async def main() -> None:
        loop, journal, aside = asyncio.get_running_loop(), Away(), Aside(tmp_path)
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        group.aside = aside
        waiting = [loop.create_task(group.append([fact(name)])) for name in "ab"]
        await asyncio.sleep(0.05)
        waiting.append(loop.create_task(group.append([fact("c")])))
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        with act():
            hastens()
            await group.append([fact("press")])
            began_s = loop.time()
            await group.append([fact("beat")])
            assert loop.time() - began_s < 0.5  # it is known by now to be silent
        assert await asyncio.gather(*waiting) == [0, 0, 0]
        assert [record.id for record in aside.records()] == ["a", "b", "c", "press", "beat"]
        with pytest.raises(StoreDown):
            await group.append([fact("new")])
        journal.may.set()
        async with asyncio.timeout(10):
            await group.came_up.wait()
        await group.append([fact("after")])
        assert journal.kept == ["a", "b", "c", "press", "beat", "after"]
        assert not aside.path.exists()

    asyncio.run(main())


def test_a_database_that_refuses_what_stood_aside_takes_nothing_more_and_a_start_still_finds_it(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        loop, journal, aside = asyncio.get_running_loop(), Away(), Aside(tmp_path)
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        group.aside = aside
        with act():
            hastens()
            await group.append([fact("press")])
        journal.refuses = "another server appended record 7"
        journal.may.set()
        async with asyncio.timeout(10):
            await group.came_up.wait()
        journal.refuses = ""
        with pytest.raises(StoreError, match="another server appended record 7"):
            await group.append([fact("after")])
        assert [record.id for record in aside.records()] == ["press"]

    asyncio.run(main())


def test_where_the_disk_takes_nothing_what_cannot_wait_waits_for_the_database(tmp_path: Path) -> None:
    async def main() -> None:
        loop, journal = asyncio.get_running_loop(), Away()
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        group.aside = Aside(tmp_path / "no such folder")
        with act():
            hastens()
            press = loop.create_task(group.append([fact("press")]))
            await asyncio.sleep(1.5)
            assert not press.done()
            journal.may.set()
            assert await press == 1
        assert not group.down

    asyncio.run(main())


def test_doctor_names_what_stands_aside(tmp_path: Path) -> None:
    folder = tmp_path / "works"
    assert CliRunner().invoke(main, ["init", str(folder)]).exit_code == 0
    (tmp_path / "devices.csv").write_text("id,kind,max_inject_w,max_absorb_w\nbattery-1,battery,5000,5000\n")
    done = CliRunner().invoke(main, ["import", str(tmp_path / "devices.csv"), "--data", str(folder)])
    assert done.exit_code == 0, done.output
    Aside(folder).append([fact("press"), fact("beat")])
    said = json.loads(CliRunner().invoke(main, ["doctor", "--data", str(folder), "--json"]).output)["journal"]
    assert said["ok"] and f"; 2 more wait in {folder / 'journal.aside'}: a server records them" in said["says"]
