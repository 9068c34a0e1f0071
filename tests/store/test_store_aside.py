"""What stands aside while a journal is away: in order, whole or not at all, and let go once the journal has it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.flow.begun import act, hastens
from tieline.flow.record import Record
from tieline.store.aside import PART, TAKEN, Aside
from tieline.store.group import GroupCommit
from tieline.store.journal import StoreDown, StoreError


def fact(name: str) -> Record:
    return Record(name, "Kind", "s", 7_000 + len(name), ("c",), name.encode() * 9)


GROUPS = [["a", "b"], ["c"], ["d", "e", "f"]]
ALL = [name for names in GROUPS for name in names]


def put(folder: Path) -> Aside:
    """Put three groups aside."""
    aside = Aside(folder, lambda: (7, b"h" * 16))
    for names in GROUPS:
        aside.append([fact(name) for name in names])
    return aside


def ids(aside: Aside) -> list[str]:
    return [record.id for record in aside.records()]


@given(st.integers(0, 2), st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_a_power_cut_at_any_byte_leaves_the_groups_that_were_durable(
    tmp_path_factory: pytest.TempPathFactory, whole: int, cut: int
) -> None:
    aside = put(tmp_path_factory.mktemp("cut"))
    for number in range(len(GROUPS), whole, -1):  # as they were before; the next one was being written
        raw = (aside.path / str(number)).read_bytes()
        (aside.path / str(number)).unlink()
    (aside.path / PART).write_bytes(raw[:cut])
    assert ids(aside) == [name for names in GROUPS[:whole] for name in names]
    aside.append([fact("next")])
    assert ids(aside) == [*(name for names in GROUPS[:whole] for name in names), "next"]


@given(st.integers(1, 3), st.integers(0, 400), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_a_group_that_was_cut_or_changed_at_any_byte_refuses_to_be_read(
    tmp_path_factory: pytest.TempPathFactory, number: int, at: int, by: int
) -> None:
    aside = put(tmp_path_factory.mktemp("changed"))
    path = aside.path / str(number)
    raw = bytearray(path.read_bytes())
    at %= len(raw)
    if by:
        raw[at] ^= by
    else:
        raw = raw[:at]
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=f"journal.aside/{number} = 'changed'.*press again"):
        aside.records()
    assert path.read_bytes() == raw


@pytest.mark.parametrize("number", [1, 2])
def test_a_group_that_is_missing_refuses_to_be_read(tmp_path: Path, number: int) -> None:
    aside = put(tmp_path)
    (aside.path / str(number)).unlink()
    with pytest.raises(ConfigError, match=f"journal.aside/{number} = 'missing'"):
        aside.records()


def test_a_group_of_another_release_refuses_to_be_read(tmp_path: Path) -> None:
    class Later(Aside):
        def append(self, records: object, /) -> None:
            super().append(["a record of another form"])  # type: ignore[list-item]

    aside = Later(tmp_path)
    aside.append([])
    with pytest.raises(ConfigError, match="of another release"):
        aside.records()


def test_what_is_let_go_is_gone_at_once_and_a_deletion_that_was_cut_short_harms_nothing(tmp_path: Path) -> None:
    aside = put(tmp_path)
    aside.path.rename(tmp_path / TAKEN)  # killed right after
    (tmp_path / TAKEN / "1").unlink()
    assert ids(aside) == []
    put(tmp_path).clear()
    assert list(tmp_path.iterdir()) == [] and ids(aside) == []
    aside.clear()


def test_what_is_put_away_keeps_its_records_under_a_name_of_its_own(tmp_path: Path) -> None:
    assert [put(tmp_path).leave().name for _ in range(2)] == ["journal.aside.left", "journal.aside.left-2"]
    assert ids(Aside(tmp_path)) == []
    shutil.move(tmp_path / "journal.aside.left-2", tmp_path / "journal.aside")
    assert ids(Aside(tmp_path)) == ALL


def test_no_other_account_reads_what_stands_aside(tmp_path: Path) -> None:
    aside = put(tmp_path)
    assert aside.path.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in aside.path.iterdir()} == {0o640}


FILLS = """
import resource, sys
from pathlib import Path
from tieline.flow.record import Record
from tieline.store.aside import Aside
aside = Aside(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
aside.append([Record("a", "Kind", "s", 1, (), b"x" * 100)])
try:
    aside.append([Record("b", "Kind", "s", 1, (), b"x" * 10_000)])
except OSError as error:
    print(error.strerror, sorted(path.name for path in aside.path.iterdir()))
aside.append([Record("c", "Kind", "s", 1, (), b"x" * 100)])
"""


def test_a_disk_that_takes_no_more_leaves_nothing_of_the_group_and_takes_the_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILLS, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "File too large ['1']"
    assert ids(Aside(tmp_path)) == ["a", "c"]


WRITES = """
import sys
from pathlib import Path
from tieline.flow.record import Record
from tieline.store.aside import Aside
aside = Aside(Path(sys.argv[1]))
for number in range(10_000):
    name = f"{sys.argv[2]}-{number}"
    aside.append([Record(name, "Kind", "s", 1, (), b"x" * 5_000)])
    print(name, flush=True)
"""


def test_a_kill_at_any_instant_loses_no_group_that_was_durable_and_halves_none(tmp_path: Path) -> None:
    rng, told = random.Random(11), []
    for turn in range(12):
        command = [sys.executable, "-c", WRITES, str(tmp_path), str(turn)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        told.append(child.stdout.readline().strip())
        time.sleep(rng.uniform(0.0, 0.03))
        os.kill(child.pid, signal.SIGKILL)
        told += child.stdout.read().split()
        child.wait()
        found = ids(Aside(tmp_path))
        assert [name for name in found if name in told] == told
        assert len(found) - len(told) <= turn + 1, "more was there than one that nobody was told of, a kill"


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, ten seconds at most."""
    for _ in range(1_000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never was so")


class Away:
    """A database that doesn't answer until it may, or that refuses what it is given."""

    def __init__(self) -> None:
        self.may, self.refuses = threading.Event(), ""
        self.kept: list[str] = []

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


def test_after_records_aside_that_are_refused_nothing_that_came_later_is_taken(tmp_path: Path) -> None:
    """The first group is refused for itself, not as the database is another: the second would stand without it."""

    class Refuses(Away):
        def append(self, records: Iterable[Record]) -> int:
            records = list(records)
            self.refuses = "one of them can't be kept" if any(record.id == "bad" for record in records) else ""
            return super().append(records)

    async def main() -> None:
        loop, journal, aside = asyncio.get_running_loop(), Refuses(), Aside(tmp_path)
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        group.aside = aside
        bad = loop.create_task(group.append([fact("bad")]))
        await asyncio.sleep(0.05)
        with act():
            hastens()
            assert await group.append([fact("press")]) == 0
        assert await bad == 0
        journal.may.set()
        async with asyncio.timeout(10):
            await group.came_up.wait()
        await until(lambda: not group.unwritten())
        assert journal.kept == []
        with pytest.raises(StoreError, match="what was put aside is not taken: one of them can't be kept"):
            await group.append([fact("after")])
        assert ids(aside) == ["bad", "press"]

    asyncio.run(main())


def test_who_is_cancelled_while_he_puts_aside_leaves_nothing_behind_once_the_journal_is_back(tmp_path: Path) -> None:
    class Slow(Aside):
        def append(self, records: object, /) -> None:
            time.sleep(0.3)
            super().append(records)  # type: ignore[arg-type]

    async def main() -> None:
        loop, journal, aside = asyncio.get_running_loop(), Away(), Slow(tmp_path)
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        group.aside, group.aside_executor = aside, ThreadPoolExecutor(1)

        async def press(name: str) -> None:
            with act():
                hastens()
                await group.append([fact(name)])

        first = loop.create_task(press("first"))
        await asyncio.sleep(1.1)
        first.cancel()
        await press("second")
        assert ids(aside) == ["first", "first", "second"]
        journal.may.set()
        async with asyncio.timeout(10):
            await group.came_up.wait()
        await until(lambda: not aside.path.exists())
        assert journal.kept == ["first", "second"]

    asyncio.run(main())


def test_what_cannot_wait_does_not_stand_in_line_behind_readers_of_the_silent_database(tmp_path: Path) -> None:
    async def main() -> None:
        loop, journal, aside = asyncio.get_running_loop(), Away(), Aside(tmp_path)
        group = GroupCommit(journal, lambda work, name: loop.create_task(work), ThreadPoolExecutor(1))
        group.aside, group.aside_executor = aside, ThreadPoolExecutor(1)
        readers = [loop.run_in_executor(None, journal.may.wait) for _ in range(64)]
        with act():
            hastens()
            async with asyncio.timeout(5):
                assert await group.append([fact("press")]) == 0
        journal.may.set()
        await asyncio.gather(*readers)

    asyncio.run(main())


def test_each_outage_of_a_server_s_life_begins_anew_and_the_order_is_that_of_the_acts(tmp_path: Path) -> None:
    async def main() -> None:
        loop, journal, aside = asyncio.get_running_loop(), Away(), Aside(tmp_path)
        group = GroupCommit(journal, lambda work, name: loop.create_task(work))
        group.aside = aside
        wanted: list[str] = []
        for turn in range(3):
            waits = loop.create_task(group.append([fact(f"waits-{turn}")]))
            await asyncio.sleep(0.05)
            with act():
                hastens()
                assert await group.append([fact(f"press-{turn}")]) == 0
            assert await waits == 0
            assert ids(aside) == [f"waits-{turn}", f"press-{turn}"]
            journal.may.set()
            async with asyncio.timeout(10):
                await group.came_up.wait()
            await group.append([fact(f"after-{turn}")])
            await until(lambda: not aside.path.exists())
            wanted += [f"waits-{turn}", f"press-{turn}", f"after-{turn}"]
            assert journal.kept == wanted
            journal.may.clear()
        journal.may.set()

    asyncio.run(main())
