"""The journal's replay in a process of its own, that reads along while a story goes on.

It opens the journal's file itself and is told nothing but how far that has come, so that what it has at the end is what
the file tells: the same as a replay from the first record to the last in one go, without its wait.
"""

from __future__ import annotations

from pathlib import Path

from tieline.fleet.columns import Fleet
from tieline.node.promises_replay import Again, Looked
from tieline.node.rebuilt import Law, empty_state
from tieline.node.runtime import replay_on
from tieline.rim.aside import Aside, answer, told
from tieline.store.journal import SqliteJournal


class ReplayAside:
    """Follows a journal in a child process."""

    def __init__(self, aside: Aside, fleet: Fleet, law: Law, path: Path) -> None:
        self._aside = aside
        aside.tell((fleet, law, path))

    def follow(self, last_seq: int) -> None:
        """Read along as far as a record."""
        self._aside.tell((last_seq, False))

    def again(self, last_seq: int) -> Again:
        """Return what the journal tells up to a record; every batch of commands was settled anew on the way."""
        self._aside.tell((last_seq, True))
        again: Again = self._aside.heard()
        return again


def main() -> None:
    """Replay the journal that comes first over standard input, as far as is told, until that ends."""
    given = told()
    fleet, law, path = next(given)
    looked, state, seq = Looked(), empty_state(fleet, law), 0
    journal = SqliteJournal(path, is_thrown_away=True)
    for last_seq, is_asked in given:
        seq = replay_on(state, journal, seq, last_seq, looked.look)
        if is_asked:
            answer(Again(state, state.digest(), looked))


if __name__ == "__main__":
    main()
