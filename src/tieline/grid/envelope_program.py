"""The linear program of an envelope, kept from interval to interval: only its bounds and rooms change."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tieline.errors import InvariantError

Floats = NDArray[np.float64]
HELD = 1e-7
"""The least share may give way by so much in the second stage, so that rounding doesn't make it infeasible."""


class EnvelopeProgram:
    """`max sum (high - low)`, with `A_high high + A_low low <= room` and `low <= high` within bounds.

    Columns: the high bounds, the low bounds, and the least share z. Where envelopes are to be fair, z is maximised
    first, with `high - low >= z (most - least)`; then the sum, with z held.
    """

    def __init__(self, high: Floats, low: Floats, fairness: str) -> None:
        import highspy

        self._fair, (rows, count) = fairness == "max-min", high.shape
        self.count, self._rows = count, rows
        self._api = cast(Any, highspy)
        self._solver: Any = self._api.Highs()
        self._solver.setOptionValue("output_flag", False)
        self._solver.setOptionValue("threads", 1)
        lp = self._api.HighsLp()
        lp.num_col_, lp.num_row_ = 2 * count + 1, rows + count
        lp.col_cost_ = np.concatenate([-np.ones(count), np.ones(count), [0.0]])
        lp.col_lower_, lp.col_upper_ = np.zeros(2 * count + 1), np.ones(2 * count + 1)
        infinite = self._api.kHighsInf
        lp.row_lower_ = np.concatenate([np.full(rows, -infinite), np.zeros(count)])
        lp.row_upper_ = np.concatenate([np.zeros(rows), np.full(count, infinite)])
        width = np.hstack([np.eye(count), -np.eye(count), np.zeros((count, 1))])
        whole = np.vstack([np.hstack([high, low, np.zeros((rows, 1))]), width])
        # Powers in kW within: a slope of 1e-6 pu a watt would vanish beside the solver's tolerances.
        lp.a_matrix_.format_ = self._api.MatrixFormat.kRowwise
        filled = np.abs(whole) > 0.0
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
        lp.a_matrix_.index_ = np.nonzero(filled)[1]
        scaled = whole.copy()
        scaled[:rows] *= 1e3
        self._scale = 1.0 / np.maximum(np.abs(scaled[:rows]).max(axis=1, initial=1e-12), 1e-12)
        scaled[:rows] *= self._scale[:, None]
        lp.a_matrix_.value_ = scaled[filled]
        self._solver.passModel(lp)

    def solve(self, least_w: Floats, most_w: Floats, room: Floats, asked_w: Floats) -> tuple[Floats, Floats] | None:
        """Return low and high bounds (W), or None where no envelope fits.

        Args:
            least_w: What each customer could do at least; shape (c,).
            most_w: At most.
            room: What each row has; shape (r,).
            asked_w: How wide an envelope each customer asked for; shape (c,).
        """
        solver, count = self._solver, self.count
        columns = np.arange(2 * count + 1, dtype=np.int32)
        low = np.concatenate([least_w, least_w]) / 1e3
        high = np.concatenate([most_w, most_w]) / 1e3
        solver.changeColsBounds(len(columns), columns, np.append(low, 0.0), np.append(high, 1.0))
        rows = np.arange(self._rows, dtype=np.int32)
        solver.changeRowsBounds(len(rows), rows, np.full(len(rows), -self._api.kHighsInf), room * self._scale)
        if self._fair:
            self._stage(asked_w, np.append(np.zeros(2 * count), -1.0))
            if not self._ran():
                return None
            least = max(float(np.asarray(solver.getSolution().col_value)[-1]) - HELD, 0.0)
            solver.changeColBounds(2 * count, least, 1.0)
            solver.changeColsCost(2 * count + 1, columns, np.concatenate([-np.ones(count), np.ones(count), [0.0]]))
        if not self._ran():
            return None
        found = np.asarray(solver.getSolution().col_value) * 1e3
        return np.minimum(found[count : 2 * count], found[:count]), found[:count]

    def _stage(self, asked_w: Floats, cost: Floats) -> None:
        """Set the fair stage: each width is at least the share z of what was asked."""
        for customer, wide in enumerate(asked_w / 1e3):
            self._solver.changeCoeff(self._rows + customer, 2 * self.count, -float(wide))
        self._solver.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)

    def _ran(self) -> bool:
        self._solver.run()
        status = self._solver.getModelStatus()
        if status == self._api.HighsModelStatus.kOptimal:
            return True
        if status in (self._api.HighsModelStatus.kInfeasible, self._api.HighsModelStatus.kUnboundedOrInfeasible):
            return False
        raise InvariantError(f"the envelope's program ended as {status}")
