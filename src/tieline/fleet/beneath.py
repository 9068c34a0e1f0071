"""Which rows are beneath which group, numbered once: a territory of a million devices has half a million groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tieline.resource.identity import Purpose

Rows = NDArray[np.int32]


class Beneath:
    """The groups of a fleet numbered so that all beneath one follow it, and the rows of each purpose in that order."""

    def __init__(self, parent_of_group: Sequence[int], parents: Mapping[Purpose, Rows]) -> None:
        """Number the groups.

        Args:
            parent_of_group: The index of each group's parent, -1 for none; a parent stands before its children.
            parents: For each purpose the index of each row's group, -1 for none.
        """
        sizes = [1] * len(parent_of_group)
        for at in range(len(parent_of_group) - 1, -1, -1):
            if parent_of_group[at] >= 0:
                sizes[parent_of_group[at]] += sizes[at]
        first, free, roots_end = [0] * len(sizes), [0] * len(sizes), 0
        for at, parent in enumerate(parent_of_group):
            if parent >= 0:
                first[at] = free[parent]
                free[parent] += sizes[at]
            else:
                first[at] = roots_end
                roots_end += sizes[at]
            free[at] = first[at] + 1
        self._first, self._sizes = first, sizes
        self._places = np.array([*first, -1], np.int64)  # the last entry stands for "no parent"
        self._parents = parents
        self._ordered: dict[Purpose, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def rows(self, index: int, purpose: Purpose) -> Rows:
        """Return the rows beneath a group for a purpose, in order."""
        if purpose not in self._ordered:
            places = self._places[self._parents[purpose]]
            order = np.argsort(places, kind="stable")
            self._ordered[purpose] = order, places[order]
        order, places = self._ordered[purpose]
        low, high = np.searchsorted(places, (self._first[index], self._first[index] + self._sizes[index]))
        return np.sort(order[low:high]).astype(np.int32)
