"""Scenes of pools that can give a part of what they have promised, or far more: what was likely, and what came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from cycling_stage import HOUR, Cycling

from tieline.desk import opting
from tieline.desk.award_plan import asked, decide_planned, planned
from tieline.desk.facts import IntervalTracked
from tieline.desk.likely import Likely, likely
from tieline.desk.ports import Ask, Granted
from tieline.node.read_commitments import follows_of
from tieline.plan.executor import Here
from tieline.times import HOUR_NS, MINUTE_NS


class Promised(Cycling):
    """A pool of cycling loads and stores that has promised something; some of it may be out of reach."""

    def __init__(
        self, seed: int, thermostats: int, plugs: int, stores: int, stored_wh: float, *, by_schedule: bool = True
    ):
        super().__init__(thermostats, plugs, stores, seed)
        self.rng = np.random.default_rng([seed, 99])
        self.rig.stored_wh[:] = self.twin.stored_wh[:] = stored_wh
        self.by_schedule, self.out = by_schedule, np.zeros(self.rig.count, np.bool_)
        self.devices.hears = self.devices.answers = lambda n: np.ones(n, np.bool_)

    def _orders(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return tuple(np.where(self.out, free, told) for told, free in zip(super()._orders(), self._free(), strict=True))

    async def beat(self) -> None:
        await super().beat()
        if self.by_schedule and (of := asked(self.state, self.pool, self.clock.ns)) is not None:
            made, found = planned(of, Here())
            await self.desk.commit([decide_planned(of, found)])
            self.pool.planned = made
            await super().beat()

    def some(self, frac: float) -> np.ndarray:
        """Some of the rows."""
        return self.rng.permutation(self.rig.count)[: round(frac * self.rig.count)]

    async def lose(self, frac: float) -> None:
        """Have a share of the devices out of reach from now on: nothing of them is read, and they hear nothing."""
        self.out[self.some(frac)] = True
        self.second_of = np.where(self.out, -1, self.second_of)

    async def opt_out(self, frac: float) -> None:
        """Have a share of the owners opt out."""
        for row in self.some(frac).tolist():
            asked_out = opting.ask_out(self.state, self.state.fleet.id_of(row), "the owner", self.clock.ns)
            assert isinstance(asked_out, Ask)
            assert isinstance(await self.desk.ask(asked_out), Granted)

    def likely(self) -> dict[str, Likely]:
        """What is likely to come of each award, as it is known now."""
        since_ns = self.clock.ns - 6 * HOUR_NS
        seen = [fact for fact in self._facts(IntervalTracked) if fact.start_ns >= since_ns]
        return likely(self.state, self.pool, follows_of(seen), self.clock.ns)


@dataclass(frozen=True)
class Case:
    """What was likely at a minute of what came of an award's rest, and what did (W)."""

    scene: str
    seed: int
    minute: float
    award: str
    award_w: float
    told: Likely
    came_w: float
    counted_w: float


Act = Callable[[Promised], Awaitable[None]]


def play(scene: str, seed: int, pool: Promised, asked_at: list[float], acts: dict[float, Act]) -> list[Case]:
    """Live through the awards of a pool; what is likely is asked at some minutes, acts come at others."""
    told: list[tuple[float, dict[str, Likely]]] = []

    async def main() -> None:
        for minute in sorted({*asked_at, *acts}):
            await pool.until(minute)
            if minute in acts:
                await acts[minute](pool)
            if minute in asked_at:
                told.append((minute, pool.likely()))
        end_ns = max(award.end_ns for award in pool.state.awards.values())
        await pool.until((end_ns - HOUR) / MINUTE_NS + 6)

    asyncio.run(main())
    found = []
    for minute, each in told:
        for name, one in each.items():
            award = pool.state.awards[name]
            since, until = max((award.start_ns - HOUR) / MINUTE_NS, minute), (award.end_ns - HOUR) / MINUTE_NS
            hours = (until - since) / 60.0
            first = -(-since // 5) * 5
            counted_w = pool.counted_wh(first, until) / ((until - first) / 60.0) if until > first else np.nan
            came_w = pool.true_wh(since=since, until=until) / hours
            found.append(Case(scene, seed, minute, name, award.power_w, one, came_w, counted_w))
    return found
