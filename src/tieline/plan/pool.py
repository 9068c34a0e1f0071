"""The schedule of storages that share a connection or a market position, with its proven gap.

    minimise    hours * sum_t (energy(g_t) + slack * (over_t + under_t) + sum_i wear_i * give_it)
    subject to  g_t = base_t + sum_i (give_it - take_it),   low_t - under_t <= g_t <= high_t + over_t
                s_it = keep_i s_i,t-1 + hours (charge_frac_i take_it - give_it / discharge_frac_i) + inflow_it
                least_it <= s_it <= most_it

where energy(g) is what is drawn times the buying price less what is fed in times the selling price. An interior point
with the storages eliminated one by one (`plan.interior`, `plan.newton`) finds schedules and the price of the pool's
power at each step. The schedule is then made one that each device can follow to the last bit; at the prices found, the
exact kernel (`plan.kernel`) plans each storage by itself, which is the Lagrangian dual: no schedule costs less. The
difference is the gap. More than 100,000 storages are planned by the prices of a sample and passes (`plan.pool_large`).
Units: W positive into the grid, Wh, any currency; kW and kWh serve as well if used throughout.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tieline.plan import reach
from tieline.plan.executor import Executor, Here
from tieline.plan.interior import Floats, Point, Program, Spread, shards, solve
from tieline.plan.pool_large import plan_large
from tieline.plan.pool_one_way import burning, by_net, one_way, spread_out
from tieline.plan.pool_plan import Gave, PoolPlan, better, judged
from tieline.plan.pool_scaled import (
    Band,
    Scaled,
    Units,
    floor,
    program_of,
    ratings,
    scaled_band,
    scaled_stores,
    units_of,
    within_room,
)
from tieline.plan.pool_terms import Course, Terms, checked_course, checked_terms
from tieline.plan.pool_words import GaveWay
from tieline.plan.storage import Stores, checked_stores

__all__ = ["Course", "GaveWay", "PoolPlan", "Stores", "Terms", "plan_pool"]

MOST_AT_ONCE = 100_000
"""So many storages are planned by the interior point as a whole, in 2.4 GB; more by a sample and passes."""
ONE_WAY_TRIES = 3
"""How often at most the plan is made anew by a rule, since it may come to burn elsewhere."""


def plan_pool(
    stores: Stores,
    terms: Terms,
    hours: float,
    course: Course | None = None,
    tolerance: float = 1e-8,
    spread: Spread | None = None,
    executor: Executor | None = None,
    seed: int = 0,
    at_once: int = MOST_AT_ONCE,
) -> PoolPlan:
    """Return the cheapest schedule of all storages together, with its gap, prices and what gave way.

    There is always one: what the band can't hold is slack at its price, and a bound of a storage that no schedule keeps
    (an end that can't be reached in time) gives way to the nearest that one does. Same input, same bits, on any number
    and kind of workers.

    Args:
        stores: Who; shape (n,); n may be 0. `end_wh` is the least stored at the end.
        terms: Prices and band.
        hours: Length of a step.
        course: What changes with time at each storage.
        tolerance: Relative gap at which to stop; 1e-10 to 1e-2. Of more than `at_once` storages it is not kept: the
            gap is what it is, some 1e-4.
        spread: How the interior point goes over shards: `map`, or the `map` of a `ThreadPoolExecutor` (None: as the
            executor does).
        executor: Where shards are worked on (`tieline.rim.executors`; None: in the caller's thread).
        seed: Whose draw decides who is in the samples of more than `at_once` storages, and how they are told apart.
        at_once: More storages than this are planned by samples and passes (`plan.pool_large`).

    Raises:
        ConfigError: A value that is no number or makes no sense; the message names the field, the value and the limit.

    >>> zero, one = np.zeros(1), np.ones(1)
    >>> battery = Stores(zero, zero, one, zero, one, one, one, one, zero)
    >>> plan = plan_pool(battery, Terms(np.array([1.0, 3.0]), high_w=0.5), hours=1.0)
    >>> plan.power_w.round(3), round(plan.cost, 6), plan.high_price_per_wh.round(3)
    (array([[-0.5,  0.5]]), -1.0, array([0., 2.]))
    """
    steps, band = checked_terms(terms, hours, tolerance)
    checked_stores(stores)
    checked_course(course, len(stores.start_wh), steps)
    workers = executor or Here()
    units = units_of(within_room(stores, course, hours), band[0], band[1], hours)
    if len(stores.start_wh) > at_once:
        return plan_large(stores, course, scaled_band(terms, band, units), units, workers, seed)
    spread = spread or workers.spread
    scaled, within = scaled_stores(stores, course, steps, units), scaled_band(terms, band, units)
    program = program_of(scaled, within)
    point = solve(program, tolerance, spread)
    plan = _plan(scaled, within, program, point, units, spread)
    # Linear programs burn energy where power is worth less than nothing. There each storage is given one direction, by
    # either of two rules, and the rest is planned anew; the bound of the freer problem holds for it too.
    for taking in (by_net, spread_out):
        freer, at = program, point
        for _ in range(ONE_WAY_TRIES):
            burns = burning(freer, at)
            if plan.gap_frac <= 10 * tolerance or not burns.any():
                break
            freer = replace(freer, width=one_way(freer, burns | (at.price[0] < 0.0)[None, :], taking(freer, at)))
            at = solve(freer, tolerance, spread)
            again = _plan(scaled, within, freer, at, units, spread)
            plan = better(plan, again, floor(ratings(scaled)) * units.money)
    return plan


def _bound(scaled: Scaled, program: Program, price: Floats, spread: Spread) -> float:
    """Return the Lagrangian dual at these prices: what each storage and the pool would do by themselves."""

    def one(part: slice) -> float:
        return float(reach.cheapest(
            scaled.gain[part], scaled.loss[part], scaled.keep[part], scaled.charge[part], scaled.discharge[part],
            scaled.drift[part], scaled.low[part], scaled.high[part], scaled.wear[part], price,
        ))  # fmt: skip

    storages = sum(spread(one, shards(len(scaled.gain))))
    terms = np.append(np.minimum(program.rates[0] + price, 0.0) * program.lengths[0], price * program.target[0])
    # Slack is dear: sums of it that nearly cancel are added up without rounding, and what each term has is taken off.
    rounding = 8 * reach.EPSILON * (float(np.abs(terms).sum()) + abs(program.offset))
    return math.fsum([storages, *terms, program.offset, -rounding])


def _plan(scaled: Scaled, band: Band, program: Program, point: Point, units: Units, spread: Spread) -> PoolPlan:
    """Return the schedule that each storage can follow, its cost, and the bound at the prices found."""
    power, stored = np.zeros(scaled.low.shape), np.zeros(scaled.low.shape)
    reach.follow(
        scaled.gain, scaled.loss, scaled.keep, scaled.charge, scaled.discharge, scaled.drift, scaled.low, scaled.high,
        point.state[:, 2] + scaled.low, power, stored,
    )  # fmt: skip
    net = band.base + power.sum(axis=0)
    worn = float(scaled.wear @ np.maximum(power, 0.0).sum(axis=1))
    bound = _bound(scaled, program, point.price[0], spread)
    gave = Gave(scaled.gave, scaled.where, np.abs(scaled.high).max(axis=1, initial=0.0))
    return judged(
        power * units.watts, stored * units.energy_wh, net, worn, bound, point.price[0], gave, ratings(scaled),
        point.rounds, band, units,
    )  # fmt: skip
