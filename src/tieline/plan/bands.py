"""The rows of nested bands: a feeder's power is what comes in from its devices and feeders, and part of its parent's.

With prices pi of a band and of its parent, a feeder's segments cost `rate + pi - pi_parent` more. So the Newton system
of all prices is a tree of (T x T) blocks that meet in diagonals alone: leaves are eliminated first, the pool last.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Tree:
    """Bands in an order in which each comes after the one that it hangs on; the pool is first, with parent -1."""

    def __init__(self, parent: Ints) -> None:
        self.parent = parent

    def passed_on(self, onto: Floats, what: Floats) -> None:
        """Add what each feeder has to its parent's, in place, the deepest first; shapes (B, ...)."""
        for band in range(len(self.parent) - 1, 0, -1):
            onto[self.parent[band]] += what[band]

    def across(self, price: Floats) -> Floats:
        """Return each band's price less its parent's (the pool's own: as it is); shape (B, T)."""
        across = price.copy()
        across[1:] -= price[self.parent[1:]]
        return across

    def summed(self, added: Floats) -> Floats:
        """Return the price in each band of what bands add to their parent's: `across` undone; shape (B, T)."""
        price = added.copy()
        for band in range(1, len(price)):
            price[band] += price[self.parent[band]]
        return price

    def solver(self, schur: Floats, theta: Floats) -> Callable[[Floats], Floats]:
        """Return how to solve with the matrix of all bands: scaled to a diagonal of 1, and refined twice.

        Args:
            schur: What each band's devices leave on its own rows; shape (B, T, T).
            theta: The same of its segments, a diagonal; it is on the parent's rows as well; shape (B, T).
        """
        whole = schur.copy()
        steps = np.arange(theta.shape[1])
        for band in range(len(whole)):
            whole[band, steps, steps] += theta[band]
        for band in range(1, len(whole)):
            whole[self.parent[band], steps, steps] += theta[band]
        diagonal = np.diagonal(whole, axis1=1, axis2=2)
        scale = 1.0 / np.sqrt(np.maximum(diagonal, 1e-300))
        scaled = whole * scale[:, :, None] * scale[:, None, :]
        link = np.zeros_like(theta)
        link[1:] = theta[1:] * scale[1:] * scale[self.parent[1:]]
        inverse = self._factored(scaled, link)

        def product(of: Floats) -> Floats:
            found: Floats = (scaled @ of[:, :, None])[:, :, 0]
            for band in range(1, len(of)):
                above = self.parent[band]
                found[band] -= link[band] * of[above]
                found[above] -= link[band] * of[band]
            return found

        def solved(right: Floats) -> Floats:
            rest = right * scale
            found = self._solved(inverse, link, rest)
            for _ in range(2):
                found = found + self._solved(inverse, link, rest - product(found))
            answer: Floats = found * scale
            return answer

        return solved

    def _factored(self, scaled: Floats, link: Floats) -> Floats:
        """Return the inverse of each band's block once all that hang on it are eliminated."""
        left, inverse = scaled.copy(), np.zeros_like(scaled)
        little = 1e-13 * np.eye(scaled.shape[1])
        for band in range(len(scaled) - 1, -1, -1):
            inverse[band] = np.linalg.inv(left[band] + little)
            if band:
                left[self.parent[band]] -= link[band][:, None] * inverse[band] * link[band][None, :]
        return inverse

    def _solved(self, inverse: Floats, link: Floats, right: Floats) -> Floats:
        rest = right.copy()
        for band in range(len(rest) - 1, 0, -1):
            rest[self.parent[band]] += link[band] * (inverse[band] @ rest[band])
        found = np.zeros_like(rest)
        found[0] = inverse[0] @ rest[0]
        for band in range(1, len(rest)):
            found[band] = inverse[band] @ (rest[band] + link[band] * found[self.parent[band]])
        return found
