"""One pass over a large pool: what each storage does by itself at a price, shard by shard, and the sums of it.

Each storage faces the price plus a little of its own, drawn from its row, the step and a seed: storages alike don't
move as one, and what they do together changes smoothly with the price. What a storage does is a function of its row,
the price, that width and the seed alone, so nothing but sums is kept until the last pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.kernel import plan_store
from tieline.plan.pool_scaled import Scaled, Units, scaled_stores
from tieline.plan.pool_terms import Course
from tieline.plan.storage import Stores

Floats = NDArray[np.float64]
SHARD = 4_096
"""So many storages a shard: some 50 ms, far above what handing one out costs, and 4 MB of arrays a column."""


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What storages are asked: `price` (T,), how far around it each may see its own (`width`), and by whose draw.

    A storage keeps to the plan of the one in the sample that is like it where leaving that brings less than `stay`.
    `taking` (T,) is the share of storages that may only take at a step while the others may only give; NaN: both.
    """

    price: Floats
    width: float
    stay: float
    seed: int
    units: Units
    taking: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What the storages of a pass come to: the least cost at the prices they saw, what they take and give; (T,)."""

    value: float
    takes: Floats
    gives: Floats

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.value + other.value, self.takes + other.takes, self.gives + other.gives)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Schedules of a shard: power (W) and stored energy (Wh), the sum of power, wear, and what gave way (scaled)."""

    power: Floats
    stored: Floats
    net: Floats
    worn: float
    off: Floats
    where: NDArray[np.int64]
    most: Floats


def columns_of(stores: Stores, course: Course | None, weight: Floats | None = None) -> dict[str, NDArray[Any]]:
    """Return all columns by name, as an executor takes them; `weight` says for how many each storage stands."""
    columns = {name: getattr(stores, name) for name in Stores.__slots__}
    course = course or Course()
    columns |= {f"course.{name}": column for name in Course.__slots__ if (column := getattr(course, name)) is not None}
    columns["weight"] = np.ones(len(stores.start_wh)) if weight is None else weight
    return columns


def picked(stores: Stores, course: Course | None, rows: NDArray[np.int64] | slice) -> tuple[Stores, Course]:
    """Return some of the storages."""
    course = course or Course()
    return (
        Stores(**{name: getattr(stores, name)[rows] for name in Stores.__slots__}),
        Course(**{
            name: None if getattr(course, name) is None else getattr(course, name)[rows] for name in Course.__slots__
        }),
    )  # fmt: skip


def scaled_part(columns: Mapping[str, Any], part: slice, steps: int, units: Units) -> Scaled:
    """Return the storages of a shard in the pool's units."""
    stores = Stores(**{name: columns[name][part] for name in Stores.__slots__})
    course = Course(**{
        name: columns[f"course.{name}"][part] for name in Course.__slots__ if f"course.{name}" in columns
    })  # fmt: skip
    return scaled_stores(stores, course, steps, units)


def parts(count: int) -> list[tuple[int, int]]:
    """Return the shards of so many storages: by their number alone."""
    return [(first, min(first + SHARD, count)) for first in range(0, count, SHARD)]


def answered(columns: Mapping[str, Any], shard: tuple[int, int, Ask]) -> Sums:
    """Return the sums of a shard at a price."""
    first, last, ask = shard
    scaled, takes, gives = scaled_part(columns, slice(first, last), len(ask.price), ask.units), *_zeros(ask)
    value = respond(
        scaled.gain, scaled.loss, scaled.keep, scaled.charge, scaled.discharge, scaled.drift, scaled.low, scaled.high,
        scaled.wear, columns["weight"][first:last], ask.price, ask.width, ask.seed, first, ask.taking, takes,
        gives, np.empty((0, 0)), np.empty((0, 0)), *_anchors(columns, first, last, ask),
    )  # fmt: skip
    return Sums(float(value), takes, gives)


def scheduled(columns: Mapping[str, Any], shard: tuple[int, int, Ask]) -> Rows:
    """Return the schedules of a shard at a price, each one that its storage can follow."""
    first, last, ask = shard
    scaled, takes, gives = scaled_part(columns, slice(first, last), len(ask.price), ask.units), *_zeros(ask)
    most = np.abs(scaled.high).max(axis=1, initial=0.0)
    power, stored = np.zeros(scaled.low.shape), np.zeros(scaled.low.shape)
    respond(
        scaled.gain, scaled.loss, scaled.keep, scaled.charge, scaled.discharge, scaled.drift, scaled.low, scaled.high,
        scaled.wear, columns["weight"][first:last], ask.price, ask.width, ask.seed, first, ask.taking, takes,
        gives, power, stored, *_anchors(columns, first, last, ask),
    )  # fmt: skip
    net, worn = power.sum(axis=0), float(scaled.wear @ np.maximum(power, 0.0).sum(axis=1))
    return Rows(power * ask.units.watts, stored * ask.units.energy_wh, net, worn, scaled.gave, scaled.where, most)


def _anchors(
    columns: Mapping[str, Any], first: int, last: int, ask: Ask
) -> tuple[float, NDArray[np.int64], Floats, Floats]:
    if ask.stay <= 0.0:
        return 0.0, np.zeros(0, np.int64), np.zeros(0), np.empty((0, 0))
    rated = np.maximum(columns["charge_w"][first:last], columns["discharge_w"][first:last]) / ask.units.watts
    return ask.stay, columns["like"][first:last], rated, columns["plan"]


def _zeros(ask: Ask) -> tuple[Floats, Floats]:
    return np.zeros(len(ask.price)), np.zeros(len(ask.price))


@compiled
def noise(seed: int, row: int, step: int) -> float:
    """Return a number from -1 to 1 that is drawn from a seed, a row and a step: splitmix64 of the three."""
    x = np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
    x += np.uint64(row) * np.uint64(0x9E3779B97F4A7C15)
    x += np.uint64(step) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return np.float64(x >> np.uint64(11)) * (2.0 / 9007199254740992.0) - 1.0


@compiled
def _side(row: int, step: int, taking: float) -> int:
    """Return 1 where a storage may only take, -1 where it may only give, 0 where both.

    Sides are even over storages and steps: the sequence is the plastic number's (R2).
    """
    if np.isnan(taking):
        return 0
    return 1 if (row * 0.7548776662466927 + step * 0.5698402909980532) % 1.0 < taking else -1


@compiled
def respond(
    gain: Floats, loss: Floats, keep: Floats, charge: Floats, discharge: Floats, drift: Floats, low: Floats,
    high: Floats, wear: Floats, weight: Floats, price: Floats, width: float, seed: int, first: int, taking: Floats,
    takes: Floats, gives: Floats, power: Floats, stored: Floats, stay: float, like: NDArray[np.int64], rated: Floats,
    plan: Floats,
) -> float:  # fmt: skip
    """Return the least cost of all storages at the prices that they see, and add up what they take and give.

    Where a price is so low that a storage would take and give at once, it does so in the cost and the sums: that is
    what the dual of a linear program counts. In `power` and `stored` it does what that comes to.

    Args:
        weight: For how many each storage stands; shape (n,); storages as in `reach.cheapest`.
        first: The row of the first.
        taking: As in `Ask`; a storage that can't keep its bounds so may do both.
        takes: Added to; shape (T,), as `gives`.
        power: Filled; shape (n, T), as `stored`, or empty.
        like: Whose `plan` (per unit of rating, shape (K, T)) it keeps to, with `rated` as its own rating; shape (n,).
    """
    count, total = len(price), 0.0
    pieces = 3 if stay > 0.0 else 2
    length, slope = np.zeros((count, pieces)), np.zeros((count, pieces))
    least, most = np.zeros(count), np.zeros(count)
    work, levels, moves = np.zeros((2, pieces * count + 4)), np.zeros((count, pieces)), np.zeros(count)
    is_burning = np.zeros(count, np.bool_)
    for n in range(len(low)):
        cost = np.nan
        for is_free in range(2):
            own = 0.0
            for t in range(count):
                side = _side(first + n, t, taking[t]) if is_free == 0 else 0
                most_give, most_take = (0.0 if side > 0 else discharge[n, t]), (0.0 if side < 0 else charge[n, t])
                seen = price[t] + (width * noise(seed, first + n, t) if width > 0.0 else 0.0)
                least[t], most[t] = -loss[n] * most_give, gain[n] * most_take
                is_burning[t] = _lay(
                    -least[t], (seen - wear[n]) / loss[n], most[t], seen / gain[n], length[t], slope[t]
                )
                if stay > 0.0:
                    kept = min(max(plan[like[n], t] * rated[n], -most_take), most_give)
                    kept *= -loss[n] if kept > 0.0 else -gain[n]
                    _anchor(length[t], slope[t], kept - least[t], stay)
                own += (wear[n] - seen) * most_give
            cost, _ = plan_store(
                0.0, keep[n], drift[n], low[n], high[n], least, length, slope, 0.0, work, levels, moves
            )
            if not np.isnan(cost):
                break
        total += weight[n] * (own + cost)
        _add(
            n, weight[n], gain[n], loss[n], keep[n], drift[n], low[n], high[n], charge[n], discharge[n], least, most,
            moves, is_burning, takes, gives, power, stored,
        )  # fmt: skip
    return total


@compiled
def _lay(give: float, gives_at: float, take: float, takes_at: float, length: Floats, slope: Floats) -> bool:
    """Lay the two segments in the order of their slopes; return whether taking comes first: that burns energy."""
    one = 1 if gives_at > takes_at else 0
    length[one], slope[one] = give, gives_at
    length[1 - one], slope[1 - one] = take, takes_at
    return one == 1


@compiled
def _anchor(length: Floats, slope: Floats, kept: float, stay: float) -> None:
    """Cut the segments where a storage keeps to a plan, `kept` along them: less is dearer by `stay`, and so is more."""
    first, second = length[0], length[1]
    if kept <= first:
        length[0], length[1], length[2] = kept, first - kept, second
        slope[2] = slope[1] + stay
        slope[1], slope[0] = slope[0] + stay, slope[0] - stay
    else:
        length[1], length[2] = kept - first, first + second - kept
        slope[2] = slope[1] + stay
        slope[0], slope[1] = slope[0] - stay, slope[1] - stay


@compiled
def _add(
    n: int, weight: float, gain: float, loss: float, keep: float, drift: Floats, low: Floats, high: Floats,
    charge: Floats, discharge: Floats, least: Floats, most: Floats, moves: Floats, is_burning: NDArray[np.bool_],
    takes: Floats, gives: Floats, power: Floats, stored: Floats,
) -> None:  # fmt: skip
    """Split each move into what is taken and given, and note what the storage then does and holds."""
    now = 0.0
    for t in range(len(low)):
        if is_burning[t]:
            filled = moves[t] - least[t]
            taken = min(filled, most[t])
            given = -least[t] - (filled - taken)
        else:
            given, taken = max(-moves[t], 0.0), max(moves[t], 0.0)
        takes[t] += weight * taken / gain
        gives[t] += weight * given / loss
        if power.size:
            idle = keep * now + drift[t]
            now = min(max(idle + moves[t], low[t]), high[t])
            move = now - idle
            does = -move / gain if move > 0.0 else -move / loss
            power[n, t] = min(max(does, -charge[t]), discharge[t])
            stored[n, t] = now
