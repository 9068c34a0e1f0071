"""The prices of all bands: a few steps up the dual, on a model that learns from each answer of the devices.

As `plan.pool_price`, in the prices that bands add to those above them: in these the kinks of each band's own cost stand
apart, so that going up one after the other finds the top. What the devices of a band do is modelled by a parabola of
its own, over the price that they see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled
from tieline.plan.mixed_bands import Own
from tieline.plan.pool_price import FLAT, SWEEPS, corrected

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TRUST = 0.05
UNMOVED = 0.1
"""Devices that do less than this part of what a parabola foresaw did not mind the step."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What all devices come to at prices: the least cost there, and what those of each band do; shape (B, T)."""

    value: float
    power: Floats


def climbed(
    price: Floats, curve: Floats, own: Own, asked: Callable[[Floats], Answers], passes: int, enough: float
) -> tuple[Floats, float, int]:
    """Return the best prices that were found, the dual there, and how often devices were asked.

    Args:
        price: Where the climb begins; shape (B, T).
        curve: How the powers of each band rise with its price; shape (B, T, T).
        own: The bands' part of the dual.
        asked: What all devices answer.
        passes: How often to ask at most.
        enough: A step that the model hopes to bring less than this is not taken.
    """
    at, curve, trust = asked(price), curve.copy(), TRUST
    value, count = at.value + own.dual(price), 1
    while count < passes:
        step = _top(price, at.power, curve, own, trust) - price
        bent = sum(float(step[b] @ curve[b] @ step[b]) for b in range(len(step)))
        hoped = own.dual(price + step) - own.dual(price) - float((at.power * step).sum()) - 0.5 * bent
        if hoped <= enough:
            break
        there = asked(price + step)
        count += 1
        for b in range(len(step)):
            curve[b] = _seen(curve[b], step[b], there.power[b] - at.power[b])
        now = there.value + own.dual(price + step)
        gained, far = now - value, float(np.abs(step).max())
        trust = 2.0 * trust if gained > 0.7 * hoped else trust if gained > 0.2 * hoped else 0.4 * far
        if gained > 0.0:
            price, at, value = price + step, there, now
    return price, value, count


def _seen(curve: Floats, step: Floats, change: Floats) -> Floats:
    """Return a band's curvature after a step; where devices did not mind it there is little left along it.

    Devices that are all alike mind a price not at all, and then all at once.
    """
    bent = curve @ step
    before, along = float(step @ bent), float(step @ change)
    if before > 0.0 and along <= UNMOVED * before:
        flatter: Floats = curve - (1.0 - UNMOVED) * np.outer(bent, bent) / before
        return flatter
    return corrected(curve, step, change)


def _top(price: Floats, power: Floats, curve: Floats, own: Own, trust: float) -> Floats:
    """Return the prices at the top of the model, each band's part within the region of trust."""
    order = np.argsort(-own.rates, axis=1, kind="stable")
    kinks, drops = -np.take_along_axis(own.rates, order, 1), np.take_along_axis(own.lengths, order, 1)
    diagonal = np.abs(np.diagonal(curve, axis1=1, axis2=2))
    firm = curve + FLAT * max(float(diagonal.max(initial=0.0)), 1e-12) * np.eye(price.shape[1])[None]
    added = own.tree.across(price)
    reach = trust * np.maximum(1.0, np.abs(added))
    return own.tree.summed(_ascend(added, power, firm, own.target, kinks, drops, reach, own.tree.parent))


@compiled
def _ascend(
    added: Floats, power: Floats, curve: Floats, target: Floats, kinks: Floats, drops: Floats, reach: Floats,
    parent: Ints,
) -> Floats:  # fmt: skip
    """Climb the parabolas less the bands' kinks, one price after the other, until none moves; kinks rise."""
    bands, steps = added.shape
    now, slope = added.copy(), power.copy()
    is_below = np.zeros((bands, bands), np.bool_)
    for band in range(bands):
        above = band
        while above >= 0:
            is_below[above, band] = True
            above = parent[above]
    for _ in range(SWEEPS):
        moved = 0.0
        for at in range(bands):
            for t in range(steps):
                bend, level = 0.0, target[at, t]
                for band in range(at, bands):
                    if is_below[at, band]:
                        bend += curve[band, t, t]
                        level -= slope[band, t]
                level += bend * now[at, t]
                rest, best = drops[at, :, t].sum(), np.inf
                for k in range(kinks.shape[1]):
                    if (level + rest) / bend <= kinks[at, k, t]:
                        best = (level + rest) / bend
                        break
                    rest -= drops[at, k, t]
                    if (level + rest) / bend <= kinks[at, k, t]:
                        best = kinks[at, k, t]
                        break
                if best == np.inf:
                    best = (level + rest) / bend
                best = min(max(best, added[at, t] - reach[at, t]), added[at, t] + reach[at, t])
                change = best - now[at, t]
                if change != 0.0:
                    for band in range(at, bands):
                        if is_below[at, band]:
                            for other in range(steps):
                                slope[band, other] += curve[band, t, other] * change
                    now[at, t] = best
                    moved = max(moved, abs(change))
        if moved <= 1e-9:
            break
    return now


def lifted(
    price: Floats, own: Own, asked: Callable[[Floats], Answers], above: float, passes: int, close: float
) -> tuple[Floats, int]:
    """Return prices with a higher dual, and how often devices were asked: steps along its slope, of Polyak's length.

    Where few devices are on or off the dual has edges that a parabola doesn't know; a schedule that is known says how
    far it can rise, and so how far to go. The aim is halved where steps bring nothing.

    Args:
        price: Where it begins; shape (B, T).
        own: The bands' part of the dual.
        asked: What all devices answer.
        above: What a schedule costs: the dual rises no higher.
        passes: How often to ask.
        close: A dual this near below `above` is high enough.
    """
    tree = own.tree
    added = best = tree.across(price)
    value, share, idle, along = -np.inf, 1.0, 0, np.zeros(price.shape)
    for count in range(passes):
        at = tree.summed(added)
        answers = asked(at)
        now = answers.value + own.dual(at)
        if now > value + 1e-3 * (above - value):
            idle = 0
        else:
            idle += 1
        if now > value:
            value, best = now, added
        if above - value <= close:
            return tree.summed(best), count + 1
        if idle == 10:
            share, idle, added, along = 0.5 * share, 0, best, np.zeros(price.shape)
            continue
        through = answers.power.copy()
        tree.passed_on(through, through)
        slope = own.target + (own.lengths * (own.rates + tree.across(at)[:, None] < 0.0)).sum(axis=1) - through
        along = slope + 0.7 * along
        size = float((along * along).sum())
        if size <= 1e-18:
            break
        added = added + share * max(above - now, 0.0) / size * along
    return tree.summed(best), passes
