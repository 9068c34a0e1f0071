"""The pool's band and those of its feeders, in scaled units: what power costs in each, and their part of the dual."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.plan.bands import Tree
from tieline.plan.interior import Program
from tieline.plan.mixed_terms import Feeders, checked_feeders
from tieline.plan.pool_scaled import Band, Scaled, Segments, Units, beyond, energy, segments, store_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEEDER_DEAR = 2.0
"""What a Wh beyond a feeder's band costs where nothing is given, as a multiple of the pool's slack."""


@dataclass(frozen=True, slots=True, eq=False)
class Bands:
    """All bands, the pool's first and each feeder's after the one that it hangs on; `band_of` (F + 1,) is the band of
    each feeder, and last that of -1: the pool. A feeder's own price of energy is 0.
    """

    tree: Tree
    each: tuple[Band, ...]
    band_of: Ints

    def through(self, own: Floats) -> Floats:
        """Return what flows through each band when its own devices do so much; shape (B, T)."""
        through = own.copy()
        self.tree.passed_on(through, through)
        return through

    def cost(self, through: Floats) -> tuple[float, float]:
        """Return what energy costs, and what lies beyond the bands (by itself)."""
        slack = 0.0
        for band, power in zip(self.each, through, strict=True):
            over, under = beyond(band.base + power, band)
            slack += band.slack * float((over + under).sum())
        return float(energy(self.each[0].base + through[0], self.each[0]).sum()), slack


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """The bands' own segments from a power of `target` (B, T) on, as in `interior.Program`."""

    tree: Tree
    target: Floats
    lengths: Floats
    rates: Floats
    offset: float

    def dual(self, price: Floats) -> float:
        """Return what the bands by themselves would do at these prices (B, T): their part of the Lagrangian dual."""
        across = self.tree.across(price)
        best = np.minimum(self.rates + across[:, None], 0.0) * self.lengths
        return float(best.sum() + (across * self.target).sum() + self.offset)


def bands_of(feeders: Feeders | None, pool: Band, units: Units) -> Bands:
    """Return the bands, feeders put in an order in which each comes after its parent.

    Raises:
        ConfigError: As `checked_feeders`.
    """
    low, high, parent = checked_feeders(feeders, len(pool.buy))
    depth = [0] * len(parent)
    for feeder in range(len(parent)):
        above = int(parent[feeder])
        while above >= 0:
            depth[feeder], above = depth[feeder] + 1, int(parent[above])
    order = sorted(range(len(parent)), key=lambda feeder: depth[feeder])
    band_of = np.zeros(len(parent) + 1, np.int64)
    band_of[order] = np.arange(1, len(parent) + 1)
    slack, zero = FEEDER_DEAR * pool.slack, np.zeros(len(pool.buy))
    if feeders is not None and feeders.slack_per_wh is not None:
        slack = feeders.slack_per_wh / units.price
    below = [Band(zero, zero, low[f] / units.watts, high[f] / units.watts, zero, slack) for f in order]
    return Bands(Tree(np.array([-1, *(int(band_of[parent[f]]) for f in order)])), (pool, *below), band_of)


def own_of(bands: Bands, fixed: Floats, down: Floats, up: Floats) -> Own:
    """Return the bands' segments when so much is fixed, and the rest can take and give at most `down` and `up`.

    Args:
        fixed: What flows through each band anyway; shape (B, T).
        down: Of the devices of each band alone; shape (B, T), as `up`.
    """
    down, up = bands.through(down), bands.through(up)
    found: list[Segments] = []
    for at, band in enumerate(bands.each):
        shifted = (
            replace(band, low=band.low - fixed[at], high=band.high - fixed[at])
            if at
            else replace(band, base=band.base + fixed[at])
        )
        found.append(segments(shifted, down[at], up[at]))
    target, lengths, rates = (
        np.stack([getattr(one, name) for one in found]) for name in ("target", "lengths", "rates")
    )
    return Own(bands.tree, target, lengths, rates, float(sum(one.offset for one in found)))


def program_under(scaled: Scaled, ends: Ints, own: Own) -> Program:
    """Return the linear program of storages (in the order of their bands) under all bands."""
    return Program(
        *store_rows(scaled), own.target, own.lengths, own.rates, own.offset, own.tree.parent, ends
    )  # fmt: skip


def by_band(power: Floats, band: Ints, bands: int) -> Floats:
    """Return the sum of powers (n, T) in each band; shape (B, T)."""
    sums = np.zeros((bands, power.shape[1]))
    np.add.at(sums, band, power)
    return sums
