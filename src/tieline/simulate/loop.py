"""Virtual time: an asyncio loop that never waits.

When nothing is ready the clock jumps to the next timer. Connections run over memory (`network`), and work that would
go to a thread runs in line. So the code of production runs unchanged, a day takes seconds, and the same seed gives
the same run to the bit.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from msgspec import Struct

from tieline.errors import InvariantError
from tieline.simulate.network import Network
from tieline.times import SECOND_NS

T = TypeVar("T")
US_NS = SECOND_NS // 1_000_000


class Turn(Struct, eq=False):
    """A callback that waits for its turn, or for its instant (s): what asyncio's handles are, made in one step."""

    _callback: Callable[..., object]
    _args: tuple[Any, ...]
    _context: Context
    _when: float
    _loop: VirtualLoop
    _cancelled: bool = False

    def cancel(self) -> None:
        """Never run it."""
        if not self._cancelled:
            self._cancelled = True
            self._callback, self._args = _nothing, ()
            self._loop.note_cancelled(self)

    def cancelled(self) -> bool:
        """Return whether it will never run."""
        return self._cancelled

    def when(self) -> float:
        """Return its instant (s)."""
        return self._when


def _nothing() -> None:
    """What is left of a callback that was cancelled."""


class VirtualLoop(base_events.BaseEventLoop):
    """An event loop on virtual time with a network in memory.

    A simulated day is a million callbacks, and turning the loop is a tenth of its cost. So the turn is our own: timers
    stand in the heap as tuples, which compare in C, and those of one instant run in the order in which they were set;
    and what waits is a `Turn`.
    """

    # What asyncio's own loop and handles keep, and no typeshed names.
    _ready: deque[Any]
    _stopping: bool
    _closed: bool
    _check_closed: Callable[[], None]

    def __init__(self, network: Network | None = None) -> None:
        super().__init__()
        self.now_s = 0.0
        """Virtual seconds since the start, as `time` returns them."""
        self._timers: list[tuple[float, int, Any]] = []
        self._set, self._dropped = 0, 0
        self.network = network or Network()
        self._going: dict[int, tuple[str, int]] = {}

    def time(self) -> float:
        """Return virtual seconds since the start."""
        return self.now_s

    # Their turn stands for asyncio's handle: it has all that anybody asks one for.
    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Turn:
        """Run a callback with the next turn."""
        if self._closed:
            self._check_closed()
        turn = Turn(callback, args, copy_context() if context is None else context, math.nan, self)
        self._ready.append(turn)
        return turn

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Turn:
        """Run a callback at an instant of the loop's clock (s); what is due already runs with the next turn."""
        if self._closed:
            self._check_closed()
        timer = Turn(callback, args, copy_context() if context is None else context, when, self)
        self._set += 1
        heappush(self._timers, (when, self._set, timer))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Turn:
        """Run a callback so many seconds from now."""
        if self._closed:
            self._check_closed()
        when = self.now_s + delay
        timer = Turn(callback, args, copy_context() if context is None else context, when, self)
        self._set += 1
        heappush(self._timers, (when, self._set, timer))
        return timer

    def note_cancelled(self, turn: Turn) -> None:
        """Count a timer that nobody waits for; it stays in the heap until its time, or until most there are such."""
        if math.isnan(turn.when()):
            return
        self._dropped += 1
        if self._dropped > 1_000 and 2 * self._dropped > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._dropped = 0

    def _run_once(self) -> None:
        """Move the clock to the next timer where nothing is ready, and run what is ready now."""
        timers, ready = self._timers, self._ready
        while timers and timers[0][2]._cancelled:
            heappop(timers)
            self._dropped = max(self._dropped - 1, 0)
        if not ready and not self._stopping:
            if not timers:
                raise InvariantError("every task waits for something that no timer will bring: the simulation is stuck")
            self.now_s = max(self.now_s, timers[0][0])
        while timers and timers[0][0] <= self.now_s:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001  as asyncio's own loop: tell, and go on
                self.call_exception_handler({"message": "exception in callback", "exception": error, "handle": handle})

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

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Note where a socket is to go: libraries that connect theirs first hand it to `create_connection` then."""
        self._going[sock.fileno()] = str(address[0]), int(address[1])

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **how: Any) -> Any:
        """Connect to a listener in memory. Raises ConnectionRefusedError where there is none."""
        sock = how.get("sock")
        if sock is not None:  # the stream stands for it
            host, port = self._going.pop(sock.fileno())
            sock.close()
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
        self._at_s, self._at_ns = math.nan, start_ns

    def now_ns(self) -> int:
        """Return UTC now in nanoseconds, cut to the microsecond so that rounding can't tell two runs apart."""
        now_s = self._loop.time()
        if now_s != self._at_s:  # between two timers it is asked many times
            self._at_s, self._at_ns = now_s, self._start_ns + round(now_s * 1_000_000) * US_NS
        return self._at_ns


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
