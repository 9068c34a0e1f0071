"""One Newton step of the interior point of a pool, storage by storage.

Theory of operation. Each storage has what it takes c, gives d and holds s at each step, each within [0, width] (s
counts from its low bound), and one row a step: `s_t - keep s_{t-1} - e c_t + g d_t = drift_t`, dual nu. All storages
meet in one row a step: `sum (d_t - c_t)` is the pool's power, dual lambda. The normal equations of a storage are
tridiagonal in t, and c and d of step t meet the pool's row of step t alone; so a storage is eliminated in O(T), and
what it leaves on the pool's rows, `B M^-1 B` with B diagonal, is T x T and follows from the factors row by row. Units
are scaled by the caller so that a step is one unit of time.

`state` and `move` are shape (n, 10, T): c, d, s, their multipliers of the lower bounds, of the upper bounds, and nu.
`width` is shape (n, 3, T), `low` and `drift` (n, T), `row` (n, 5): e, g, keep, wear and weight in the barrier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled

Floats = NDArray[np.float64]
PARTS, LOWER, UPPER, NU, ROWS = 3, 3, 6, 9, 10
SUMS = 6
"""Sums of a pass: x zl, dx zl, x dzl, dx dzl of both bounds together, then the largest primal and dual step."""


@compiled
def _inverse(state: Floats, width: Floats, inverse: Floats, near: Floats) -> None:
    """Fill the inverse of the barrier's curvature, and one over the way to each bound; 0 where there is no room.

    `near` is shape (6, T): 1 / x of the parts, then 1 / v. Divisions are what a step costs: they are made once.
    """
    for part in range(PARTS):
        for t in range(width.shape[1]):
            x, most = state[part, t], width[part, t]
            is_free = most > 0.0
            to_low, to_up = 1.0 / (x if is_free else 1.0), 1.0 / (most - x if is_free else 1.0)
            curve = state[LOWER + part, t] * to_low + state[UPPER + part, t] * to_up
            inverse[part, t] = 1.0 / curve if is_free else 0.0
            near[part, t] = to_low if is_free else 0.0
            near[PARTS + part, t] = to_up if is_free else 0.0


@compiled
def _factor(inverse: Floats, row: Floats, pivot: Floats, off: Floats, link: Floats) -> None:
    """Fill the factors of a storage's tridiagonal matrix (1 / D and the band of L) and its link B to the pool.

    Each pivot is a sum of what is 0 or more: nothing cancels, however far the barrier has gone.
    """
    e, g, keep, carry = row[0], row[1], row[2], 0.0
    for t in range(len(pivot)):
        core = e * e * inverse[0, t] + g * g * inverse[1, t] + carry
        whole = core + inverse[2, t]
        pivot[t] = 1.0 / whole if whole > 1e-200 else 0.0
        off[t] = -keep * inverse[2, t] * pivot[t]
        carry = keep * keep * inverse[2, t] * core * pivot[t]
        link[t] = e * inverse[0, t] + g * inverse[1, t]


@compiled
def _solve(pivot: Floats, off: Floats, right: Floats) -> None:
    """Solve the tridiagonal system in place."""
    count = len(pivot)
    for t in range(1, count):
        right[t] -= off[t - 1] * right[t - 1]
    right[count - 1] *= pivot[count - 1]
    for t in range(count - 2, -1, -1):
        right[t] = right[t] * pivot[t] - off[t] * right[t + 1]


@compiled
def _lacks(state: Floats, low: Floats, drift: Floats, row: Floats, lacks: Floats) -> None:
    """Fill by how much each energy balance is off."""
    e, g, keep, before = row[0], row[1], row[2], 0.0
    for t in range(len(lacks)):
        now = state[2, t] + low[t]
        lacks[t] = drift[t] - now + keep * before + e * state[0, t] - g * state[1, t]
        before = now


@compiled
def _reduced(state: Floats, price: Floats, row: Floats, reduced: Floats) -> None:
    """Fill the reduced costs of c, d and s at the duals of today."""
    e, g, keep, wear = row[0], row[1], row[2], row[3]
    count = len(price)
    for t in range(count):
        nu = state[NU, t]
        later = state[NU, t + 1] if t + 1 < count else 0.0
        reduced[0, t] = price[t] + e * nu
        reduced[1, t] = wear - price[t] - g * nu
        reduced[2, t] = keep * later - nu


@compiled
def _right(inverse: Floats, rho: Floats, lacks: Floats, row: Floats, right: Floats) -> None:
    """Fill the right side of a storage's rows."""
    e, g, keep, before = row[0], row[1], row[2], 0.0
    for t in range(len(lacks)):
        held = inverse[2, t] * rho[2, t]
        right[t] = lacks[t] - e * inverse[0, t] * rho[0, t] + g * inverse[1, t] * rho[1, t] + held - keep * before
        before = held


@compiled
def _directions(inverse: Floats, rho: Floats, nu: Floats, price_move: Floats, row: Floats, move: Floats) -> None:
    """Fill how c, d, s and nu move."""
    e, g, keep = row[0], row[1], row[2]
    count = len(nu)
    for t in range(count):
        later = nu[t + 1] if t + 1 < count else 0.0
        move[0, t] = inverse[0, t] * (-e * nu[t] - price_move[t] - rho[0, t])
        move[1, t] = inverse[1, t] * (g * nu[t] + price_move[t] - rho[1, t])
        move[2, t] = inverse[2, t] * (nu[t] - keep * later - rho[2, t])
        move[NU, t] = nu[t]


@compiled
def eliminate(
    state: Floats, width: Floats, low: Floats, drift: Floats, row: Floats, price: Floats, schur: Floats, right: Floats
) -> tuple[float, float]:
    """Add what these storages leave on the pool's rows, matrix (upper half) and right side of the pure Newton step.

    Args:
        price: lambda; shape (T,).
        schur: Shape (T, T): added to.
        right: Shape (T,): added to.

    Returns:
        The largest lack of an energy balance, and the sum of all products of complements.
    """
    count = len(price)
    inverse, rho, near = np.zeros((3, count)), np.zeros((3, count)), np.zeros((6, count))
    pivot, off, link, lacks, rest = np.zeros((5, count))
    across, worst, products = np.zeros(count), 0.0, 0.0
    for n in range(len(state)):
        _inverse(state[n], width[n], inverse, near)
        _factor(inverse, row[n], pivot, off, link)
        _lacks(state[n], low[n], drift[n], row[n], lacks)
        _reduced(state[n], price, row[n], rho)
        _right(inverse, rho, lacks, row[n], rest)
        _solve(pivot, off, rest)
        for part in range(PARTS):
            for t in range(count):
                x = state[n, part, t]
                products += x * state[n, LOWER + part, t] + (width[n, part, t] - x) * state[n, UPPER + part, t]
        corner = 0.0
        for t in range(count - 1, -1, -1):
            worst = max(worst, abs(lacks[t]))
            right[t] += inverse[1, t] * rho[1, t] - inverse[0, t] * rho[0, t] - link[t] * rest[t]
            schur[t, t] += inverse[0, t] + inverse[1, t]
            corner = pivot[t] + off[t] * off[t] * corner
            # Row t of M^-1 right of its diagonal is -off_t times the row below.
            for k in range(t + 1, count):
                across[k] *= -off[t]
            across[t] = corner * link[t]
            for k in range(t, count):
                schur[t, k] -= link[t] * across[k]
    return worst, products


@compiled
def _second_order(
    state: Floats, width: Floats, near: Floats, weight: float, move: Floats, rho: Floats, centre: Floats, sums: Floats
) -> None:
    """Leave the second-order terms of the pure Newton step in `move` and `rho`, and centering in `centre`."""
    for part in range(PARTS):
        for t in range(width.shape[1]):
            x, dx, to_low, to_up = state[part, t], move[part, t], near[part, t], near[PARTS + part, t]
            zl, zu, v = state[LOWER + part, t], state[UPPER + part, t], width[part, t] - x
            down, up = dx * to_low, dx * to_up
            dzl, dzu = -zl - zl * down, zu * up - zu
            sums[0] += x * zl + v * zu
            sums[1] += dx * zl - dx * zu
            sums[2] += x * dzl + v * dzu
            sums[3] += dx * dzl - dx * dzu
            sums[4] = max(sums[4], -down, up)
            sums[5] = max(sums[5], 1.0 + down, 1.0 - up)
            second_low, second_up = dx * dzl, -dx * dzu
            move[LOWER + part, t], move[UPPER + part, t] = second_low, second_up
            rho[part, t] += second_low * to_low - second_up * to_up
            centre[part, t] = weight * (to_up - to_low)


@compiled
def _bounds_move(state: Floats, width: Floats, near: Floats, move: Floats, aim: float, sums: Floats) -> None:
    """Fill how the multipliers of the bounds move, and gather the largest steps; second-order terms wait in `move`."""
    for part in range(PARTS):
        for t in range(width.shape[1]):
            zl, zu, dx = state[LOWER + part, t], state[UPPER + part, t], move[part, t]
            to_low, to_up = near[part, t], near[PARTS + part, t]
            dzl = (aim - move[LOWER + part, t] - zl * dx) * to_low - zl
            dzu = (aim - move[UPPER + part, t] + zu * dx) * to_up - zu
            move[LOWER + part, t], move[UPPER + part, t] = dzl, dzu
            sums[4] = max(sums[4], -dx * to_low, dx * to_up)
            # Where a bound leaves no room both multipliers are and stay 0.
            both = zl * zu if zl > 0.0 else 1.0
            sums[5] = max(sums[5], max(-dzl * zu, -dzu * zl) / both)


@compiled
def predict(
    state: Floats, width: Floats, low: Floats, drift: Floats, row: Floats, price: Floats, price_move: Floats,
    move: Floats, sums: Floats, right: Floats,
) -> None:  # fmt: skip
    """Take the pure Newton step in thought: leave its second-order terms in `move`, and gather the corrector's rows.

    Args:
        price_move: How lambda moves; shape (T,).
        sums: Shape (SUMS,): filled (see SUMS).
        right: Shape (2, T): added to: the corrector's right side without centering, and per unit of centering.
    """
    count = len(price)
    inverse, rho, near, centre = np.zeros((3, count)), np.zeros((3, count)), np.zeros((6, count)), np.zeros((3, count))
    pivot, off, link, lacks, rest = np.zeros((5, count))
    for n in range(len(state)):
        _inverse(state[n], width[n], inverse, near)
        _factor(inverse, row[n], pivot, off, link)
        _lacks(state[n], low[n], drift[n], row[n], lacks)
        _reduced(state[n], price, row[n], rho)
        _right(inverse, rho, lacks, row[n], rest)
        for t in range(count):
            rest[t] -= link[t] * price_move[t]
        _solve(pivot, off, rest)
        _directions(inverse, rho, rest, price_move, row[n], move[n])
        _second_order(state[n], width[n], near, row[n, 4], move[n], rho, centre, sums)
        _right(inverse, rho, lacks, row[n], rest)
        _pool_side(inverse, rho, pivot, off, link, rest, right[0])
        for t in range(count):
            lacks[t] = 0.0
        _right(inverse, centre, lacks, row[n], rest)
        _pool_side(inverse, centre, pivot, off, link, rest, right[1])


@compiled
def _pool_side(
    inverse: Floats, rho: Floats, pivot: Floats, off: Floats, link: Floats, rest: Floats, right: Floats
) -> None:
    _solve(pivot, off, rest)
    for t in range(len(right)):
        right[t] += inverse[1, t] * rho[1, t] - inverse[0, t] * rho[0, t] - link[t] * rest[t]


@compiled
def correct(
    state: Floats, width: Floats, low: Floats, drift: Floats, row: Floats, price: Floats, price_move: Floats,
    target: float, move: Floats, sums: Floats,
) -> None:  # fmt: skip
    """Fill the step of predictor, corrector and centering together.

    Args:
        price_move: How lambda moves; shape (T,).
        target: The product of complements to aim at, times each storage's weight.
        move: As `predict` left it; filled with the whole step.
        sums: Shape (SUMS,): filled.
    """
    count = len(price)
    inverse, rho, near = np.zeros((3, count)), np.zeros((3, count)), np.zeros((6, count))
    pivot, off, link, lacks, rest = np.zeros((5, count))
    for n in range(len(state)):
        aim = target * row[n, 4]
        _inverse(state[n], width[n], inverse, near)
        _factor(inverse, row[n], pivot, off, link)
        _lacks(state[n], low[n], drift[n], row[n], lacks)
        _reduced(state[n], price, row[n], rho)
        for part in range(PARTS):
            for t in range(count):
                low_aim, up_aim = aim - move[n, LOWER + part, t], aim - move[n, UPPER + part, t]
                rho[part, t] -= low_aim * near[part, t] - up_aim * near[PARTS + part, t]
        _right(inverse, rho, lacks, row[n], rest)
        for t in range(count):
            rest[t] -= link[t] * price_move[t]
        _solve(pivot, off, rest)
        _directions(inverse, rho, rest, price_move, row[n], move[n])
        _bounds_move(state[n], width[n], near, move[n], aim, sums)


@compiled
def advance(state: Floats, width: Floats, move: Floats, primal: float, dual: float, power: Floats) -> float:
    """Go so far along the step; add each step's power of these storages to `power`, and return what they deliver worn.

    Returns:
        The sum of all products of complements.
    """
    products = 0.0
    for n in range(len(state)):
        for t in range(len(power)):
            for part in range(PARTS):
                most = width[n, part, t]
                if most > 0.0:
                    x = min(max(state[n, part, t] + primal * move[n, part, t], 1e-14 * most), most * (1.0 - 1e-14))
                    state[n, part, t] = x
                    state[n, LOWER + part, t] += dual * move[n, LOWER + part, t]
                    state[n, UPPER + part, t] += dual * move[n, UPPER + part, t]
                    products += x * state[n, LOWER + part, t] + (most - x) * state[n, UPPER + part, t]
            state[n, NU, t] += dual * move[n, NU, t]
            power[t] += state[n, 1, t] - state[n, 0, t]
    return products
