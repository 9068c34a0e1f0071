"""Hourly weather-normalised baselines in columns: what each hour of the week costs, and what each degree does to it.

The form is the time-of-week-and-temperature regression of Mathieu, Price, Kiliccote and Piette (IEEE Transactions on
Smart Grid 2(3), 2011), which CalTRACK 2.0 section 3.11 took over for hourly data: a level for each hour of the week and
a piecewise linear response to the outdoor temperature. Where those split hours in two by occupancy, here each of six
parts of the day has a response of its own, to the hour's temperature and to the mean of 24 hours, by which walls
answer. All of it is shrunk by ridge, as far as generalised cross-validation asks for (Golub, Heath and Wahba,
Technometrics 21(2), 1979), meter by meter.

Meters of one weather station share their terms, so that one decomposition serves all of them. Of its terms an hour has
thirteen that are not 0, and both passes over the readings walk those alone. A meter with gaps is solved on the hours
that it has: its lacking hours are taken out of the shared solution, which is exact. `fit_one` is the same in plain
linear algebra, a meter at a time: it specifies this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.market.hourly_loops import lacking, lay, taken_out, turned, walk
from tieline.market.hourly_terms import TERMS, WEEK, Floats, Places, Station, rows_of, station

__all__ = ["Fitted", "Station", "cvrmse", "fit", "fit_one", "predict", "station"]

PENALTIES = np.logspace(-3.5, 1.5, 16)
"""Candidates, a row of the data; terms are scaled to unit variance."""
BLOCK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Models of m meters.

    Attributes:
        level: Each meter's level with all terms at 0 (the readings' unit); NaN: too few readings; shape (m,).
        terms: What each scaled term adds; shape (m, TERMS).
        penalty: The penalty a row that was chosen; shape (m,).
        freedom: Effective number of terms, the level included; shape (m,).
        read: How many hours it was learnt from; shape (m,).
        cvrmse: Root mean square of what is off in the learnt hours over their mean load; shape (m,).
    """

    level: Floats
    terms: Floats
    penalty: Floats
    freedom: Floats
    read: Places
    cvrmse: Floats


def fit(one: Station, load: NDArray[Any], least: int = WEEK) -> Fitted:
    """Return the models of meters.

    Args:
        one: Their station.
        load: Energy of each hour (kWh or any unit); NaN: no reading; float32 or float64; shape (m, n).
        least: With fewer readings a meter has no model.

    Raises:
        ValueError: The load has another number of hours than the station.
    """
    if load.ndim != 2 or load.shape[1] != len(one.slot):
        raise ValueError(f"load has shape {load.shape}: give a row a meter, {len(one.slot)} hours")
    meters = len(load)
    level, terms = np.full(meters, np.nan), np.zeros((meters, TERMS))
    penalty, freedom, cvrmse = (np.full(meters, np.nan) for _ in range(3))
    read, sums = np.zeros(meters, np.int64), np.empty((BLOCK, TERMS))
    whole = np.empty((BLOCK, 3))
    for first in range(0, meters, BLOCK):
        mine = load[first : first + BLOCK]
        count = len(mine)
        walk(mine, one.slot, one.lines, one.learns, one.hour_scale, one.week_scale, sums, whole)
        solved = _solve(one, mine, sums[:count], whole[:count], least)
        span = slice(first, first + count)
        level[span], terms[span], penalty[span], freedom[span], read[span], cvrmse[span] = solved
    return Fitted(level, terms, penalty, freedom, read, cvrmse)


def _solve(one: Station, load: NDArray[Any], sums: Floats, whole: Floats, least: int) -> tuple[Any, ...]:
    """Return levels, terms, penalties, degrees of freedom, readings and CVRMSE of a block of meters."""
    read, total, square = whole.T
    enough = read >= max(least, 1)
    safe = np.maximum(read, 1.0)
    mean = total / safe
    # Along the axes: sums of (term less its middle) times load, over the hours that are there.
    along = turned(sums - total[:, None] * one.middle, one.axes)
    scatter = square - total * mean
    picked = _chosen(one, along, scatter, read)
    penalty = PENALTIES[picked]
    ridge = penalty[:, None] * one.count
    weights = along / (one.root + ridge)
    # With gaps both scatter and penalty go down by the same part, so that freedom stays as near as that holds.
    freedom = 1.0 + (one.root / (one.root + ridge)).sum(axis=1)
    level, left = mean.copy(), scatter - 2 * (weights * along).sum(axis=1) + (weights**2 * one.root).sum(axis=1)
    for at in np.flatnonzero(enough & (read < one.count)):
        # With hours lacking, sums and scatter don't belong to each other yet.
        gaps = np.flatnonzero(one.learns & ~np.isfinite(load[at]))
        level[at], weights[at], left[at] = _without(
            one, gaps, along[at], total[at], square[at], float(penalty[at] * read[at])
        )
    terms = turned(weights, one.back)
    level = np.where(enough, level - (terms * one.middle).sum(axis=1), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        cvrmse = np.where(enough, np.sqrt(np.maximum(left, 0.0) / safe) / np.abs(mean), np.nan)
    return level, terms, np.where(enough, penalty, np.nan), freedom, read.astype(np.int64), cvrmse


def _chosen(one: Station, along: Floats, scatter: Floats, read: Floats) -> Places:
    """Return which penalty has the least `RSS / n / (1 - freedom / n)^2`, by the station's axes.

    For a meter with gaps it is a choice among candidates by what its other hours say, as if they were all there.
    """
    n = one.count
    # What a gap took from the sums is put back in proportion.
    grown = n / np.maximum(read, 1.0)
    best, found = np.full(len(along), np.inf), np.zeros(len(along), np.int64)
    squares = (along * grown[:, None]) ** 2
    for k, penalty in enumerate(PENALTIES):
        ridge = penalty * n
        freedom = 1.0 + float((one.root / (one.root + ridge)).sum())
        if freedom >= n:
            continue
        gained = (squares * ((one.root + 2 * ridge) / (one.root + ridge) ** 2)).sum(axis=1)
        score = np.maximum(scatter * grown - gained, 0.0) / (1.0 - freedom / n) ** 2
        better = score < best
        best, found = np.where(better, score, best), np.where(better, k, found)
    return found


def _without(
    one: Station, gaps: Places, along: Floats, total: float, square: float, ridge: float
) -> tuple[float, Floats, float]:
    """Return (level at the terms' middle, weights along the axes, residual sum of squares) on the hours that are there.

    The system of all hours is diagonal along the axes, `D = diag(n, root + ridge)`; that of a meter with gaps is
    `D - Q' Q` with a row of `Q` a lacking hour, so that by Woodbury's identity a system of the gaps' size is left.
    """
    diagonal = np.concatenate([[float(one.count)], one.root + ridge])
    q = np.zeros((1 + TERMS, len(gaps)))
    q[0], q[1:] = 1.0, -turned(one.middle[None], one.axes)[0][:, None]
    lacking(gaps, one.slot, one.lines, one.hour_scale, one.week_scale, one.axes, q)
    right = np.concatenate([[total], along])
    solved = np.empty(1 + TERMS)
    taken_out(diagonal, q, right, solved)
    inner = solved * diagonal - (q * (q * solved[:, None]).sum(axis=0)).sum(axis=1)
    inner[1:] -= ridge * solved[1:]
    left = square - 2 * float((solved * right).sum()) + float((solved * inner).sum())
    return float(solved[0]), solved[1:], left


def predict(one: Station, fitted: Fitted, into: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the baseline of every hour for every meter; NaN where no temperature is known; shape (m, n).

    Args:
        one: The station that the models were fitted with.
        fitted: The models.
        into: Where results go; None: into new float64 memory.
    """
    made = np.empty((len(fitted.level), len(one.slot))) if into is None else into
    lay(one.slot, one.lines, one.has_weather, one.hour_scale, one.week_scale, fitted.level, fitted.terms, made)
    return made


def cvrmse(baseline: NDArray[Any], load: NDArray[Any]) -> Floats:
    """Return the root mean square of baseline less load over the mean load, of each row, on hours that both have."""
    with np.errstate(divide="ignore", invalid="ignore"):
        both = np.isfinite(baseline) & np.isfinite(load)
        count = both.sum(axis=1)
        off = np.where(both, baseline - load, 0.0)
        found: Floats = np.sqrt((off**2).sum(axis=1) / count) / (np.where(both, load, 0.0).sum(axis=1) / count)
    return found


def fit_one(one: Station, load: Floats, penalty: float) -> tuple[float, Floats]:
    """Return level and terms of one meter at a given penalty, by the normal equations: the specification of `fit`.

    `sum (load - level - row terms)^2 + penalty n |terms|^2` is least, over the n learnt hours that have a reading; the
    level is not shrunk.
    """
    at = np.flatnonzero(one.learns & np.isfinite(load))
    rows = np.concatenate([np.ones((len(at), 1)), rows_of(one, at)], axis=1)
    shrink = np.diag([0.0] + [penalty * len(at)] * TERMS)
    solved = np.linalg.solve(rows.T @ rows + shrink, rows.T @ load[at])
    return float(solved[0]), solved[1:]
