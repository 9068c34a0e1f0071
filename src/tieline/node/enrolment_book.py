"""The book of enrolments of a served folder: read at the start, and again whenever its file is another one.

What the desk takes from it is a fact of the journal, so that a file that changes later changes nothing of the past. A
file that can't be read leaves the former enrolments in force, and is said and recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tieline.contract.membership import EnrolmentBook
from tieline.desk.consents import decide_agreed
from tieline.desk.enrolled_calls import decide_book
from tieline.desk.entry import Entry
from tieline.desk.facts import Audited
from tieline.errors import ConfigError
from tieline.ids import derive
from tieline.node.contracting import book_in
from tieline.node.runtime import Node

LOOKS_S = 5.0
"""So often a server looks whether the book's file is another one (s of the wall's clock)."""
Stamp = tuple[int, int, int]


class BookWatch:
    """Keeps the desk's enrolments as a file has them."""

    def __init__(self, node: Node, path: Path | None, say: Callable[[str], None]) -> None:
        """Make one; `path` None: no book is asked."""
        self._node, self._path, self._say = node, path, say
        self._seen: Stamp | None = None

    async def begin(self) -> None:
        """Take the book as it stands, and keep looking at it. Raises ConfigError where it can't be read."""
        node = self._node
        if self._path is None:
            await node.desk.commit(decide_book(node.state, None, node.clock.now_ns()))
            return
        self._seen = _stamp(self._path)
        await self._take(book_in(self._path))
        held = node.state.enrolled
        assert held is not None  # a book was just taken
        unknown = held.unknown
        rest = f"; {len(unknown):,} of what they name is not in the registry: {', '.join(unknown[:5])}"
        self._say(f"{len(held.by_id):,} enrolments: programs call nobody else{rest if unknown else ''}")
        node.supervisor.keep("enrolments", self._looks)

    async def _looks(self) -> None:
        while True:
            await asyncio.sleep(LOOKS_S)
            await self.look()

    async def look(self) -> None:
        """Take the book where its file is another one than was seen last; what follows is decided at once."""
        path = self._path
        if path is None or (stamp := _stamp(path)) == self._seen:
            return
        self._seen = stamp
        try:
            book = await asyncio.get_running_loop().run_in_executor(None, book_in, path)
        except (ConfigError, OSError) as error:
            fault = f"{error}: enrolments stand as they were taken last"
            self._say(f"warning: {fault}")
            fact = Audited("server", "enrolments", "found", fault)
            await self._node.desk.commit(
                [Entry(derive("book-fault", fault, self._node.clock.now_ns()), fact, path.name)]
            )
            return
        await self._take(book)

    async def _take(self, book: EnrolmentBook) -> None:
        node = self._node
        now_ns = node.clock.now_ns()
        entries = decide_book(node.state, book.enrolments, now_ns)
        if not entries:
            return
        await node.desk.commit(entries)
        await node.desk.commit(decide_agreed(node.state, now_ns))
        node.desk.changed(entries[0].id)


def _stamp(path: Path) -> Stamp | None:
    """Return by what a file is told from another one at the same place; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
