"""Who works on the shards of a plan: threads, processes on this machine, or a Ray cluster.

Each answers `tieline.plan.executor.Executor`; none changes a bit of the result. Threads share memory and are the
choice on one machine, since the compiled kernels release the lock. Processes hold columns in shared memory. Ray (the
extra `ray`) holds them in its object store and may have workers on other machines.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import shared_memory
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.plan.executor import Columns, Result, Shard

AHEAD = 2
"""So many shards a worker are asked for before their results are taken: results don't pile up unread."""


class _Closing:
    """A context that closes at its end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        raise NotImplementedError


class Threads(_Closing):
    """Threads of this process."""

    def __init__(self, workers: int | None = None) -> None:
        """Start so many workers (None: one a core)."""
        self._workers = _checked(workers)
        self._pool = ThreadPoolExecutor(self._workers, "plan")
        self.spread: Callable[..., Any] = self._pool.map

    def put(self, columns: Columns) -> Columns:
        """Return the columns themselves: threads see them."""
        return columns

    def over(
        self, work: Callable[[Columns, Shard], Result], held: Columns, shards: Sequence[Shard]
    ) -> Iterator[Result]:
        """Yield `work(columns, shard)` in the order of the shards."""
        return _in_order(self._pool, self._workers, work, held, shards)

    def drop(self, held: Columns) -> None:
        """Free nothing: the columns are the caller's."""

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


@dataclass(frozen=True, slots=True)
class _Block:
    """Columns in shared memory: its name, and name, type, shape and offset of each."""

    name: str
    columns: tuple[tuple[str, str, tuple[int, ...], int], ...]


class Processes(_Closing):
    """Processes on this machine, started fresh; columns lie in shared memory, results come back by pipe."""

    spread = staticmethod(map)

    def __init__(self, workers: int | None = None) -> None:
        """Start so many workers (None: one a core)."""
        self._workers = _checked(workers)
        # Fresh ones: a fork of a process whose threads run takes their locks with it.
        self._pool = ProcessPoolExecutor(self._workers, multiprocessing.get_context("spawn"))
        self._blocks: dict[str, shared_memory.SharedMemory] = {}

    def put(self, columns: Columns) -> _Block:
        """Copy columns into shared memory."""
        laid, size = [], 0
        for name, column in columns.items():
            laid.append((name, column.dtype.str, column.shape, size))
            size += -(-column.nbytes // 64) * 64
        memory = shared_memory.SharedMemory(create=True, size=max(size, 1))
        self._blocks[memory.name] = memory
        block = _Block(memory.name, tuple(laid))
        for name, column in _columns(block, memory).items():
            column[...] = columns[name]
        return block

    def over(self, work: Callable[[Columns, Shard], Result], held: _Block, shards: Sequence[Shard]) -> Iterator[Result]:
        """Yield `work(columns, shard)` in the order of the shards."""
        return _in_order(self._pool, self._workers, _apart, (work, held), shards)

    def drop(self, held: _Block) -> None:
        """Free the shared memory."""
        memory = self._blocks.pop(held.name)
        memory.close()
        memory.unlink()

    def close(self) -> None:
        """End the processes, and free what is still held."""
        self._pool.shutdown()
        for memory in self._blocks.values():
            memory.close()
            memory.unlink()
        self._blocks.clear()


def _columns(block: _Block, memory: shared_memory.SharedMemory) -> dict[str, NDArray[Any]]:
    return {
        name: np.ndarray(shape, np.dtype(kind), buffer=memory.buf, offset=offset)
        for name, kind, shape, offset in block.columns
    }


def _apart(job: tuple[Callable[[Columns, Shard], Result], _Block], shard: Shard) -> Result:
    """Work on a shard in a process of its own, the columns seen for as long as that takes."""
    work, block = job
    memory = shared_memory.SharedMemory(block.name)
    result = work(_columns(block, memory), shard)
    memory.close()
    return result


class RayWorkers(_Closing):
    """Workers of a Ray cluster, or of Ray on this machine; needs the extra `ray`."""

    spread = staticmethod(map)

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        """Join the cluster at `address`, or start so many workers here (None: one a core).

        Raises:
            ConfigError: Ray is not installed.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError("executor ray: Ray is not installed: give `pip install 'tieline[ray]'`") from error
        self._ray: Any = ray
        self._workers = _checked(workers)
        # Ray reports its use to its makers by default; a control room's must not.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        here = {"num_cpus": self._workers, "include_dashboard": False} if address is None else {"address": address}
        ray.init(log_to_driver=False, logging_level="error", **here)
        self._task = ray.remote(_called)

    def put(self, columns: Columns) -> Any:
        """Put columns into the object store."""
        return self._ray.put(dict(columns))

    def over(self, work: Callable[[Columns, Shard], Result], held: Any, shards: Sequence[Shard]) -> Iterator[Result]:
        """Yield `work(columns, shard)` in the order of the shards."""
        asked: deque[Any] = deque()
        for shard in shards:
            asked.append(self._task.remote(work, held, shard))
            if len(asked) > AHEAD * self._workers:
                yield self._ray.get(asked.popleft())
        while asked:
            yield self._ray.get(asked.popleft())

    def drop(self, held: Any) -> None:
        """Free nothing: an object goes with the last hold on it."""

    def close(self) -> None:
        """Leave the cluster; end what was started here."""
        self._ray.shutdown()


def _called(work: Callable[[Columns, Shard], Result], columns: Columns, shard: Shard) -> Result:
    return work(columns, shard)


def _in_order(
    pool: Pool, workers: int, work: Callable[[Any, Shard], Result], held: Any, shards: Sequence[Shard]
) -> Iterator[Result]:
    """Yield results in the order of the shards, a few asked for ahead."""
    asked: deque[Any] = deque()
    try:
        for shard in shards:
            asked.append(pool.submit(work, held, shard))
            if len(asked) > AHEAD * workers:
                yield asked.popleft().result()
        while asked:
            yield asked.popleft().result()
    finally:
        for one in asked:
            one.cancel()


def _checked(workers: int | None) -> int:
    if workers is None:
        return os.cpu_count() or 1
    if workers < 1:
        raise ConfigError(f"workers = {workers}: give 1 or more")
    return workers
