"""Group commit: whoever waits while a commit runs shares the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Log(Protocol[T]):
    """What a group is committed to: all of it durable, or none, when `append` returns."""

    def append(self, records: list[T], /) -> int:
        """Make them durable and return a number that grows."""
        ...


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
    ):
        self._journal, self._spawn, self.executor = journal, spawn, executor
        self._waiting: list[tuple[list[T], asyncio.Future[int]]] = []
        self._is_running = False
        self.commits = 0
        self.records = 0

    async def append(self, records: Iterable[T]) -> int:
        """Return once the records are durable, with the number of the last of the group.

        Raises:
            StoreError: None of the group was kept.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((list(records), future))
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run(), "group-commit")
        return await future

    async def drained(self) -> None:
        """Return once nothing waits: what the state holds by then, the journal holds too."""
        while self._waiting or self._is_running:
            await self.append([])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                records = [record for batch, _ in group for record in batch]
                try:
                    seq = await loop.run_in_executor(self.executor, self._journal.append, records)
                except Exception as error:  # noqa: BLE001  each waiter is told; nothing of the group was kept
                    for _, future in group:
                        if not future.done():
                            future.set_exception(error)
                    continue
                self.commits += 1
                self.records += len(records)
                for _, future in group:
                    if not future.done():
                        future.set_result(seq)
        finally:
            self._is_running = False
