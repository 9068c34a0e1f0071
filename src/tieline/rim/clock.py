"""The system's clock: the one place that reads it, and a faster one for demonstrations."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """UTC now from the operating system."""

    def now_ns(self) -> int:
        """Return UTC now in nanoseconds."""
        return time.time_ns()  # noqa: TID251  the one place that reads the system's clock


class PacedClock:
    """Time from a given start that runs `speed` times as fast as the loop's own.

    One that `stands` shows its start until it is let go: what is raised meanwhile takes no time of it.
    """

    def __init__(self, start_ns: int, speed: float = 1.0, stands: bool = False) -> None:
        self._start_ns = start_ns
        self._speed = speed
        self._began_s = None if stands else asyncio.get_running_loop().time()

    @property
    def speed(self) -> float:
        """How many seconds of this clock pass in one of the loop's."""
        return self._speed

    def now_ns(self) -> int:
        """Return the paced UTC now in nanoseconds, cut to the microsecond."""
        if self._began_s is None:
            return self._start_ns
        passed_s = (asyncio.get_running_loop().time() - self._began_s) * self._speed
        return self._start_ns + round(passed_s * 1_000_000) * 1_000

    def go(self) -> None:
        """Let a clock that stands run from now on; one that runs runs on."""
        if self._began_s is None:
            self._began_s = asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep so many seconds of this clock."""
        await asyncio.sleep(seconds / self._speed)


def loop_s() -> float:
    """Return the running loop's seconds; without a loop (a notebook) every call counts as later."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return float("inf")
