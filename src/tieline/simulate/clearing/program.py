"""A linear or mixed-integer program in the making, kept in HiGHS so that it can be solved again after small changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tieline.errors import ConfigError, InvariantError

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
INFINITE = float("inf")


class Program:
    """Columns and rows are added in blocks; `load` hands them over, and later rows go to the solver at once."""

    def __init__(self, **options: object) -> None:
        """Make an empty program; `options` are HiGHS's own."""
        import highspy

        self._api = cast(Any, highspy)
        self.solver: Any = self._api.Highs()
        for name, value in {"output_flag": False, "threads": 1, **options}.items():
            self.solver.setOptionValue(name, value)
        self._columns: list[tuple[Floats, Floats, Floats, bool]] = []
        self._rows: list[tuple[Floats, Floats]] = []
        self._cells: list[tuple[Rows, Rows, Floats]] = []
        self.column_count, self.row_count, self._is_loaded = 0, 0, False

    def columns(
        self, shape: tuple[int, ...], low: ArrayLike, high: ArrayLike, cost: ArrayLike, whole: bool = False
    ) -> Rows:
        """Add columns and return their numbers in a shape; bounds and costs are spread over it."""
        spread = [np.broadcast_to(np.asarray(part, np.float64), shape).ravel() for part in (low, high, cost)]
        count = len(spread[0])
        self._columns.append((spread[0], spread[1], spread[2], whole))
        self.column_count += count
        return np.arange(self.column_count - count, self.column_count).reshape(shape)

    def rows(self, low: ArrayLike, high: ArrayLike, cells: Sequence[tuple[Rows, Rows, Any]]) -> Rows:
        """Add rows and return their numbers; `cells` are (row of these, column, value), each spread over the other."""
        low_, high_ = np.broadcast_arrays(np.asarray(low, np.float64), np.asarray(high, np.float64))
        first = self.row_count
        made = [tuple(part.ravel() for part in np.broadcast_arrays(*cell)) for cell in cells]
        row, column, value = (np.concatenate(parts) for parts in zip(*made, strict=True))
        keep = value != 0.0
        row, column, value = row[keep], column[keep], np.asarray(value[keep], np.float64)
        self.row_count += len(low_)
        if self._is_loaded:
            order = np.argsort(row, kind="stable")
            starts = np.searchsorted(row[order], np.arange(len(low_)))
            self.solver.addRows(
                len(low_), low_.copy(), high_.copy(), len(value), starts.astype(np.int32),
                column[order].astype(np.int32), value[order],
            )  # fmt: skip
        else:
            self._rows.append((low_, high_))
            self._cells.append((row + first, column, value))
        return np.arange(first, self.row_count)

    def load(self) -> None:
        """Hand the program to the solver."""
        lp = self._api.HighsLp()
        lp.num_col_, lp.num_row_ = self.column_count, self.row_count
        low, high, cost = (np.concatenate(parts) for parts in list(zip(*self._columns, strict=True))[:3])
        lp.col_lower_, lp.col_upper_, lp.col_cost_ = low, high, cost
        lp.row_lower_, lp.row_upper_ = (np.concatenate(parts) for parts in zip(*self._rows, strict=True))
        row, column, value = (np.concatenate(parts) for parts in zip(*self._cells, strict=True))
        order = np.argsort(row, kind="stable")
        lp.a_matrix_.format_ = self._api.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.searchsorted(row[order], np.arange(self.row_count + 1))
        lp.a_matrix_.index_, lp.a_matrix_.value_ = column[order], value[order]
        self.solver.passModel(lp)
        self._is_loaded = True

    def set_whole(self, is_whole: bool) -> None:
        """Let the columns that are whole numbers be so, or let them take any value between."""
        kinds = [np.full(len(low), 1 if whole and is_whole else 0, np.uint8) for low, _, _, whole in self._columns]
        kind = np.concatenate(kinds)
        self.solver.changeColsIntegrality(len(kind), np.arange(len(kind), dtype=np.int32), kind)

    def bound_columns(self, columns: Rows, low: Floats, high: Floats) -> None:
        """Give columns other bounds."""
        self.solver.changeColsBounds(len(columns), columns.astype(np.int32), low, high)

    def bound_rows(self, rows: Rows, low: Floats, high: Floats) -> None:
        """Give rows other bounds."""
        self.solver.changeRowsBounds(len(rows), rows.astype(np.int32), low, high)

    def price_columns(self, columns: Rows, cost: Floats) -> None:
        """Give columns other costs."""
        self.solver.changeColsCost(len(columns), columns.astype(np.int32), cost)

    def solve(self) -> tuple[Floats, Floats]:
        """Return the columns' values and, of a linear program, the rows' prices (cost by one more on the right side).

        Raises:
            ConfigError: The time was over before anything was found.
            InvariantError: It has no answer, which a program with penalties always has.
        """
        self.solver.run()
        status = self.solver.getModelStatus()
        found = self.solver.getSolution()
        timed = status == self._api.HighsModelStatus.kTimeLimit and self.solver.getInfo().primal_solution_status == 2
        if status == self._api.HighsModelStatus.kTimeLimit and not timed:
            raise ConfigError("nothing was found in the time given: give more")
        if status != self._api.HighsModelStatus.kOptimal and not timed:
            raise InvariantError(f"the market's program ended as {status}")
        return np.asarray(found.col_value), np.asarray(found.row_dual)
