"""Opens the journal of a data folder where its settings say that it is: a file in the folder, or PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tieline.desk.entry import Entry
from tieline.desk.facts import Audited
from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.ids import derive
from tieline.node.aside_start import take_aside, waits_aside
from tieline.node.config import JournalSettings, load_config
from tieline.rim.texts import text_in
from tieline.store.aside import NAME as ASIDE
from tieline.store.asking import Answer, ask
from tieline.store.journal import SqliteJournal, SqlJournal
from tieline.store.lock import FolderLock
from tieline.store.opening import doubt_of, faults_of, open_journal, require_journal, require_records
from tieline.times import Clock

PASSWORD = "TIELINE_JOURNAL_PASSWORD"
"""Environment variable of the database user's password, where the settings name no file."""
COPIED_AT_ONCE = 1_000


def journal_to_write(folder: Path, settings: JournalSettings, env: Mapping[str, str] = os.environ) -> SqlJournal:
    """Return the journal of a server: the one connection that appends; what stood aside is in it.

    Raises:
        ConfigError: It can't be opened, another server appends there, the folder's own file holds
            records too, its records are gone though their head is there, or what stands aside can't be read or
            recorded.
    """
    journal = _journal_of(folder, settings, env)
    try:
        take_aside(folder, journal)
    except ConfigError:
        journal.close()
        raise
    return journal


def _journal_of(folder: Path, settings: JournalSettings, env: Mapping[str, str]) -> SqlJournal:
    if not settings.url:
        require_journal(folder)
        file = SqliteJournal(folder / "journal.db")
        try:
            require_records(file)
        except ConfigError:
            file.close()
            raise
        return file
    from tieline.store.postgres import PostgresJournal

    journal = PostgresJournal(settings.url, folder, password_of(folder, settings, env))
    try:
        require_moved(folder, journal)
    except ConfigError:
        journal.close()
        raise
    return journal


def require_moved(folder: Path, journal: SqlJournal) -> None:
    """Refuse an empty database beside a file that holds records: a server would begin anew. Raises ConfigError."""
    if journal.last_seq or not (folder / "journal.db").is_file():
        return
    left = SqliteJournal(folder / "journal.db")
    count = left.last_seq
    left.close()
    if count:
        raise ConfigError(
            f"$.journal.url: {journal.name} is empty, and {folder / 'journal.db'} holds {count} records: "
            f"copy them with `tieline move --data {folder}`, or put the file away"
        )


def move_journal(folder: Path, settings: JournalSettings, env: Mapping[str, str] = os.environ) -> tuple[int, str]:
    """Copy the records of the folder's file into the database, put the file aside, and return count and place.

    A copy that was interrupted goes on where it stopped: a record that is there already is passed over.

    Raises:
        ConfigError: No URL is set, no file is there, its records were changed or cut, or the database holds others.
        StoreError: The database refused a record.
    """
    if not settings.url:
        raise ConfigError("$.journal.url: names no database to move the records to")
    from tieline.store.postgres import PostgresJournal

    lock = FolderLock(folder)
    try:
        if faults := faults_of(folder / "journal.db"):
            raise ConfigError(f"{'; '.join(faults)}; nothing was written")
        file = open_journal(folder)
        there = PostgresJournal(settings.url, folder, password_of(folder, settings, env))
        last = next(file.replay(there.last_seq - 1), None) if there.last_seq else None
        if there.last_seq and (last is None or not there.holds(last.id)):
            raise ConfigError(
                f"{there.name}: holds {there.last_seq} records of another journal: give an empty database"
            )
        batch: list[Record] = []
        for record in file.replay(there.last_seq):
            batch.append(record)
            if len(batch) == COPIED_AT_ONCE:
                there.append(batch)
                batch.clear()
        there.append(batch)
        if (there.last_seq, there.last_hash) != (file.last_seq, file.last_hash):
            raise ConfigError(f"{there.name}: ends otherwise than {folder / 'journal.db'}: give an empty database")
        found = there.last_seq, there.name
        there.close()
        file.close()
        (folder / "journal.db").rename(folder / "journal.db.moved")
        return found
    finally:
        lock.release()


def journal_to_read(folder: Path, env: Mapping[str, str] = os.environ) -> SqlJournal:
    """Return the journal of a folder that is there already; a question never makes one.

    Raises:
        ConfigError: None is there, it can't be opened, or its records are gone though their head is there.
    """
    settings = journal_settings(folder)
    if not settings.url:
        return open_journal(folder)
    from tieline.store.postgres import PostgresJournal

    journal = PostgresJournal(settings.url, folder, password_of(folder, settings, env), reads_only=True)
    try:
        require_records(journal)
    except ConfigError:
        journal.close()
        raise
    return journal


class Hears(Protocol):
    """Who is told what an answer lacks: called with what is known to be wrong."""

    def __call__(self, says: str) -> None:
        """Hear of records, or files of readings, that were changed or are gone."""
        ...

    def doubt(self, says: str) -> None:
        """Hear that records may be gone, and nobody can tell."""
        ...


def tell_cut(folder: Path, tell: Hears, env: Mapping[str, str] = os.environ) -> None:
    """Tell of records that were changed, are gone, or wait beside the journal: an answer lacks them, or is not true.

    Raises:
        ConfigError: All of them are gone, like `journal_to_read`.
    """
    faults, doubt = _faults_in(folder, env)
    for says in faults:
        tell(says)
    if doubt:
        tell.doubt(doubt)
    if says := aside_says(folder, env):
        tell.doubt(says)


def aside_says(folder: Path, env: Mapping[str, str] = os.environ) -> str:
    """Say which records stand beside a folder's journal and are in no answer yet; empty: none. It raises nothing."""
    if not (folder / ASIDE).exists():
        return ""
    try:
        journal = journal_to_read(folder, env)
        try:
            return waits_aside(folder, journal)
        finally:
            journal.close()
    except ConfigError as error:
        return str(error)


def _faults_in(folder: Path, env: Mapping[str, str]) -> tuple[list[str], str]:
    """Return what is wrong with a folder's journal, and what nobody can tell of its end. Raises as `tell_cut`."""
    if not journal_settings(folder).url:
        return faults_of(folder / "journal.db"), doubt_of(folder / "journal.db")
    journal = journal_to_read(folder, env)
    fault, is_lost = journal.end_fault(), journal.lost() is not None
    journal.close()
    return ([fault], "") if fault and is_lost else ([], fault)


def end_noted(fault: str) -> Entry:
    """Return the record of a fault that the journal's end had when it was opened: the next commit would cover it."""
    return Entry(derive("end-fault", fault), Audited("server", "start", "found", fault), "journal")


def require_whole(folder: Path, env: Mapping[str, str] = os.environ) -> None:
    """Refuse a journal whose records were changed or are gone: what is decided on it would rest on what isn't true.

    A server that starts goes on all the same, as devices need it, and records the loss; a verb can wait for the backup.

    Raises:
        ConfigError: It says what is wrong in the words of `tell_cut`, and that nothing was written.
    """
    if faults := _faults_in(folder, env)[0]:
        raise ConfigError(f"{'; '.join(faults)}; nothing was written")


def ask_folder(
    folder: Path, query: str, timeout_ns: int, clock: Clock, tell: Hears, env: Mapping[str, str] = os.environ
) -> Answer:
    """Return the answer to one SELECT over a folder's records, readings and resources; `tell` hears what is missing.

    Raises:
        ConfigError: Nothing is there, or the query is faulty, would write, or took too long.
    """
    from tieline.store.looking import look, look_at_records, names_readings, names_records

    if not names_readings(query) or names_records(query):
        tell_cut(folder, tell, env)
    if names_readings(query):
        from tieline.store.registry import load

        fleet = load(folder / "registry.bin")
        return look(folder, fleet, lambda: journal_to_read(folder, env), query, timeout_ns, clock, tell)
    if not journal_settings(folder).url:
        return ask(folder / "journal.db", query, timeout_ns, clock)
    return look_at_records(lambda: journal_to_read(folder, env), query, timeout_ns, clock)


def journal_settings(folder: Path) -> JournalSettings:
    """Return where a folder's records are; a demonstration's folder has no settings, and a file."""
    path = folder / "tieline.toml"
    return load_config(path).journal if path.is_file() else JournalSettings()


def password_of(folder: Path, settings: JournalSettings, env: Mapping[str, str]) -> str | None:
    """Return the password of the database's user; None: libpq's own ways (PGPASSWORD, ~/.pgpass, peer) hold.

    Raises:
        ConfigError: The file that is named can't be read.
    """
    if settings.password_file is None:
        return env.get(PASSWORD)
    path = folder / settings.password_file
    try:
        return text_in(path).rstrip("\r\n")
    except (OSError, ConfigError) as error:
        raise ConfigError(f"$.journal.password_file: {path}: {error}") from None
