"""The price of a large pool's power: a few steps up its dual, on a model that learns from each pass.

The dual is what the storages cost at a price, each by itself, and what the pool's own segments cost at it: concave,
with the sum of powers as its slope. The storages' part is modelled by a parabola, whose curvature begins as that of a
sample's interior point and is corrected by what passes show (BFGS); the pool's part is exact, with its kinks. A step is
the top of that model within a region of trust; one that doesn't climb is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.pool_pass import Sums
from tieline.plan.pool_scaled import Segments

Floats = NDArray[np.float64]
SWEEPS = 1_000
FLAT = 1e-6
"""Curvature that is taken for none, as a part of the greatest: directions in which storages don't mind the price."""


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    """Where the climb stands: prices (T,), what a pass answered there, the curvature (T, T), the region of trust."""

    price: Floats
    sums: Sums
    curve: Floats
    trust: float
    off: float
    passes: int


def off_by(pool: Segments, price: Floats, power: Floats) -> float:
    """Return by how much the powers of a pass lie beyond what the pool takes at these prices, at the worst step."""
    is_sure, may = pool.rates + price < -1e-9, pool.rates + price < 1e-9
    least = pool.target + (pool.lengths * is_sure).sum(axis=0)
    most = pool.target + (pool.lengths * may).sum(axis=0)
    return float(np.maximum(np.maximum(least - power, power - most), 0.0).max())


def climbed(at: Climb, pool: Segments, asked: Callable[[Floats], Sums], met: float, most_passes: int) -> Climb:
    """Return where the climb ends: powers that the pool takes to within `met`, or the last pass.

    Args:
        at: Where it begins; its sums are of the storages that are asked.
        pool: The pool's own part of the dual.
        asked: What storages answer at a price; scaled units, all of them.
        met: How far off powers may be.
        most_passes: How often to ask.
    """
    price, sums, curve, trust, off = at.price, at.sums, at.curve, at.trust, at.off
    value, passes = sums.value + pool.dual(price), 0
    while passes < most_passes and off > met:
        step = _top(price, sums, curve, pool, trust) - price
        power = sums.gives - sums.takes
        hoped = pool.dual(price + step) - pool.dual(price) - float(power @ step + 0.5 * step @ curve @ step)
        if hoped <= 0.0:
            break
        there = asked(price + step)
        passes += 1
        curve = corrected(curve, step, there.gives - there.takes - power)
        gained = there.value + pool.dual(price + step) - value
        far = float(np.abs(step).max())
        trust = 2.0 * trust if gained > 0.7 * hoped else trust if gained > 0.2 * hoped else 0.4 * far
        now = off_by(pool, price + step, there.gives - there.takes)
        if gained > 0.0 or now < off:
            price, sums, value, off = price + step, there, there.value + pool.dual(price + step), now
    return Climb(price, sums, curve, trust, off, at.passes + passes)


def _top(price: Floats, sums: Sums, curve: Floats, pool: Segments, trust: float) -> Floats:
    """Return the prices at the top of the model, each within the region of trust."""
    order = np.argsort(-pool.rates, axis=0, kind="stable")
    kinks, drops = -np.take_along_axis(pool.rates, order, 0), np.take_along_axis(pool.lengths, order, 0)
    firm = curve + FLAT * float(np.abs(np.diag(curve)).max(initial=1e-12)) * np.eye(len(price))
    reach = trust * np.maximum(1.0, np.abs(price))
    top: Floats = _ascend(price, sums.gives - sums.takes, firm, pool.target, kinks, drops, reach)
    return top


@compiled
def _ascend(
    price: Floats, power: Floats, curve: Floats, target: Floats, kinks: Floats, drops: Floats, reach: Floats
) -> Floats:
    """Climb a parabola less the pool's kinks, one price after the other, until none moves; kinks rise."""
    now, slope = price.copy(), np.zeros(len(price))
    for _ in range(SWEEPS):
        moved = 0.0
        for t in range(len(price)):
            bend = curve[t, t]
            level = target[t] - power[t] - slope[t] + bend * now[t]  # slope of the dual at 0, but for the segments
            rest = drops[:, t].sum()
            best = np.inf
            for k in range(len(kinks)):
                if (level + rest) / bend <= kinks[k, t]:
                    best = (level + rest) / bend
                    break
                rest -= drops[k, t]
                if (level + rest) / bend <= kinks[k, t]:
                    best = kinks[k, t]
                    break
            if best == np.inf:
                best = (level + rest) / bend
            best = min(max(best, price[t] - reach[t]), price[t] + reach[t])
            change = best - now[t]
            if change != 0.0:
                for other in range(len(price)):
                    slope[other] += curve[t, other] * change
                now[t] = best
                moved = max(moved, abs(change))
        if moved <= 1e-10:
            break
    return now


def corrected(curve: Floats, step: Floats, change: Floats) -> Floats:
    """Return the curvature after a step that changed powers so (BFGS; what shows none teaches nothing)."""
    along, bent = float(step @ change), curve @ step
    before = float(step @ bent)
    if along <= 1e-12 * float(np.linalg.norm(step) * np.linalg.norm(change)) or before <= 0.0:
        return curve
    learnt: Floats = curve - np.outer(bent, bent) / before + np.outer(change, change) / along
    return learnt
