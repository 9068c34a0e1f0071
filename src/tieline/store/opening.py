"""Opens the journal of a data folder that is there already; a question never makes one."""

from __future__ import annotations

from pathlib import Path

from tieline.errors import ConfigError
from tieline.store.journal import SqliteJournal


def open_journal(folder: Path) -> SqliteJournal:
    """Return the journal of a folder.

    Raises:
        ConfigError: None is there, or it can't be opened.
    """
    path = folder / "journal.db"
    if not path.is_file():
        raise ConfigError(f"{folder}: no journal.db: give --data the folder of a server or demo")
    return SqliteJournal(path)
