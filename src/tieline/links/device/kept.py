"""What a link keeps of its devices over a restart: in the journal, before anything leaves that rests on it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tieline.desk.entry import Recorder
from tieline.desk.facts import Fact, from_record, to_record
from tieline.errors import LinkDown
from tieline.flow.record import Records
from tieline.ids import derive
from tieline.times import Clock

AGAIN_S = 1.0
"""So long a journal that is away is left alone before it is asked again."""
What = TypeVar("What")
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]]


class Kept(ABC, Generic[What]):
    """Kept in the journal, by row: what many devices ask for in one moment is one record. `what` names it."""

    def __init__(self, link: str, recorder: Recorder, clock: Clock, spawn: Spawn, what: str) -> None:
        self.link = link
        self._recorder, self._clock, self._spawn, self._what = recorder, clock, spawn, what
        self._durable: dict[int, What] = {}
        self._asked: dict[int, What] = {}
        self._waiting: dict[int, tuple[What, list[Callable[[], None]]]] = {}
        self._is_writing = False
        self._made = 0

    @abstractmethod
    def fact(self, kept: dict[int, What]) -> Fact:
        """Return the record of what is kept of some rows."""

    @abstractmethod
    def rows_of(self, fact: Fact | None) -> dict[int, What]:
        """Return what a record of this kind, or of another, keeps by row."""

    def restore_from(self, journal: Records, kind: str) -> None:
        """Take in what a journal holds of all links: a device that went over to another one is still its owner's."""
        for record in journal.of_kind(kind):
            self._durable |= self.rows_of(from_record(record))
        self._asked = dict(self._durable)

    def kept(self, row: int) -> What | None:
        """Return what the journal has of a device."""
        return self._durable.get(row)

    def ask(self, row: int, what: What, then: Callable[[], None] | None) -> None:
        """Keep what is known of a device, and call `then` once the journal has it; the newest of a row holds."""
        if self._asked.get(row) == what:
            return  # it is there, or on its way: who asked first is called
        self._asked[row] = what
        calls = self._waiting[row][1] if row in self._waiting else []
        self._waiting[row] = what, [*calls, *([] if then is None else [then])]
        if not self._is_writing:
            self._is_writing = True
            self._spawn(self._write(), f"{self.link} {self._what} of owners")

    async def _write(self) -> None:
        """Record what waits until nothing does; a task begins after this moment, so that all of it is one record."""
        try:
            while self._waiting:
                try:
                    self._recorder.ready()
                except LinkDown:
                    await asyncio.sleep(AGAIN_S)
                    continue
                waiting, self._waiting = self._waiting, {}
                try:
                    await self._append({row: what for row, (what, _) in waiting.items()})
                except BaseException:
                    for row in waiting:  # nothing of it was kept: who asks again is not told that it is on its way
                        self._asked.pop(row, None)
                    raise
                for _, calls in waiting.values():
                    for then in calls:
                        then()
        finally:
            self._is_writing = False

    async def _append(self, kept: dict[int, What]) -> None:
        now_ns = self._clock.now_ns()
        self._made += 1
        record = derive(self._what, self.link, now_ns, self._made)
        await self._recorder.append([to_record(self.fact(kept), record, self.link, now_ns, ())])
        self._durable |= kept
