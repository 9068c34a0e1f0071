"""A book of statements on disk: entries in a chain of hashes, and every input file by the hash of what it holds.

`book.jsonl` has an entry a line, each with the hash of itself and all before it; `book.head` says how far it went, so
that a book that was cut short is known for what it is. A last line without its end is what a power cut leaves of an
entry that nobody was told of: it is passed over, and gone with the next one. `inputs/` keeps the files of each
statement, by which it is made again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec
from msgspec import Struct

from tieline.errors import ConfigError
from tieline.pool.settled import Settled
from tieline.pool.statement_book import StatementBook, add, fold
from tieline.pool.statement_facts import Entry, Fact
from tieline.store.narrow import opener
from tieline.times import iso

BOOK, HEAD, INPUTS = "book.jsonl", "book.head", "inputs"


class _Row(Struct, frozen=True, forbid_unknown_fields=True):
    prev: str
    hash: str
    entry: msgspec.Raw


class _Head(Struct, frozen=True, forbid_unknown_fields=True):
    seq: int
    hash: str


def hash_of(content: bytes) -> str:
    """Return the hash by which a file's content is known."""
    return blake2b(content, digest_size=16).hexdigest()


def encode_settled(settled: Settled) -> bytes:
    """Return a settled event as bytes: the same event, the same bytes."""
    return msgspec.json.encode(settled)


def decode_settled(raw: bytes) -> Settled:
    """Return the settled event of such bytes."""
    return msgspec.json.decode(raw, type=Settled)


def read_statements(folder: Path) -> StatementBook:
    """Return the book of a folder.

    Raises:
        ConfigError: There is none, an entry was changed or left out, or the book was cut short; the line is named.
    """
    if not (folder / BOOK).exists():
        raise ConfigError(f"--book {folder}: holds no {BOOK}: make one with `tieline statements open`")
    entries, last = _read(folder)
    _require_head(folder, len(entries), last)
    return fold(entries)


def _read(folder: Path) -> tuple[list[Entry], str]:
    path, entries, prev = folder / BOOK, list[Entry](), ""
    lines = path.read_bytes().split(b"\n")
    for number, raw in enumerate(lines[:-1], 1):
        try:
            row = msgspec.json.decode(raw, type=_Row)
            entry = msgspec.json.decode(row.entry, type=Entry)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path}: line {number}: is no entry ({error}): restore it from a copy") from None
        if row.prev != prev or row.hash != _link(prev, row.entry) or entry.seq != number:
            raise ConfigError(f"{path}: line {number}: was changed or moved: its hash does not hold: restore a copy")
        entries.append(entry)
        prev = row.hash
    return entries, prev


def _require_head(folder: Path, seq: int, last: str) -> None:
    try:
        head = msgspec.json.decode((folder / HEAD).read_bytes(), type=_Head)
    except (OSError, msgspec.DecodeError):
        raise ConfigError(f"{folder / HEAD}: can't be read: restore the folder from a copy") from None
    # A cut between an entry and its head leaves the head one behind.
    if head.seq > seq or (head.seq == seq and head.hash != last):
        raise ConfigError(f"{folder / BOOK}: ends at entry {seq}, {HEAD} knows {head.seq}: restore it from a copy")


def _link(prev: str, entry: bytes) -> str:
    return blake2b(prev.encode() + bytes(entry), digest_size=16).hexdigest()


Append = Callable[[Fact], Entry]


@contextmanager
def changing_statements(
    folder: Path, at_ns: int, by: str, *, is_new: bool = False
) -> Iterator[tuple[StatementBook, Append]]:
    """Hold a book for a change: yields it, and what appends a fact to it, durable when it returns.

    Raises:
        ConfigError: There is no such book, it was changed, or `at_ns` lies before its last entry.
    """
    if is_new:
        (folder / INPUTS).mkdir(parents=True, exist_ok=True)
    elif not (folder / BOOK).exists():
        raise ConfigError(f"--book {folder}: holds no {BOOK}: make one with `tieline statements open`")
    with open(folder / "lock", "a", encoding="utf-8", opener=opener) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_new and (folder / BOOK).exists():
            raise ConfigError(f"--book {folder}: is a book already: give another folder")
        entries, last = _read(folder) if (folder / BOOK).exists() else ([], "")
        if entries:
            _require_head(folder, len(entries), last)
        book = fold(entries)
        held = [last]

        def append(fact: Fact) -> Entry:
            if book.entries and at_ns < book.entries[-1].at_ns:
                last_at = iso(book.entries[-1].at_ns)
                raise ConfigError(f"--at {iso(at_ns)!r}: the book's last entry is of {last_at}: give that or later")
            entry = Entry(book.last_seq + 1, at_ns, by, fact)
            held[0] = _append(folder, entry, held[0])
            add(book, entry)
            return entry

        yield book, append


def _append(folder: Path, entry: Entry, prev: str) -> str:
    body = msgspec.json.encode(entry)
    row = _Row(prev, _link(prev, body), msgspec.Raw(body))
    with open(folder / BOOK, "a+b", opener=opener) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
        file.write(msgspec.json.encode(row) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh = folder / f"{HEAD}.new"
    with open(fresh, "wb", opener=opener) as file:
        file.write(msgspec.json.encode(_Head(entry.seq, row.hash)))
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, folder / HEAD)
    _sync(folder)
    return row.hash


def _sync(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def keep_input(folder: Path, path: Path) -> str:
    """Keep a file's content in the book, and return its hash; what is there already is not written again.

    The suffix is kept with it: readers go by it.
    """
    content = path.read_bytes()
    name = f"{hash_of(content)}{path.suffix.lower()}"
    kept = folder / INPUTS / name
    if not kept.exists():
        part = kept.with_name(f"{name}.part")
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, kept)
        _sync(folder / INPUTS)
    return name


def kept_input(folder: Path, name: str) -> Path:
    """Return where a kept file is. Raises ConfigError where it is gone, or not what its name says."""
    path = folder / INPUTS / name
    if not path.exists():
        raise ConfigError(f"{path}: is gone: restore it from a copy")
    if hash_of(path.read_bytes()) != name.partition(".")[0]:
        raise ConfigError(f"{path}: was changed: its hash does not hold: restore it from a copy")
    return path
