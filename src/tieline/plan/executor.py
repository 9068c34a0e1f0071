"""Where a job's shards are worked on: the port that plans ask, and the caller's own thread as its simplest answer.

A job is cut up by its size and its seed alone, never by who works on it, and results come back in the order of its
shards; what is summed is summed in that order. So any number of threads, processes or machines gives the same bits.
`tieline.rim.executors` has threads, processes and Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[np.generic]]
Shard = TypeVar("Shard")
Result = TypeVar("Result")


class Executor(Protocol):
    """Works on the shards of a job; one job at a time."""

    @property
    def spread(self) -> Callable[..., Any]:
        """How work that writes into the caller's own arrays goes over them: a `map` within this process."""
        ...

    def put(self, columns: Columns) -> Any:
        """Return a hold on columns that all workers can read from now on, without sending them with each shard."""
        ...

    def over(self, work: Callable[[Columns, Shard], Result], held: Any, shards: Sequence[Shard]) -> Iterator[Result]:
        """Yield `work(columns, shard)` in the order of the shards.

        Args:
            work: A function of a module, since it may be called in another process.
            held: What `put` returned.
            shards: What to work on, each small enough to be sent.
        """
        ...

    def drop(self, held: Any) -> None:
        """Free what `put` held."""
        ...


class Here:
    """The caller's own thread."""

    spread = staticmethod(map)

    def put(self, columns: Columns) -> Columns:
        """Return the columns themselves."""
        return columns

    def over(
        self, work: Callable[[Columns, Shard], Result], held: Columns, shards: Sequence[Shard]
    ) -> Iterator[Result]:
        """Yield one result after the other."""
        return (work(held, shard) for shard in shards)

    def drop(self, held: Columns) -> None:
        """Free nothing: the columns are the caller's."""
