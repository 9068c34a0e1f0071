"""The rows of some groups one after the other: what is asked of thousands of groups at once is found by columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.columns import Fleet, places

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]
LATEST, EARLIEST = np.iinfo(np.int64).max, np.iinfo(np.int64).min


class Groups:
    """The rows of some groups one after the other, so that a column is summed for all groups at once."""

    def __init__(self, fleet: Fleet, names: Sequence[str]) -> None:
        """Lay the rows out. Raises KeyError where there is no such group."""
        self.names = tuple(names)
        self.leaves = [fleet.leaves(name) for name in self.names]
        self.sizes = np.array([len(rows) for rows in self.leaves], np.int64)
        self.rows = places(np.concatenate([np.zeros(0, np.int32), *self.leaves]))
        self._filled = np.flatnonzero(self.sizes)
        self._starts = (np.cumsum(self.sizes) - self.sizes)[self._filled]

    def are(self, fleet: Fleet, names: Sequence[str]) -> bool:
        """Return whether these are still the groups of these names: a program's members change."""
        return self.names == tuple(names) and all(
            fleet.leaves(name) is rows for name, rows in zip(names, self.leaves, strict=True)
        )

    def sums(self, values: Floats | NDArray[np.bool_]) -> Floats:
        """Return the sum of a column (n,) over each group; 0 of an empty one."""
        found = np.zeros(len(self.names))
        self._reduce(np.add, values.astype(np.float64), found)
        return found

    def least(self, values: Instants) -> Instants:
        """Return the least of a column (n,) in each group; the latest instant that there is of an empty one."""
        found = np.full(len(self.names), LATEST)
        self._reduce(np.minimum, values, found)
        return found

    def most(self, values: Instants) -> Instants:
        """Return the most of a column (n,) in each group; the earliest instant that there is of an empty one."""
        found = np.full(len(self.names), EARLIEST)
        self._reduce(np.maximum, values, found)
        return found

    def tops(self, values: Floats) -> Floats:
        """Return the most of a column (n,) of 0 or more in each group; 0 of an empty one."""
        found = np.zeros(len(self.names))
        self._reduce(np.maximum, values, found)
        return found

    def _reduce(self, how: np.ufunc, values: Floats | Instants, into: Floats | Instants) -> None:
        if len(self._filled):
            into[self._filled] = how.reduceat(values[self.rows], self._starts)
