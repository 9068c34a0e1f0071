"""The journal in SQL: append before act, all or none, durable before it returns, chained by hash.

SQLite in WAL mode with synchronous=FULL: a commit survives a power cut, not merely a killed process. Each record's hash
covers the one before, so that `verify` finds any changed bit. A record whose id is known (`store.index`) is passed
over: the same message twice has one effect.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tieline.errors import ConfigError, InvariantError
from tieline.flow.record import Record, fault_of, subject_of
from tieline.store.faults import JournalDamaged as JournalDamaged
from tieline.store.faults import RecordFault, unreadable
from tieline.store.faults import StoreDown as StoreDown
from tieline.store.faults import StoreError as StoreError
from tieline.store.head import Head, Mark, cut_says, unsure_says
from tieline.store.index import Index, key_of, keys_of
from tieline.store.narrow import make_narrow
from tieline.store.room import Room
from tieline.store.rows import (
    COLUMNS,
    GENESIS,
    INSERT,
    Chained,
    Connection,
    causes_in,
    chain,
    effects_in,
    insert_by_hundreds,
    parts,
    record_of,
    row_of,
)
from tieline.store.schema_sqlite import STATEMENTS, bring_up

INDEX_STEP, STEP = 10_000, 2_000
"""Records read at a time (`STEP`): a client of a database server holds a whole answer in memory."""

_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_NO_ROOM = (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)  # a quota, a limit on files: full, for all of us


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection to a file; `SqliteJournal` makes it durable at each commit."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)


class SqlJournal:
    """Implements `flow.record.Journal` over a connection that has the schema already; one writer at a time."""

    begin = "BEGIN"

    def __init__(self, name: str, db: Connection, index_folder: Path | None, head: Head | None = None) -> None:
        """Take over a connection; `name` is what errors call it, `index_folder` is where the index is kept."""
        self.name, self._db = name, db
        last = self._read("SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1")
        # Number and hash of the last record in one attribute: another thread reads both of one moment.
        self.end: Mark = (int(last[0][0]), bytes(last[0][1])) if last else (0, GENESIS)
        self._index = Index(index_folder)
        self._is_indexed = False
        self._head, self._is_head_held = head, False
        self._was_head_lost = bool(self.last_seq and head is not None and head.read() is None)
        self._lock = threading.Lock()  # the index is read by the loop's thread while the journal's own appends

    def reader(self) -> SqlJournal:
        """Return another connection to the same records, to read while this one appends."""
        raise NotImplementedError

    @property
    def last_seq(self) -> int:
        """Number of the last record; 0: none."""
        return self.end[0]

    @property
    def last_hash(self) -> bytes:
        """Hash of the last record: the hash of the whole journal."""
        return self.end[1]

    def append(self, records: Iterable[Record]) -> int:
        """Make the records durable, all or none, and return the number of the last.

        Raises:
            RecordFault: A record can't be kept by what it holds; none was, and the next call goes on.
            StoreError: Nothing was acknowledged; of a commit that the disk cut short all or nothing is found at replay.
        """
        items: dict[str, Record] = {}
        for item in records:  # of one id the first counts
            items.setdefault(item.id, item)
            if fault := fault_of(item):
                raise RecordFault(f"{self.name}: record {item.id!r} ({item.kind}): {fault}")
        keys = keys_of(items)
        fresh: list[Record] = []
        try:
            if not self._is_indexed or self._index.last != self.last_seq:
                self._indexed()
            self._db.execute(self.begin)
            known = self._known_ids(keys)
            fresh = [item for name, item in items.items() if name not in known] if known else list(items.values())
            rows = Chained(fresh, *self.end)
            self._insert(rows)
            self._db.execute("COMMIT")
        except (InvariantError, StoreDown, RecordFault):
            self._roll_back()
            raise
        except Exception as error:
            self._roll_back()
            if isinstance(error, (OverflowError, sqlite3.DataError)):  # a number, or a value, beyond what SQLite takes
                raise RecordFault(f"{self.name}: {error}: nothing of {len(fresh)} records was kept") from error
            code = getattr(error, "sqlite_errorcode", 0)
            if code & 0xFF in _PASSING or code in _NO_ROOM:
                raise StoreDown(f"{self.name}: {error}: free space, or end what holds it") from error
            raise StoreError(f"{self.name}: {error}: nothing of {len(fresh)} records was kept") from error
        if fresh:
            self._took(fresh, keys, rows.last)
        return self.last_seq

    def _insert(self, rows: Chained) -> None:
        self._db.executemany(INSERT, rows)

    def keep_head(self) -> None:
        """Move the head on; where it tells of records that aren't here it stays, so that the loss stays seen."""
        if self._head is None:
            return
        if not self._is_head_held:
            if self._lost(self._head.read()) is not None:
                return
            self._is_head_held = True
        with suppress(OSError):  # the records are safe; a head that lags says less, but nothing wrong
            self._head.write(*self.end)

    def _lost(self, mark: Mark | None) -> int | None:
        """Return the number of a record that the head tells of and the journal lacks; None: it holds them all."""
        if mark is None or self.knows(mark):
            return None
        last = self._read("SELECT max(seq) FROM record")[0][0] or 0
        return int(min(last + 1, mark[0]))

    def knows(self, mark: Mark) -> bool:
        """Return whether the record of a number is there with that hash; 0: of none, always."""
        return mark[0] == 0 or self._hash_of(mark[0]) == mark[1]

    def lost(self) -> int | None:
        """Return the number of a record that the head tells of and the journal lacks; None: it holds them all."""
        return self._lost(self.head)

    def end_fault(self) -> str:
        """Return what is wrong with the end of the chain, which no hash covers; empty: nothing.

        A head that was missing when the journal was opened counts, though the next commit makes a new one.
        """
        if self._was_head_lost:
            return unsure_says(self.last_seq)
        mark, lost = self.head, self.lost()
        if mark is None or lost is None:
            return ""
        return cut_says(self.name, lost, mark[0], self.last_seq)

    @property
    def head(self) -> Mark | None:
        """Number and hash of the last record as noted beside the journal; it may be older than the journal's end."""
        return None if self._head is None else self._head.read()

    def _took(self, fresh: list[Record], keys: dict[str, int], last: bytes) -> None:
        """Note what is durable now."""
        with self._lock:
            before = self.last_seq
            self.end = before + len(fresh), last
            if self._index.last == before:  # else who read meanwhile has found the records already
                new = keys.values() if len(keys) == len(fresh) else [keys[item.id] for item in fresh]
                self._index.add(before + 1, new, effects_in(fresh, before, keys), last)
            if self._index.is_unsaved:
                with suppress(OSError):  # the records are safe; what is not written is made again later
                    self._index.save()
        self.keep_head()

    def _known_ids(self, keys: dict[str, int]) -> set[str]:
        """Return which ids are there already. Raises InvariantError where two ids share a key."""
        found = self._index.find(list(keys.values()))
        if not found and len(set(keys.values())) == len(keys):  # nearly always
            return set()
        names = {key: name for name, key in keys.items()}
        if len(names) != len(keys):
            twins = [name for name, key in keys.items() if names[key] != name]
            raise InvariantError(f"id {twins[0]!r} shares a key with another of its batch")
        held = dict(self._of_seqs("seq, id", list(found.values())))
        for key, seq in found.items():
            if held.get(seq) != names[key]:
                raise InvariantError(f"ids {names[key]!r} and {held.get(seq)!r} share a key")
        return set(held.values())

    def _of_seqs(self, columns: str, seqs: list[int]) -> Iterator[Any]:
        for part in parts(seqs, 900):
            marks = ",".join("?" * len(part))
            yield from self._read(f"SELECT {columns} FROM record WHERE seq IN ({marks}) ORDER BY seq", part)

    def _indexed(self) -> Index:
        """Return the index, brought up to the last record, whoever appended it."""
        sql = f"SELECT seq, id, caused_by, hash FROM record WHERE seq>? ORDER BY seq LIMIT {INDEX_STEP}"
        with self._lock:
            if not self._is_indexed:
                self._index.load(self._hash_of)
                self._is_indexed = True
            while rows := self._read(sql, (self._index.last,)):
                effects: dict[int, list[int]] = {}
                for row in rows:
                    for cause in dict.fromkeys(causes_in(row[2])):
                        effects.setdefault(key_of(cause), []).append(int(row[0]))
                self._index.add(self._index.last + 1, [key_of(row[1]) for row in rows], effects, bytes(rows[-1][3]))
        return self._index

    def _hash_of(self, seq: int) -> bytes | None:
        rows = self._read("SELECT hash FROM record WHERE seq=?", (seq,))
        return bytes(rows[0][0]) if rows else None

    def _read(self, sql: str, bindings: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a statement. Raises JournalDamaged where SQLite can't read its file."""
        try:
            return list(self._db.execute(sql, bindings))
        except sqlite3.DatabaseError as error:
            raise unreadable(self.name, error) from error

    def _roll_back(self) -> None:
        try:
            self._db.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001  no transaction is open, or the file is gone: either way nothing was kept
            del error

    def lacks_room(self) -> str:
        """Return why no room is held for what comes; empty: a database server holds none beforehand."""
        return ""

    def holds(self, record_id: str) -> bool:
        """Return whether a record with this id is there."""
        return self.get(record_id) is not None

    def get(self, record_id: str) -> Record | None:
        """Return the record of an id, or None."""
        return next(iter(self.many([record_id])), None)

    def many(self, ids: Sequence[str]) -> list[Record]:
        """Return the records of some ids, in the order of the journal; those that are not there are left out."""
        names = set(ids)
        found = self._indexed().find([key_of(name) for name in names])
        records = map(record_of, self._of_seqs(COLUMNS, list(found.values())))
        return [record for record in records if record.id in names]

    def replay(self, after_seq: int = 0) -> Iterator[Record]:
        """Yield what was recorded after a number, oldest first."""
        sql = f"SELECT {COLUMNS} FROM record WHERE seq>? ORDER BY seq LIMIT {STEP}"
        while rows := self._read(sql, (after_seq,)):
            yield from map(record_of, rows)
            after_seq = int(rows[-1][0])

    def rows(self) -> Iterator[list[Any]]:
        """Yield the rows as they stand, some at a time: `rows.COLUMNS` and the hash."""
        sql, seq = f"SELECT {COLUMNS}, hash FROM record WHERE seq>? ORDER BY seq LIMIT {STEP}", 0
        while rows := self._read(sql, (seq,)):
            yield rows
            seq = int(rows[-1][0])

    def about(
        self, subject: str, kinds: Sequence[str] = (), since_ns: int = 0, until_ns: int = 2**63 - 1
    ) -> list[Record]:
        """Return the records about a resource, pool or peer, oldest first."""
        where = "subject=? AND recorded_at_ns>=? AND recorded_at_ns<=?"
        about = subject_of(subject), since_ns, until_ns
        rows = self._read(f"SELECT {COLUMNS} FROM record WHERE {where} ORDER BY seq", about)
        return [record for record in map(record_of, rows) if not kinds or record.kind in kinds]

    def of_kind(self, kind: str, since_ns: int = 0, until_ns: int = 2**63 - 1, after_seq: int = 0) -> Iterator[Record]:
        """Yield the records of a kind after a number, oldest first."""
        where = "kind=? AND recorded_at_ns>=? AND recorded_at_ns<=? AND seq>?"
        sql = f"SELECT {COLUMNS} FROM record WHERE {where} ORDER BY seq LIMIT {STEP}"
        while rows := self._read(sql, (kind, since_ns, until_ns, after_seq)):
            yield from map(record_of, rows)
            after_seq = int(rows[-1][0])

    def seq_at(self, at_ns: int) -> int:
        """Return the number of the last record of an instant or before; 0: none is so old.

        Numbers order the records, not instants: a clock that was set back leaves later ones with earlier instants.
        """
        rows = self._read("SELECT seq FROM record WHERE recorded_at_ns<=? ORDER BY seq DESC LIMIT 1", (at_ns,))
        return next((int(row[0]) for row in rows), 0)

    def causes_of(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the ids that caused each of some records."""
        return {record.id: record.caused_by for record in self.many(ids)}

    def effects_of(self, ids: Sequence[str], limit: int) -> list[tuple[str, Record]]:
        """Return (cause id, record) for what followed from some records, at most `limit` of them."""
        names = {key_of(name): name for name in ids}
        pairs = self._indexed().effects(list(names), limit)
        seqs = sorted({seq for seq, _ in pairs})
        records = {record.seq: record for record in map(record_of, self._of_seqs(COLUMNS, seqs))}
        found = ((names[key], records[seq]) for seq, key in pairs if seq in records)
        return [(cause, record) for cause, record in found if cause in record.caused_by]

    def verify(self) -> int | None:
        """Return the number of the first record that is not as it was written, or None where all are.

        A record that `head` tells of and that isn't there counts as changed.

        Raises:
            JournalDamaged: The file itself can't be read at some place.
        """
        mark = self.head  # before the last number: a server that appends meanwhile moves both on
        before, expected = GENESIS, 0
        sql = f"SELECT {COLUMNS}, hash FROM record WHERE seq>? AND seq<=? ORDER BY seq LIMIT {STEP}"
        try:
            through = max(self.last_seq, self._read("SELECT max(seq) FROM record")[0][0] or 0)
            while rows := self._read(sql, (expected, through)):
                for row in rows:
                    expected += 1
                    if int(row[0]) != expected or chain(before, row_of(row)) != row[7]:
                        return expected
                    before = bytes(row[7])
            return self._lost(mark) if expected == through else expected + 1
        except JournalDamaged as error:
            error.seq = self._first_unreadable(expected)
            raise
        except StoreDown:
            raise
        except Exception:  # noqa: BLE001  whatever the engine can't read any more is not as it was written
            return expected + 1

    def _first_unreadable(self, after_seq: int) -> int:
        """Return the number of the first record after another that can't be read."""
        with suppress(sqlite3.DatabaseError):
            for row in self._db.execute(f"SELECT {COLUMNS} FROM record WHERE seq>? ORDER BY seq", (after_seq,)):
                after_seq = int(row[0])
        return after_seq + 1

    def close(self) -> None:
        """Close the connection."""
        if self._head is not None:
            self._head.close()
        self._db.close()


class SqliteJournal(SqlJournal):
    """A journal in one SQLite file."""

    begin = "BEGIN IMMEDIATE"

    def __init__(
        self, path: Path, open_connection: Callable[[Path], Connection] = connect, is_thrown_away: bool = False
    ) -> None:
        """Open or make the journal; one that is thrown away with its process waits for no disk.

        Raises:
            ConfigError: The file is no journal, or its folder can't be written.
        """
        self.path, is_kept = Path(path), str(path) != ":memory:"
        self._room = Room(self.path.with_name(f"{self.path.name}-wal")) if is_kept and not is_thrown_away else None
        try:
            if is_kept:
                make_narrow(self.path)  # SQLite gives the files beside it the same rights
            db = open_connection(path)
            # Larger pages and rarer checkpoints: a page that many commits touch is written back once, not each time.
            synchronous = "OFF" if is_thrown_away else "FULL"
            for setting in ("page_size=8192", "journal_mode=WAL", f"synchronous={synchronous}", "cache_size=-65536",
                            "busy_timeout=10000", "wal_autocheckpoint=4096"):  # fmt: skip
                db.execute(f"PRAGMA {setting}")
            bring_up(db)
            for statement in STATEMENTS:
                db.execute(statement)
            folder = self.path.with_name(f"{self.path.stem}.index") if is_kept else None
            head = Head(self.path.with_name(f"{self.path.stem}.head")) if is_kept else None
            super().__init__(str(path), db, folder, head)
        except StoreError:
            raise
        except Exception as error:
            raise ConfigError(f"{path}: not a journal that can be opened: {error}") from error

    def _insert(self, rows: Chained) -> None:
        insert_by_hundreds(self._db, rows)

    def lacks_room(self) -> str:
        """Hold room on the disk for what is under way when it fills, and return why it can't be held; empty: it is."""
        return "" if self._room is None else self._room.lacks()

    def reader(self) -> SqliteJournal:
        """Return another connection to the same file."""
        return SqliteJournal(self.path)
