"""What stands beside the journal as a server starts: it is taken into the journal before anything is replayed.

Theory of operation. It was decided on the record that was the journal's last then, and is taken where nothing else
follows that one. In a database that is another by now (put back from an older backup, or served from elsewhere in
between) the same records would bring back limits and calls that newer ones replaced. There the press of the kill switch
alone is taken, as that is never the less safe, and the others are put away, named and told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tieline.desk.entry import Entry
from tieline.desk.facts import Audited, AuthorityChanged, from_record
from tieline.errors import ConfigError
from tieline.flow.record import Record
from tieline.ids import derive
from tieline.store.aside import LEFT, NAME, Aside, Group
from tieline.store.journal import SqlJournal, StoreError


def take_aside(folder: Path, journal: SqlJournal) -> None:
    """Append what stands aside and the journal lacks, in its order, and let it go.

    Raises:
        ConfigError: It was changed, or the journal doesn't take it.
    """
    aside = Aside(folder)
    groups = aside.groups()
    try:
        lacks = _lacking(groups, journal)
        follows = not lacks or _follow(groups, lacks[0].id, journal)
        if lacks:
            journal.append(lacks if follows else _press(lacks))
    except StoreError as error:
        raise ConfigError(
            f"{aside.path}: its records are not taken: {error}: mend the database, or move the folder away, start, and "
            f"press the kill switch again"
        ) from None
    try:
        if follows:
            aside.clear()
        else:
            aside.leave()
    except OSError as error:
        if not follows:  # else a later start finds that the journal has them
            raise ConfigError(f"{aside.path}: {error.strerror}: give a folder that can be renamed") from None


def waits_aside(folder: Path, journal: SqlJournal) -> str:
    """Say how many records stand beside a journal that it lacks; empty: none. Raises ConfigError as `take_aside`."""
    count = len(_lacking(Aside(folder).groups(), journal))
    return (
        f"{count} records wait in {folder / NAME}: a server takes them into the journal as it starts" if count else ""
    )


def put_away(folder: Path) -> list[Path]:
    """Return the folders of records that were not taken."""
    return sorted(folder.glob(f"{LEFT}*"))


def _lacking(groups: Sequence[Group], journal: SqlJournal) -> list[Record]:
    """Return the records that a journal lacks, each once."""
    aside = {record.id: record for group in groups for record in group.records}
    known = {record.id for record in journal.many(list(aside))} if aside else set()
    return [record for name, record in aside.items() if name not in known]


def _follow(groups: Sequence[Group], first: str, journal: SqlJournal) -> bool:
    """Return whether nothing but what stands aside follows the record that was the last as `first` was put there."""
    ours = {record.id for group in groups for record in group.records}
    end = next(group.end for group in groups if any(record.id == first for record in group.records))
    return journal.knows(end) and all(record.id in ours for record in journal.replay(end[0]))


def _press(records: Sequence[Record]) -> list[Record]:
    """Return the last move of the kill switch where that is a press."""
    moves = [(record, fact) for record in records if isinstance(fact := from_record(record), AuthorityChanged)]
    kills = [(record, fact) for record, fact in moves if fact.what == "kill"]
    return [record for record, fact in kills[-1:] if fact.value == "on"]


def left_aside(folder: Path, say: Callable[[str], None]) -> list[Entry]:
    """Say what was put away and not taken, and return its records: one a folder, by which a later start knows it."""
    entries = []
    for path in put_away(folder):
        says = (
            f"{path}: was decided while the database was away, and the database has gone on without it since: of that "
            f"the press of the kill switch alone is taken: look what else is to be done again, and move the folder away"
        )
        say(f"warning: {says}")
        with contextlib.suppress(OSError):
            mark = f"{path.name} {path.stat().st_mtime_ns}"
            entries.append(Entry(derive("aside-left", mark), Audited("server", "start", "found", says), "journal"))
    return entries
