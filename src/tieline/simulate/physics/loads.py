"""Interruptible, shiftable and process loads: a profile of the day that can be cut, moved or stepped down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.simulate.physics.within import within

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Load:
    """Columns of loads, shape (n,).

    `firm_frac` of the rating can't be cut. A shiftable load (`owes`) makes up later for the energy that it gave up,
    at up to its rating: the rebound. `dwell_s` is how long it stays as it is after a step.
    """

    rated_w: Floats
    firm_frac: Floats
    begins_s: Floats
    ends_s: Floats
    owes: NDArray[np.bool_]
    owed_wh: Floats
    dwell_s: Floats
    held_s: Floats
    last_w: Floats

    def profile_w(self, second_of_day: float) -> Floats:
        """Return what each would draw by itself (W, 0 or more)."""
        runs = (second_of_day >= self.begins_s) & (second_of_day < self.ends_s)
        result: Floats = np.where(runs, self.rated_w, self.rated_w * self.firm_frac * 0.5)
        return result

    def step(self, wanted_w: Floats, low_w: Floats, high_w: Floats, second_of_day: float, seconds: float) -> Floats:
        """Move by one step and return the power (W, 0 or negative)."""
        hours = seconds / 3600.0
        own_w = self.profile_w(second_of_day)
        makes_up_w = np.where(self.owes, np.minimum(self.owed_wh / max(hours, 1e-9), self.rated_w - own_w), 0.0)
        free_w = own_w + np.maximum(makes_up_w, 0.0)
        floor_w = np.minimum(self.rated_w * self.firm_frac, own_w)
        draw_w = np.where(np.isnan(wanted_w), free_w, within(-wanted_w, floor_w, self.rated_w))
        draw_w = within(draw_w, np.maximum(-high_w, 0.0), np.maximum(-low_w, floor_w))
        moves = np.abs(draw_w - self.last_w) > 0.01 * self.rated_w
        stays = moves & (self.held_s < self.dwell_s)
        draw_w = np.where(stays, np.minimum(self.last_w, self.rated_w), draw_w)
        self.held_s = np.where(moves & ~stays, seconds, self.held_s + seconds)
        self.owed_wh = np.where(self.owes, np.maximum(self.owed_wh + (own_w - draw_w) * hours, 0.0), 0.0)
        self.last_w = draw_w
        result: Floats = -draw_w
        return result

    def headroom(self, second_of_day: float) -> tuple[Floats, Floats]:
        """Return how far the power can rise (draw less) and fall (draw more) now (W)."""
        free = self.held_s >= self.dwell_s
        floor_w = np.minimum(self.rated_w * self.firm_frac, self.profile_w(second_of_day))
        up_w = np.where(free, np.maximum(self.last_w - floor_w, 0.0), 0.0)
        down_w = np.where(free & self.owes, self.rated_w - self.last_w, 0.0)
        return up_w, down_w
