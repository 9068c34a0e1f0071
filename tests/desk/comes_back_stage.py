"""What comes of every group of a nest once its limits end, beside what was told of each before: drawn stories.

A home lies on one of the two feeders of a substation. Some of these four are limited, all on one side, while program
events call devices of the whole pool, and some owners are out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache

import numpy as np
from desk_stage import fleet_of
from sun_stage import RATED_W, STEP_S, Sun

from tieline.desk.ports import Granted
from tieline.fleet.columns import Fleet, Group
from tieline.fleet.grouped import Groups
from tieline.node.snapshot import snapshot_of
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.times import HOUR_NS

HOME, FEEDER, OTHER, SUB, POOL = "site-0", "feeder-1", "feeder-2", "sub-1", "pool-1"
GROUPS = (HOME, FEEDER, OTHER, SUB, POOL)
AFTER_MINUTES = 14
"""For so long what comes is watched: what the event lacked by its meters is asked anew within two of its intervals."""


class Nest(Sun):
    """A substation of two feeders; the home is on the first. Stores hold what they do, and are empty or full by that."""

    def __init__(self, rng: np.random.Generator, plants: int, stores: int, loads: int, seed: int) -> None:
        count = plants + stores + loads
        self.on_first = rng.random(count) < 0.6
        self.on_first[rng.integers(count)] = True
        self.at_home = self.on_first & (rng.random(count) < 0.5)
        self.held_wh = rng.choice([0.0, 300.0, 2_500.0, 9_000.0, 10_000.0], stores)
        self.ended: list[bool] = []
        super().__init__(plants, stores, loads, seed=seed, laid=self._laid)
        self.sun_w[:] = (rng.choice([200.0, 1_500.0, 3_000.0, 4_200.0]) * rng.uniform(0.8, 1.1, plants))[:, None]
        self.own_w[self.stores.stop :] = rng.choice([0.0, -2_000.0, -4_000.0], loads)
        self.groups = Groups(self.state.fleet, GROUPS)

    def _laid(self, kinds: list[Kind]) -> Fleet:
        plain = fleet_of(kinds)
        groups = [
            Group(SUB, Kind.SUBSTATION, Purpose.ELECTRICAL, -1), Group(FEEDER, Kind.FEEDER, Purpose.ELECTRICAL, 0),
            Group(OTHER, Kind.FEEDER, Purpose.ELECTRICAL, 0), Group(POOL, Kind.POOL, Purpose.POOL, -1),
            Group(HOME, Kind.SITE, Purpose.SITE, -1),
        ]  # fmt: skip
        parents = {
            Purpose.ELECTRICAL: np.where(self.on_first, 1, 2).astype(np.int32),
            Purpose.POOL: np.full(len(kinds), 3, np.int32),
            Purpose.SITE: np.where(self.at_home, 4, -1).astype(np.int32),
        }
        return Fleet(
            plain.ids, plain.kinds, plain.max_inject_w, plain.max_absorb_w, plain.energy_wh, plain.default_w,
            plain.safe_w, groups, parents,
        )  # fmt: skip

    def _obey(self) -> None:
        super()._obey()
        power_w = self.power_w[self.stores]
        gives_w = np.minimum(power_w, self.held_wh * 3_600.0 / STEP_S)
        self.power_w[self.stores] = np.maximum(gives_w, -(10_000.0 - self.held_wh) * 3_600.0 / STEP_S)
        loads = slice(self.stores.stop, None)  # nobody draws what it has no need of
        self.power_w[loads] = np.maximum(self.power_w[loads], self.own_w[loads])

    def _hold(self) -> None:
        fleet, does_w = self.state.fleet, self.power_w[self.stores]
        fleet.energy_available_wh[self.stores] = self.held_wh
        if self.seed % 2:  # they tell as well how far they could go from what they do
            fleet.available_up_w[self.stores] = np.where(self.held_wh > 0.0, RATED_W - does_w, 0.0)
            fleet.available_down_w[self.stores] = np.where(self.held_wh < 10_000.0, RATED_W + does_w, 0.0)

    def _read(self) -> None:
        before_wh = self.held_wh
        self.held_wh = np.clip(before_wh - self.power_w[self.stores] * STEP_S / 3_600.0, 0.0, 10_000.0)
        ended = (before_wh != self.held_wh) & ((self.held_wh <= 0.0) | (self.held_wh >= 10_000.0))
        self.ended.append(bool(ended.any()))
        super()._read()

    async def opts_out(self, row: int) -> None:
        """Have an owner take his device out of all calls for an hour."""
        gate = self.stage.ask("owner", Level.OWNER_NEED, f"r{row}", ClaimKind.GATE, value=0.0,
                              quantity=Quantity.CONNECT, end_ns=self.clock.ns + 3 * HOUR_NS)  # fmt: skip
        assert isinstance(await self.desk.ask(gate), Granted)

    def steps(self, since: int) -> int:
        """Return for how many steps no store was empty or full anew: what others do for it then is no return."""
        return next((at + 1 for at, ran in enumerate(self.ended[since:]) if ran), len(self.ended) - since)

    def at_end(self) -> np.ndarray:
        """Return whose store would be empty or full after a minute at its rating; shape (n,)."""
        found, minute_wh = np.zeros(len(self.state.fleet), np.bool_), RATED_W / 60
        left_wh = np.minimum(self.held_wh, 10_000.0 - self.held_wh)
        found[self.stores] = (left_wh > 0.0) & (left_wh < minute_wh)
        return found

    def told_w(self) -> dict[str, float]:
        """What is published of each group: its power if no limit held it (W)."""
        views = snapshot_of(self.state, self.groups, self.clock.ns).groups
        return {view.resource: view.values["unlimited_w"].value for view in views}


@dataclass(frozen=True)
class Story:
    """Of each group: what was told, and the most (least, on an import's side) that came until a store was empty or full
    and in all (W); what events were approved for (W), the side of it all, whose stores were about to run empty or full,
    and who has loads."""

    told_w: dict[str, float]
    came_w: dict[str, float]
    came_in_all_w: dict[str, float]
    events_w: list[float]
    side: float
    at_end: set[str]
    with_loads: set[str]


@cache
def told_and_came(seed: int, side: float = 1.0) -> Story:
    """Play a story of a seed: `side` 1 with limits on what is given and events that ask for more, -1 the other way."""
    rng = np.random.default_rng([seed, 11])
    plants, stores, loads = (int(rng.integers(*ends)) for ends in ((1, 5), (1, 6), (0, 5)))
    loads = loads if side > 0.0 or rng.random() < 0.5 else 0
    levels = [group for group in (HOME, FEEDER, OTHER, SUB) if rng.random() < 0.4] or [str(rng.choice(GROUPS[:4]))]
    limits = {group: float(rng.choice([-1_000.0, 0.0, 500.0, 2_000.0, 5_000.0, 9_000.0])) for group in levels}
    events_w = [float(rng.choice([2e3, 5e3, 9e3, 14e3])) for _ in range(int(rng.choice([0, 1, 1, 2])))]
    is_first, ends = bool(rng.integers(2)), int(rng.integers(11, 30)) + int(rng.integers(6)) / 6

    async def main() -> Story:
        nest = Nest(rng, plants, stores, loads, seed)
        limits_of = {group: limit_w for group, limit_w in limits.items() if len(nest.state.fleet.leaves(group))}
        await nest.until(-8)
        for row in range(plants, plants + stores + loads):
            if rng.random() < 0.15:
                await nest.opts_out(row)
        await nest.until(-5)
        for power_w in events_w:
            await nest.event(side * power_w)
        await nest.until(-4 if is_first else 7)
        for group, limit_w in limits_of.items():
            await nest.limit(group, limit_w if side > 0 else 1e6, -1e6 if side > 0 else -limit_w, minutes=60)
        await nest.until(ends - 3)
        # Some begin to draw, or stop where a limit holds what is drawn: of one that begins behind that nobody knows.
        nest.own_w[nest.stores.stop :][rng.random(loads) < 0.2] = -2_000.0 if side > 0.0 else 0.0
        await nest.until(ends)
        told_w, at_end = nest.told_w(), nest.at_end()
        for group in limits_of:
            await nest.release(group)
        since = len(nest.powers_w)
        await nest.until(ends + AFTER_MINUTES)
        after_w, steps = np.array(nest.powers_w[since:]), nest.steps(since)
        rows_of = {group: rows for group in GROUPS if len(rows := nest.state.fleet.leaves(group))}
        all_w = {group: side * after_w[:, rows].sum(axis=1) for group, rows in rows_of.items()}
        return Story(
            {group: told_w[group] for group in rows_of},
            {group: side * float(each[:steps].max()) for group, each in all_w.items()},
            {group: side * float(each.max()) for group, each in all_w.items()},
            events_w, side, {group for group, rows in rows_of.items() if at_end[rows].any()},
            {group for group, rows in rows_of.items() if (rows >= nest.stores.stop).any()},
        )  # fmt: skip

    return asyncio.run(main())
