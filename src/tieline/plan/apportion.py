"""Whole units shared by weight, exactly: what is shared is what comes out, to the last cent or milliwatt-hour."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST = 2**62


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Return whole shares of a total in proportion to weights, by largest remainders; ties go to the first.

    Whole-number arithmetic throughout, so that no rounding decides who gets the last cent. Where all weights are 0
    nobody gets anything: the caller says what becomes of the total.

    >>> apportion(10_000, [1, 1, 1])
    [3334, 3333, 3333]
    """
    mass = sum(weights)
    if mass <= 0:
        return [0] * len(weights)
    sign, units = (1, total) if total >= 0 else (-1, -total)
    whole = [units * weight // mass for weight in weights]
    rest = [units * weight % mass for weight in weights]
    left = units - sum(whole)
    for at in sorted(range(len(weights)), key=lambda at: -rest[at])[:left]:  # stable: ties to the first
        whole[at] += 1
    return [sign * share for share in whole]


def apportion_rows(total: int, weights: Floats) -> Ints:
    """Return the same for a column of weights (0 or more); shape (n,). The sum is the total, or 0 without any weight.

    The fractions are floats here: they decide who gets a last unit, never how much there is.

    >>> apportion_rows(-7, np.array([2.0, 0.0, 1.0]))
    array([-5,  0, -2])
    """
    mass = float(weights.sum())
    if not mass > 0:
        return np.zeros(len(weights), np.int64)
    sign, units = (1, total) if total >= 0 else (-1, -total)
    exact = units * (weights / mass)
    whole = np.floor(exact).astype(np.int64)
    left = units - int(whole.sum())
    step = 1 if left >= 0 else -1
    order = np.argsort(-step * (exact - whole), kind="stable")
    takes = order[weights[order] > 0]
    while left:
        part = takes[: abs(left)]
        whole[part] += step
        left -= step * len(part)
    shares: Ints = sign * whole
    return shares


def apportion_column(total: int, weights: Ints) -> Ints:
    """Return what `apportion` does, for a column of whole weights (0 or more); shape (n,).

    Whole-number arithmetic as there. Where a product would not fit 64 bits it is done in Python's own integers.

    >>> apportion_column(10_000, np.array([1, 1, 1])).tolist()
    [3334, 3333, 3333]
    """
    if not len(weights):
        return np.zeros(0, np.int64)
    fits = int(weights.max()) <= MOST // len(weights)
    mass = int(weights.sum()) if fits else sum(weights.tolist())
    if mass <= 0:
        return np.zeros(len(weights), np.int64)
    sign, units = (1, total) if total >= 0 else (-1, -total)
    if mass > MOST or units * int(weights.max()) > MOST:
        return np.array(apportion(total, weights.tolist()), np.int64)
    exact = units * weights
    whole = exact // mass
    rest = exact - whole * mass
    left = units - int(whole.sum())
    if left:
        # The last that still gets a unit, without sorting all; of those alike the first.
        least = np.partition(rest, len(rest) - left)[len(rest) - left]
        takes = rest > least
        takes[np.flatnonzero(rest == least)[: left - int(takes.sum())]] = True
        whole += takes
    shares: Ints = sign * whole
    return shares


def whole_weights(weights: Sequence[Decimal | float]) -> list[int]:
    """Return weights as whole numbers in the same proportion, exact to their last decimal digit; negative counts as 0.

    >>> whole_weights([3.217, -1.0, Decimal("0.5")])
    [3217, 0, 500]
    """
    exact = [max(Decimal(str(weight)), Decimal(0)) for weight in weights]
    digits = max((-min(int(amount.as_tuple().exponent), 0) for amount in exact), default=0)
    return [int(amount.scaleb(digits)) for amount in exact]
