"""The score of a regulation response while it runs: the same figures as `regulation.score`, a sample at a time.

A window counts once its longest lag has passed (ten minutes after it began in PJM's form), so that nothing that is told
is taken back later. Precision counts every sample so far.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from tieline.market.product import Regulation
from tieline.market.regulation import Score, best_lag, delay_of


class LiveScore:
    """Scores one response sample by sample; begin a new one for each hour that is settled by itself."""

    def __init__(self, rule: Regulation) -> None:
        """Make the score of a rule's samples, windows and lags."""
        self._rule = rule
        self._window, lags = rule.window_s // rule.sample_s, rule.lag_most_s // rule.sample_s
        reach = self._window + lags
        self._signal: deque[float] = deque(maxlen=reach)
        self._response: deque[float] = deque(maxlen=reach)
        self._accuracy, self._delay, self._lag_s = 0.0, 0.0, 0
        self._windows = self._still = self._samples = 0
        self._asked = self._off = 0.0

    def add(self, signal: float, response: float) -> None:
        """Take the next sample of both, in one unit. Raises ValueError where one is not finite: it is not counted."""
        if not (math.isfinite(signal) and math.isfinite(response)):
            raise ValueError(f"signal = {signal}, response = {response}: give finite numbers")
        self._signal.append(signal)
        self._response.append(response)
        self._samples += 1
        self._asked += abs(signal)
        self._off += abs(response - signal)
        if self._samples < (self._signal.maxlen or 0):
            return
        window = np.array(self._signal)[: self._window]
        best, lag_s = best_lag(self._rule, window, np.array(self._response))
        self._windows += 1
        if lag_s < 0:
            self._still += 1
            return
        self._accuracy += max(best, 0.0)
        self._delay += delay_of(self._rule, lag_s)
        self._lag_s += lag_s

    @property
    def now(self) -> Score | None:
        """The score of all windows that are over; None before the first is."""
        if not self._windows:
            return None
        moved = self._windows - self._still
        return Score(
            self._accuracy / self._windows, self._delay / self._windows, self.precision,
            self._lag_s / moved if moved else math.nan, self._windows, self._still,
        )  # fmt: skip

    @property
    def precision(self) -> float:
        """`1 - mean |y - r| / mean |r|` of all samples so far, 0 or more; a signal of 0 throughout asks for 0 alone."""
        if self._asked == 0.0:
            return 1.0 if self._off == 0.0 else 0.0
        return max(1.0 - self._off / self._asked, 0.0)
