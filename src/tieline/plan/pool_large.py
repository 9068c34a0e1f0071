"""The schedule of a pool of hundreds of thousands of storages or millions: prices from a sample, then a few passes.

Theory of operation. An interior point plans a sample (`plan.pool_sample`); its prices are corrected on a larger sample,
by passes of the exact kernel over storages one by one (`plan.pool_pass`, `plan.pool_price`). One pass over all shows by
how much that sample is off, and prices are corrected once more, on the sample and what it lacks. Every storage is then
planned by itself at the last of these prices, but for the first sample: that is a reserve, which the interior point
plans once more with what all others do as its base, so that the band is held to the last watt. One pass without draw or
habit is the Lagrangian dual, which no schedule undercuts. All sums go over shards in their order: the same bits on
whatever the executor works.

Two things keep storages from moving as one, without which what they do jumps with the price. Each sees a price that is
off by a little of its own; that parts those to whom two steps come to the same. And each keeps to the plan of the one
in the sample that is most like it where leaving that brings less than a little; so storages that are all alike do
together what the sample does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.plan import interior, reach
from tieline.plan.executor import Executor
from tieline.plan.interior import Spread
from tieline.plan.pool_pass import Ask, Sums, answered, columns_of, parts, picked, scheduled
from tieline.plan.pool_plan import Gave, PoolPlan, judged
from tieline.plan.pool_price import Climb, climbed, off_by
from tieline.plan.pool_sample import FINE, Drawn, drawn, learnt
from tieline.plan.pool_scaled import Band, Segments, Units, program_of, scaled_stores, segments
from tieline.plan.pool_terms import Course
from tieline.plan.storage import Stores

Floats = NDArray[np.float64]
WIDTH, STAY = 5e-4, 5e-4
"""How far off its own price may be, and what a storage lets go to keep to a plan, as parts of the dearest price."""
TRUST = 0.02
PASSES = 30
NEAR, MET = 2e-3, 2e-4
"""How far off a sample may be, as a part of what all can take and give: before the whole corrects it, and then."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many storages the interior point plans and keeps as a reserve, and on how many prices are corrected first."""

    reserve: int = 2_048
    sample: int = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Storages that an executor holds, and what the pool makes of what they do."""

    executor: Executor
    held: Any
    count: int
    pool: Segments

    def sums(self, ask: Ask) -> Sums:
        """Return what all of them answer, added in the order of shards."""
        whole = Sums(0.0, np.zeros(len(ask.price)), np.zeros(len(ask.price)))
        for more in self.executor.over(answered, self.held, [(*part, ask) for part in parts(self.count)]):
            whole = whole + more
        return whole

    def climb(self, at: Climb, ask: Ask, more: Sums | None = None) -> Climb:
        """Return where the climb from `at` ends; `more` is what they lack of what all do, seen at those prices."""

        def asked(price: Floats) -> Sums:
            sums = self.sums(replace(ask, price=price))
            if more is None:
                return sums
            moved = float((more.takes - more.gives) @ (price - at.price))  # the slope of the dual is what is taken
            return sums + replace(more, value=more.value + moved)

        sums = asked(at.price) if more is None else at.sums
        off = off_by(self.pool, at.price, sums.gives - sums.takes)
        met = (NEAR if more is None else MET) * float(self.pool.lengths.sum(axis=0).max())
        return climbed(replace(at, sums=sums, off=off, passes=at.passes + 1), self.pool, asked, met, PASSES)


@dataclass(slots=True, eq=False)
class _Schedule:
    """What all storages do: power (W) and stored energy (Wh), net power without base, wear, and what gave way."""

    power: Floats
    stored: Floats
    net: Floats
    worn: float
    gave: Gave


def plan_large(
    stores: Stores, course: Course | None, band: Band, units: Units, executor: Executor, seed: int,
    sizes: Sizes | None = None, told: Callable[[str], None] = lambda line: None,
) -> PoolPlan:  # fmt: skip
    """Return a schedule of many storages with its gap, prices and what gave way.

    Args:
        stores: Who; checked, at least one.
        course: What changes with time at each.
        band: The pool's terms, scaled by `units`.
        units: Of all storages.
        executor: Where the shards are worked on.
        seed: Whose draw decides who is in the sample and sees which price.
        sizes: Of the samples.
        told: Told of each stage.
    """
    sizes, steps, count = sizes or Sizes(), len(band.buy), len(stores.start_wh)
    rated, down, up = _measured(stores, course, steps)
    pool = segments(band, down / units.watts, up / units.watts)
    sample = drawn(stores, sizes.reserve, seed)
    found = learnt(stores, course, sample, band, units, executor.spread)
    told(f"sample of {len(sample.rows):,} planned in {found.rounds} rounds")
    ask = Ask(found.price, WIDTH, STAY, seed, units, np.full(steps, np.nan))
    extra = {"like": sample.like, "plan": found.plan}
    larger = drawn(stores, sizes.sample, seed + 1)
    few = columns_of(*picked(stores, course, larger.rows), larger.weight) | extra
    some = _Asked(executor, executor.put(few | {"like": sample.like[larger.rows]}), len(larger.rows), pool)
    every = _Asked(executor, executor.put(columns_of(stores, course) | extra), count, pool)
    try:
        at, proving, ask = _corrected(some, found.curve, ask)
        told(f"prices corrected in {at.passes} passes of a larger sample")
        whole = every.sums(replace(ask, price=at.price))
        lacks = Sums(whole.value - at.sums.value, whole.takes - at.sums.takes, whole.gives - at.sums.gives)
        at = some.climb(replace(at, sums=whole, trust=TRUST), ask, lacks)
        told(f"and in {at.passes} by what that lacks of the whole")
        schedule = _scheduled(every, replace(ask, price=at.price))
        off = off_by(pool, at.price, schedule.net) * units.watts / max(rated, 1e-300)
        told(f"all scheduled, {off:.1e} of all ratings off")
        price = at.price if proving is None else proving
        free = Ask(price, 0.0, 0.0, seed, units, np.full(steps, np.nan))
        bound = every.sums(free).value + pool.dual(price)
        told("bound proven")
    finally:
        executor.drop(some.held)
        executor.drop(every.held)
    rounds = _reserved(stores, course, sample, band, units, schedule, executor.spread)
    return judged(
        schedule.power, schedule.stored, band.base + schedule.net, schedule.worn, bound, price, schedule.gave,
        rated / units.watts, at.passes + found.rounds + rounds, band, units,
    )  # fmt: skip


def _measured(stores: Stores, course: Course | None, steps: int) -> tuple[float, Floats, Floats]:
    """Return the sum of all ratings, and what all can take and give at each step (W)."""
    course = course or Course()
    rated, both = np.zeros(len(stores.start_wh)), []
    for given, own in ((course.charge_w, stores.charge_w), (course.discharge_w, stores.discharge_w)):
        rated = np.maximum(rated, own if given is None else given.max(axis=1, initial=0.0))
        both.append(np.full(steps, own.sum()) if given is None else given.sum(axis=0))
    return float(rated.sum()), both[0], both[1]


def _corrected(some: _Asked, curve: Floats, ask: Ask) -> tuple[Climb, Floats | None, Ask]:
    """Return the climb on a larger sample; the prices that prove the bound, if others; and what to ask from then on.

    Where a price is below 0 storages would burn energy by taking and giving at once. There each is given one direction,
    so that as much is taken and given as before, and the climb goes on; the freer prices prove the bound.
    """
    zero = np.zeros(len(ask.price))
    at = some.climb(Climb(ask.price, Sums(0.0, zero, zero), curve, TRUST, np.inf, 0), ask)
    takes, gives = at.sums.takes, at.sums.gives
    burns = (at.price < 0.0) & (takes > 0.0) & (gives > 0.0)
    if not burns.any():
        return at, None, ask
    single = replace(ask, taking=np.where(burns, takes / np.maximum(takes + gives, 1e-300), np.nan))
    return some.climb(replace(at, curve=curve, trust=TRUST), single), at.price, single


def _scheduled(every: _Asked, ask: Ask) -> _Schedule:
    """Return what each storage does at a price."""
    steps, count = len(ask.price), every.count
    gave = Gave(np.zeros(count), np.zeros(count, np.int64), np.zeros(count))
    whole = _Schedule(np.empty((count, steps)), np.empty((count, steps)), np.zeros(steps), 0.0, gave)
    shards = parts(count)
    for (first, last), rows in zip(
        shards, every.executor.over(scheduled, every.held, [(*part, ask) for part in shards]), strict=True
    ):
        part = slice(first, last)
        whole.power[part], whole.stored[part] = rows.power, rows.stored
        gave.off[part], gave.where[part], gave.most[part] = rows.off, rows.where, rows.most
        whole.net, whole.worn = whole.net + rows.net, whole.worn + rows.worn
    return whole


def _reserved(
    stores: Stores, course: Course | None, sample: Drawn, band: Band, units: Units, schedule: _Schedule, spread: Spread
) -> int:
    """Plan the reserve once more, in place, with what all others do as its base; return in how many rounds."""
    rows = sample.rows
    scaled = scaled_stores(*picked(stores, course, rows), len(band.buy), units)
    own = schedule.power[rows] / units.watts
    others = schedule.net - own.sum(axis=0)
    point = interior.solve(program_of(scaled, replace(band, base=band.base + others)), FINE, spread)
    does, holds = np.zeros(own.shape), np.zeros(own.shape)
    reach.follow(
        scaled.gain, scaled.loss, scaled.keep, scaled.charge, scaled.discharge, scaled.drift, scaled.low, scaled.high,
        point.state[:, 2] + scaled.low, does, holds,
    )  # fmt: skip
    schedule.power[rows], schedule.stored[rows] = does * units.watts, holds * units.energy_wh
    schedule.net = others + does.sum(axis=0)
    schedule.worn += float(scaled.wear @ (np.maximum(does, 0.0) - np.maximum(own, 0.0)).sum(axis=1))
    return point.rounds
