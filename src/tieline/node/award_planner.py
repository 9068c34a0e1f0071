"""Schedules of awards, made beside the beat: of a million devices one takes seconds, and dispatch must not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import structlog

from tieline.desk.award_plan import asked, decide_planned, follow, planned
from tieline.errors import ConfigError, LinkDown
from tieline.node.runtime import Node
from tieline.plan.executor import Executor, Here
from tieline.rim.executors import Threads

_log = structlog.get_logger("tieline.node.award_planner")


class AwardPlanner:
    """Schedules the awards of pools, and has dispatch follow.

    Until the first schedule of an award is followed, and where one fails, its pool is dispatched by merit; after a
    start what it was told stands for a moment till then. One is made in the minute before it is to be followed; where
    it came too late, it is followed from a minute's mark on (`award_plan.follow`): nobody is told twice at a step.
    """

    def __init__(self, node: Node, pools: Collection[str], *, is_virtual: bool = False) -> None:
        """Begin to schedule `pools` after each beat; `is_virtual`: within it, as virtual time waits for no thread."""
        self.node, self.pools = node, pools
        for name in pools:
            if name in node.cycle.pools:
                node.cycle.pools[name].is_scheduled = True
        self._busy = False
        self.making: asyncio.Task[None] | None = None
        """The task that makes schedules beside the beat, or made the last."""
        self._work: Executor = Here()
        self._aside: ThreadPoolExecutor | None = None
        if not is_virtual:
            self._work, self._aside = Threads(), ThreadPoolExecutor(1, "awards")
            node.supervisor.at_end(self._end)
        node.after_beat.append(self.look)

    async def _end(self) -> None:
        """End the threads: one that is at work is waited for, as it holds columns of the fleet."""
        loop = asyncio.get_running_loop()
        if self._aside is not None:
            await loop.run_in_executor(None, self._aside.shutdown)
        if isinstance(self._work, Threads):
            self._work.close()

    async def look(self) -> None:
        """Have the schedules that are due made."""
        if self._busy or self.node.state.is_killed:
            return
        due = [pool for pool in self.pools if pool in self.node.cycle.pools]
        self._busy = True
        if self._aside is None:
            await self._plan(due)
        else:
            self.making = self.node.supervisor.spawn(self._plan(due), "schedule of awards")

    async def _plan(self, pools: Collection[str]) -> None:
        node, loop = self.node, asyncio.get_running_loop()
        try:
            for name in pools:
                pool = node.cycle.pools[name]
                of = asked(node.state, pool, node.clock.now_ns())
                if of is None:
                    continue
                if self._aside is None:
                    made, found = planned(of, self._work)
                else:
                    made, found = await loop.run_in_executor(self._aside, planned, of, self._work)
                await node.desk.commit([decide_planned(of, found)])
                if follow(pool, made, node.clock.now_ns()):
                    node.wake()
        except LinkDown:
            pass  # it is made again once the journal is back
        except ConfigError as error:
            _log.error("no schedule of awards: they are given by merit", pools=sorted(pools), error=str(error))
        finally:
            self._busy = False
