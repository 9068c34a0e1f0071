"""A sample of a large pool: storages that stand for all, and the prices, curvature and plans that they bring.

The sample is stratified: by how full its storages are, what they cost to wear and how long they last. Each is magnified
to the rating of those that it stands for, so that the interior point plans a small pool under the whole pool's terms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.plan import interior, newton
from tieline.plan.interior import Spread
from tieline.plan.pool_pass import picked
from tieline.plan.pool_scaled import Band, Scaled, Units, program_of, scaled_stores
from tieline.plan.pool_terms import Course
from tieline.plan.storage import Stores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ROUGH, FINE = 1e-3, 1e-6
"""Gaps to which a sample is planned: for the curvature of its powers, and for its prices and plans.

Near the optimum only what little is left between bounds bends; at a gap of a thousandth all that is near a bound does.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Rows that stand for all storages, for how much of their own rating each does, and which of them is like whom.

    `rows` and `weight` have the shape of the sample, `like` that of the pool: a place in `rows`.
    """

    rows: Ints
    weight: Floats
    like: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What a sample brings: prices (T,), how powers change with them (T, T), and plans by unit of rating (n, T)."""

    price: Floats
    curve: Floats
    plan: Floats
    rounds: int


def drawn(stores: Stores, count: int, seed: int) -> Drawn:
    """Return a sample of so many storages.

    Those above the mean share of a row stand for themselves alone. The others are put in order of what they can do for
    how long and at what wear, and every so-manieth is drawn.
    """
    rating = np.maximum(stores.charge_w, stores.discharge_w)
    whole, size = float(rating.sum()), len(rating)
    if count >= size:
        return Drawn(np.arange(size), np.ones(size), np.arange(size))
    is_alone = rating > whole / count
    alone, rest = np.flatnonzero(is_alone), np.flatnonzero(~is_alone)
    room = np.maximum(stores.most_wh - stores.least_wh, 1e-300)[rest]
    filled = np.clip((stores.start_wh - stores.least_wh)[rest] / room, -1.0, 2.0)
    lasts = np.log(room) - np.log(np.maximum(rating[rest], 1e-300))
    order = np.lexsort([_tenth(column) for column in (filled, stores.wear_per_wh[rest], lasts)])
    few = min(max(count - len(alone), 1), len(rest))
    edges = np.arange(few + 1) * len(rest) // max(few, 1)
    picks = edges[:-1] + (np.random.default_rng(seed).random(few) * np.diff(edges)).astype(np.int64)
    chosen = rest[order[picks]]
    share = float(rating[rest].sum()) / max(float(rating[chosen].sum()), 1e-300)
    rows, weight = np.concatenate([alone, chosen]), np.concatenate([np.ones(len(alone)), np.full(few, share)])
    like = np.zeros(size, np.int64)
    like[alone] = np.arange(len(alone))
    like[rest[order]] = len(alone) + np.minimum(np.searchsorted(picks, np.arange(len(rest))), few - 1)
    return Drawn(rows, weight, like)


def _tenth(column: Floats) -> Ints:
    """Return in which tenth of the column each value is."""
    edges = np.quantile(column, np.arange(1, 10) / 10) if len(column) else column
    tenth: Ints = np.searchsorted(edges, column)
    return tenth


def _magnified(scaled: Scaled, weight: Floats) -> Scaled:
    """Return storages as many times as large."""
    by = weight[:, None]
    return replace(
        scaled, charge=scaled.charge * by, discharge=scaled.discharge * by, drift=scaled.drift * by,
        low=scaled.low * by, high=scaled.high * by,
    )  # fmt: skip


def learnt(stores: Stores, course: Course | None, sample: Drawn, band: Band, units: Units, spread: Spread) -> Learnt:
    """Return what the plan of a sample brings."""
    rows, weight = sample.rows, sample.weight
    steps, scale = len(band.buy), float(weight.max(initial=1e-300))
    scaled = scaled_stores(*picked(stores, course, rows), steps, units)
    # In units of the largest magnification, so that the barrier's scale is that of a storage.
    program = program_of(
        _magnified(scaled, weight / scale),
        replace(band, low=band.low / scale, high=band.high / scale, base=band.base / scale),
    )
    rough = interior.solve(program, ROUGH, spread)
    schur, right = np.zeros((steps, steps)), np.zeros(steps)
    newton.eliminate(rough.state, program.width, program.low, program.drift, program.row, rough.price[0], schur, right)
    fine = interior.solve(program, FINE, spread)
    rating = np.maximum(stores.charge_w, stores.discharge_w)[rows] / units.watts * weight / scale
    plan = (fine.state[:, 1] - fine.state[:, 0]) / np.maximum(rating, 1e-300)[:, None]
    return Learnt(fine.price[0], (schur + np.triu(schur, 1).T) * scale, plan, rough.rounds + fine.rounds)
