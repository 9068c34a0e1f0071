"""Batched ridge regression: a day ahead of very many series at once, each with coefficients of its own, closed form.

Theory. A series' value at day d and step s is its like-day profile m plus what calendar and weather (x, the same for
all series) and its own last days (l) add: y = m + x'b + l'c. Coefficients minimise

    sum_t w_t (y_t - m_t - x_t'b - l_t'c)^2 + lambda_x |b|^2 + lambda_l |c|^2,

so that with little to go by the forecast falls back to the profile. As x is shared, its Gram matrix
A = X'WX + lambda_x I is made and inverted once for all series; b is eliminated, and what is left to each series is a
system of the size of c:

    (L'WL + lambda_l I - C A^-1 C') c = L'Wz - C A^-1 X'Wz,   C = L'WX,   b = A^-1 (X'Wz - C'c),   z = y - m.

Rows without a reading are taken out of a series' own A (a downdate), so that the answer is that of the rows there are.
`one_series` says the same plainly, and is the specification.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.forecast.lags import COUNT, lags_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_DAYS = 14
"""Less than two weeks say nothing of a type of day."""
PART = 32
"""Series in a part: its columns stay in a cache."""


@dataclass(frozen=True, slots=True)
class RidgeTerms:
    """How much is looked at and how little is believed.

    Attributes:
        window_days: The last so many days are fitted.
        half_life_days: A day of that age weighs half.
        shared_penalty, lag_penalty: lambda_x and lambda_l, for values over the series' own mean.
    """

    window_days: int = 56
    half_life_days: float = 28.0
    shared_penalty: float = 30.0
    lag_penalty: float = 10.0


DEFAULT = RidgeTerms()


@dataclass(frozen=True, slots=True)
class _Rows:
    """What all series share: root-weighted rows that are fitted, the Gram's inverse, and the rows that are foretold."""

    first: int
    root: Floats
    fitted: Floats
    target: Floats
    gram: Floats
    inverse: Floats


def ridge(load: Floats, shared: Floats, is_off: Flags, terms: RidgeTerms = DEFAULT) -> Floats:
    """Return the mean forecast of one day of every series; shape (n, steps). NaN: a series without any reading.

    Args:
        load: Past values of whole days, oldest first, NaN where there is no reading; shape (n, days, steps).
        shared: Columns of calendar and weather, `shared_columns`; shape (days + lead, steps, columns): the last day is
            the one that is foretold, `lead` days after the last that is known.
        is_off: Whether each of those days is none of work; shape (days + lead,).
        terms: Window, half-life and penalties.

    Raises:
        ValueError: Shapes that don't fit, or fewer than 14 days.
    """
    count, days, steps = load.shape
    rows = _rows(days, steps, shared, is_off, terms)
    found = np.empty((count, steps))
    for at in range(0, count, PART):
        found[at : at + PART] = _part(np.ascontiguousarray(load[at : at + PART]), is_off, rows, terms)
    return found


def _rows(days: int, steps: int, shared: Floats, is_off: Flags, terms: RidgeTerms) -> _Rows:
    lead = len(is_off) - days
    if lead < 1 or shared.shape[:2] != (len(is_off), steps):
        raise ValueError(f"{len(is_off)} days of columns {shared.shape}: give {days} known days and those to come")
    if days < LEAST_DAYS:
        raise ValueError(f"{days} days: give at least {LEAST_DAYS}")
    first = max(days - terms.window_days, 7)
    weight = 0.5 ** ((days - 1 - np.arange(first, days)) / terms.half_life_days)
    root = np.sqrt(weight)
    by_day = shared[first:days] * root[:, None, None]
    fitted = by_day.reshape(-1, shared.shape[2])
    gram = (by_day.transpose(0, 2, 1) @ by_day).sum(axis=0)
    gram[np.diag_indices(len(gram))] += terms.shared_penalty
    inverse: Floats = np.linalg.inv(gram).astype(np.float64)
    return _Rows(first, root, fitted, shared[-1], gram, inverse)


def _part(load: Floats, is_off: Flags, rows: _Rows, terms: RidgeTerms) -> Floats:
    count = len(load)
    own, seen, size, base, ahead = lags_of(load, is_off, rows.first, rows.root)
    own, seen = own.reshape(count, COUNT + 1, -1), seen.reshape(count, -1)
    # A product a series, too small for BLAS to spread over threads: these cost more than they bring, and change bits.
    cross = own @ rows.fitted
    inner = own @ own.transpose(0, 2, 1)
    inner[:, range(COUNT), range(COUNT)] += terms.lag_penalty
    b, c = _solved(cross, inner, seen, rows)
    added = b @ rows.target.T + np.einsum("nk,nks->ns", c, ahead)
    return within(base + added * size[:, None], load)


def _solved(cross: Floats, inner: Floats, seen: Flags, rows: _Rows) -> tuple[Floats, Floats]:
    """Return b, shape (n, columns), and c, shape (n, COUNT)."""
    by = cross @ rows.inverse
    for i in np.flatnonzero(~seen.all(axis=1)):
        lost = rows.fitted[~seen[i]]
        by[i] = np.linalg.solve(rows.gram - lost.T @ lost, cross[i].T).T
    schur = inner - by @ cross.transpose(0, 2, 1)
    c: Floats = np.linalg.solve(schur[:, :COUNT, :COUNT], schur[:, :COUNT, COUNT:])[:, :, 0].astype(np.float64)
    return by[:, COUNT] - np.einsum("nk,nkf->nf", c, by[:, :COUNT]), c


def within(found: Floats, load: Floats) -> Floats:
    """Return forecasts held within what the series ever did, and half of its reach more: no line runs away."""
    has = np.isfinite(load)
    low = np.where(has, load, np.inf).min(axis=(1, 2))
    high = np.where(has, load, -np.inf).max(axis=(1, 2))
    reach = 0.5 * (high - low)
    low, high = np.where(low >= 0, 0.0, low - reach), np.where(high <= 0, 0.0, high + reach)
    held = np.clip(found, low[:, None], high[:, None])
    return np.where(np.isfinite(high - low)[:, None], held, np.nan)


def one_series(load: Floats, shared: Floats, is_off: Flags, terms: RidgeTerms = DEFAULT) -> Floats:
    """Return the forecast of one series, shape (days, steps), by one least-squares problem: the specification."""
    days, steps = load.shape
    rows = _rows(days, steps, shared, is_off, terms)
    own, seen, size, base, ahead = lags_of(load[None], is_off, rows.first, rows.root)
    keep, own = seen.reshape(-1), own.reshape(COUNT + 1, -1)
    left = np.hstack([rows.fitted, own[:COUNT].T])[keep]
    penalty = np.sqrt([terms.shared_penalty] * rows.fitted.shape[1] + [terms.lag_penalty] * COUNT)
    whole = np.vstack([left, np.diag(penalty)])
    right = np.concatenate([own[COUNT, keep], np.zeros(len(penalty))])
    answer = np.linalg.lstsq(whole, right, rcond=None)[0]
    added = np.hstack([rows.target, ahead[0].T]) @ answer
    found: Floats = within((base[0] + added * size[0])[None], load[None])[0]
    return found
