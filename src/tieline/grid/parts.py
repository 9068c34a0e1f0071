"""Admittance matrices of lines and two-winding transformers, in phase values: what a feeder is put together from.

A branch is a 6 x 6 matrix over its nodes a b c at the from end and a b c at the to end (siemens); a phase that it does
not have is a row and a column of zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Floats = NDArray[np.float64]
Complexes = NDArray[np.inexact[Any]]
WINDINGS = ("wye", "wye_n", "delta")


def phase_matrix(positive: complex, zero: complex) -> Complexes:
    """Return the 3 x 3 phase matrix of a part that is alike in its phases, from its sequence values.

    Self (Z0 + 2 Z1) / 3, mutual (Z0 - Z1) / 3.

    >>> phase_matrix(1, 4).real.tolist()
    [[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]]
    """
    return np.full((3, 3), (zero - positive) / 3, np.complex128) + np.eye(3) * positive


def line(series_ohm: Complexes, shunt_s: Complexes, phases: NDArray[np.bool_]) -> Complexes:
    """Return the matrix of a pi section: its series impedance, and half of its shunt admittance at each end.

    Args:
        series_ohm: Shape (3, 3); only rows and columns of `phases` are read.
        shunt_s: Shape (3, 3), of the whole length.
        phases: Which of a, b, c it has.
    """
    at = np.flatnonzero(phases)
    series, half = np.zeros((3, 3), np.complex128), np.zeros((3, 3), np.complex128)
    grid = np.ix_(at, at)
    series[grid], half[grid] = np.linalg.inv(series_ohm[grid]), shunt_s[grid] / 2
    return np.block([[series + half, -series], [-series, series + half]])


def windings(from_winding: str, to_winding: str, clock: int) -> tuple[Complexes, Complexes]:
    """Return which nodes each phase's winding joins, at both ends; shape (3, 3), or (3, 4) with a free neutral.

    Row p is the winding on leg p: +1 where it begins, -1 where it ends; a grounded neutral has no column.

    Args:
        from_winding: `wye_n` (neutral grounded), `wye` (neutral free) or `delta`.
        to_winding: The same of the other end.
        clock: By how many times 30 degrees the to end lags (IEC 60076-1, clause 7).

    Raises:
        ConfigError: The two windings can't have that clock number.
    """
    for name, winding in (("from_winding", from_winding), ("to_winding", to_winding)):
        if winding not in WINDINGS:
            raise ConfigError(f"{name} is {winding!r}: give one of {', '.join(WINDINGS)}")
    mixed = (from_winding == "delta") != (to_winding == "delta")
    if mixed != bool(clock % 2):
        odd = "an odd" if mixed else "an even"
        raise ConfigError(f"clock is {clock} for {from_winding} to {to_winding}: such a pair has {odd} clock number")
    # An odd clock is 11 or 1 (the delta's windings lead or lag by 30 degrees) and a rotation of the to end's terminals
    # by 120 degrees a step; an even one is 0 or 6 (turned round) and the same rotation.
    clock %= 12
    base = next(b for b in ((11, 1) if mixed else (0, 6)) if (clock - b) % 4 == 0)
    delta_is_first = from_winding == "delta"
    leads = (base == 11) == delta_is_first
    delta = np.eye(3) - np.roll(np.eye(3), 1 if leads else 2, axis=1)
    first, second = (_wound(winding, delta) for winding in (from_winding, to_winding))
    if base == 6:
        second = -second
    turns = ((clock - base) % 12) // 4
    second[:, :3] = np.roll(second[:, :3], -turns, axis=1)
    return first, second


def _wound(winding: str, delta: Floats) -> Complexes:
    if winding == "delta":
        return delta.astype(np.complex128)
    if winding == "wye_n":
        return np.eye(3, dtype=np.complex128)
    return np.hstack([np.eye(3), -np.ones((3, 1))]).astype(np.complex128)


def transformer(
    joins: tuple[Complexes, Complexes],
    volts: tuple[float, float],
    series_ohm: complex,
    stray_s: tuple[complex, complex] = (0.0, 0.0),
) -> Complexes:
    """Return the matrix of a transformer of up to three legs.

    Args:
        joins: What each leg's windings join, as from `windings`; shape (legs, 3) or (legs, 4).
        volts: Rated voltage across one winding at each end, taps counted in.
        series_ohm: Short-circuit impedance of a leg, seen from the to end.
        stray_s: What stands across a leg's windings at its from and to end, both seen from the to end.
    """
    legs, ratio = len(joins[0]), volts[1] / volts[0]
    leg = np.array([[ratio**2, -ratio], [-ratio, 1.0]]) / series_ohm + np.diag([ratio**2 * stray_s[0], stray_s[1]])
    wide = [join.shape[1] for join in joins]
    joined = np.zeros((2 * legs, sum(wide)), np.complex128)
    joined[:legs, : wide[0]], joined[legs:, wide[0] :] = joins
    whole: Complexes = joined.T @ np.kron(leg, np.eye(legs)) @ joined
    kept = np.r_[0:3, wide[0] : wide[0] + 3]
    free = np.setdiff1d(np.arange(sum(wide)), kept)
    if not len(free):
        return whole
    # A free neutral carries no current, so it is eliminated; two free ones are singular without a way to ground.
    gain = np.linalg.pinv(whole[np.ix_(free, free)])
    answer: Complexes = whole[np.ix_(kept, kept)] - whole[np.ix_(kept, free)] @ gain @ whole[np.ix_(free, kept)]
    return answer
