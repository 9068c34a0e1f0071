"""The only place that starts tasks: what breaks is replaced by a fresh object, and said once.

A task that ends by an error never takes its siblings along. `keep` restarts what it runs with a growing, jittered
delay; it logs once when the thing is lost and once when it is back.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import structlog

from tieline.errors import ConfigError, InvariantError, LinkDown

_log = structlog.get_logger("tieline.supervise")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try (s): doubled each time up to a cap, with full jitter above the floor."""

    first_s: float = 0.5
    cap_s: float = 30.0

    def delay_s(self, tries: int, rng: np.random.Generator) -> float:
        """Return the wait before try number `tries` (1 is the first retry)."""
        top = min(self.cap_s, self.first_s * 2 ** min(tries - 1, 16))
        return float(self.first_s * 0.5 + rng.random() * max(top - self.first_s * 0.5, 0.0))


class Supervisor:
    """Runs the tasks of one process; leaving the block cancels them all and waits."""

    def __init__(self, rng: np.random.Generator, on_invariant: Callable[[str, InvariantError], None] | None = None):
        self._rng = rng
        self._on_invariant = on_invariant
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self._ends: list[Callable[[], Awaitable[None]]] = []
        self.failures: dict[str, int] = {}
        self.losses: dict[str, int] = {}
        """Those of the failures that were a lost link: the world's doing, and nothing to mend in the program."""

    async def __aenter__(self) -> Supervisor:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str = "task") -> asyncio.Task[Any]:
        """Run a coroutine once; its failure is logged and counted, and spreads to nobody."""
        task = asyncio.get_running_loop().create_task(self._guard(coroutine, name), name=name)
        self._tasks[task] = name

        def done(ended: asyncio.Task[Any]) -> None:
            self._tasks.pop(ended, None)
            coroutine.close()  # one that was cancelled before its first step was never awaited

        task.add_done_callback(done)
        return task

    def keep(self, name: str, make: Callable[[], Awaitable[None]], backoff: Backoff | None = None) -> asyncio.Task[Any]:
        """Run what `make` makes for as long as we live, made afresh after each failure or return."""
        return self.spawn(self._keep(name, make, backoff or Backoff()), name)

    def at_end(self, close: Callable[[], Awaitable[None]]) -> None:
        """Call `close` once the tasks have ended: what they shared is closed after its last user."""
        self._ends.append(close)

    async def stop(self) -> None:
        """Cancel all tasks, newest first, wait until they have ended, and close what they shared."""
        while self._tasks:
            tasks = list(reversed(self._tasks))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        while self._ends:
            await self._ends.pop()()

    async def _guard(self, coroutine: Coroutine[Any, Any, Any], name: str) -> Any:
        try:
            return await coroutine
        except Exception as error:  # noqa: BLE001  supervision: one task's failure must not end the others
            self._note(name, error)
            return None

    async def _keep(self, name: str, make: Callable[[], Awaitable[None]], backoff: Backoff) -> None:
        tries = 0
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                await make()
            except ConfigError as error:
                _log.error("not started", name=name, error=str(error))
                self.failures[name] = self.failures.get(name, 0) + 1
                return
            except Exception as error:  # noqa: BLE001  supervision: whatever broke is made afresh
                tries = 1 if loop.time() - began_s > backoff.cap_s else tries + 1
                if tries == 1:
                    self._note(name, error)
            else:
                tries = 1
            await asyncio.sleep(backoff.delay_s(tries, self._rng))

    def _note(self, name: str, error: Exception) -> None:
        self.failures[name] = self.failures.get(name, 0) + 1
        if isinstance(error, LinkDown):
            self.losses[name] = self.losses.get(name, 0) + 1
            _log.warning("link lost", name=name, why=str(error))
            return
        _log.error("task failed", name=name, kind=type(error).__name__, error=str(error), where=_where(error))
        if isinstance(error, InvariantError) and self._on_invariant:
            self._on_invariant(name, error)


def _where(error: Exception) -> str:
    """Return the innermost frames of an error, in one line."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in reversed(frames))
