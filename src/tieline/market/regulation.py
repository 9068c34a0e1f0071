"""Regulation in PJM's form to 2025-09-30: mileage, the three components of the score, and the credit.

`credit = MW x score x (RMCCP + mileage ratio x RMPCP)`, mileage `sum |r_i - r_(i-1)|`. The score is the mean of
accuracy (best correlation of signal and response over lags of 0 to 300 s), delay (`|lag - 300| / 300` at that lag, the
first 10 s free) and precision (`1 - mean |y - r| / mean |r|`). Where a signal or a response stands still over a window
no correlation is defined: accuracy and delay are 0 there, and the answer says how often. Chance finds a lag that
correlates somewhat in any noise, so that a resource that does nothing but hum scores about 0.3: look at the components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.market.product import ProductLine, Regulation, exact, line_of, split_line
from tieline.market.settlement import Basis

Floats = NDArray[np.float64]
CREDIT, SHORTFALL = "credit", "shortfall"
STILL = 1e-9
"""A window whose standard deviation is below this part of its largest value stands still."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well a response followed its signal, 0 to 1 each; `lag_s` is the mean lag of the best correlation."""

    accuracy: float
    delay: float
    precision: float
    lag_s: float
    windows: int
    still: int
    """Windows over which no correlation is defined."""

    @property
    def total(self) -> float:
        """The mean of the three components."""
        return (self.accuracy + self.delay + self.precision) / 3.0


class Scorer(Protocol):
    """Scores responses against signals, rows of shape (m, n) at the rule's samples; rules choose which."""

    def __call__(self, rule: Regulation, signal: Floats, response: Floats) -> list[Score]:
        """Return a score a row."""


def mileage(signal: Floats) -> float:
    """Return how far a signal moved: `sum |r_i - r_(i-1)|`.

    >>> mileage(np.array([0.0, 1.0, -1.0]))
    3.0
    """
    return float(np.abs(np.diff(signal)).sum())


def score(rule: Regulation, signal: Floats, response: Floats) -> Score:
    """Return the score of one response, written as the rule reads; `score_columns` is the same in columns.

    Args:
        rule: Samples, windows and lags.
        signal: What was asked for, at the rule's samples; shape (n,), any unit.
        response: What was given, in the same unit; shape (n,).

    Raises:
        ValueError: There are too few samples for one window at the longest lag, or one is not finite.
    """
    window, lags = rule.window_s // rule.sample_s, rule.lag_most_s // rule.sample_s
    starts = _starts(rule, len(signal))
    _require_finite(signal, response)
    accuracy, delay, at_lag, still = 0.0, 0.0, 0.0, 0
    for first in range(starts):
        best, lag_s = best_lag(rule, signal[first : first + window], response[first : first + window + lags])
        if lag_s < 0:
            still += 1
            continue
        accuracy += max(best, 0.0)
        delay += delay_of(rule, lag_s)
        at_lag += lag_s
    moved = starts - still
    return Score(
        accuracy / starts, delay / starts, _precision(signal, response), at_lag / moved if moved else math.nan,
        starts, still,
    )  # fmt: skip


def best_lag(rule: Regulation, signal: Floats, response: Floats) -> tuple[float, int]:
    """Return a window's best correlation and its lag (s), the earliest of equals; (-inf, -1) where one stands still.

    Args:
        rule: Samples and lags.
        signal: One window of the signal; shape (window,).
        response: The response from the same sample on, to the window's end at the longest lag.
    """
    window, best, lag_s = len(signal), -math.inf, -1
    for lag in range(len(response) - window + 1):
        found = _correlation(signal, response[lag : lag + window])
        if found > best:
            best, lag_s = found, lag * rule.sample_s
    return best, lag_s


def _starts(rule: Regulation, count: int) -> int:
    reach = (rule.window_s + rule.lag_most_s) // rule.sample_s
    if count < reach:
        raise ValueError(f"{count} samples: give {reach} or more, one window at the longest lag")
    return count - reach + 1


def _require_finite(signal: Floats, response: Floats) -> None:
    for name, column in (("signal", signal), ("response", response)):
        odd = np.flatnonzero(~np.isfinite(column))
        if len(odd):
            raise ValueError(f"{name}[{odd[0]}] = {column.flat[odd[0]]}: give a finite number")


def _correlation(one: Floats, other: Floats) -> float:
    """Return Pearson's correlation; -inf where one of them stands still."""
    a, b = one - one.mean(), other - other.mean()
    of_a, of_b = math.sqrt(float(a @ a)), math.sqrt(float(b @ b))
    most_a, most_b = float(np.abs(one).max()), float(np.abs(other).max())
    if of_a <= STILL * max(most_a, 1e-12) or of_b <= STILL * max(most_b, 1e-12):
        return -math.inf
    return float(a @ b) / (of_a * of_b)


def delay_of(rule: Regulation, lag_s: float) -> float:
    """Return the delay component of one lag: 1 within the free time, else what it is short of the longest."""
    return 1.0 if lag_s <= rule.lag_free_s else abs(lag_s - rule.lag_most_s) / rule.lag_most_s


def _precision(signal: Floats, response: Floats) -> float:
    """Return `1 - mean |y - r| / mean |r|`, 0 or more; a signal of 0 throughout asks for 0 alone."""
    asked = float(np.abs(signal).mean())
    off = float(np.abs(response - signal).mean())
    if asked == 0.0:
        return 1.0 if off == 0.0 else 0.0
    return max(1.0 - off / asked, 0.0)


def score_columns(rule: Regulation, signal: Floats, response: Floats) -> list[Score]:
    """Return the scores of many responses; rows of shape (m, n). `score` says what it must be."""
    window, lags = rule.window_s // rule.sample_s, rule.lag_most_s // rule.sample_s
    starts = _starts(rule, signal.shape[1])
    _require_finite(signal, response)
    accuracy, lag_sum, late_sum, still = _best_lags(
        np.ascontiguousarray(signal), np.ascontiguousarray(response), starts, window, lags,
        rule.lag_free_s / rule.sample_s,
    )  # fmt: skip
    found = []
    for row in range(len(signal)):
        moved = starts - int(still[row])
        delay = (moved - float(late_sum[row]) * rule.sample_s / rule.lag_most_s) / starts
        lag_s = float(lag_sum[row]) * rule.sample_s / moved if moved else math.nan
        found.append(
            Score(
                float(accuracy[row]) / starts, delay, _precision(signal[row], response[row]), lag_s, starts,
                int(still[row]),
            )
        )  # fmt: skip
    return found


@compiled
def _best_lags(
    signal: Floats, response: Floats, starts: int, window: int, lags: int, free: float
) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Return per row the sums over windows of best correlation, its lag, its lag where not free, and the still.

    Means and spreads of the response's windows are made once and used at every lag.
    """
    rows, count = signal.shape
    accuracy, lag_sum = np.zeros(rows), np.zeros(rows)
    late_sum, still = np.zeros(rows), np.zeros(rows, np.int64)
    mean_y, spread_y = np.empty(count - window + 1), np.empty(count - window + 1)
    for row in range(rows):
        r, y = signal[row], response[row]
        for at in range(count - window + 1):
            mean_y[at], spread_y[at] = _spread(y[at : at + window])
        for first in range(starts):
            mean_r, spread_r = _spread(r[first : first + window])
            best, best_lag = -np.inf, -1
            if spread_r > 0.0:
                for lag in range(lags + 1):
                    at = first + lag
                    if spread_y[at] <= 0.0:
                        continue
                    both = 0.0
                    for k in range(window):
                        both += (r[first + k] - mean_r) * (y[at + k] - mean_y[at])
                    found = both / (spread_r * spread_y[at])
                    if found > best:
                        best, best_lag = found, lag
            if best_lag < 0:
                still[row] += 1
                continue
            accuracy[row] += max(best, 0.0)
            lag_sum[row] += best_lag
            late_sum[row] += best_lag if best_lag > free else 0
    return accuracy, lag_sum, late_sum, still


@compiled
def _spread(values: Floats) -> tuple[float, float]:
    """Return a window's mean and the root of its summed squares about it; 0 where it stands still."""
    mean, most, squares = 0.0, 1e-12, 0.0
    for value in values:
        mean += value
        most = max(most, abs(value))
    mean /= len(values)
    for value in values:
        squares += (value - mean) * (value - mean)
    spread = math.sqrt(squares)
    return mean, spread if spread > STILL * most else 0.0


class Hour(Struct, frozen=True):
    """What an hour of regulation is paid by: capability (MW), both prices, the mileage ratio, and its score."""

    resource: str
    start_ns: int
    end_ns: int
    capability_mw: Decimal
    rmccp: Decimal
    rmpcp: Decimal
    mileage_ratio: Decimal
    score: Decimal
    causes: dict[str, float] = {}

    @property
    def price(self) -> Decimal:
        """What an MW is paid at a score of 1: `RMCCP + mileage ratio x RMPCP`."""
        return self.rmccp + self.mileage_ratio * self.rmpcp


def credit_lines(basis: Basis, hour: Hour) -> list[ProductLine]:
    """Return an hour's full credit and what its score takes off, by cause; in all `MW x score x price` to the cent."""
    over = (hour.start_ns, hour.end_ns)
    hours = exact(hour.end_ns - hour.start_ns) / exact(3_600_000_000_000)
    mw_h = hour.capability_mw * hours
    full = line_of(basis, CREDIT, hour.resource, over, mw_h, "MW h", hour.price)
    right = line_of(basis, CREDIT, hour.resource, over, mw_h * hour.score, "MW h", hour.price)
    if right.quantity == full.quantity:
        return [full]
    lost = line_of(basis, SHORTFALL, hour.resource, over, right.quantity - full.quantity, "MW h", hour.price)
    lost = ProductLine(
        lost.id,
        lost.kind,
        lost.resource,
        *over,
        lost.quantity,
        lost.unit,
        lost.price,
        right.amount - full.amount,
        basis,
    )
    return [full, *split_line(lost, hour.causes)]
