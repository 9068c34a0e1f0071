"""Records that can't wait for a journal whose database is away: durable in a file beside it until it has them.

Theory of operation. A frame is the length and sum of a group of records, and the records. One is added and synced
before whoever decided goes on, so that "append before act" holds of this file. Once the journal holds all of them the
file is deleted; a start that finds one appends what it holds to the journal before anything else, in its order and with
its instants. The journal passes over a record that it has, so that a kill at any instant loses and doubles nothing.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.store.narrow import FILE_MODE
from tieline.store.whole_file import sync_folder

NAME = "journal.aside"
_HEAD = struct.Struct("<QI")
_ENCODE, _DECODE = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(list[Record]).decode


class Aside:
    """The file of one data folder; it is there only while the journal lacks something of it."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing is made before the first `append`."""
        self.path = folder / NAME

    def append(self, records: Sequence[Record], /) -> None:
        """Return once the records are durable, after those that are there. Raises OSError: none of them is."""
        body = _ENCODE(list(records))
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        try:
            length = os.fstat(file).st_size
            try:
                raw = memoryview(_HEAD.pack(len(body), zlib.crc32(body)) + body)
                while raw:
                    raw = raw[os.write(file, raw) :]
                os.fsync(file)
            except OSError:
                os.ftruncate(file, length)  # what comes after half a frame could not be read
                raise
        finally:
            os.close(file)
        if not length:
            sync_folder(self.path.parent)

    def records(self) -> list[Record]:
        """Return what stands aside, oldest first; a frame that a power cut left unfinished was answered to nobody.

        Raises:
            ConfigError: The file was changed, or can't be read.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}: give a file that can be read") from None
        found: list[Record] = []
        at = 0
        while at + _HEAD.size <= len(raw):
            length, checksum = _HEAD.unpack_from(raw, at)
            body, end = raw[at + _HEAD.size : at + _HEAD.size + length], at + _HEAD.size + length
            if zlib.crc32(body) != checksum:
                if end >= len(raw):
                    break
                raise ConfigError(
                    f"{self.path} = 'changed at byte {at}': it holds what was decided while the database was away, a "
                    f"press of the kill switch first: put it back from a backup, or move it away, start and press again"
                )
            found += _DECODE(body)
            at = end
        return found

    def clear(self) -> None:
        """Delete the file, as the journal holds all of it. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            sync_folder(self.path.parent)
