"""Industrial process lines: batches made step by step, which wait only between two steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEP_FRAC = np.array([1.0, 0.55, 0.8, 0.25])
"""Power of each step as a share of the rating: heat up, hold, stir, drain."""
STEP_S = np.array([1200.0, 2400.0, 900.0, 900.0])
MAY_WAIT = np.array([True, False, True, True])
"""Whether a batch may wait before a step: not before holding, where it would cool and spoil."""
IDLE_FRAC = 0.08


@dataclass(eq=False)
class Lines:
    """Columns of process lines, shape (n,). Within its shift a line makes batch after batch.

    `step` is the step of the recipe, `done_s` how much of it is done, `waits_s` how long it has waited before it.
    """

    rated_w: Floats
    begins_s: Floats
    ends_s: Floats
    most_wait_s: Floats
    step_at: NDArray[np.int64]
    done_s: Floats
    waits_s: Floats
    batches: NDArray[np.int64]
    last_w: Floats

    def step(self, wanted_w: Floats, low_w: Floats, high_w: Floats, second_of_day: float, seconds: float) -> Floats:
        """Move by one step and return the power (W, 0 or negative). NaN wanted: go on.

        A line that is asked to draw less than its next step waits before that step, if it may and not longer than the
        product stands; a step that has begun is finished, whoever asks.
        """
        boundary = self.done_s <= 0.0
        next_w = self.rated_w * STEP_FRAC[self.step_at]
        on_shift = (second_of_day >= self.begins_s) & (second_of_day < self.ends_s)
        allowed_w = np.where(np.isnan(wanted_w), np.inf, np.maximum(-wanted_w, 0.0))
        allowed_w = np.minimum(allowed_w, np.maximum(-low_w, 0.0))
        asked_to_wait = allowed_w < 0.95 * next_w
        between = boundary & (self.step_at == 0)
        stands = boundary & asked_to_wait & MAY_WAIT[self.step_at] & ((self.waits_s < self.most_wait_s) | between)
        stands |= between & ~on_shift
        power_w = np.where(stands, IDLE_FRAC * self.rated_w, next_w)
        self.waits_s = np.where(stands, self.waits_s + seconds, 0.0)
        self.done_s = np.where(stands, 0.0, self.done_s + seconds)
        over = self.done_s >= STEP_S[self.step_at]
        self.batches += over & (self.step_at == len(STEP_S) - 1)
        self.step_at = np.where(over, (self.step_at + 1) % len(STEP_S), self.step_at)
        self.done_s = np.where(over, 0.0, self.done_s)
        self.last_w = power_w
        result: Floats = -power_w
        return result

    def headroom(self, notice_s: float = 300.0) -> tuple[Floats, Floats]:
        """Return how far the power can rise (wait) and fall (go on) within the notice (W)."""
        idle_w = IDLE_FRAC * self.rated_w
        left_s = STEP_S[self.step_at] - self.done_s
        follows = (self.step_at + 1) % len(STEP_S)
        soon = (self.done_s > 0) & (left_s <= notice_s) & MAY_WAIT[follows]
        waits = self.waits_s > 0
        still = (self.most_wait_s - self.waits_s > notice_s) | (self.step_at == 0)
        up_w = np.where(soon, np.maximum(self.last_w - idle_w, 0.0), 0.0)
        down_w = np.where(waits & still, self.rated_w * STEP_FRAC[self.step_at] - self.last_w, 0.0)
        return up_w, np.maximum(down_w, 0.0)
