"""Records that can't wait for a journal whose database is away: durable in a folder beside it until it has them.

Theory of operation. A group of records is one file, numbered from 1 on. It is written under another name, synced and
renamed before whoever decided goes on: a file is there whole or not at all, whenever power fails, and one that isn't
whole was changed. With the records stands the end that the journal had then, so that a start sees whether they still
follow it. Once the journal holds all of them the folder is renamed, which no power cut can halve, and deleted. The
journal passes over a record that it has, so that a kill at any instant loses and doubles nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.store.head import Mark
from tieline.store.narrow import FILE_MODE
from tieline.store.whole_file import sync_folder

NAME, TAKEN, LEFT, PART = "journal.aside", "journal.aside.taken", "journal.aside.left", "part"
FOLDER_MODE = 0o750
_HEAD = struct.Struct("<8sI")
_MAGIC = b"TLASIDE1"


class Group(msgspec.Struct, frozen=True, array_like=True):
    """What was put aside at once: its records, oldest first, and number and hash of the journal's last record then."""

    end: Mark
    records: list[Record]


_ENCODE, _DECODE = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Group).decode


class Aside:
    """The folder `journal.aside` of a data folder; it is there only while the journal lacks something of it."""

    def __init__(self, folder: Path, end: Callable[[], Mark] = lambda: (0, b"")) -> None:
        """Take the data folder; nothing is made before the first `append`. `end` gives the journal's last record."""
        self.path, self._end = folder / NAME, end
        self._lock = threading.Lock()

    def append(self, records: Sequence[Record], /) -> None:
        """Return once the records are durable, after those that are there. Raises OSError: nobody may rest on them."""
        body = _ENCODE(Group(self._end(), list(records)))
        raw = _HEAD.pack(_MAGIC, zlib.crc32(body)) + body
        with self._lock:
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(FOLDER_MODE)
            part, number = self.path / PART, 1 + max(self._numbers(), default=0)
            try:
                with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb") as file:
                    file.write(raw)
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(self.path / str(number))
                sync_folder(self.path)
                if number == 1:
                    sync_folder(self.path.parent)
            except OSError:
                with contextlib.suppress(OSError):  # on a full disk what was begun takes room from others
                    part.unlink(missing_ok=True)
                raise

    def groups(self) -> list[Group]:
        """Return what stands aside, oldest first. Raises ConfigError: it was changed, or can't be read."""
        with self._lock:
            try:
                numbers = sorted(self._numbers())
                for at, number in enumerate(numbers, 1):
                    if number != at:
                        raise self._changed(self.path / str(at), "missing")
                return [self._read(self.path / str(number)) for number in numbers]
            except FileNotFoundError:  # there is none, or a server lets it go in this moment
                return []
            except OSError as error:
                raise ConfigError(f"{self.path}: {error.strerror}: give a folder that can be read") from None

    def records(self) -> list[Record]:
        """Return all records that stand aside, oldest first. Raises ConfigError as `groups`."""
        return [record for group in self.groups() for record in group.records]

    def clear(self) -> None:
        """Delete the folder, as the journal holds all of it. Raises OSError."""
        with self._lock:
            taken = self.path.with_name(TAKEN)
            shutil.rmtree(taken, ignore_errors=True)
            if self.path.is_dir():
                self.path.rename(taken)
                sync_folder(self.path.parent)
                shutil.rmtree(taken)

    def leave(self) -> Path:
        """Put the folder away under another name, as its records are not taken, and return that. Raises OSError."""
        with self._lock:
            number, left = 1, self.path.with_name(LEFT)
            while left.exists():
                number += 1
                left = self.path.with_name(f"{LEFT}-{number}")
            self.path.rename(left)
            sync_folder(self.path.parent)
            return left

    def _numbers(self) -> list[int]:
        return [int(name) for name in os.listdir(self.path) if name.isascii() and name.isdigit()]

    def _read(self, path: Path) -> Group:
        raw = path.read_bytes()
        body = raw[_HEAD.size :]
        if len(raw) < _HEAD.size or _HEAD.unpack_from(raw) != (_MAGIC, zlib.crc32(body)):
            raise self._changed(path, "changed")
        try:
            return _DECODE(body)
        except msgspec.DecodeError:
            raise self._changed(path, "of another release") from None

    def _changed(self, path: Path, what: str) -> ConfigError:
        return ConfigError(
            f"{path} = '{what}': it holds what was decided while the database was away, a press of the kill switch "
            f"first: put it back from a backup, or move {self.path} away, start, and press again"
        )
