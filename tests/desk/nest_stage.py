"""Devices of two feeders, some of them in a home: limits of groups that share devices, where what loads draw counts."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
from desk_stage import fleet_of
from strays_stage import OBEYS, One, Street

from tieline.desk.ports import Granted
from tieline.fleet.columns import Fleet, Group
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.times import HOUR_NS

LOADS = (Kind.INTERRUPTIBLE_LOAD, Kind.EV_CHARGER, Kind.THERMOSTAT)
SPANS = {Kind.INTERRUPTIBLE_LOAD: (-50, 0), Kind.EV_CHARGER: (-50, -14), Kind.THERMOSTAT: (-50, -50)}
HOME, SUB, FEEDER, POOL, MAKES = "site-0", "sub-1", "feeder-1", "pool-1", "feeder-1-generation"
NESTS = ((HOME, FEEDER), (FEEDER, SUB), (HOME, FEEDER, SUB), (POOL, FEEDER), (MAKES, FEEDER), (MAKES, SUB))
Ends = dict[str, tuple[float, float]]


def nested_fleet(kinds: list[Kind], first: int, at_home: int) -> Fleet:
    """Devices of which the first so many are on feeder-1, and the first few of those in one home."""
    plain, count = fleet_of(kinds), len(kinds)
    on_first, gives = np.arange(count) < first, plain.max_inject_w > 0.0
    groups = [
        Group(SUB, Kind.SUBSTATION, Purpose.ELECTRICAL, -1), Group(FEEDER, Kind.FEEDER, Purpose.ELECTRICAL, 0),
        Group("feeder-2", Kind.FEEDER, Purpose.ELECTRICAL, 0), Group(POOL, Kind.POOL, Purpose.POOL, -1),
        Group(HOME, Kind.SITE, Purpose.SITE, -1), Group(MAKES, Kind.GENERATION, Purpose.CURTAILMENT, -1),
    ]  # fmt: skip
    parents = {
        Purpose.ELECTRICAL: np.where(on_first, 1, 2).astype(np.int32), Purpose.POOL: np.full(count, 3, np.int32),
        Purpose.SITE: np.where(np.arange(count) < at_home, 4, -1).astype(np.int32),
        Purpose.CURTAILMENT: np.where(gives & on_first, 5, -1).astype(np.int32),
    }  # fmt: skip
    return Fleet(
        plain.ids, plain.kinds, plain.max_inject_w, plain.max_absorb_w, plain.energy_wh, plain.default_w, plain.safe_w,
        groups, parents,
    )  # fmt: skip


def drawn_ones(drawn: random.Random, least_loads: int = 1) -> list[One]:
    """Roofs, loads and stores, at least one roof."""
    plants = [One(Kind.PV, OBEYS, 100.0 * drawn.randint(5, 50)) for _ in range(drawn.randint(1, 3))]
    kinds = drawn.choices(LOADS, k=drawn.randint(least_loads, 4))
    loads = [One(kind, OBEYS, 100.0 * drawn.randint(*SPANS[kind])) for kind in kinds]
    stores = [One(Kind.BATTERY, OBEYS, 100.0 * drawn.randint(-20, 20)) for _ in range(drawn.randint(0, 2))]
    return plants + loads + stores


class Nest(Street):
    """Two streets of a substation, and a home; each beat is about a quarter of a minute."""

    def __init__(
        self, home: Iterable[One], street: Iterable[One], other: Iterable[One], counted: Iterable[str]
    ) -> None:
        home, street, other = list(home), list(street), list(other)
        ones = home + street + other
        super().__init__(ones, nested_fleet([one.kind for one in ones], len(home + street), len(home)))
        self.state.counted = frozenset(counted)
        self.is_sun, self.is_load = self.state.fleet.max_absorb_w <= 0.0, self.state.fleet.max_inject_w <= 0.0
        self.state.suns.tells[:] = self.is_sun
        self.state.fleet.available_up_w[self.is_sun] = 0.0
        self.ends: Ends = {}

    @staticmethod
    def drawn(seed: int) -> tuple[random.Random, Nest]:
        """A nest of a seed, and what draws the rest of its story."""
        drawn = random.Random(seed)
        counted = drawn.choice([(FEEDER,), (SUB,), (FEEDER, SUB)])
        return drawn, Nest(drawn_ones(drawn), drawn_ones(drawn), drawn_ones(drawn, 0), counted)

    async def limits(self, ends: Ends) -> None:
        """Limit groups, each with ends (W)."""
        self.ends |= ends
        for group, (low_w, high_w) in ends.items():
            ask = self.stage.ask(
                "dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=low_w, high=high_w,
                end_ns=self.stage.clock.ns + 3 * HOUR_NS,
            )  # fmt: skip
            assert isinstance(await self.desk.ask(ask), Granted)

    def moves(self) -> None:
        """Let each do what it does; the meters of plants tell what more the sun would let them give."""
        super().moves()
        self.state.fleet.available_up_w[self.is_sun] = (self.wish_w - self.does_w)[self.is_sun]

    def net_of_w(self, group: str) -> float:
        """What a group's meters say (W); of its generation what is given alone."""
        does_w = self.does_w[self.state.fleet.leaves(group)]
        return float((np.maximum(does_w, 0.0) if group == MAKES else does_w).sum())

    def above_w(self) -> float:
        """By how much the worst group is above its upper end (W)."""
        return max(self.net_of_w(group) - high_w for group, (_, high_w) in self.ends.items())

    def below_w(self) -> float:
        """By how much the worst group is below its lower end (W)."""
        return max(low_w - self.net_of_w(group) for group, (low_w, _) in self.ends.items())

    def toggled(self, drawn: random.Random) -> float:
        """Let some loads stop by themselves, or begin again, and return how much less is drawn (W)."""
        before_w = self.wish_w.copy()
        at = np.flatnonzero(self.is_load)
        at = at[[drawn.random() < 0.5 for _ in at]]
        self.wish_w[at] = np.where(self.wish_w[at] < 0.0, 0.0, [self.ones[k].wish_w for k in at])
        return float(np.maximum(self.wish_w - before_w, 0.0).sum())
