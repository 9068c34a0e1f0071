"""Files that are written whole and carry the hash of what they hold: a magic, the hash, the body."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from tieline.store.narrow import opener
from tieline.store.whole_file import sync_folder

_SUM_BYTES = 16


def write(path: Path, magic: bytes, body: bytes) -> None:
    """Write a file, all or nothing, durable when it returns. Raises OSError."""
    part = path.with_suffix(".part")
    with open(part, "wb", opener=opener) as file:
        file.write(magic + _sum_of(body))
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def is_checked(path: Path, magic: bytes) -> bool:
    """Return whether a file begins with a magic, so that it carries its hash."""
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def body_of(raw: bytes, magic: bytes) -> bytes:
    """Return the body of a file's bytes. Raises ValueError where it is not as it was written."""
    at = len(magic) + _SUM_BYTES
    if raw[: len(magic)] != magic or raw[len(magic) : at] != _sum_of(raw[at:]):
        raise ValueError("its checksum does not hold")
    return raw[at:]


def _sum_of(body: bytes) -> bytes:
    return blake2b(body, digest_size=_SUM_BYTES).digest()
