"""What can go wrong with a journal, by what can be done about it."""

from __future__ import annotations

import sqlite3

from tieline.errors import ConfigError, Error, LinkDown, Unrecordable


class StoreError(Error):
    """The disk is broken, or the file is: nothing of the batch was acknowledged."""


class StoreDown(StoreError, LinkDown):
    """The database is out of reach, or its disk full: that may pass, and what became of the last commit shows then."""


class NoJournalYet(ConfigError):
    """A database in which no server has made a journal: the first start makes it."""


class RecordFault(StoreError, Unrecordable):
    """A record that the database can't keep by what it holds: it alone is refused, as it would be at each try."""


class JournalDamaged(StoreError, ConfigError):
    """The file can't be read at some place, from record `seq` on (0: not known): a backup has to give it back."""

    seq = 0


def unreadable(name: str, error: Exception) -> StoreError:
    """Return what to raise where SQLite can't read a file: its name, why, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # what stands above the low byte says where it was found
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"{name}: {error}: another program holds it: end that and try again")
    return JournalDamaged(
        f"{name} = '{error}': the file is damaged: stop the server, keep a copy of it, and put it back from a backup "
        f"together with its journal.head"
    )
