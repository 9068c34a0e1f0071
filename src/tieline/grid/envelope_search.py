"""The rounds in which an envelope is found: a linear program, then every limit at its own worst corner, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.grid.envelope_program import EnvelopeProgram
from tieline.grid.envelope_terms import Asked, Fairness, Sides
from tieline.grid.limit_rows import LimitRows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bounds = tuple[Floats, Floats]
MOST_ROUNDS = 10
LEAST_WAY = 1e-3
"""A limit that has moved less than that (pu or share) says nothing of its slope."""
GROWS = 0.1
SETTLED = 3e-3
"""An envelope that holds and has changed by less in its last round is taken."""
SHY_PU, SHY_FRAC = 2e-5, 2e-4
"""Envelopes stop short of limits by so much, a corner between those that were looked at being a little worse."""
LOOK_PU, LOOK_FRAC = 0.02, 0.2
"""A limit that seems farther off than that is not solved anew in a round; at the end all are."""
HALVINGS = 12


class Search:
    """Bounds of all intervals, round by round; `best` has the widest that held."""

    def __init__(self, asked: Asked, rows: LimitRows, sides: Sides, fairness: Fairness) -> None:
        self.asked, self.rows, self.sides = asked, rows, sides
        self.program = EnvelopeProgram(sides.high, sides.low, fairness)
        # Rounds begin where customers are nearest to nothing: at far corners there may be no power flow to learn from.
        self.low, self.high = asked.nearest_w.copy(), asked.nearest_w.copy()
        self.limit = rows.limit - np.where(rows.is_voltage, SHY_PU, SHY_FRAC)
        self.look = rows.limit - np.where(rows.is_voltage, LOOK_PU, LOOK_FRAC)
        self.began = self._linear(np.arange(len(self.low)))
        self.started = asked.at_nearest(rows)
        self.values, self.linear, self.ratio = self.started.copy(), self.began.copy(), np.ones_like(self.started)
        self.wide, self.rounds = np.zeros(len(self.low)), 0
        self.best = self.low.copy(), self.high.copy()
        self.best_wide = np.full(len(self.low), -np.inf)

    def _linear(self, steps: Ints) -> Floats:
        linear: Floats = self.low[steps] @ self.sides.low.T + self.high[steps] @ self.sides.high.T
        return linear

    def run(self) -> Ints:
        """Search, and return the intervals whose last bounds are not known to hold and to be settled."""
        waiting = np.arange(len(self.low))
        while len(waiting) and self.rounds < MOST_ROUNDS:
            self.rounds += 1
            self._learn(waiting)
            for step in waiting.tolist():
                self._solve(step)
            waiting = self._look(waiting)
        return waiting

    def _learn(self, steps: Ints) -> None:
        """Take of each limit its way from where it started, at its own worst corner, over what the slope said of it."""
        said, way = self.linear[steps] - self.began[steps], self.values[steps] - self.started[steps]
        far = np.abs(said) > LEAST_WAY
        self.ratio[steps] = np.where(far, np.clip(way / np.where(far, said, 1.0), 0.2, 5.0), self.ratio[steps])

    def _solve(self, step: int) -> None:
        asked, room = self.asked, self.began[step] + (self.limit - self.started[step]) / self.ratio[step]
        # From the third round on bounds may grow less and less, lest the program jump between corners of its own.
        wide = asked.most_w[step] - asked.least_w[step]
        grow = wide * (1.0 if self.rounds < 3 else GROWS * 0.5 ** (self.rounds - 3))
        least = np.maximum(asked.least_w[step], self.low[step] - grow)
        most = np.minimum(asked.most_w[step], self.high[step] + grow)
        bounds = self.program.solve(least, most, room, wide)
        if bounds is None:
            raise asked.infeasible(step, self.rows.what[int((self.started[step] - self.rows.limit).argmax())])
        self.low[step], self.high[step] = bounds

    def _look(self, steps: Ints) -> Ints:
        """Solve the limits that are near at their worst corners, and return the intervals that need another round."""
        self.linear[steps] = self._linear(steps)
        seems = self.started[steps] + self.ratio[steps] * (self.linear[steps] - self.began[steps])
        step, row = np.nonzero((seems > self.look) | (self.rounds == 1))
        seems[step, row] = self.asked.at_some(self.rows, self.sides, self.low, self.high, steps[step], row)
        self.values[steps] = seems
        before = self.wide[steps].copy()
        self.wide[steps] = (self.high[steps] - self.low[steps]).sum(axis=1)
        held = (seems <= self.rows.limit).all(axis=1)
        better = steps[held & (self.wide[steps] > self.best_wide[steps])]
        for kept, now in zip((*self.best, self.best_wide), (self.low, self.high, self.wide), strict=True):
            kept[better] = now[better]
        return steps[~(held & (np.abs(self.wide[steps] - before) <= SETTLED * self.wide[steps]))]


def drawn_in(asked: Asked, rows: LimitRows, sides: Sides, inner: Bounds, outer: Bounds, steps: Ints) -> Bounds:
    """Return bounds on the way from inner to outer ones, as far as, halved again and again, every limit holds."""
    low, high = outer[0].copy(), outer[1].copy()
    least, most = np.zeros(len(steps)), np.ones(len(steps))
    limit: Any = rows.limit[sides.row]
    for _ in range(HALVINGS):
        share = 0.5 * (least + most)
        for column, one, two in zip((low, high), inner, outer, strict=True):
            column[steps] = one[steps] + share[:, None] * (two[steps] - one[steps])
        holds = (asked.at_corners(rows, sides, low, high, steps) <= limit).all(axis=1)
        least, most = np.where(holds, share, least), np.where(holds, most, share)
    for column, one, two in zip((low, high), inner, outer, strict=True):
        column[steps] = one[steps] + least[:, None] * (two[steps] - one[steps])
    return low, high
