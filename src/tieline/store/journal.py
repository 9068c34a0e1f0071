"""The journal on SQLite: append before act, all or none, durable before it returns, chained by hash.

WAL with synchronous=FULL: a commit survives a power cut, not merely a killed process. Each record's hash covers the
hash before it, so that a changed bit anywhere is found by `verify`. A record whose id is known is passed over: the same
message twice has one effect.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import msgspec
from sqlalchemy.dialects import sqlite as sqlite_dialect

from tieline.errors import ConfigError, Error, InvariantError
from tieline.flow.record import Record
from tieline.store.schema import ddl

GENESIS = b"\0" * 16
_encode = msgspec.msgpack.Encoder().encode
_causes = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_INSERT = "INSERT INTO record (seq,key,id,kind,subject,recorded_at_ns,caused_by,body,hash) VALUES (?,?,?,?,?,?,?,?,?)"
_COLUMNS = "seq,id,kind,subject,recorded_at_ns,caused_by,body"


class StoreError(Error):
    """The disk is full, locked or broken: nothing of the batch was recorded."""


class Connection(Protocol):
    """What the journal needs of a connection; both sqlite3's and apsw's have it."""

    def execute(self, sql: str, bindings: Sequence[Any] = ..., /) -> Any:
        """Run one statement and return its rows."""
        ...

    def executemany(self, sql: str, bindings: Iterable[Sequence[Any]], /) -> Any:
        """Run one statement for each row of bindings."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def key_of(record_id: str) -> int:
    """Return 64 bits of an id's hash, signed as SQL wants it."""
    return int.from_bytes(blake2b(record_id.encode(), digest_size=8).digest(), "big", signed=True)


def chain(before: bytes, seq: int, row: tuple[str, str, str, int, bytes, bytes]) -> bytes:
    """Return the hash of a record: of the hash before it, its number and all that it holds."""
    return blake2b(before + _encode((seq, *row)), digest_size=16).digest()


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection that is durable at each commit."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)


class SqliteJournal:
    """Implements `flow.record.Journal` in one file."""

    def __init__(self, path: Path, open_connection: Callable[[Path], Connection] = connect, exclusive: bool = False):
        """Open or make the journal.

        Raises:
            ConfigError: The file is no journal, or its folder can't be written.
        """
        self.path = path
        try:
            self._db = open_connection(path)
            if exclusive:
                self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA cache_size=-65536")
            self._db.execute("PRAGMA busy_timeout=10000")
            for statement in ddl(sqlite_dialect.dialect()):
                self._db.execute(statement)
        except Exception as error:
            raise ConfigError(f"{path}: not a journal that can be opened: {error}") from error
        last = list(self._db.execute("SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1"))
        self._seq, self._hash = (int(last[0][0]), bytes(last[0][1])) if last else (0, GENESIS)

    @property
    def last_seq(self) -> int:
        """Number of the last record; 0: none."""
        return self._seq

    @property
    def last_hash(self) -> bytes:
        """Hash of the last record: the hash of the whole journal."""
        return self._hash

    def append(self, records: Iterable[Record]) -> int:
        """Make the records durable, all or none, and return the number of the last.

        Raises:
            StoreError: Nothing was recorded.
        """
        seq, last = self._seq, self._hash
        rows: list[tuple[Any, ...]] = []
        edges: list[tuple[int, int]] = []
        items = {key_of(item.id): item for item in reversed(list(records))}  # of one id the first counts
        try:
            self._db.execute("BEGIN IMMEDIATE")
            known = self._known_keys(items)
            for key, item in reversed(items.items()):
                if key in known:
                    continue
                seq += 1
                causes = _encode(item.caused_by)
                row = (item.id, item.kind, item.subject, item.recorded_at_ns, causes, item.body)
                last = chain(last, seq, row)
                rows.append((seq, key, *row, last))
                edges.extend((key_of(cause), seq) for cause in dict.fromkeys(item.caused_by))
            self._db.executemany(_INSERT, rows)
            self._db.executemany("INSERT INTO cause (cause_key, effect_seq) VALUES (?,?)", sorted(edges))
            self._db.execute("COMMIT")
        except InvariantError:
            self._roll_back()
            raise
        except Exception as error:
            self._roll_back()
            raise StoreError(f"{self.path}: {error}: nothing of {len(rows)} records was kept") from error
        self._seq, self._hash = seq, last
        return seq

    def _known_keys(self, items: dict[int, Record]) -> set[int]:
        """Return which keys are there already. Raises InvariantError where two ids share a key."""
        known: set[int] = set()
        for part in _parts(list(items), 900):
            marks = ",".join("?" * len(part))
            for key, name in self._db.execute(f"SELECT key, id FROM record WHERE key IN ({marks})", part):
                if items[int(key)].id != name:
                    raise InvariantError(f"ids {items[int(key)].id!r} and {name!r} share a key")
                known.add(int(key))
        return known

    def _known(self, key: int, record_id: str) -> bool:
        found = list(self._db.execute("SELECT id FROM record WHERE key=?", (key,)))
        if found and found[0][0] != record_id:
            raise InvariantError(f"ids {record_id!r} and {found[0][0]!r} share a key")
        return bool(found)

    def _roll_back(self) -> None:
        try:
            self._db.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001  no transaction is open, or the file is gone: either way nothing was kept
            del error

    def holds(self, record_id: str) -> bool:
        """Return whether a record with this id is there."""
        return self._known(key_of(record_id), record_id)

    def get(self, record_id: str) -> Record | None:
        """Return the record of an id, or None."""
        rows = list(self._db.execute(f"SELECT {_COLUMNS} FROM record WHERE key=?", (key_of(record_id),)))
        return _record(rows[0]) if rows else None

    def replay(self, after_seq: int = 0) -> Iterator[Record]:
        """Yield what was recorded after a number, oldest first."""
        while True:
            rows = list(
                self._db.execute(f"SELECT {_COLUMNS} FROM record WHERE seq>? ORDER BY seq LIMIT 2000", (after_seq,))
            )
            if not rows:
                return
            yield from map(_record, rows)
            after_seq = int(rows[-1][0])

    def about(
        self, subject: str, kinds: Sequence[str] = (), since_ns: int = 0, until_ns: int = 2**63 - 1
    ) -> list[Record]:
        """Return the records about a resource, pool or peer, oldest first."""
        where = "subject=? AND recorded_at_ns>=? AND recorded_at_ns<=?"
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM record WHERE {where} ORDER BY seq", (subject, since_ns, until_ns)
        )
        return [record for record in map(_record, rows) if not kinds or record.kind in kinds]

    def of_kind(self, kind: str, since_ns: int = 0, until_ns: int = 2**63 - 1) -> Iterator[Record]:
        """Yield the records of a kind, oldest first."""
        sql = f"SELECT {_COLUMNS} FROM record WHERE kind=? AND recorded_at_ns>=? AND recorded_at_ns<=? ORDER BY seq"
        yield from map(_record, self._db.execute(sql, (kind, since_ns, until_ns)))

    def causes_of(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the ids that caused each of some records."""
        found: dict[str, tuple[str, ...]] = {}
        for part in _parts(list(dict.fromkeys(ids)), 500):
            marks = ",".join("?" * len(part))
            sql = f"SELECT id, caused_by FROM record WHERE key IN ({marks})"
            found |= {row[0]: _causes(row[1]) for row in self._db.execute(sql, [key_of(name) for name in part])}
        return found

    def effects_of(self, ids: Sequence[str], limit: int) -> list[tuple[str, Record]]:
        """Return (cause id, record) for what followed from some records, at most `limit` of them."""
        found: list[tuple[str, Record]] = []
        names = {key_of(name): name for name in ids}
        columns = ",".join(f"r.{name}" for name in _COLUMNS.split(","))
        for part in _parts(list(names), 500):
            marks = ",".join("?" * len(part))
            sql = (
                f"SELECT {columns}, c.cause_key FROM cause c JOIN record r ON r.seq=c.effect_seq "
                f"WHERE c.cause_key IN ({marks}) ORDER BY c.effect_seq LIMIT ?"
            )
            rows = self._db.execute(sql, [*part, max(limit - len(found), 0)])
            found += [(names[int(row[7])], _record(row)) for row in rows]
        return found

    def verify(self) -> int | None:
        """Return the number of the first record that is not as it was written, or None where all are."""
        before, expected = GENESIS, 0
        sql = f"SELECT {_COLUMNS}, hash, key FROM record ORDER BY seq"
        for row in self._db.execute(sql):
            expected += 1
            held = tuple(row[1:7])
            now = chain(before, int(row[0]), held)
            if int(row[0]) != expected or now != row[7] or int(row[8]) != key_of(row[1]):
                return expected
            before = bytes(row[7])
        return None if expected == self._seq else expected + 1

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _record(row: Sequence[Any]) -> Record:
    return Record(row[1], row[2], row[3], int(row[4]), _causes(row[5]), bytes(row[6]), int(row[0]))


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


class FolderLock:
    """Holds a data folder for one server; a second one is told who holds it."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            ConfigError: Another process holds it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(folder / "lock", "a+", encoding="utf-8")  # noqa: SIM115  held for the life of the process
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise ConfigError(f"{folder}: in use by {holder}: stop it, or give another --data folder") from error
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()}")
        self._file.flush()

    def release(self) -> None:
        """Give the folder back."""
        self._file.close()
