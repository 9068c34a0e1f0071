"""Opens the journal of a data folder that is there already; a question never makes one."""

from __future__ import annotations

from pathlib import Path

from tieline.errors import ConfigError
from tieline.store.head import Head
from tieline.store.journal import SqliteJournal, SqlJournal


def require_journal(folder: Path) -> None:
    """Refuse a folder whose journal is gone while its head is there: a server would begin anew over what was lost.

    Raises:
        ConfigError: It names the file that is missing, and what to do.
    """
    path, head = folder / "journal.db", Head(folder / "journal.head").read()
    if head is not None and head[0] and not path.is_file():
        raise ConfigError(lost_says(path, "missing", head[0]))


def require_records(journal: SqlJournal) -> None:
    """Refuse a journal that holds nothing while its head knows records. Raises ConfigError like `require_journal`."""
    head = journal.head
    if head is not None and head[0] and not journal.last_seq:
        raise ConfigError(lost_says(Path(journal.name), "empty", head[0]))


def lost_says(path: Path, what: str, count: int) -> str:
    """Say that a journal's records are gone, and what to do."""
    return (
        f"{path} = '{what}': journal.head beside it knows {count} records: put the file back from a backup; to begin "
        f"without any record on purpose, move journal.head away"
    )


def open_journal(folder: Path) -> SqliteJournal:
    """Return the journal of a folder.

    Raises:
        ConfigError: None is there, or it can't be opened.
    """
    path = folder / "journal.db"
    require_journal(folder)
    if not path.is_file():
        raise ConfigError(f"{folder}: no journal.db: give --data the folder of a server or demo")
    return SqliteJournal(path)
