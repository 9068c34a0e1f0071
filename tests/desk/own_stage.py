"""A nest some of whose devices have limits of their own, beside those of the groups that they are in."""

from __future__ import annotations

import random

import numpy as np
from nest_stage import MAKES, Nest, drawn_ones
from strays_stage import OBEYS, One

from tieline.desk.ports import Granted
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import HOUR_NS

OWNERS = {Level.GRID_EMERGENCY: "dso", Level.ENVELOPE: "dso", Level.OWNER_NEED: "owner", Level.MARKET: "market"}


class Owned(Nest):
    """A nest some of whose devices have limits of their own, each one at most; `own` says which (level, low, high)."""

    own: dict[int, tuple[Level, float, float]]

    @staticmethod
    def drawn_with_stores(seed: int) -> tuple[random.Random, Owned]:
        """A nest of a seed with stores, of which some charge, whose loads make no room."""
        drawn = random.Random(seed)
        stores = [One(Kind.BATTERY, OBEYS, 100.0 * drawn.randint(-40, 20)) for _ in range(drawn.randint(1, 3))]
        nest = Owned(drawn_ones(drawn), drawn_ones(drawn) + stores, drawn_ones(drawn, 0), ())
        nest.own = {}
        return drawn, nest

    async def owns(self, row: int, level: Level, low_w: float, high_w: float) -> None:
        """Give a device a limit of its own (W), or another one."""
        self.own[row] = level, low_w, high_w
        ask = self.stage.ask(
            OWNERS[level], level, f"r{row}", ClaimKind.LIMIT, source=f"own:{row}", low=low_w, high=high_w,
            end_ns=self.stage.clock.ns + 3 * HOUR_NS,
        )  # fmt: skip
        assert isinstance(await self.desk.ask(ask), Granted)

    async def own_drawn(self, drawn: random.Random, part: float, levels: tuple[Level, ...] = tuple(OWNERS)) -> None:
        """Give some devices limits of their own that are drawn: none may charge, or give, or no more than so much, or
        it must charge, or give, so much at least."""
        fleet = self.state.fleet
        for row in range(len(fleet)):
            if row in self.own or drawn.random() >= part:
                continue
            if drawn.random() < 0.25 and (ends := self._must(drawn, row)):
                await self.owns(row, drawn.choice(levels), *ends)
                continue
            low_w, high_w = -np.inf, np.inf
            if fleet.max_inject_w[row] > 0.0 and drawn.random() < 0.6:
                high_w = 100.0 * drawn.choice([0, 3, 10, 30])
            if fleet.max_absorb_w[row] > 0.0 and (drawn.random() < 0.6 or np.isinf(high_w)):
                low_w = -100.0 * drawn.choice([0, 0, 5, 20])
            await self.owns(row, drawn.choice(levels), low_w, high_w)

    def _must(self, drawn: random.Random, row: int) -> tuple[float, float] | None:
        """Return ends (W) by which a device must give, or a store charge, so much at least; None: it can't."""
        fleet, least_w = self.state.fleet, 100.0 * drawn.choice([1, 3, 10])
        if fleet.max_inject_w[row] <= 0.0:
            return None
        if fleet.max_absorb_w[row] > 0.0 and drawn.random() < 0.5:
            return -np.inf, -least_w
        return least_w, drawn.choice([np.inf, least_w, 3.0 * least_w])

    def ranges_w(self, than: Level) -> tuple[np.ndarray, np.ndarray]:
        """Between what each may be pushed (W) by a limit of a level, at most: own ones of it and stronger hold."""
        low_w, high_w = -self.state.fleet.max_absorb_w, self.state.fleet.max_inject_w.copy()
        for row, (level, own_low_w, own_high_w) in self.own.items():
            if level <= than:
                low_w[row] = max(low_w[row], min(own_low_w, high_w[row]))
                high_w[row] = min(high_w[row], max(own_high_w, low_w[row]))
        return low_w, high_w

    def allowed_w(self) -> tuple[np.ndarray, np.ndarray]:
        """Return between what each device may be by arbitration now (W)."""
        rows = np.arange(len(self.state.fleet), dtype=np.int32)
        settled = self.state.claims.arbitrate(self.stage.clock.ns, rows)
        return settled.low_w, settled.high_w

    def may_give_w(self, group: str) -> tuple[float, float]:
        """Return what all that can give may do together (W), and the least that they could be pushed to."""
        rows = self.state.fleet.leaves(group)
        mine = rows[~self.is_load[rows]]
        may_w, least_w = self.allowed_w()[1][mine], self.ranges_w(Level.ENVELOPE)[0][mine]
        if group == MAKES:  # no taking makes anybody's giving good
            may_w, least_w = np.maximum(may_w, 0.0), np.maximum(least_w, 0.0)
        return float(may_w.sum()), float(least_w.sum())

    def may_draw_w(self, group: str) -> tuple[float, float]:
        """Return what all may draw together beside what roofs give now (W, below 0), and the least that it could be."""
        rows = self.state.fleet.leaves(group)
        draws = rows[~self.is_sun[rows]]
        sun_w = float(self.does_w[rows[self.is_sun[rows]]].sum())
        low_w, high_w = self.allowed_w()[0][draws], self.ranges_w(Level.ENVELOPE)[1][draws]
        return float(low_w.sum()) + sun_w, float(high_w.sum()) + sun_w
