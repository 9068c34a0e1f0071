"""Where each record is, and what followed from it: sorted runs of keys beside the journal.

Theory of operation. A B-tree over random keys writes a page for every record, which costs more than the record itself.
So the journal keeps none. The newest records are in two dictionaries; every `SPILL` records those become a *run*: keys
sorted, the sequence numbers beside them. Two neighbouring runs of like size are merged, so that a run is rewritten only
as often as the journal doubles, up to `MOST` records; a look-up is a binary search in each run.

All of this follows from the records. A run on disk is therefore never synced: it carries a checksum and the hash of its
last record, and one that is torn, lost, or of another journal is left out and made again from the records.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tieline.store.narrow import opener

Keys = NDArray[np.int64]
Seqs = NDArray[np.uint32]
SPILL = 65_536
MOST = 32 * SPILL
_HEAD = struct.Struct("<8sQQQQI16s4x")  # 64 bytes: the arrays behind it stay aligned
_MAGIC = b"TLINDEX1"


def key_of(record_id: str) -> int:
    """Return 64 bits of an id's hash, signed."""
    return int.from_bytes(blake2b(record_id.encode(errors="surrogatepass"), digest_size=8).digest(), "big", signed=True)


def keys_of(ids: Collection[str]) -> dict[str, int]:
    """Return the key of each id, as `key_of` does one by one."""
    digests = b"".join([blake2b(name.encode(), digest_size=8).digest() for name in ids])
    return dict(zip(ids, np.frombuffer(digests, ">i8").tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Run:
    """Records [first, last]: keys of their ids and of their causes, each sorted, with `seq - first` beside them."""

    first: int
    last: int
    hash: bytes
    names: Keys
    name_seqs: Seqs
    causes: Keys
    cause_seqs: Seqs

    @property
    def count(self) -> int:
        """How many records."""
        return self.last - self.first + 1


def make_run(first: int, last: int, last_hash: bytes, names: Keys, name_seqs: Keys, causes: Keys, seqs: Keys) -> Run:
    """Return a run of keys and sequence numbers in any order."""
    by_name = np.argsort(names, kind="stable")
    by_cause = np.argsort(causes, kind="stable")  # stable: of one cause the effects stay in order
    return Run(
        first, last, last_hash, names[by_name], (name_seqs[by_name] - first).astype(np.uint32),
        causes[by_cause], (seqs[by_cause] - first).astype(np.uint32),
    )  # fmt: skip


def merged(older: Run, newer: Run) -> Run:
    """Return two neighbours as one."""
    shift = np.uint32(newer.first - older.first)
    names = np.concatenate([older.names, newer.names])
    causes = np.concatenate([older.causes, newer.causes])
    by_name, by_cause = np.argsort(names, kind="stable"), np.argsort(causes, kind="stable")
    return Run(
        older.first, newer.last, newer.hash,
        names[by_name], np.concatenate([older.name_seqs, newer.name_seqs + shift])[by_name],
        causes[by_cause], np.concatenate([older.cause_seqs, newer.cause_seqs + shift])[by_cause],
    )  # fmt: skip


def write_run(run: Run, folder: Path) -> None:
    """Write a run beside its place and rename it; not synced, since it can be made again."""
    parts = [array.tobytes() for array in (run.names, run.causes, run.name_seqs, run.cause_seqs)]
    check = 0
    for part in parts:
        check = zlib.crc32(part, check)
    head = _HEAD.pack(_MAGIC, run.first, run.last, len(run.names), len(run.causes), check, run.hash)
    path = folder / _name(run)
    part_path = path.with_suffix(f".{os.getpid()}.part")
    with open(part_path, "wb", opener=opener) as file:
        file.write(head + b"".join(parts))
    part_path.replace(path)


def read_run(path: Path) -> Run | None:
    """Return the run of a file, mapped into memory; None where it is torn or changed."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
        magic, first, last, names, causes, check, last_hash = _HEAD.unpack(head)
        if magic != _MAGIC or size != _HEAD.size + 12 * (names + causes) or names != last - first + 1:
            return None
        raw = np.memmap(path, np.uint8, "r")
    except (OSError, struct.error, ValueError):
        return None
    if zlib.crc32(raw[_HEAD.size :].data) != check:
        return None
    ends = np.cumsum([_HEAD.size, 8 * names, 8 * causes, 4 * names, 4 * causes]).tolist()
    cut = [raw[a:b] for a, b in pairwise(ends)]
    return Run(
        first, last, last_hash, np.frombuffer(cut[0], np.int64), np.frombuffer(cut[2], np.uint32),
        np.frombuffer(cut[1], np.int64), np.frombuffer(cut[3], np.uint32),
    )  # fmt: skip


class Index:
    """Finds records by the key of their id, and effects by the key of their cause."""

    def __init__(self, folder: Path | None, spill: int = SPILL) -> None:
        """Make an empty index; runs of at least `spill` records are kept in `folder` (None: in memory alone)."""
        self._folder, self._spill_at = folder, spill
        self.runs: tuple[Run, ...] = ()
        self._young: dict[int, int] = {}
        self._effects: dict[int, list[int]] = {}
        self.last = 0
        self.is_unsaved = False

    def load(self, hash_of: Callable[[int], bytes | None]) -> None:
        """Take the runs on disk that fit the journal, as far as they reach without a gap.

        Args:
            hash_of: Returns the hash of a record by its number, None where there is none.
        """
        files = [] if self._folder is None or not self._folder.is_dir() else sorted(self._folder.glob("*.run"))
        found: list[Run] = []
        at = 0
        for path in sorted(files, key=_reach):
            first, last = _bounds(path)
            if first != at + 1:
                continue  # it is in a longer run already, or a gap lies before it
            run = read_run(path)
            if run is not None and run.hash == hash_of(last):
                found.append(run)
                at = last
        self.runs, self.last = tuple(found), at
        self._young, self._effects = {}, {}

    def add(self, first: int, keys: Collection[int], effects: Mapping[int, list[int]], last_hash: bytes) -> None:
        """Take records numbered from `first` on: their keys, the numbers by cause key, and the hash of the last."""
        self._young.update(zip(keys, range(first, first + len(keys)), strict=True))
        for cause, seqs in effects.items():
            if cause in self._effects:
                self._effects[cause] += seqs
            else:
                self._effects[cause] = seqs
        self.last = first + len(keys) - 1
        if len(self._young) >= self._spill_at:
            self._spill(last_hash)

    def _spill(self, last_hash: bytes) -> None:
        first = self.runs[-1].last + 1 if self.runs else 1
        count = sum(map(len, self._effects.values()))
        causes = np.repeat(
            np.fromiter(self._effects, np.int64, len(self._effects)),
            np.fromiter(map(len, self._effects.values()), np.int64, len(self._effects)),
        )
        seqs = np.fromiter((seq for effects in self._effects.values() for seq in effects), np.int64, count)
        names = np.fromiter(self._young, np.int64, len(self._young))
        name_seqs = np.fromiter(self._young.values(), np.int64, len(self._young))
        runs = [*self.runs, make_run(first, self.last, last_hash, names, name_seqs, causes, seqs)]
        while len(runs) > 1 and runs[-2].count <= 1.5 * runs[-1].count and runs[-2].count + runs[-1].count <= MOST:
            runs[-2:] = [merged(runs[-2], runs[-1])]
        self.runs = tuple(runs)  # before the dictionaries are emptied: who reads meanwhile finds it in one of the two
        self._young, self._effects = {}, {}
        self.is_unsaved = True

    def save(self) -> None:
        """Write the runs that are not on disk and remove those that are in no use.

        Raises:
            OSError: They can't be written; the index in memory is whole all the same.
        """
        if self._folder is None:
            self.is_unsaved = False
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = {_name(run): run for run in self.runs}
        there = {path.name for path in self._folder.glob("*.run")}
        for name in wanted.keys() - there:
            write_run(wanted[name], self._folder)
        for name in there - wanted.keys():
            (self._folder / name).unlink(missing_ok=True)
        self.is_unsaved = False

    def find(self, keys: Sequence[int]) -> dict[int, int]:
        """Return the sequence number of each key that is there."""
        found = {key: self._young[key] for key in keys if key in self._young}
        if self.runs:
            wanted = np.sort(np.array(keys, np.int64))  # in order, so that neighbours hit the same cache lines
            for run in self.runs:
                at = np.minimum(np.searchsorted(run.names, wanted), len(run.names) - 1)
                hit = np.flatnonzero(run.names[at] == wanted)
                if len(hit):
                    seqs = run.first + run.name_seqs[at[hit]].astype(np.int64)
                    found |= zip(wanted[hit].tolist(), seqs.tolist(), strict=True)
        return found

    def effects(self, keys: Sequence[int], limit: int) -> list[tuple[int, int]]:
        """Return (effect seq, cause key) in the order of the effects, at most `limit`."""
        found = [(seq, key) for key in dict.fromkeys(keys) for seq in self._effects.get(key, ())[:limit]]
        wanted = np.unique(np.array(keys, np.int64))
        for run in self.runs:
            low = np.searchsorted(run.causes, wanted, "left")
            high = np.minimum(np.searchsorted(run.causes, wanted, "right"), low + limit)
            for key, start, end in zip(wanted.tolist(), low.tolist(), high.tolist(), strict=True):
                found += [(run.first + int(seq), key) for seq in run.cause_seqs[start:end]]
        return sorted(set(found))[:limit]


def _name(run: Run) -> str:
    return f"{run.first:012d}-{run.last:012d}.run"


def _bounds(path: Path) -> tuple[int, int]:
    first, _, last = path.stem.partition("-")
    return (int(first), int(last)) if first.isdigit() and last.isdigit() else (0, 0)


def _reach(path: Path) -> tuple[int, int]:
    first, last = _bounds(path)
    return first, -last
