"""Opens the journal of a data folder that is there already; a question never makes one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tieline.errors import ConfigError
from tieline.store.faults import unreadable
from tieline.store.head import Head, cut_says, lost_says, unsure_says
from tieline.store.journal import SqliteJournal, SqlJournal, StoreError

MOST_CHECKED = 1_000_000
"""So many records are held against their hashes before a question is answered: some seconds' work."""


def require_journal(folder: Path) -> None:
    """Refuse a folder whose journal is gone while its head is there: a server would begin anew over what was lost.

    Raises:
        ConfigError: It names the file that is missing, and what to do.
    """
    path, head = folder / "journal.db", Head(folder / "journal.head").read()
    if head is not None and head[0] and not path.is_file():
        raise ConfigError(lost_says(str(path), "missing", head[0]))


def require_records(journal: SqlJournal) -> None:
    """Refuse a journal that holds nothing while its head knows records. Raises ConfigError like `require_journal`."""
    head = journal.head
    # The last number was read when the journal was opened; a server that began meanwhile lost nothing.
    if head is not None and head[0] and not journal.last_seq and journal.lost() is not None:
        raise ConfigError(lost_says(journal.name, "empty", head[0]))


def cut_of(path: Path) -> str:
    """Return what to say of a journal's file whose last records are gone; empty: it holds all that its head knows.

    It is opened for reading alone, as whoever asks may not be who serves.

    Raises:
        ConfigError: The file is gone or holds nothing, like `require_journal`.
        JournalDamaged: It can't be read.
    """
    require_journal(path.parent)
    head = Head(path.with_name("journal.head")).read()
    if head is None or not head[0] or not path.is_file():
        return ""
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        is_made = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'record'").fetchone()[0]
        row = db.execute("SELECT hash FROM record WHERE seq = ?", (head[0],)).fetchone() if is_made else None
        left = db.execute("SELECT max(seq) FROM record").fetchone()[0] or 0 if is_made else 0
    except sqlite3.DatabaseError as error:
        raise unreadable(str(path), error) from None
    finally:
        db.close()
    if row is not None and bytes(row[0]) == head[1]:
        return ""
    if not left:
        raise ConfigError(lost_says(str(path), "empty", head[0]))
    return cut_says(str(path), min(left + 1, head[0]), head[0], left)


def doubt_of(path: Path) -> str:
    """Return what to say of a journal's file that has records and no head: whether its end is there nobody knows.

    Empty: it has a head, or holds nothing; a file that can't be read is others' to tell (`cut_of`).
    """
    if not path.is_file() or Head(path.with_name("journal.head")).read() is not None:
        return ""
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            is_made = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'record'").fetchone()[0]
            left = db.execute("SELECT max(seq) FROM record").fetchone()[0] or 0 if is_made else 0
        finally:
            db.close()
    except sqlite3.DatabaseError:
        return ""
    return unsure_says(left) if left else ""


def changed_says(number: int) -> str:
    """Say that a record is not as it was written, and what to do."""
    return (
        f"record {number} was changed, or is missing: what follows from it can't be trusted; `tieline doctor` says more"
    )


def changed_of(path: Path) -> str:
    """Return what to say of a journal's file whose records are not all as they were written; empty: they are.

    Up to `MOST_CHECKED` records are held against their hashes; of more, `tieline doctor` does it. Where the file can't
    be read, or its end is gone, others say so (`cut_of`).
    """
    if not path.is_file():
        return ""
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        journal = SqlJournal(str(path), db, None, Head(path.with_name("journal.head")))
        changed = journal.verify() if journal.last_seq <= MOST_CHECKED else None
        return "" if changed is None or changed == journal.lost() else changed_says(changed)
    except (ConfigError, StoreError, sqlite3.DatabaseError):
        return ""
    finally:
        db.close()


def faults_of(path: Path) -> list[str]:
    """Return what to say of a journal's file whose records were changed or are gone; empty: it is whole.

    Raises:
        ConfigError, JournalDamaged: As `cut_of`.
    """
    cut = cut_of(path)
    return [says for says in (changed_of(path), cut) if says]


def open_journal(folder: Path) -> SqliteJournal:
    """Return the journal of a folder.

    Raises:
        ConfigError: None is there, or it can't be opened.
    """
    path = folder / "journal.db"
    require_journal(folder)
    if not path.is_file():
        raise ConfigError(f"{folder}: no journal.db: give --data the folder of a server or demo")
    journal = SqliteJournal(path)
    try:
        require_records(journal)
    except ConfigError:
        journal.close()
        raise
    return journal
