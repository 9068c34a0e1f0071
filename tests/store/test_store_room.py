"""Room that is held for records: what is under way fits into it on a full disk, and nothing new is begun."""

import asyncio
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tieline.flow.begun import act
from tieline.flow.record import Record
from tieline.store.group import GroupCommit
from tieline.store.journal import SqliteJournal, StoreDown
from tieline.store.room import HELD_BYTES

MAY_MOUNT = (
    shutil.which("unshare") is not None
    and subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    ).returncode
    == 0
)
ON_A_DISK_OF_ITS_OWN = """
import os, sys
from pathlib import Path
from tieline.flow.record import Record
from tieline.store.journal import SqliteJournal, StoreDown
home, held = Path(sys.argv[1]), int(sys.argv[2])
journal = SqliteJournal(home / "j")
journal.append([Record("a", "Test", "s", 1, (), b"x")])
print(repr(journal.lacks_room()))
size = os.path.getsize(home / "j-wal")
with (home / "other").open("wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError as error:
        print(error.strerror)
kept = 0
while os.path.getsize(home / "j-wal") < size + held - 200_000:
    journal.append([Record(f"r{kept}", "Test", "s", 1, (), os.urandom(50_000))])
    kept += 1
print(kept > 100, journal.verify(), journal.lacks_room())
(home / "other").unlink()
print(repr(journal.lacks_room()))
print(journal.append([Record("z", "Test", "s", 1, (), b"x")]) == kept + 2, journal.verify())
"""


def fact(name: str) -> Record:
    return Record(name, "Test", "pool-1", 1, (), b"x")


@pytest.mark.skipif(not MAY_MOUNT, reason="no disk of its own can be mounted here")
def test_a_full_disk_takes_all_that_room_is_held_for_and_tells_that_no_more_is(tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o size=64m tmpfs "$1" && exec "$0" -c "$2" "$1" {HELD_BYTES}'
    command = ["unshare", "-rm", "sh", "-c", script, sys.executable, str(tmp_path), ON_A_DISK_OF_ITS_OWN]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[:2] == ["''", "No space left on device"]
    assert said[2].startswith("True None ")
    assert "the disk is full (No space left on device): free space" in said[2]
    assert said[3:] == ["''", "True None"]


def test_where_no_room_is_held_an_act_under_way_is_recorded_to_its_end_and_none_is_begun(tmp_path: Path) -> None:
    log = tmp_path / "j-wal"
    journal, whole = SqliteJournal(tmp_path / "j"), resource.getrlimit(resource.RLIMIT_FSIZE)
    journal.append([fact("a")])

    async def main() -> None:
        loop = asyncio.get_running_loop()
        group = GroupCommit(journal, lambda work, name: loop.create_task(work), None, journal.lacks_room)
        group.ready()
        with act():
            assert await group.append([fact("first")]) == 2
            most = log.stat().st_size + HELD_BYTES // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, whole[1]))
            assert await group.append([fact("second")]) == 3
            assert group.down
            group.ready()
            assert await group.append([fact("third")]) == 4
            left = loop.create_task(_later(group))
        with pytest.raises(StoreDown, match=r"^Nothing can be recorded: .*the disk counts as full"):
            group.ready()
        with act(), pytest.raises(StoreDown, match="Nothing can be recorded"):
            await group.append([fact("new")])
        with pytest.raises(StoreDown, match="Nothing can be recorded"):
            await left
        resource.setrlimit(resource.RLIMIT_FSIZE, whole)
        async with asyncio.timeout(10):
            await group.came_up.wait()
        group.ready()
        assert await group.append([fact("after")]) == 5

    try:
        asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, whole)
    assert [record.id for record in journal.replay()] == ["a", "first", "second", "third", "after"]
    assert journal.verify() is None


async def _later(group: GroupCommit[Record]) -> None:
    """What an act leaves running: it is no part of it once that is over."""
    await asyncio.sleep(0)
    await group.append([fact("left")])
