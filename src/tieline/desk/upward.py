"""Tells the market what a pool can do, and records how its position changed: once the devices were told.

A market that takes calls and doesn't answer would else hold up what a grid operator's limit asks of the devices. Where
there is somebody to run it (`spawn`), it runs beside the beats; one declaration is out at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tieline.desk.entry import Entry
from tieline.desk.facts import AvailabilityDeclared, PositionChanged
from tieline.desk.redispatch import BY_KILL
from tieline.errors import ConfigError, LinkDown, PeerError
from tieline.ids import derive

if TYPE_CHECKING:
    from tieline.desk.desk import Desk
    from tieline.desk.pool_desk import PoolDesk

TELEMETRY = "telemetry of "
"""Before the pool's name: the cause of a declaration that no record made necessary."""
UNRECORDED = (TELEMETRY, BY_KILL)
"""What begins the cause of a declaration that stands in no record: of what is sold behind the switch, the switch is."""
AGAIN_S = 2.0, 60.0
"""A market that asks to be told later is told then, within these."""


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """How a pool's position changed: available before and after (W up, down), owed and feasible (W), who stepped in."""

    before_w: tuple[float, float]
    after_w: tuple[float, float]
    owed_w: float
    feasible_w: float
    substitutes: tuple[str, ...]
    because: str


class Upward:
    """What waits to be told to the market."""

    def __init__(self, desk: Desk, is_heard: Callable[[PoolDesk], bool]) -> None:
        """Make an empty queue; `is_heard` says whether a pool's devices were heard, so that its power is known."""
        self.desk, self._is_heard = desk, is_heard
        self.spawn: Callable[[Coroutine[Any, Any, None], str], object] | None = None
        self.sleep: Callable[[float], Awaitable[None]] | None = None
        """Waits for so many seconds; none: what a market did not take waits for the next beat."""
        self.unsure = set(desk.state.declared)
        """Pools that an earlier run spoke for: its last word may have gone out unrecorded, so one more is said."""
        self._waiting: deque[tuple[PoolDesk, str, int, Moved | None]] = deque()
        self._runs = False
        self._is_away = False
        """It did not take a word of this round: what waits behind is recorded, and said again at the next beat."""
        self._untold: dict[str, PoolDesk] = {}
        self._is_asked_later = False

    def later(self, pool: PoolDesk, cause: str, now_ns: int, moved: Moved | None = None) -> None:
        """Note that a pool is to be declared (R18: within 5 s); what waits for it already says the newest, too."""
        if moved is not None or all(pool is not waits for waits, *_ in self._waiting):
            self._waiting.append((pool, cause, now_ns, moved))

    async def flush(self) -> None:
        """Tell what waits; returns at once where it runs beside the beats."""
        if not self._waiting or self._runs:
            return
        self._runs = True
        if self.spawn is None:
            await self._run()
        else:
            self.spawn(self._run(), "declarations")

    async def _run(self) -> None:
        self._is_away = False
        try:
            while self._waiting:
                pool, cause, now_ns, moved = self._waiting.popleft()
                if moved is None and not pool.undeclared:
                    continue  # what was out as it was noted said it all
                try:
                    is_told = await self._declare(pool, cause, now_ns)
                    if moved is not None:
                        await self._record(pool, cause, now_ns, moved, is_told)
                except LinkDown:  # the journal is away: the beat that comes back with it says it again
                    pool.undeclared = cause
        finally:
            self._runs = False

    async def _record(self, pool: PoolDesk, cause: str, now_ns: int, moved: Moved, is_told: bool) -> None:
        fact = PositionChanged(
            pool.pool, cause, moved.before_w[0], moved.after_w[0], moved.before_w[1], moved.after_w[1],
            moved.owed_w, moved.feasible_w, moved.substitutes, is_told,
        )  # fmt: skip
        entry = Entry(
            derive("position", pool.pool, cause, now_ns, self.desk.state.revision),
            fact,
            pool.pool,
            (cause, moved.because),
        )
        await self.desk.commit([entry])

    async def _declare(self, pool: PoolDesk, cause: str, now_ns: int) -> bool:
        """Tell the market what the pool can do; where it can't be told now, the next beat tries again."""
        market = self.desk.market
        if market is None:
            return False
        if self._is_away or not self._is_heard(pool):
            pool.undeclared = self._untold_yet(pool, cause)
            return False
        told = pool.available
        try:
            await market.declare(pool.pool, told[0], told[1], cause)
        except (LinkDown, PeerError) as error:
            pool.undeclared, self._is_away = self._untold_yet(pool, cause), True
            if isinstance(error, LinkDown) and error.after_s is not None:
                self._ask_later(error.after_s)
            return False
        except ConfigError:  # a pool that this market does not know: there is nobody to tell
            pool.undeclared, pool.differs = "", 0
            self.unsure.discard(pool.pool)
            return False
        pool.undeclared, pool.differs = "", 0
        self.unsure.discard(pool.pool)
        fact = AvailabilityDeclared(pool.pool, cause, now_ns, *told)
        causes = () if cause.startswith(UNRECORDED) else (cause,)
        await self.desk.commit(
            [Entry(derive("declared", pool.pool, cause, now_ns, self.desk.state.revision), fact, pool.pool, causes)]
        )
        return True

    def _untold_yet(self, pool: PoolDesk, cause: str) -> str:
        self._untold[pool.pool] = pool
        return cause

    def _ask_later(self, after_s: float) -> None:
        """Have what the market did not take told when it asked for that; one such wait at a time."""
        if self.spawn is None or self.sleep is None or self._is_asked_later:
            return
        self._is_asked_later = True
        self.spawn(self._tell_later(self.sleep, min(max(after_s, AGAIN_S[0]), AGAIN_S[1])), "declarations")

    async def _tell_later(self, sleep: Callable[[float], Awaitable[None]], after_s: float) -> None:
        try:
            await sleep(after_s)
        finally:
            self._is_asked_later = False
        untold, self._untold = self._untold, {}
        for pool in untold.values():
            if pool.undeclared:
                self.later(pool, pool.undeclared, self.desk.now_ns())
        await self.flush()
