"""Questions to a journal in SQL: reading alone, for so long, so many rows."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from msgspec import Struct

from tieline.errors import ConfigError
from tieline.store.faults import unreadable
from tieline.times import SECOND_NS, Clock

ALL_TABLES = ("record", "readings", "resource")
"""What can be asked, by whichever database answers."""
MOST_ROWS = 100_000
MOST_BYTES = 256 * 1024 * 1024
"""Of one value: `randomblob(1e9)` is refused before it's made."""
STEPS = 5_000
"""Of SQLite's machine between two looks at the clock: well under a millisecond."""
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo"}


class Answer(Struct, frozen=True):
    """Columns and rows; `is_cut` where there are more rows than were asked for."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_cut: bool


def ask(path: Path, query: str, timeout_ns: int, clock: Clock, most_rows: int = MOST_ROWS) -> Answer:
    """Return the answer to one SELECT.

    Raises:
        ConfigError: No journal is there, the query is faulty, would write, or took longer than `timeout_ns`.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no journal: give --data the folder of a server or demo")
    # mode=ro keeps this file; ATTACH and VACUUM INTO would write others, which only the authorizer refuses.
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    refused: list[str] = []
    end_ns = clock.now_ns() + timeout_ns
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        db.set_authorizer(lambda action, first, second, *_: _may(action, first, second, refused))
        db.set_progress_handler(lambda: int(clock.now_ns() > end_ns), STEPS)
        cursor = db.execute(query)
        if cursor.description is None:
            raise ConfigError(f"{query!r}: asks for nothing: give a SELECT")
        rows = cursor.fetchmany(most_rows + 1)
        return Answer(tuple(column[0] for column in cursor.description), rows[:most_rows], len(rows) > most_rows)
    except (sqlite3.Error, OverflowError) as error:
        if refused:
            raise ConfigError(f"{query!r}: {refused[0]} is refused: the records are read-only here") from None
        if clock.now_ns() > end_ns:
            raise ConfigError(
                f"{query!r}: ended after {timeout_ns / SECOND_NS:g} s: narrow it, or give a longer --timeout"
            ) from None
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise unreadable(str(path), error) from None
        _, is_missing, name = str(error).partition("no such table: ")
        raise ConfigError(no_table(query, name) if is_missing else f"{query!r}: {error}") from None
    finally:
        db.close()


def no_table(query: str, name: str) -> str:
    """Return what to say of a query that names a table that isn't there."""
    return f"{query!r}: there is no table {name}: the tables are {', '.join(ALL_TABLES)}"


def _may(action: int, first: str | None, second: str | None, refused: list[str]) -> int:
    if action in _READING and not (action == sqlite3.SQLITE_FUNCTION and second == "load_extension"):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS:
        return sqlite3.SQLITE_OK
    refused.append(_NAMES.get(action, "a statement that writes"))
    return sqlite3.SQLITE_DENY


_NAMES = {
    sqlite3.SQLITE_ATTACH: "ATTACH or VACUUM",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_PRAGMA: "this PRAGMA",
    sqlite3.SQLITE_TRANSACTION: "a transaction",
    sqlite3.SQLITE_FUNCTION: "load_extension",
}
