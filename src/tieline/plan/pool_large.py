"""The schedule of a pool of hundreds of thousands of storages or millions: prices from a sample, then a few passes.

Theory of operation. An interior point plans a sample (`plan.pool_sample`); its prices are corrected on a larger sample
and on the whole, by passes of the exact kernel over storages one by one (`plan.pool_pass`, `plan.pool_price`). Every
storage is then planned by itself at the last of these prices, but for the first sample: that is a reserve, which the
interior point plans once more with what all others do as its base, so that the band is held to the last watt. One pass
at the same prices, without draw or habit, is the Lagrangian dual, which no schedule undercuts. All sums go over shards
in their order: the same bits on whatever the executor works.

Two things keep storages from moving as one, without which what they do jumps with the price. Each sees a price that is
off by a little of its own; that parts those to whom two steps come to the same. And each keeps to the plan of the one in
the sample that is most like it where leaving that brings less than a little; so storages that are all alike do together
what the sample does.
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
SAMPLE_PASSES, SAMPLE_MET = 30, 2e-4
"""How often a sample is asked at most, and how far off (as a part of all ratings) it may be."""
PASSES, MET = 2, 0.5
"""How often all are asked at most, and how far off they may be, as a part of the reserve's rating."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many storages the interior point plans and keeps as a reserve, and on how many prices are corrected first."""

    reserve: int = 2_048
    sample: int = 32_768


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
    at, proving, ask = _corrected(
        stores, course, drawn(stores, sizes.sample, seed + 1), extra, pool, found.curve, ask, executor
    )
    told(f"prices corrected in {at.passes} passes of a larger sample")

    held = executor.put(columns_of(stores, course) | extra)
    try:
        met = MET * float(np.maximum(stores.charge_w, stores.discharge_w)[sample.rows].sum()) / units.watts
        at = _climbed(executor, held, count, pool, replace(at, trust=max(at.trust, TRUST)), ask, met, PASSES)
        told(f"all asked, {at.off * units.watts / max(rated, 1e-300):.1e} of all ratings off")
        schedule = _scheduled(executor, held, count, replace(ask, price=at.price))
        told("all scheduled")
        price = at.price if proving is None else proving
        free = Ask(price, 0.0, 0.0, seed, units, np.full(steps, np.nan))
        bound = _summed(executor, held, count, free).value + pool.dual(price)
    finally:
        executor.drop(held)
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


def _summed(executor: Executor, held: Any, count: int, ask: Ask) -> Sums:
    """Return what all storages answer, added in the order of shards."""
    whole = Sums(0.0, np.zeros(len(ask.price)), np.zeros(len(ask.price)))
    for more in executor.over(answered, held, [(*part, ask) for part in parts(count)]):
        whole = whole + more
    return whole


def _climbed(
    executor: Executor, held: Any, count: int, pool: Segments, at: Climb, ask: Ask, met: float, passes: int
) -> Climb:
    """Ask at the prices of a climb, and go on with it for as many passes."""

    def asked(price: Floats) -> Sums:
        return _summed(executor, held, count, replace(ask, price=price))

    sums = asked(at.price)
    off = off_by(pool, at.price, sums.gives - sums.takes)
    return climbed(replace(at, sums=sums, off=off, passes=at.passes + 1), pool, asked, met, passes - 1)


def _corrected(
    stores: Stores, course: Course | None, sample: Drawn, extra: dict[str, NDArray[Any]], pool: Segments, curve: Floats,
    ask: Ask, executor: Executor,
) -> tuple[Climb, Floats | None, Ask]:  # fmt: skip
    """Return the climb on a larger sample; the prices that prove the bound, if others; and what to ask from then on.

    Where a price is below 0 storages would burn energy by taking and giving at once. There each is given one direction,
    so that as much is taken and given as before, and the climb goes on; the freer prices prove the bound.
    """
    rows = sample.rows
    few = columns_of(*picked(stores, course, rows), sample.weight) | extra | {"like": extra["like"][rows]}
    held = executor.put(few)
    try:
        met = SAMPLE_MET * float(pool.lengths.sum(axis=0).max()) / 2
        start = Climb(ask.price, Sums(0.0, 0.0 * ask.price, 0.0 * ask.price), curve, TRUST, np.inf, 0)
        at = _climbed(executor, held, len(rows), pool, start, ask, met, SAMPLE_PASSES)
        takes, gives = at.sums.takes, at.sums.gives
        burns = (at.price < 0.0) & (takes > 0.0) & (gives > 0.0)
        if not burns.any():
            return at, None, ask
        taking = np.where(burns, takes / np.maximum(takes + gives, 1e-300), np.nan)
        single = replace(ask, taking=taking)
        again = _climbed(
            executor, held, len(rows), pool, replace(at, curve=curve, trust=TRUST), single, met, SAMPLE_PASSES
        )
        return again, at.price, single
    finally:
        executor.drop(held)


def _scheduled(executor: Executor, held: Any, count: int, ask: Ask) -> _Schedule:
    """Return what each storage does at a price."""
    steps = len(ask.price)
    gave = Gave(np.zeros(count), np.zeros(count, np.int64), np.zeros(count))
    whole = _Schedule(np.empty((count, steps)), np.empty((count, steps)), np.zeros(steps), 0.0, gave)
    shards = parts(count)
    for (first, last), rows in zip(
        shards, executor.over(scheduled, held, [(*part, ask) for part in shards]), strict=True
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
