"""Storages that would burn energy by taking and giving at once: where they do, and one direction for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tieline.plan.interior import Point, Program

Floats = NDArray[np.float64]
BURNS = 1e-5
"""A storage that takes and gives at once by more than this share of its rating burns energy."""


def burning(program: Program, point: Point) -> NDArray[np.bool_]:
    """Return which storages burn energy at which steps; shape (n, T)."""
    burns: NDArray[np.bool_] = np.minimum(point.state[:, 0], point.state[:, 1]) > BURNS * program.width[:, :2].max(
        axis=1
    )
    return burns


def one_way(program: Program, chosen: NDArray[np.bool_], is_taking: NDArray[np.bool_]) -> Floats:
    """Return widths in which the chosen storages and steps (n, T) only take, or only give."""
    single = program.width.copy()
    single[:, 1][chosen & is_taking] = 0.0
    single[:, 0][chosen & ~is_taking] = 0.0
    return single


def by_net(program: Program, point: Point) -> NDArray[np.bool_]:
    """Return who takes: those whose stored energy grows by what they do."""
    takes: NDArray[np.bool_] = program.row[:, :1] * point.state[:, 0] > program.row[:, 1:2] * point.state[:, 1]
    return takes


def spread_out(program: Program, point: Point) -> NDArray[np.bool_]:
    """Return who takes: of those alike as many as the plan's share of taking, evenly over storages and steps.

    A pool burns energy by some giving while others take. The even sequence is the plastic number's (R2).
    """
    takes, both = point.state[:, 0], point.state[:, 0] + point.state[:, 1]
    count, steps = takes.shape
    even = (np.arange(count)[:, None] * 0.7548776662466927 + np.arange(steps)[None, :] * 0.5698402909980532) % 1.0
    is_taking: NDArray[np.bool_] = takes > even * both
    return is_taking
