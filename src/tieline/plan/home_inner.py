"""The continuous part of a home as a linear program: an interior point whose every step costs O(steps).

Theory of operation. At each step t the home has columns that touch its balance of power (row 0) and at most one store
(rows 1 to n): what is drawn, fed in, held back of the sun, taken and given. Store i holds s_it, which stands in row i
of step t and, times -keep_i, in that of step t + 1. So the normal equations are block tridiagonal with blocks of n + 1
rows, and the blocks off the diagonal are diagonal: a home of four stores is factored in tens of microseconds. The rest
is Mehrotra's predictor and corrector (SIAM J. Optim. 2, 1992), as in `plan.interior`.

Every column lies within [0, width]. At any prices y the bound `sum y b + sum min(0, c - A'y) width` holds, wherever the
iterations ended.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled, compiled_unchecked

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_ROUNDS = 60
STAY_INSIDE = 0.9995
ZL, ZU, DZL, DZU, TO_LOW, TO_UP, OWN = 0, 1, 2, 3, 4, 5, 6
"""Rows of what each column has of its own: multipliers of its bounds, how they move, 1 / the way to each bound."""


@compiled
def priced(power: Floats, store: Ints, gain: Floats, keep: Floats, price: Floats, worth: Floats) -> None:
    """Fill what each column earns at prices: A'y.

    Args:
        power: Share of a column in the balance of power; shape (J,).
        store: The row of the store that it moves (0: none); shape (J,).
        gain: What it adds to that row; shape (T, J).
        keep: Share left after a step; shape (n,).
        price: y; shape (T, n + 1).
        worth: Filled; shape (T, J + n): columns, then stores.
    """
    steps, count = gain.shape
    for t in range(steps):
        for j in range(count):
            worth[t, j] = power[j] * price[t, 0]
            if store[j] > 0:
                worth[t, j] += gain[t, j] * price[t, store[j]]
        for i in range(len(keep)):
            later = price[t + 1, i + 1] if t + 1 < steps else 0.0
            worth[t, count + i] = price[t, i + 1] - keep[i] * later


@compiled_unchecked
def _moved(power: Floats, store: Ints, gain: Floats, keep: Floats, x: Floats, rows: Floats) -> None:
    """Fill what all columns together make of the rows: A x."""
    steps, count = gain.shape
    rows[:] = 0.0
    for t in range(steps):
        for j in range(count):
            rows[t, 0] += power[j] * x[t, j]
            if store[j] > 0:
                rows[t, store[j]] += gain[t, j] * x[t, j]
        for i in range(len(keep)):
            rows[t, i + 1] += x[t, count + i]
            if t + 1 < steps:
                rows[t + 1, i + 1] -= keep[i] * x[t, count + i]


@compiled_unchecked
def _factored(power: Floats, store: Ints, gain: Floats, keep: Floats, theta: Floats, block: Floats) -> None:
    """Fill the inverse of each block of the factorisation; shape (T, n + 1, n + 1)."""
    steps, count = gain.shape
    size = len(keep) + 1
    whole = np.zeros((size, size))
    for t in range(steps):
        whole[:] = 0.0
        for j in range(count):
            w, a, i = theta[t, j], power[j], store[j]
            whole[0, 0] += w * a * a
            if i > 0:
                b = gain[t, j]
                whole[0, i] += w * a * b
                whole[i, i] += w * b * b
        for i in range(1, size):
            whole[i, i] += theta[t, count + i - 1]
            if t > 0:
                whole[i, i] += keep[i - 1] ** 2 * theta[t - 1, count + i - 1]
        for i in range(1, size):
            whole[i, 0] = whole[0, i]
        if t > 0:
            for i in range(1, size):
                left = keep[i - 1] * theta[t - 1, count + i - 1]
                for k in range(1, size):
                    whole[i, k] -= left * block[t - 1, i, k] * keep[k - 1] * theta[t - 1, count + k - 1]
        _inverted(whole, block[t])


@compiled_unchecked
def _inverted(whole: Floats, inverse: Floats) -> None:
    """Fill the inverse of a small positive matrix by Gauss and Jordan; a row that nothing moves stays out."""
    size = len(whole)
    for i in range(size):
        for k in range(size):
            inverse[i, k] = 1.0 if i == k else 0.0
    scale = 0.0
    for i in range(size):
        scale = max(scale, whole[i, i])
    for i in range(size):
        pivot = whole[i, i]
        if pivot <= 1e-15 * scale:
            for k in range(size):
                whole[i, k] = whole[k, i] = inverse[i, k] = 0.0
            whole[i, i] = 1.0
            continue
        to_one = 1.0 / pivot
        for k in range(size):
            whole[i, k] *= to_one
            inverse[i, k] *= to_one
        for r in range(size):
            factor = whole[r, i]
            if r != i and factor != 0.0:
                for k in range(size):
                    whole[r, k] -= factor * whole[i, k]
                    inverse[r, k] -= factor * inverse[i, k]


@compiled_unchecked
def _solved(keep: Floats, theta: Floats, count: int, block: Floats, right: Floats, rest: Floats) -> None:
    """Solve the block tridiagonal system in place; `rest` is scratch of the same shape."""
    steps, size = right.shape
    for t in range(steps):
        if t > 0:
            for i in range(1, size):
                right[t, i] += keep[i - 1] * theta[t - 1, count + i - 1] * rest[t - 1, i]
        for i in range(size):
            total = 0.0
            for k in range(size):
                total += block[t, i, k] * right[t, k]
            rest[t, i] = total
    for i in range(size):
        right[steps - 1, i] = rest[steps - 1, i]
    for t in range(steps - 2, -1, -1):
        for i in range(size):
            total = rest[t, i]
            for k in range(1, size):
                total += block[t, i, k] * keep[k - 1] * theta[t, count + k - 1] * right[t + 1, k]
            right[t, i] = total


@compiled_unchecked
def _direction(
    power: Floats, store: Ints, gain: Floats, keep: Floats, theta: Floats, block: Floats, lacks: Floats, pull: Floats,
    move: Floats, price_move: Floats, rest: Floats,
) -> None:  # fmt: skip
    """Fill how x and y move: `theta (A'dy - pull)` with `A dx = lacks`."""
    steps, count = gain.shape
    for t in range(steps):
        for v in range(theta.shape[1]):
            move[t, v] = theta[t, v] * pull[t, v]
    _moved(power, store, gain, keep, move, price_move)
    price_move += lacks
    _solved(keep, theta, count, block, price_move, rest)
    priced(power, store, gain, keep, price_move, move)
    for t in range(steps):
        for v in range(theta.shape[1]):
            move[t, v] = theta[t, v] * (move[t, v] - pull[t, v])


@compiled
def least_cost(
    power: Floats, store: Ints, gain: Floats, keep: Floats, cost: Floats, width: Floats, right: Floats,
    tolerance: float, x: Floats, price: Floats,
) -> tuple[float, float, int]:  # fmt: skip
    """Fill `x` and `price` with the optimum of the program, and return its cost, a bound below it, and the rounds.

    Args:
        power: As for `priced`, with `store`, `gain` and `keep`.
        cost: Shape (T, J + n).
        width: Most of each column; shape (T, J + n).
        right: What the rows must come to; shape (T, n + 1).
        tolerance: Gap over the size of the cost.
        x: Filled; shape (T, J + n).
        price: Filled: what one more of each row would cost; shape (T, n + 1).
    """
    steps, every = width.shape
    size = right.shape[1]
    theta, pull, move = np.zeros((steps, every)), np.zeros((steps, every)), np.zeros((steps, every))
    worth, block, lacks = np.zeros((steps, every)), np.zeros((steps, size, size)), np.zeros((steps, size))
    price_move, rest = np.zeros((steps, size)), np.zeros((steps, size))
    own = np.zeros((OWN, steps * every))
    flat = (cost.reshape(-1), width.reshape(-1), x.reshape(-1), theta.reshape(-1), pull.reshape(-1), move.reshape(-1))
    scale, free = _begun(flat[0], flat[1], flat[2], own)
    price[:] = 0.0
    rounds, best, total = 0, -np.inf, 0.0
    for at in range(MOST_ROUNDS):
        rounds = at
        _moved(power, store, gain, keep, x, lacks)
        worst = 0.0
        for t in range(steps):
            for i in range(size):
                lacks[t, i] = right[t, i] - lacks[t, i]
                worst = max(worst, abs(lacks[t, i]))
        priced(power, store, gain, keep, price, worth)
        total, products = _curved(flat[0], flat[1], flat[2], worth.reshape(-1), flat[3], flat[4], own)
        bound = bound_at(cost, width, right, price, worth)
        best = max(best, bound)
        if worst <= 1e-7 and (total - bound <= tolerance * (abs(total) + 1e-3 * scale) or products < 1e-12 * scale):
            break
        _factored(power, store, gain, keep, theta, block)
        _direction(power, store, gain, keep, theta, block, lacks, pull, move, price_move, rest)
        after = _predicted(flat[1], flat[2], flat[5], own)
        aim = (after / products) ** 3 * products / (2 * free)
        _aimed(flat[0], worth.reshape(-1), flat[5], aim, flat[4], own)
        _direction(power, store, gain, keep, theta, block, lacks, pull, move, price_move, rest)
        primal, dual = _corrected(flat[5], own)
        if not (primal > 1e-9 or dual > 1e-9) or not np.isfinite(primal + dual):
            break
        _advanced(flat[1], flat[2], flat[5], primal, dual, own)
        price += dual * price_move
    return total, best, rounds


@compiled_unchecked
def _begun(cost: Floats, width: Floats, x: Floats, own: Floats) -> tuple[float, int]:
    """Set every column to the middle of its bounds; return the dearest cost and how many are free."""
    scale, free = 1e-12, 0
    for n in range(len(x)):
        x[n] = 0.5 * width[n]
        if width[n] > 0.0:
            free += 1
            scale = max(scale, abs(cost[n]))
    for n in range(len(x)):
        own[ZL, n] = own[ZU, n] = 0.3 * scale if width[n] > 0.0 else 0.0
    return scale, free


@compiled_unchecked
def _curved(
    cost: Floats, width: Floats, x: Floats, worth: Floats, theta: Floats, pull: Floats, own: Floats
) -> tuple[float, float]:
    """Fill the barrier's curvature and the pull of each column; return cost and the sum of products of complements."""
    total, products = 0.0, 0.0
    for n in range(len(x)):
        if width[n] > 0.0:
            w = width[n] - x[n]
            to_low, to_up = 1.0 / x[n], 1.0 / w
            total += cost[n] * x[n]
            products += x[n] * own[ZL, n] + w * own[ZU, n]
            theta[n] = 1.0 / (own[ZL, n] * to_low + own[ZU, n] * to_up)
            pull[n] = cost[n] - worth[n]
            own[TO_LOW, n], own[TO_UP, n] = to_low, to_up
    return total, products


@compiled_unchecked
def _predicted(width: Floats, x: Floats, move: Floats, own: Floats) -> float:
    """Leave how multipliers move in the pure step; return the sum of products as far along it as bounds let."""
    down, up = 1.0, 1.0
    for n in range(len(x)):
        low, high = move[n] * own[TO_LOW, n], move[n] * own[TO_UP, n]
        down = max(down, -low, high)
        up = max(up, 1.0 + low, 1.0 - high)
        own[DZL, n] = -own[ZL, n] * (1.0 + low)
        own[DZU, n] = -own[ZU, n] * (1.0 - high)
    primal, dual, after = 1.0 / down, 1.0 / up, 0.0
    for n in range(len(x)):
        dx = primal * move[n]
        after += (x[n] + dx) * (own[ZL, n] + dual * own[DZL, n])
        after += (width[n] - x[n] - dx) * (own[ZU, n] + dual * own[DZU, n])
    return after


@compiled_unchecked
def _aimed(cost: Floats, worth: Floats, move: Floats, aim: float, pull: Floats, own: Floats) -> None:
    """Fill the pull of each column with centering and second-order terms."""
    for n in range(len(move)):
        own[DZL, n] = aim - move[n] * own[DZL, n]
        own[DZU, n] = aim + move[n] * own[DZU, n]
        pull[n] = cost[n] - worth[n] - own[DZL, n] * own[TO_LOW, n] + own[DZU, n] * own[TO_UP, n]


@compiled_unchecked
def _corrected(move: Floats, own: Floats) -> tuple[float, float]:
    """Fill how multipliers move; return how far columns and multipliers may go."""
    down, up = STAY_INSIDE, STAY_INSIDE
    for n in range(len(move)):
        low, high = move[n] * own[TO_LOW, n], move[n] * own[TO_UP, n]
        dzl = own[DZL, n] * own[TO_LOW, n] - own[ZL, n] * (1.0 + low)
        dzu = own[DZU, n] * own[TO_UP, n] - own[ZU, n] * (1.0 - high)
        own[DZL, n], own[DZU, n] = dzl, dzu
        down = max(down, -low, high)
        if own[TO_LOW, n] > 0.0:
            up = max(up, max(-dzl * own[ZU, n], -dzu * own[ZL, n]) / (own[ZL, n] * own[ZU, n]))
    return STAY_INSIDE / down, STAY_INSIDE / up


@compiled_unchecked
def _advanced(width: Floats, x: Floats, move: Floats, primal: float, dual: float, own: Floats) -> None:
    for n in range(len(x)):
        if width[n] > 0.0:
            x[n] = min(max(x[n] + primal * move[n], 1e-13 * width[n]), width[n] * (1.0 - 1e-13))
            own[ZL, n] = max(own[ZL, n] + dual * own[DZL, n], 1e-150)
            own[ZU, n] = max(own[ZU, n] + dual * own[DZU, n], 1e-150)


@compiled
def bound_at(cost: Floats, width: Floats, right: Floats, price: Floats, worth: Floats) -> float:
    """Return what no point of the program costs less than, by prices and what the columns earn at them."""
    bound = 0.0
    for t in range(len(right)):
        for i in range(right.shape[1]):
            bound += price[t, i] * right[t, i]
        for v in range(width.shape[1]):
            if width[t, v] > 0.0:
                bound += min(0.0, cost[t, v] - worth[t, v]) * width[t, v]
    return bound
