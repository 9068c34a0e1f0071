"""Virtual time: an asyncio loop that never waits.

When nothing is ready the clock jumps to the next timer. Connections run over memory (`network`), and work that would
go to a thread runs in line. So the code of production runs unchanged, a day takes seconds, and the same seed gives
the same run to the bit.
"""

from __future__ import annotations

import asyncio
from asyncio import base_events
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tieline.errors import InvariantError
from tieline.simulate.network import Network
from tieline.times import SECOND_NS

T = TypeVar("T")


class _Leap:
    """Stands where a selector would: instead of waiting it moves the clock."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise InvariantError("every task waits for something that no timer will bring: the simulation is stuck")
        self.now_s += timeout
        return []

    def close(self) -> None:
        """Nothing to close."""


class VirtualLoop(base_events.BaseEventLoop):
    """An event loop on virtual time with a network in memory."""

    def __init__(self, network: Network | None = None) -> None:
        super().__init__()
        self._selector = _Leap()
        self._clock_resolution = 1e-9
        self.network = network or Network()
        self.slow_callback_duration = 3600.0

    def time(self) -> float:
        """Return virtual seconds since the start."""
        return self._selector.now_s

    def _process_events(self, event_list: list[Any]) -> None:
        """No events come from outside."""

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody needs waking."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run the work at once, in line, so that its order is the order of the calls."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  as an executor would, hand any error to who waits
            future.set_exception(error)
        return future

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:
        """Return the name itself: in the memory network a host is its name."""
        return [(2, 1, 6, "", (host, port))]

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **how: Any) -> Any:
        """Connect to a listener in memory. Raises ConnectionRefusedError where there is none."""
        if how.get("ssl"):
            raise NotImplementedError("no TLS on virtual time: use plain connections, or real sockets for TLS")
        return await self.network.connect(self, protocol_factory, str(host), int(port))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **how: Any) -> Any:
        """Listen in memory; port 0 picks a free one."""
        if how.get("ssl"):
            raise NotImplementedError("no TLS on virtual time: use plain connections, or real sockets for TLS")
        return self.network.listen(self, protocol_factory, str(host or "127.0.0.1"), int(port or 0))


class VirtualClock:
    """Tells the loop's time as UTC nanoseconds, from a given start."""

    def __init__(self, loop: VirtualLoop, start_ns: int) -> None:
        self._loop = loop
        self._start_ns = start_ns

    def now_ns(self) -> int:
        """Return UTC now in nanoseconds, cut to the microsecond so that rounding can't tell two runs apart."""
        return self._start_ns + round(self._loop.time() * 1_000_000) * (SECOND_NS // 1_000_000)


def run_virtual(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]], network: Network | None = None) -> T:
    """Run `main(loop)` to its end on virtual time and return what it returns."""
    loop = VirtualLoop(network)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        try:
            leftover = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
            for task in leftover:
                task.cancel()
            if leftover:
                loop.run_until_complete(asyncio.gather(*leftover, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
