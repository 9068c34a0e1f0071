"""A data folder whose server is stopped, for verbs that write a word into its journal: one journal has one writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tieline.desk.apply import apply
from tieline.desk.entry import Entry
from tieline.desk.state import DeskState
from tieline.flow.record import Journal
from tieline.node.config import load_config
from tieline.node.journals import end_noted, journal_to_write, require_whole
from tieline.node.rebuilt import bound_by, law_in, state_of
from tieline.store.journal import SqlJournal
from tieline.store.lock import FolderLock
from tieline.store.registry import load
from tieline.store.segment import Tell
from tieline.times import Clock


@contextmanager
def writing(data: Path, tell: Tell, clock: Clock) -> Iterator[SqlJournal]:
    """Give a folder's journal to write into; a missing head is told and recorded, as a server's start does.

    Raises:
        ConfigError: A server holds the folder, or records of it were changed or are gone.
    """
    settings = load_config(data / "tieline.toml")
    lock = FolderLock(data)
    try:
        require_whole(data)
        journal = journal_to_write(data, settings.journal)
        try:
            if fault := journal.end_fault():
                tell(fault)
                journal.append([end_noted(fault).record(clock.now_ns())])
            yield journal
        finally:
            journal.close()
    finally:
        lock.release()


def state_in(data: Path, journal: Journal, now_ns: int) -> DeskState:
    """Return what a folder's journal tells, under its contracts."""
    fleet = load(data / "registry.bin")
    state = state_of(fleet, law_in(data, fleet), journal)
    bound_by(data, state, now_ns)
    return state


def record(state: DeskState, journal: Journal, entries: Sequence[Entry], now_ns: int) -> None:
    """Let a state know what was decided, and write it into the journal as one act; nothing is written of no entries."""
    for entry in entries:
        apply(state, entry.id, entry.fact, now_ns)
    if entries:
        journal.append([entry.record(now_ns) for entry in entries])
