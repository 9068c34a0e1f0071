"""Homes with limits of their own whose devices a pool calls, second by second; plugs and heaters are on or off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from desk_stage import PEOPLE, START_NS, Stage1, fleet_of

from tieline.desk.cycle import Cycle
from tieline.desk.desk import Desk
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, DispatchBatch, Granted, Instruction, Offer, Segment
from tieline.fleet.columns import Fleet, Group
from tieline.pool.merit import merit_price
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind, Purpose
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS, SECOND_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
ANSWERS_S = 3
"""Within so many seconds each device does what it was told."""


@dataclass(frozen=True)
class Drawn:
    """The homes of a street: what is in each, what each device can, and does by itself (W)."""

    kinds: list[Kind]
    site_of: np.ndarray
    size_w: np.ndarray
    stored_frac: float
    award_w: float

    @staticmethod
    def of(rng: np.random.Generator, homes: int) -> Drawn:
        loads = [Kind.INTERRUPTIBLE_LOAD, Kind.SHIFTABLE_LOAD, Kind.WATER_HEATER]
        drawn = []
        for home in range(homes):
            stores, plugs = int(rng.integers(1, 3)), int(rng.integers(1, 4)) if home % 3 < 2 else 0
            drawn += [(Kind.BATTERY, home)] * stores + [(loads[int(rng.integers(3))], home) for _ in range(plugs)]
        kinds, site_of = [kind for kind, _ in drawn], np.array([home for _, home in drawn])
        stores = np.array([kind is Kind.BATTERY for kind in kinds])
        size_w = np.where(stores, 5_000.0, rng.choice([1_000.0, 2_000.0, 3_000.0], len(kinds)))
        most_w = float(size_w.sum())
        return Drawn(kinds, site_of, size_w, float(rng.uniform(0.05, 0.9)), float(rng.uniform(0.1, 0.6)) * most_w)


class Homes:
    """The hour of an award, second by second. The first half of the homes is on feeder-1, the others on feeder-2.

    A store is read every fifteen seconds, a load every ten. A beat comes every minute, and within a second of what the
    desk says has changed.
    """

    def __init__(self, drawn: Drawn, rng: np.random.Generator) -> None:
        self.kinds, count = drawn.kinds, len(drawn.kinds)
        self.site_of, homes = drawn.site_of, int(drawn.site_of.max()) + 1
        self.stores = np.array([kind is Kind.BATTERY for kind in drawn.kinds])
        plain = fleet_of(drawn.kinds, 1_000_000)
        groups = [Group("sub-1", Kind.SUBSTATION, Purpose.ELECTRICAL, -1)]
        groups += [Group(f"feeder-{n + 1}", Kind.FEEDER, Purpose.ELECTRICAL, 0) for n in range(2)]
        groups += [Group("pool-1", Kind.POOL, Purpose.POOL, -1)]
        groups += [Group(f"site-{n}", Kind.SITE, Purpose.SITE, -1) for n in range(homes)]
        parents = {
            Purpose.ELECTRICAL: (1 + (drawn.site_of >= homes // 2)).astype(np.int32),
            Purpose.POOL: np.full(count, 3, np.int32), Purpose.SITE: (4 + drawn.site_of).astype(np.int32),
        }  # fmt: skip
        fleet = Fleet(
            plain.ids, plain.kinds, np.where(self.stores, drawn.size_w, 0.0), drawn.size_w,
            np.where(self.stores, 10_000.0, 0.0), np.zeros(count), np.zeros(count), groups, parents,
        )  # fmt: skip
        self.stage = Stage1(fleet)
        self.state, self.devices, self.clock = self.stage.state, self.stage.devices, self.stage.clock
        self.state.is_switched |= ~self.stores
        self.size_w, self.stored_frac = drawn.size_w, drawn.stored_frac
        self.free_w = np.where(self.stores, 0.0, -drawn.size_w)
        everyone, price = np.arange(count, dtype=np.int32), merit_price(fleet.kinds)
        self.pool = PoolDesk("pool-1", everyone, price, np.ones(count, np.bool_), np.zeros(count))
        self.desk = Desk(self.state, self.stage.journal, self.clock, PEOPLE, on_change=self._changed)
        self.devices.desk = self.desk
        self.desk.bind(self.devices, "test", {row: fleet.id_of(row) for row in range(count)})
        self.cycle, self.wakes, self.batches = Cycle(self.desk, {"pool-1": self.pool}), False, 0
        self.answers_s = rng.integers(0, ANSWERS_S + 1, count)
        self.told: list[np.ndarray] = []
        self.powers_w: list[np.ndarray] = []
        self.targets_w: list[np.ndarray] = []
        segments = (Segment(drawn.award_w, 50.0),)
        self.state.offers["o"] = Offer("o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, segments)
        self.state.awards["a"] = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, drawn.award_w, 50.0)
        self.award_w = drawn.award_w
        self.state.base_w[:] = self.free_w
        self.clock.ns, self.power_w = HOUR, self.free_w.copy()
        self.read(np.ones(count, np.bool_))

    def _changed(self, cause: str) -> None:
        self.cycle.because(cause)
        self.wakes = True

    def does_w(self) -> np.ndarray:
        """What each device would do now by what it was told (W)."""
        told = self.devices
        alive = told.until_ns > self.clock.ns
        wish_w = np.where(alive & np.isfinite(told.target_w), told.target_w, self.free_w)
        wish_w = np.where(alive, np.clip(wish_w, told.low_w, told.high_w), wish_w)
        whole_w = np.where(wish_w < -0.5 * self.size_w, -self.size_w, 0.0)
        return np.where(self.stores, wish_w, whole_w)

    def read(self, rows: np.ndarray) -> None:
        """Have what some devices do told to the desk."""
        fleet = self.state.fleet
        fleet.power_w[rows], fleet.taken_at_ns[rows] = self.power_w[rows], self.clock.ns
        fleet.energy_available_wh[rows] = np.where(self.stores, 10_000.0 * self.stored_frac, np.nan)[rows]

    async def until(self, second: float) -> None:
        """Let time pass until so many seconds after the hour began."""
        count = len(self.kinds)
        while self.clock.ns < HOUR + second * SECOND_NS:
            if self.wakes or self.clock.ns % MINUTE_NS == 0:
                self.wakes = False
                await self.cycle.beat(self.clock.ns)
                await self.desk.flush()
            self.told.append(self.does_w())
            self.targets_w.append(np.where(self.devices.until_ns > self.clock.ns, self.devices.target_w, np.nan))
            at = np.maximum(len(self.told) - 1 - self.answers_s, 0)
            self.power_w = np.array([self.told[at[row]][row] for row in range(count)])
            self.powers_w.append(self.power_w)
            self.clock.ns += SECOND_NS
            self.read((self.clock.ns // SECOND_NS + np.arange(count)) % np.where(self.stores, 15, 10) == 0)

    async def limit(self, group: str, low_w: float, high_w: float) -> None:
        """Have the network's operator limit a group's net power."""
        ask = self.stage.ask("dso", Level.ENVELOPE, group, ClaimKind.LIMIT, low=low_w, high=high_w,
                             end_ns=HOUR + 2 * HOUR_NS)  # fmt: skip
        assert isinstance(await self.desk.ask(ask), Granted)

    async def release(self, group: str) -> None:
        """End its limit."""
        await self.desk.withdraw("test:dso", "p", group, Quantity.P, "f")

    async def instruct(self, power_w: float) -> None:
        """Supersede what was asked from now on until the hour is over."""
        self.batches += 1
        name, now_ns = str(self.batches), self.clock.ns
        one = Instruction(f"i{name}", name, "pool-1", "ENERGY", now_ns, HOUR + HOUR_NS, power_w, 60.0, self.batches)
        answer = await self.desk.dispatch(DispatchBatch(name, now_ns, now_ns, HOUR + HOUR_NS, (one,), "f"))
        assert answer.accepted == (one.id,), answer

    def site_w(self, home: int) -> np.ndarray:
        """What one home gave, second by second (W)."""
        return np.array(self.powers_w)[:, self.site_of == home].sum(axis=1)

    @property
    def given_w(self) -> np.ndarray:
        """What the pool gave above what it does uncalled, second by second (W)."""
        return (np.array(self.powers_w) - self.free_w).sum(axis=1)

    @property
    def switchings(self) -> np.ndarray:
        """How often each load that is on or off went over from one to the other."""
        on = np.array(self.powers_w)[:, ~self.stores] < 0.0
        return (on[1:] != on[:-1]).sum(axis=0)


def stretches(beyond: np.ndarray) -> Iterator[int]:
    """Yield how long each stretch is (s) in which something held."""
    lasts = 0
    for each in [*beyond.tolist(), False]:
        if each:
            lasts += 1
        elif lasts:
            yield lasts
            lasts = 0
