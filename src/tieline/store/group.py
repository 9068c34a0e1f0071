"""Group commit: whoever waits while a commit runs shares the next one.

Theory of operation. A database server can go away in the middle of a commit, and what became of it shows only when the
server is back. The group of that commit is therefore kept and appended again until it is known to be durable (a record
that is there already is passed over), its callers wait, and whoever comes meanwhile is refused before anything is done
in his name. So memory and journal never part, and nothing is answered that isn't durable.

An act that can't wait (`flow.begun.hastens`) has what isn't recorded yet put `aside`, in its order: its own records,
and whatever came before them, as they may rest on it. That is durable, so that all of these are answered; the journal
gets them as ever once it is back, and only then is what stands aside let go.

A disk of our own says beforehand that it is full: what holds room on it (`lacks_room`) is asked after each commit, and
where that can't be held any more, whoever comes is refused, while whoever is under way fits into what is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from tieline.flow.begun import begins, has_begun, is_urgent
from tieline.store.faults import RecordFault, StoreDown, StoreError

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0
URGENT_S = 1.0
"""So long an act that can't wait gives the journal (s): one that is there takes milliseconds."""
SILENT_S = 15.0
"""A commit that takes longer (s) is one of a database that doesn't answer; a large one takes a second."""
STOPPING, SILENT = "the server is stopping", "the database doesn't answer"


class Log(Protocol[T]):
    """What a group is committed to: all of it durable, or none, when `append` returns."""

    def append(self, records: list[T], /) -> int:
        """Make them durable and return a number that grows."""
        ...


class Beside(Protocol[T_contra]):
    """Where records are durable that wait for a journal: all of it is found and appended at the next start."""

    def append(self, records: Sequence[T_contra], /) -> None:
        """Make them durable, after those that are there. Raises OSError: none of them is."""
        ...

    def clear(self) -> None:
        """Let all go: the journal holds it. Raises OSError."""
        ...


@dataclass(eq=False, slots=True)
class _Batch(Generic[T]):
    """What one caller wants recorded, and where he waits."""

    records: list[T]
    future: asyncio.Future[int]
    is_aside: bool = False
    is_alone: bool = False
    """Whether it is committed by itself: one of the group that it was in can't be kept by what it holds."""


class GroupCommit(Generic[T]):
    """Appends for many callers at once; each returns when its own records are durable.

    Order is the order of the calls. The commit runs in the executor that is handed in (a single thread in production;
    a loop on virtual time runs it in line), never more than one at a time.
    """

    def __init__(
        self,
        journal: Log[T],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
        executor: Executor | None = None,
        lacks_room: Callable[[], str] | None = None,
    ):
        """Make a group over a journal; `lacks_room` says why no room is held for what comes (empty: it is)."""
        self._journal, self._spawn, self.executor = journal, spawn, executor
        self._lacks_room, self._waits_for_room, self._is_stuck = lacks_room, False, False
        self._waiting: list[_Batch[T]] = []
        self._writing: list[_Batch[T]] = []
        self.aside: Beside[T] | None = None
        """Where what can't wait is put while the journal is out of reach; None: it waits as all else."""
        self.aside_executor: Executor | None = None
        """Runs what that does: a single thread, so that it goes in the order of the calls and waits for no other."""
        self._aside_turn, self._has_aside, self._lost = asyncio.Lock(), False, ""
        self._is_running = False
        self.commits = 0
        self.records = 0
        self.down = ""
        """Why nothing can be recorded now; empty: it can."""
        self._down_s = 0.0
        self._is_ended, self._quiet = False, asyncio.Event()
        self._quiet.set()
        self.went_down, self.came_up = asyncio.Event(), asyncio.Event()
        self.came_up.set()

    def ready(self) -> None:
        """Do nothing where records can be kept. Raises StoreDown: not now; try again later."""
        if self._lacks_room is not None and not self.down:
            self._note_room(self._lacks_room())
        self._refuse_while_down()

    @property
    def is_full(self) -> bool:
        """Whether nothing new is begun for want of room alone: what is under way still fits into what is held."""
        return bool(self.down) and self._waits_for_room and not (self._is_stuck or self._is_ended)

    @property
    def takes_urgent(self) -> bool:
        """Whether what can't wait can be made durable now: in the journal, in the room held for it, or aside."""
        return not self._is_ended and (not self.down or self.is_full or self.aside is not None)

    def down_for_s(self) -> float:
        """Return for how long nothing can be recorded, by the loop's clock (s); 0: it can."""
        return asyncio.get_running_loop().time() - self._down_s if self.down else 0.0

    def _refuse_while_down(self) -> None:
        if self.down and (self._is_ended or not has_begun()):
            raise StoreDown(f"Nothing can be recorded: {self.down}: try again later")

    async def append(self, records: Iterable[T]) -> int:
        """Return once the records are durable, with the number of the last of the group.

        Of an act that can't wait, and of what came before it, they may be durable aside; the number is 0 then.

        Raises:
            StoreDown: The database was away before; nothing was done.
            StoreError: None of the group was kept.
        """
        self._refuse_while_down()  # who asked `ready` in this moment is let in: he has applied what he decided
        if self._lost:
            raise StoreError(self._lost)
        begins()
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Batch(list(records), future))
        if not self._is_running:
            self._is_running = True
            self._quiet.clear()
            self._spawn(self._run(), "group-commit")
        if self.aside is not None and is_urgent():
            if not self._is_stuck:
                await asyncio.wait([future], timeout=URGENT_S)
            await self._put_aside(self.aside, future)
        return await future

    async def _put_aside(self, aside: Beside[T], future: asyncio.Future[int]) -> None:
        """Make durable aside what isn't recorded yet, unless a caller has his answer meanwhile, and answer all of it.

        A disk that takes nothing leaves him waiting for the journal, as anybody.
        """
        async with self._aside_turn:
            if future.done():
                return
            self._is_stuck = True
            self._note(SILENT)  # from here on nothing is begun that would hold up who can't wait
            left = [batch for batch in (*self._writing, *self._waiting) if not batch.is_aside]
            records = [record for batch in left for record in batch.records]
            self._has_aside = True  # before it is: who is cancelled in the middle has written it all the same
            with suppress(OSError):
                if records:
                    await asyncio.get_running_loop().run_in_executor(self.aside_executor, aside.append, records)
                for batch in left:
                    batch.is_aside = True
                    if not batch.future.done():
                        batch.future.set_result(0)
        await self._clear_aside()

    async def _clear_aside(self) -> None:
        """Let go what stands aside once the journal has all of it."""
        async with self._aside_turn:
            waits = any(batch.is_aside for batch in (*self._writing, *self._waiting))
            if self.aside is None or not self._has_aside or waits or self._lost:
                return
            with suppress(OSError):  # left there it does no harm: a start finds that the journal has it
                await asyncio.get_running_loop().run_in_executor(self.aside_executor, self.aside.clear)
                self._has_aside = False

    async def drained(self) -> None:
        """Return once nothing waits: what the state holds by then, the journal holds too."""
        while self._waiting or self._is_running:
            await self.append([])

    async def caught_up(self, within_s: float) -> bool:
        """Return whether at its return all that the state holds is durable; it waits so many seconds for that at most.

        A state is ahead of its journal by what is being written; who reads both asks first. Whoever shares a commit
        with him may have decided anew before he goes on: then he waits for that, too.
        """
        try:
            async with asyncio.timeout(within_s):
                while self.unwritten():  # not of others who only wait: two such would wait for each other
                    await self.append([])
        except (StoreError, TimeoutError):
            return False
        return True

    async def end(self, within_s: float) -> None:
        """Refuse whatever comes from now on, and return once all that came is durable, or after so many seconds.

        A process that stops does this first: who is under way has his answer by what is recorded, and nobody is cut off
        in the middle of a commit.
        """
        self._down_s = self._down_s if self.down else asyncio.get_running_loop().time()
        self._is_ended, self.down = True, STOPPING
        self.came_up.clear()  # nobody who waits for it begins anew; that it went down is no loss, and told to nobody
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._quiet.wait()

    def unwritten(self) -> list[T]:
        """Return what is not known to be durable yet, oldest first: what a state is ahead of its journal by."""
        return [record for batch in (*self._writing, *self._waiting) for record in batch.records]

    async def _run(self) -> None:
        group: list[_Batch[T]] = []
        try:
            while self._waiting:
                group = self._next()
                self._writing, records = group, [record for batch in group for record in batch.records]
                try:
                    if self._lost:  # what follows rests on what was not taken: a start finds both
                        raise StoreError(self._lost)
                    seq = await self._kept(records)
                except RecordFault as error:
                    self._part(group, error)
                    continue
                except Exception as error:  # noqa: BLE001  each waiter is told; nothing of the group was kept
                    self._refuse(group, error)
                    continue
                finally:
                    self._writing = []
                self.commits += 1
                self.records += len(records)
                for batch in group:
                    if not batch.future.done():
                        batch.future.set_result(seq)
                if self._has_aside:
                    await self._clear_aside()
        finally:
            self._is_running = False
            self._quiet.set()
            # Only who is stopped in the middle leaves somebody waiting.
            _tell([*group, *self._waiting], StoreDown("stopped before it was known to be recorded"))

    def _next(self) -> list[_Batch[T]]:
        """Take what is committed next from what waits."""
        count = 1 if self._waiting[0].is_alone else len(self._waiting)
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    def _part(self, group: list[_Batch[T]], error: RecordFault) -> None:
        """Let each of a group be committed by itself, in their order, as one can't be kept; that one is refused."""
        if len(group) == 1:
            self._refuse(group, error)
            return
        for batch in group:
            batch.is_alone = True
        self._waiting = [*group, *self._waiting]

    def _refuse(self, group: list[_Batch[T]], error: Exception) -> None:
        if any(batch.is_aside for batch in group):  # who waited for these has his answer: it must not pass
            self._lost = self._lost or f"what was put aside is not taken: {error}"
        _tell(group, error)

    async def _kept(self, records: list[T]) -> int:
        """Append until it is known whether the records are durable."""
        loop, wait_s = asyncio.get_running_loop(), FIRST_WAIT_S
        while True:
            try:
                seq, lacks = await self._answer(loop.run_in_executor(self.executor, self._append, records))
            except StoreDown as error:
                self._is_stuck = True
                self._note(str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            except Exception:
                self._is_stuck = False
                self._note("")
                raise
            else:
                self._is_stuck = False
                self._note_room(lacks)
                return seq

    async def _answer(self, append: asyncio.Future[tuple[int, str]]) -> tuple[int, str]:
        """Return what a journal answers, however long that takes; one that is silent for long counts as away."""
        if not append.done() and not (await asyncio.wait([append], timeout=SILENT_S))[0]:
            self._is_stuck = True
            self._note(SILENT)
        return await append

    def _append(self, records: list[T]) -> tuple[int, str]:
        seq = self._journal.append(records)
        return seq, "" if self._lacks_room is None else self._lacks_room()

    def _note_room(self, lacks: str) -> None:
        """Take in whether room is held for what comes; where it isn't, it is asked for again until it is."""
        self._note(lacks)
        if lacks and not self._waits_for_room and not self._is_ended:
            self._waits_for_room = True
            self._spawn(self._wait_for_room(), "room for records")

    async def _wait_for_room(self) -> None:
        assert self._lacks_room is not None
        loop, wait_s, lacks = asyncio.get_running_loop(), FIRST_WAIT_S, "not asked yet"
        try:
            while lacks and not self._is_ended:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                await self._quiet.wait()  # a commit that is still under way tells more
                lacks = await loop.run_in_executor(self.executor, self._lacks_room)
        finally:
            self._waits_for_room = False
        if not self._is_running:  # else what is being written tells
            self._note(lacks)

    def _note(self, why: str) -> None:
        if self._is_ended or bool(why) == bool(self.down):
            return
        self.down, self._down_s = why, asyncio.get_running_loop().time()
        for event, is_set in ((self.went_down, bool(why)), (self.came_up, not why)):
            if is_set:
                event.set()
            else:
                event.clear()


def _tell(group: Iterable[_Batch[T]], error: Exception) -> None:
    for batch in group:
        if not batch.future.done():
            batch.future.set_exception(error)
