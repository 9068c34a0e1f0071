"""A power cut below the real store: of what was not synced any part may be lost, torn or written out of order."""

import itertools
from pathlib import Path

import apsw
import numpy as np
import pytest

from tieline.flow.record import Record
from tieline.store.journal import SqliteJournal, StoreError

SECTOR = 512
_names = itertools.count()


class Disk(apsw.VFS):
    """A disk that remembers what was synced; `on_step` is called before each write, truncation and sync."""

    def __init__(self) -> None:
        self.name = f"cut-{next(_names)}"
        self.synced: dict[str, bytearray] = {}
        self.pending: dict[str, list[tuple[int, bytes | None]]] = {}
        self.on_step = lambda step: None
        self.steps = 0
        super().__init__(self.name, "")

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:
        return DiskFile(self, name, flags)

    def xDelete(self, name: str, is_synced: bool) -> None:
        self.synced.pop(name, None)  # SQLite asks for the folder to be synced: the name is gone for good
        self.pending.pop(name, None)
        super().xDelete(name, is_synced)

    def step(self, what: str) -> None:
        self.steps += 1
        self.on_step(what)

    def image(self, folder: Path, rng: np.random.Generator) -> None:
        """Write what a cut would leave now: all that was synced, and any part of the rest."""
        for name, synced in self.synced.items():
            held = bytearray(synced)
            waiting = list(self.pending[name])
            keep = rng.random()
            for at in rng.permutation(len(waiting)) if rng.random() < 0.5 else range(len(waiting)):
                offset, raw = waiting[int(at)]
                if rng.random() >= keep:
                    continue
                if raw is None:
                    del held[offset:]
                    continue
                whole = len(raw) // SECTOR
                part = raw if rng.random() < 0.7 else raw[: SECTOR * int(rng.integers(0, whole + 1))]
                _write(held, offset, part)
            (folder / Path(name).name).write_bytes(held)


class DiskFile(apsw.VFSFile):
    """A file of the disk; only the database and its log are of interest."""

    def __init__(self, disk: Disk, name: object, flags: list[int]) -> None:
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        disk.synced.setdefault(self.path, bytearray())
        disk.pending.setdefault(self.path, [])
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.step("write")
        self.disk.pending[self.path].append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self.disk.step("truncate")
        self.disk.pending[self.path].append((size, None))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self.disk.step("sync")
        held = self.disk.synced[self.path]
        for offset, raw in self.disk.pending[self.path]:
            if raw is None:
                del held[offset:]
            else:
                _write(held, offset, raw)
        self.disk.pending[self.path].clear()
        super().xSync(flags)


def _write(held: bytearray, offset: int, raw: bytes) -> None:
    if len(held) < offset:
        held.extend(bytes(offset - len(held)))
    held[offset : offset + len(raw)] = raw


def facts(first: int, count: int, rng: np.random.Generator) -> list[Record]:
    size = int(rng.integers(0, 3_000))
    return [
        Record(f"r{n}", "Test", "s", n, (f"r{n - 1}",), bytes([n % 251]) * size) for n in range(first, first + count)
    ]


def opened(disk: Disk, path: Path) -> SqliteJournal:
    journal = SqliteJournal(path, lambda file: apsw.Connection(str(file), vfs=disk.name))
    list(journal._db.execute("PRAGMA wal_autocheckpoint=8"))  # so that cuts fall into checkpoints as well
    return journal


def cuts(folder: Path, count: int, seed: int) -> int:
    """Cut the power so many times while batches are appended, and check what each cut leaves. Returns the cuts."""
    rng, done = np.random.default_rng(seed), 0
    while done < count:
        disk, written, ends = Disk(), list[Record](), [0]
        home = folder / f"{disk.name}"
        home.mkdir()
        journal = opened(disk, home / "journal.db")
        heads = list[bytes]()

        def cut(
            step: str,
            heads: list = heads,
            home: Path = home,
            disk: Disk = disk,
            written: list = written,
            ends: list = ends,
        ) -> None:
            nonlocal done
            if done < count and rng.random() < 0.25:
                left = folder / f"cut-{done}-left"
                left.mkdir()
                disk.image(left, rng)
                heads.append((home / "journal.head").read_bytes() if (home / "journal.head").exists() else b"")
                # The head isn't synced: a cut leaves any that was ever written, a torn one, or none.
                held = heads[int(rng.integers(0, len(heads)))][: int(rng.choice([36, 36, 36, 20]))]
                (left / "journal.head").write_bytes(held)
                check(left / "journal.db", written, ends)
                done += 1

        disk.on_step = cut
        for _ in range(12):
            batch = facts(len(written), int(rng.integers(1, 20)), rng)
            written += batch  # it may be found, but only whole
            ends.append(len(written))
            journal.append(batch)
            del ends[:-1]
        disk.on_step = lambda step: None
        journal.close()
    return done


def check(path: Path, written: list[Record], ends: list[int]) -> None:
    """The journal is whole: all that was acknowledged (`ends[0]`), and of the batch under way all or nothing."""
    journal = SqliteJournal(path)
    assert journal.verify() is None
    assert journal.last_seq in ends, f"{journal.last_seq} records, acknowledged {ends[0]}"
    assert [(r.id, r.body) for r in journal.replay()] == [(r.id, r.body) for r in written[: journal.last_seq]]
    seq = journal.append(facts(len(written), 1, np.random.default_rng(0)))
    assert seq == journal.last_seq
    journal.close()


def test_a_power_cut_at_any_write_loses_nothing_acknowledged_and_tears_nothing(tmp_path: Path) -> None:
    assert cuts(tmp_path, 60, 1) == 60


@pytest.mark.long
def test_it_holds_over_a_thousand_cuts(tmp_path: Path) -> None:
    assert cuts(tmp_path, 1_000, 2) == 1_000


def test_the_disk_of_this_test_does_lose_what_is_not_synced(tmp_path: Path) -> None:
    """The test of the test: without synchronous=FULL a cut does lose acknowledged records."""
    disk = Disk()
    (tmp_path / "a").mkdir()
    journal = opened(disk, tmp_path / "a" / "journal.db")
    list(journal._db.execute("PRAGMA synchronous=OFF"))
    rng = np.random.default_rng(3)
    journal.append(facts(0, 5, rng))
    lost = 0
    for n in range(10):
        left = tmp_path / f"left-{n}"
        left.mkdir()
        disk.image(left, rng)
        (left / "journal.head").write_bytes((tmp_path / "a" / "journal.head").read_bytes())
        found = SqliteJournal(left / "journal.db")
        lost += found.last_seq < 5
        assert (found.verify() is not None) == (found.last_seq < 5)  # and the head tells of what was lost
    assert lost


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError])
def test_a_write_that_fails_is_refused_typed_and_leaves_no_half_state(tmp_path: Path, error: type) -> None:
    rng, disk = np.random.default_rng(4), Disk()
    journal = opened(disk, tmp_path / "journal.db")
    journal.append(facts(0, 3, rng))
    refused = 0
    for n in range(40):
        fails_at = disk.steps + int(rng.integers(1, 6))

        def fail(step: str, fails_at: int = fails_at) -> None:
            if disk.steps >= fails_at:
                raise error("the disk")

        before, disk.on_step = journal.last_seq, fail
        try:
            journal.append(facts(1_000 * n + 1_000, 10, rng))
            added = 10
        except StoreError as said:
            assert "was kept" in str(said)
            refused, added = refused + 1, 0
        disk.on_step = lambda step: None
        assert journal.last_seq == before + added
        assert sum(1 for _ in journal.replay()) == before + added
        assert journal.verify() is None
    assert refused > 10
    journal.append(facts(500, 1, rng))
    journal.close()
    assert SqliteJournal(tmp_path / "journal.db").verify() is None
