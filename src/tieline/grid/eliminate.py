"""Sparse elimination over buses: the factors of a feeder's admittance matrix, and what they solve.

Buses are eliminated in order of fewest neighbours. On a radial feeder that is from the leaves to the source, without
any fill: the sweep back and forth along the tree. A mesh fills in only what its loops need.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Complexes = NDArray[np.inexact[Any]]


class Factors:
    """An admittance matrix in blocks of three phases a bus, factored once and solved for many columns of currents."""

    def __init__(self, diagonal: Complexes, coupled: dict[tuple[int, int], Complexes]) -> None:
        """Factor.

        Args:
            diagonal: Shape (buses, 3, 3); a phase that a bus does not have is 1 on the diagonal.
            coupled: The 3 x 3 block of row bus and column bus, for each pair that a branch joins (both ways).

        Raises:
            ConfigError: A bus has no way to the source or to ground, so that the matrix is singular.
        """
        self.order = np.empty(len(diagonal), np.int64)
        blocks = {pair: block.copy() for pair, block in coupled.items()}
        own = diagonal.copy()
        beside: list[set[int]] = [set() for _ in own]
        for row, column in blocks:
            beside[row].add(column)
        queue = [(len(others), bus) for bus, others in enumerate(beside)]
        heapq.heapify(queue)
        gone = np.zeros(len(own), np.bool_)
        self._inverse = np.empty_like(own)
        self._down: list[tuple[NDArray[np.int64], Complexes, Complexes]] = [_NONE] * len(own)
        place = 0
        while queue:
            many, bus = heapq.heappop(queue)
            if gone[bus] or many != len(beside[bus]):
                continue
            gone[bus], self.order[place], place = True, bus, place + 1
            self._eliminate(bus, own, blocks, beside)
            for other in beside[bus]:
                heapq.heappush(queue, (len(beside[other]), other))

    def _eliminate(
        self, bus: int, own: Complexes, blocks: dict[tuple[int, int], Complexes], beside: list[set[int]]
    ) -> None:
        try:
            self._inverse[bus] = np.linalg.inv(own[bus])
        except np.linalg.LinAlgError as error:
            raise ConfigError(f"bus {bus}: a phase has no way to the source or to ground") from error
        others = sorted(beside[bus])
        if not others:
            return
        into = np.stack([blocks.pop((other, bus)) @ self._inverse[bus] for other in others])
        out = np.stack([blocks.pop((bus, other)) for other in others])
        for i, row in enumerate(others):
            beside[row].discard(bus)
            for j, column in enumerate(others):
                change = into[i] @ out[j]
                if row == column:
                    own[row] -= change
                elif (row, column) in blocks:
                    blocks[row, column] -= change
                else:
                    blocks[row, column] = -change
                    beside[row].add(column)
        self._down[bus] = (np.array(others, np.int64), into, self._inverse[bus] @ out)

    def solve(self, current_a: Complexes) -> Complexes:
        """Return the voltages (V) that currents into the buses (A) make; both of shape (buses, 3, columns)."""
        volts = current_a.copy()
        for bus in self.order:
            others, into, _ = self._down[bus]
            for other, block in zip(others, into, strict=True):
                volts[other] -= block @ volts[bus]
        for bus in self.order[::-1]:
            others, _, out = self._down[bus]
            volts[bus] = self._inverse[bus] @ volts[bus]
            for other, block in zip(others, out, strict=True):
                volts[bus] -= block @ volts[other]
        return volts


_NONE = (np.empty(0, np.int64), np.empty((0, 3, 3), np.complex128), np.empty((0, 3, 3), np.complex128))
