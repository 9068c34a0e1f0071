"""The interior point of a pool: predictor and corrector over all storages, coupled by a price a step and band.

Mehrotra's predictor-corrector (SIAM J. Optim. 2, 1992), with each storage's rating as its weight in the barrier. What
the storages leave on the pool's rows comes from `plan.newton`; here the rows of the pool are added and solved, and the
length of the step is chosen. The pool's own cost of its net power is convex and piecewise linear: segments with rising
slopes, each a variable of its own. So is that of each feeder below it (`plan.bands` has their rows): a storage belongs
to one band, and what a feeder passes on is a part of the band that it hangs on. Sums go over shards of fixed size in
fixed order, so that the same input gives the same bits on any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.plan import newton
from tieline.plan.bands import Tree
from tieline.plan.newton import LOWER, NU, PARTS, ROWS, SUMS, UPPER

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Parts = list[tuple[int, slice]]
"""Shards: the band that storages belong to, and which they are."""
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""How a function goes over shards: `map`, or the `map` of a pool of threads (the kernels release the lock)."""

MOST_ROUNDS = 120
STAY_INSIDE = 0.9995
"""How much of the way to the nearest bound a step goes."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A pool as a linear program in scaled units (a step is one unit of time).

    Storages: `width` (n, 3, T) of what is taken, given and held over `low` (n, T), `drift` (n, T) that flows in, `row`
    (n, 5) of charging factor, 1 / discharging factor, keep, wear and weight. Bands, the pool's first: `target` (B, T)
    is what the sum of powers less its segments must be, `lengths` and `rates` (B, K, T) are its segments, `offset` what
    all cost without any. A feeder's power is `target` and its segments, and a part of its parent's sum. `parent` (B,)
    comes before its children, -1 for the pool; `ends` (B,) is where the storages of each band end.
    """

    width: Floats
    low: Floats
    drift: Floats
    row: Floats
    target: Floats
    lengths: Floats
    rates: Floats
    offset: float
    parent: Ints
    ends: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Where the interior point ended: `state` (n, 10, T) as in `plan.newton`, lambda (B, T), and the rounds it took."""

    state: Floats
    price: Floats
    rounds: int


@dataclass(slots=True)
class _Pool:
    """The bands' own variables: segments, multipliers of their bounds, lambda; the weight of each in the barrier."""

    x: Floats
    zl: Floats
    zu: Floats
    price: Floats
    weight: Floats
    tree: Tree

    def lacks(self, target: Floats, power: Floats) -> Floats:
        """Return what each band's row lacks: its target and segments less what comes in from storages and feeders."""
        own = self.x.sum(axis=1)
        lacks: Floats = target - power + own
        self.tree.passed_on(lacks, -(target + own))
        return lacks


def shards(count: int) -> list[slice]:
    """Return how so many storages are cut up: by their number alone, never by the machine."""
    size = min(max(-(-count // 16), 32), 2_048)
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def parts_of(ends: Ints) -> Parts:
    """Return the shards of storages in the order of their bands, none across two."""
    found, first = [], 0
    for band, end in enumerate(ends.tolist()):
        found += [(band, slice(first + part.start, first + part.stop)) for part in shards(end - first)]
        first = end
    return found


def solve(program: Program, tolerance: float, spread: Spread = map) -> Point:
    """Return the optimum to a relative gap of `tolerance`, or the nearest that was reached.

    Args:
        program: The pool.
        tolerance: Gap over the size of the cost, and lack of any row over the size of its powers.
        spread: How a function goes over shards.
    """
    parts = parts_of(program.ends)
    state, pool = _start(program)
    weight = _weight(program, pool)
    move = np.zeros_like(state)
    power = _power(state, parts, len(program.ends))
    size = max(1.0, float(program.width[:, :2].sum(axis=(0, 1)).max()))
    products_before, was_met, flat, rounds, last = np.inf, False, 0, 0, (0.0, 0.0, pool.price)
    for rounds in range(MOST_ROUNDS):
        lacks = pool.lacks(program.target, power)
        schur, right, worst, products = _eliminated(program, state, pool, parts, spread)
        scale = abs(_cost(program, state, pool)) + 1e-3 * size
        is_met = worst <= tolerance and float(np.abs(lacks).max()) <= tolerance * size
        if was_met and not is_met and products <= 1e-3 * scale:
            # Rounding has the upper hand: the step before this one was the last good one.
            _advanced(program, state, move, -last[0], -last[1], parts, spread)
            return Point(state, last[2], rounds)
        flat = flat + 1 if products > 0.9 * products_before else 0
        # Where bounds leave a storage no room its balance is off by rounding alone: far below the gap it is of no use.
        if products <= tolerance * scale * (1.0 if is_met else 1e-4) or flat >= 8:
            break
        products_before, was_met = products, is_met
        before = pool.price
        power, primal, dual = _round(program, state, move, pool, lacks, schur, right, weight, parts, spread)
        last = (primal, dual, before)
        if primal == dual == 0.0:
            break
    return Point(state, pool.price, rounds)


def _power(state: Floats, parts: Parts, bands: int) -> Floats:
    power = np.zeros((bands, state.shape[2]))
    for band, part in parts:
        power[band] += (state[part, 1] - state[part, 0]).sum(axis=0)
    return power


def _start(program: Program) -> tuple[Floats, _Pool]:
    """Begin in the middle of every bound, each product of complements at its weight."""
    width, weight = program.width, program.row[:, 4]
    tree = Tree(program.parent)
    state = np.zeros((len(width), ROWS, width.shape[2]))
    state[:, :PARTS] = width / 2
    own_weight = np.diff(np.concatenate([[0.0], np.cumsum(weight)])[np.concatenate([[0], program.ends])])
    tree.passed_on(own_weight, own_weight)
    own_weight = np.maximum(own_weight / 8, 1.0)[:, None, None]
    with np.errstate(divide="ignore"):
        multiplier = np.where(width > 0, weight[:, None, None] / width, 0.0)
        own = np.where(program.lengths > 0, own_weight / program.lengths, 0.0)
    state[:, LOWER : LOWER + PARTS] = state[:, UPPER : UPPER + PARTS] = multiplier
    is_long = program.lengths > 0
    price = -(program.rates * is_long).sum(axis=1) / np.maximum(is_long.sum(axis=1), 1)
    for band in range(1, len(price)):  # what a feeder adds to its parent's price
        price[band] += price[program.parent[band]]
    state[:, NU] = 0.0
    return state, _Pool(program.lengths / 2, own.copy(), own.copy(), price, own_weight, tree)


def _eliminated(
    program: Program, state: Floats, pool: _Pool, parts: Parts, spread: Spread
) -> tuple[Floats, Floats, float, float]:
    """Return what all storages leave on the bands' rows, the worst lack and the sum of products."""
    bands, count = pool.price.shape

    def one(at: tuple[int, slice]) -> tuple[Floats, Floats, float, float]:
        band, part = at
        schur, right = np.zeros((count, count)), np.zeros(count)
        worst, products = newton.eliminate(
            state[part], program.width[part], program.low[part], program.drift[part], program.row[part],
            pool.price[band], schur, right,
        )  # fmt: skip
        return schur, right, worst, products

    schur, right, worst, products = np.zeros((bands, count, count)), np.zeros((bands, count)), 0.0, 0.0
    for (band, _), (more_schur, more_right, more_worst, more) in zip(parts, spread(one, parts), strict=True):
        schur[band] += more_schur
        right[band] += more_right
        worst, products = max(worst, more_worst), products + more
    products += float((pool.x * pool.zl + (program.lengths - pool.x) * pool.zu).sum())
    return schur + np.triu(schur, 1).transpose(0, 2, 1), right, worst, products


def _cost(program: Program, state: Floats, pool: _Pool) -> float:
    return program.offset + float(program.row[:, 3] @ state[:, 1].sum(axis=1) + (program.rates * pool.x).sum())


def _round(
    program: Program, state: Floats, move: Floats, pool: _Pool, lacks: Floats, schur: Floats, right: Floats,
    weight: float, parts: Parts, spread: Spread,
) -> tuple[Floats, float, float]:  # fmt: skip
    """Take one step; return the storages' power after it and how far it went (0, 0: there was none to take)."""
    x, v = pool.x, program.lengths - pool.x
    is_free = program.lengths > 0
    one = np.where(is_free, 1.0, 0.0)
    safe_x, safe_v = np.where(is_free, x, 1.0), np.where(is_free, v, 1.0)
    inverse = one / np.where(is_free, pool.zl / safe_x + pool.zu / safe_v, 1.0)
    tree, across = pool.tree, pool.tree.across
    reduced = program.rates + across(pool.price)[:, None]
    solved = tree.solver(schur, inverse.sum(axis=1))

    def rows(costs: Floats) -> Floats:
        """Return what the segments' own costs leave on the rows: each on its band's, and on the one it hangs on."""
        left: Floats = -(inverse * costs).sum(axis=1)
        tree.passed_on(left, -left)
        return left

    first = solved(right + lacks + rows(reduced))
    dx = inverse * (-across(first)[:, None] - reduced)
    dzl, dzu = -pool.zl - pool.zl * dx / safe_x, -pool.zu + pool.zu * dx / safe_v
    sums, rights = _predicted(program, state, move, pool.price, first, parts, spread)
    _own_sums(sums, is_free, x, v, pool, dx, dzl, dzu)
    primal, dual = min(1.0, 1.0 / max(sums[4], 1e-30)), min(1.0, 1.0 / max(sums[5], 1e-30))
    after = sums[0] + primal * sums[1] + dual * sums[2] + primal * dual * sums[3]
    target = max(after / sums[0], 0.0) ** 3 * sums[0] / weight

    second_low, second_up, aim = dx * dzl, -dx * dzu, target * pool.weight
    rho = reduced - (aim - second_low) / safe_x + (aim - second_up) / safe_v
    price_move = solved(rights[0] + target * rights[1] + lacks + rows(rho))
    dx = inverse * (-across(price_move)[:, None] - rho)
    dzl = one * ((aim - second_low - pool.zl * dx) / safe_x - pool.zl)
    dzu = one * ((aim - second_up + pool.zu * dx) / safe_v - pool.zu)
    sums = _corrected(program, state, move, pool.price, price_move, target, parts, spread)
    _own_sums(sums, is_free, x, v, pool, dx, dzl, dzu)
    if not np.isfinite(sums).all() or not np.isfinite(price_move).all():
        return _power(state, parts, len(program.ends)), 0.0, 0.0
    primal, dual = min(1.0, STAY_INSIDE / max(sums[4], 1e-30)), min(1.0, STAY_INSIDE / max(sums[5], 1e-30))
    pool.x = np.clip(x + primal * dx, 1e-14 * program.lengths, (1.0 - 1e-14) * program.lengths)
    pool.zl, pool.zu, pool.price = pool.zl + dual * dzl, pool.zu + dual * dzu, pool.price + dual * price_move
    return _advanced(program, state, move, primal, dual, parts, spread), primal, dual


def _weight(program: Program, pool: _Pool) -> float:
    """Return the sum of weights of all products of complements."""
    storages = float(program.row[:, 4] @ (program.width > 0).sum(axis=(1, 2)))
    return 2 * (storages + float((pool.weight * (program.lengths > 0)).sum()))


def _own_sums(
    sums: Floats, is_free: NDArray[np.bool_], x: Floats, v: Floats, pool: _Pool, dx: Floats, dzl: Floats, dzu: Floats
) -> None:
    """Add the pool's own variables to the sums of a pass."""
    sums[0] += float((x * pool.zl + v * pool.zu).sum())
    sums[1] += float((dx * pool.zl - dx * pool.zu).sum())
    sums[2] += float((x * dzl + v * dzu)[is_free].sum())
    sums[3] += float((dx * dzl - dx * dzu)[is_free].sum())
    if is_free.any():
        free = is_free
        sums[4] = max(sums[4], float((-dx[free] / x[free]).max()), float((dx[free] / v[free]).max()))
        most = max(float((-dzl[free] / pool.zl[free]).max()), float((-dzu[free] / pool.zu[free]).max()))
        sums[5] = max(sums[5], most)


def _gathered(found: Iterable[Floats]) -> Floats:
    """Return sums of all shards, in their order."""
    whole = np.zeros(SUMS)
    for sums in found:
        whole[:4] += sums[:4]
        whole[4:] = np.maximum(whole[4:], sums[4:])
    return whole


def _predicted(
    program: Program, state: Floats, move: Floats, price: Floats, price_move: Floats, parts: Parts, spread: Spread
) -> tuple[Floats, Floats]:
    def one(at: tuple[int, slice]) -> tuple[Floats, Floats]:
        band, part = at
        sums, right = np.zeros(SUMS), np.zeros((2, price.shape[1]))
        newton.predict(
            state[part], program.width[part], program.low[part], program.drift[part], program.row[part], price[band],
            price_move[band], move[part], sums, right,
        )  # fmt: skip
        return sums, right

    found = list(spread(one, parts))
    rights = np.zeros((2, *price.shape))
    for (band, _), (_, right) in zip(parts, found, strict=True):
        rights[:, band] += right
    return _gathered(sums for sums, _ in found), rights


def _corrected(
    program: Program, state: Floats, move: Floats, price: Floats, price_move: Floats, target: float,
    parts: Parts, spread: Spread,
) -> Floats:  # fmt: skip
    def one(at: tuple[int, slice]) -> Floats:
        band, part = at
        sums = np.zeros(SUMS)
        newton.correct(
            state[part], program.width[part], program.low[part], program.drift[part], program.row[part], price[band],
            price_move[band], target, move[part], sums,
        )  # fmt: skip
        return sums

    return _gathered(spread(one, parts))


def _advanced(
    program: Program, state: Floats, move: Floats, primal: float, dual: float, parts: Parts, spread: Spread
) -> Floats:
    def one(at: tuple[int, slice]) -> Floats:
        _, part = at
        power = np.zeros(state.shape[2])
        newton.advance(state[part], program.width[part], move[part], primal, dual, power)
        return power

    power = np.zeros((len(program.ends), state.shape[2]))
    for (band, _), more in zip(parts, spread(one, parts), strict=True):
        power[band] += more
    return power
