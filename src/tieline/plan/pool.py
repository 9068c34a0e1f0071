"""The schedule of storages that share a connection or a market position, with its proven gap.

    minimise    hours * sum_t (energy(g_t) + slack * (over_t + under_t) + sum_i wear_i * give_it)
    subject to  g_t = base_t + sum_i (give_it - take_it),   low_t - under_t <= g_t <= high_t + over_t
                s_it = keep_i s_i,t-1 + hours (charge_frac_i take_it - give_it / discharge_frac_i) + inflow_it
                least_it <= s_it <= most_it

where energy(g) is what is drawn times the buying price less what is fed in times the selling price. An interior point
with the storages eliminated one by one (`plan.interior`, `plan.newton`) finds schedules and the price of the pool's
power at each step. The schedule is then made one that each device can follow to the last bit; at the prices found, the
exact kernel (`plan.storage`) plans each storage by itself, which is the Lagrangian dual: no schedule costs less. The
difference is the gap. Units: W positive into the grid, Wh, any currency; kW and kWh serve as well if used throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.plan import reach
from tieline.plan.interior import Floats, Point, Program, Spread, shards, solve
from tieline.plan.pool_terms import Course, Terms, checked_course, checked_stores, checked_terms
from tieline.plan.pool_words import GaveWay, pool_words, store_words
from tieline.plan.storage import Stores

__all__ = ["Course", "GaveWay", "PoolPlan", "Stores", "Terms", "plan_pool"]

DEAREST = 1000.0
"""Price of a Wh beyond the band where none is given: so many times the dearest price of energy or wear.

At 20 times one pool in ten bought some slack where a chain of losses would have cost more; at 1,000 none did."""
BURNS = 1e-5
"""A storage that takes and gives at once by more than this share of its rating burns energy."""
ONE_WAY_TRIES = 3
"""How often at most the plan is made anew by a rule, since it may come to burn elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class PoolPlan:
    """A schedule that every storage can follow, and what is proven of it.

    `power_w` (n, T) is positive where a storage gives, `stored_wh` (n, T) what it holds after each step, `net_w` (T,)
    the pool's power with its base. `cost` counts energy, wear and slack; `slack_cost` is the slack's part. No schedule
    within the bounds of the storages (those that gave way as they did) costs less than `bound`; `gap` is the difference
    and `gap_frac` its share of the cost (of a thousandth of what all ratings move in a step, at the dearest price,
    where the cost is less). `price_per_wh` (T,) is what one more Wh asked of the pool at a step would cost;
    `low_price_per_wh` and `high_price_per_wh` (0 or more) are what one more W of room below or above would save, per
    hour. `over_w` and `under_w` (T,) lie beyond the band; `gave_way` says in words what could not be kept.
    """

    power_w: Floats
    stored_wh: Floats
    net_w: Floats
    cost: float
    slack_cost: float
    bound: float
    gap: float
    gap_frac: float
    price_per_wh: Floats
    low_price_per_wh: Floats
    high_price_per_wh: Floats
    over_w: Floats
    under_w: Floats
    gave_way: tuple[GaveWay, ...]
    rounds: int


@dataclass(frozen=True, slots=True, eq=False)
class _Scaled:
    """Storages in units of the pool's middling rating, a step and the dearest price; terms in arrays."""

    gain: Floats
    loss: Floats
    keep: Floats
    wear: Floats
    charge: Floats
    discharge: Floats
    drift: Floats
    low: Floats
    high: Floats
    gave: Floats
    where: NDArray[np.int64]
    watts: float
    price: float


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """The terms in arrays, shape (T,), scaled."""

    buy: Floats
    sell: Floats
    low: Floats
    high: Floats
    base: Floats
    slack: float


def plan_pool(
    stores: Stores,
    terms: Terms,
    hours: float,
    course: Course | None = None,
    tolerance: float = 1e-8,
    spread: Spread = map,
) -> PoolPlan:
    """Return the cheapest schedule of all storages together, with its gap, prices and what gave way.

    There is always one: what the band can't hold is slack at its price, and a bound of a storage that no schedule keeps
    (an end that can't be reached in time) gives way to the nearest that one does. Same input, same bits, on any number
    of threads.

    Args:
        stores: Who; shape (n,); n may be 0. `end_wh` is the least stored at the end.
        terms: Prices and band.
        hours: Length of a step.
        course: What changes with time at each storage.
        tolerance: Relative gap at which to stop; 1e-10 to 1e-2.
        spread: How to go over shards: `map`, or the `map` of a `ThreadPoolExecutor`.

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
    scaled, within = _scaled(stores, course, terms, band, hours)
    program = _program(scaled, within)
    point = solve(program, tolerance, spread)
    plan = _plan(scaled, within, program, point, hours, spread)
    # Linear programs burn energy where power is worth less than nothing. There each storage is given one direction, by
    # either of two rules, and the rest is planned anew; the bound of the freer problem holds for it too.
    for taking in (_by_net, _spread_out):
        freer, at = program, point
        for _ in range(ONE_WAY_TRIES):
            burns = np.minimum(at.state[:, 0], at.state[:, 1]) > BURNS * freer.width[:, :2].max(axis=1)
            if plan.gap_frac <= 10 * tolerance or not burns.any():
                break
            freer = replace(freer, width=_one_way(freer, burns | (at.price < 0.0)[None, :], taking(freer, at)))
            at = solve(freer, tolerance, spread)
            again = _plan(scaled, within, freer, at, hours, spread)
            plan = _better(plan, again, _floor(scaled) * scaled.watts * hours * scaled.price)
    return plan


def _one_way(program: Program, chosen: NDArray[np.bool_], is_taking: NDArray[np.bool_]) -> Floats:
    """Return widths in which the chosen storages and steps (n, T) only take, or only give."""
    single = program.width.copy()
    single[:, 1][chosen & is_taking] = 0.0
    single[:, 0][chosen & ~is_taking] = 0.0
    return single


def _by_net(program: Program, point: Point) -> NDArray[np.bool_]:
    """Return who takes: those whose stored energy grows by what they do."""
    takes: NDArray[np.bool_] = program.row[:, :1] * point.state[:, 0] > program.row[:, 1:2] * point.state[:, 1]
    return takes


def _spread_out(program: Program, point: Point) -> NDArray[np.bool_]:
    """Return who takes: of those alike as many as the plan's share of taking, evenly over storages and steps.

    A pool burns energy by some giving while others take. The even sequence is the plastic number's (R2).
    """
    takes, both = point.state[:, 0], point.state[:, 0] + point.state[:, 1]
    count, steps = takes.shape
    even = (np.arange(count)[:, None] * 0.7548776662466927 + np.arange(steps)[None, :] * 0.5698402909980532) % 1.0
    is_taking: NDArray[np.bool_] = takes > even * both
    return is_taking


def _better(first: PoolPlan, again: PoolPlan, floor: float) -> PoolPlan:
    """Return the cheaper plan with the higher bound; prices stay those that prove the bound."""
    plan = again if again.cost < first.cost else first
    bound = max(first.bound, again.bound)
    gap = max(plan.cost - bound, 0.0)
    return replace(
        plan, bound=bound, gap=gap, gap_frac=gap / max(abs(plan.cost), floor), rounds=first.rounds + again.rounds,
        price_per_wh=first.price_per_wh, low_price_per_wh=first.low_price_per_wh,
        high_price_per_wh=first.high_price_per_wh,
    )  # fmt: skip


def _floor(scaled: _Scaled) -> float:
    """Return the cost below which a share means nothing: a thousandth of a step of all ratings at the dearest price."""
    ratings = np.maximum(scaled.charge, scaled.discharge).max(axis=1, initial=0.0)
    return 1e-3 * max(float(ratings.sum()), 1.0)


def _scaled(
    stores: Stores, course: Course | None, terms: Terms, band: tuple[Floats, ...], hours: float
) -> tuple[_Scaled, _Band]:
    """Return storages and terms in units in which a middling storage, a step and a dear price are all 1."""
    course = course or Course()
    steps, count = len(band[0]), len(stores.start_wh)
    buy, sell, low_w, high_w, base_w = band
    wear_most = float(stores.wear_per_wh.max(initial=0.0))
    price = max(float(np.abs(buy).max()), float(np.abs(sell).max()), wear_most) or 1.0
    ratings = np.maximum(stores.charge_w, stores.discharge_w)
    watts = float(np.median(ratings[ratings > 0])) if (ratings > 0).any() else 1.0
    unit = watts * hours

    def column(given: Floats | None, column: Floats, by: float) -> Floats:
        return np.ascontiguousarray(np.broadcast_to(column[:, None] if given is None else given, (count, steps))) / by

    charge, discharge = (
        column(course.charge_w, stores.charge_w, watts),
        column(course.discharge_w, stores.discharge_w, watts),
    )
    low, high = column(course.least_wh, stores.least_wh, unit), column(course.most_wh, stores.most_wh, unit)
    low[:, -1] = np.maximum(low[:, -1], stores.end_wh / unit)
    keep = np.ones(count) if course.keep_frac is None else course.keep_frac.astype(float)
    drift = column(course.inflow_wh, np.zeros(count), unit)
    drift[:, 0] += keep * stores.start_wh / unit
    gain, loss = stores.charge_frac.astype(float), 1.0 / stores.discharge_frac
    gave, where = np.zeros(count), np.zeros(count, np.int64)
    reach.tighten(gain, loss, keep, charge, discharge, drift, low, high, gave, where)
    wear = stores.wear_per_wh / price
    scaled = _Scaled(gain, loss, keep, wear, charge, discharge, drift, low, high, gave, where, watts, price)
    slack = DEAREST if terms.slack_per_wh is None else terms.slack_per_wh / price
    return scaled, _Band(buy / price, sell / price, low_w / watts, high_w / watts, base_w / watts, slack)


def _program(scaled: _Scaled, band: _Band) -> Program:
    width = np.stack([scaled.charge, scaled.discharge, scaled.high - scaled.low], axis=1)
    reachable = np.maximum(np.abs(scaled.high), np.abs(scaled.low))
    width[:, 2][width[:, 2] <= 1e-11 * np.maximum(reachable, 1e-3)] = 0.0
    weight = np.maximum(width[:, :2].max(axis=(1, 2), initial=0.0), 1e-6)
    row = np.stack([scaled.gain, scaled.loss, scaled.keep, scaled.wear, weight], axis=1)
    down, up = scaled.charge.sum(axis=0), scaled.discharge.sum(axis=0)
    spare = 0.05 * (down + up) + 0.1
    first, last = band.base - down - spare, band.base + up + spare
    cuts = np.sort(
        np.stack([first, *(np.clip(cut, first, last) for cut in (band.low, 0 * first, band.high)), last]), axis=0
    )
    rates = _slope((cuts[:-1] + cuts[1:]) / 2, band)
    offset = float((_energy(first, band) + band.slack * sum(_beyond(first, band))).sum())
    return Program(width, scaled.low, scaled.drift, row, first - band.base, np.diff(cuts, axis=0), rates, offset)


def _slope(net: Floats, band: _Band) -> Floats:
    """Return what one more unit fed in costs: energy, and slack beyond the band."""
    slope: Floats = -np.where(net < 0, band.buy, band.sell)
    return slope + band.slack * ((net > band.high).astype(float) - (net < band.low))


def _energy(net: Floats, band: _Band) -> Floats:
    return band.buy * np.maximum(-net, 0.0) - band.sell * np.maximum(net, 0.0)


def _beyond(net: Floats, band: _Band) -> tuple[Floats, Floats]:
    """Return how far net power lies above and below the band."""
    return np.maximum(net - band.high, 0.0), np.maximum(band.low - net, 0.0)


def _bound(scaled: _Scaled, program: Program, price: Floats, spread: Spread) -> float:
    """Return the Lagrangian dual at these prices: what each storage and the pool would do by themselves."""

    def one(part: slice) -> float:
        return float(reach.cheapest(
            scaled.gain[part], scaled.loss[part], scaled.keep[part], scaled.charge[part], scaled.discharge[part],
            scaled.drift[part], scaled.low[part], scaled.high[part], scaled.wear[part], price,
        ))  # fmt: skip

    storages = sum(spread(one, shards(len(scaled.gain))))
    pool = (np.minimum(program.rates + price, 0.0) * program.lengths).sum() + price @ program.target
    return float(storages + pool + program.offset)


def _plan(scaled: _Scaled, band: _Band, program: Program, point: Point, hours: float, spread: Spread) -> PoolPlan:
    """Return the schedule that each storage can follow, its cost, and the bound at the prices found."""
    power, stored = np.zeros(scaled.low.shape), np.zeros(scaled.low.shape)
    reach.follow(
        scaled.gain, scaled.loss, scaled.keep, scaled.charge, scaled.discharge, scaled.drift, scaled.low, scaled.high,
        point.state[:, 2] + scaled.low, power, stored,
    )  # fmt: skip
    net = band.base + power.sum(axis=0)
    over, under = _beyond(net, band)
    money, unit = scaled.watts * hours * scaled.price, scaled.watts * hours
    slack_cost = float(band.slack * (over + under).sum()) * money
    worn = float(scaled.wear @ np.maximum(power, 0.0).sum(axis=1))
    cost = (float(_energy(net, band).sum()) + worn) * money + slack_cost
    bound = _bound(scaled, program, point.price, spread) * money
    low_price, high_price = _band_prices(point.price, band)
    met = 1e-6 * max(1.0, float(np.abs(net).max(initial=0.0)))
    words = pool_words(
        net * scaled.watts, band.low * scaled.watts, band.high * scaled.watts, met * scaled.watts, hours,
        band.slack * scaled.price,
    )  # fmt: skip
    size = np.maximum(np.abs(scaled.high).max(axis=1, initial=0.0), 1.0) * unit
    words += store_words(scaled.gave * unit, scaled.where, 1e-9 * size)
    gap = max(cost - bound, 0.0)
    gap_frac = gap / max(abs(cost), _floor(scaled) * money)
    return PoolPlan(
        power * scaled.watts, stored * unit, net * scaled.watts, cost, slack_cost, bound, gap, gap_frac,
        point.price * scaled.price, low_price * scaled.price, high_price * scaled.price, over * scaled.watts,
        under * scaled.watts, words, point.rounds,
    )  # fmt: skip


def _band_prices(price: Floats, band: _Band) -> tuple[Floats, Floats]:
    """Return what the band adds to the price of energy: at its low end upwards, at its high end downwards.

    Slack caps both: beyond the band the rest of the price is that of energy.
    """
    low = np.clip(price - np.where(band.low > 0, band.sell, band.buy), 0.0, band.slack)
    high = np.clip(np.where(band.high < 0, band.buy, band.sell) - price, 0.0, band.slack)
    return low, high
