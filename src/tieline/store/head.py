"""The head of a journal: number and hash of a last record, beside the journal, so that a cut-off end is seen.

A chain tells of a change in its middle, but a chain without its last record is a whole chain. So each commit leaves its
last number and hash here. It is written after the commit is durable, and never synced: a power cut may leave an older
head or none, which says less, but never one that the journal doesn't hold.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from tieline.store.narrow import FILE_MODE

_FORM = struct.Struct("<8sQ16s")
_MAGIC = b"TLHEAD01"
_SIZE = _FORM.size + 4  # one sector: no disk tears it, and the sum tells where a copy did
Mark = tuple[int, bytes]


def lost_says(name: str, what: str, count: int) -> str:
    """Say that all records of a journal are gone, and what to do."""
    return (
        f"{name} = '{what}': journal.head beside it knows {count} records: put the file back from a backup; to begin "
        f"without any record on purpose, move journal.head away"
    )


def cut_says(name: str, lost: int, known: int, left: int) -> str:
    """Say that a journal's last records are gone, and what to do: the same way out as where all of them are."""
    return (
        f"record {lost} is missing: journal.head knows {known} records, {left} are left in {name}: put the file back "
        f"from a backup; to go on without the others on purpose, move journal.head away"
    )


def unsure_says(left: int) -> str:
    """Say that a journal has no head: it may be whole."""
    return (
        f"journal.head is missing beside {left} records: whether their end was cut off can't be told; put journal.db "
        f"and journal.head back from a backup if it was"
    )


class Head:
    """The head in one file."""

    def __init__(self, path: Path) -> None:
        """Take the path; nothing is made before the first `write`."""
        self.path = path
        self._file: int | None = None

    def read(self) -> Mark | None:
        """Return number and hash; None where there is no head that can be read."""
        for _ in range(3):  # a server may be writing it
            try:
                raw = self.path.read_bytes()
            except OSError:
                return None
            if len(raw) == _SIZE and zlib.crc32(raw[:-4]) == int.from_bytes(raw[-4:], "little"):
                magic, seq, last = _FORM.unpack(raw[:-4])
                return (seq, last) if magic == _MAGIC else None
        return None

    def write(self, seq: int, last: bytes) -> None:
        """Note a record that is durable already. Raises OSError where the disk is full or gone: the head lags then."""
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT, FILE_MODE)
        raw = _FORM.pack(_MAGIC, seq, last)
        os.pwrite(self._file, raw + zlib.crc32(raw).to_bytes(4, "little"), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
