"""Customers that were not called as the measure of those that were: their mean, or matched by load shape.

A mean of controls stands for the called as it is; it has to be shown on other days that it may. Matched controls say by
how much the day changed use: `B_i(t) = own mean(t) + mean over matches j of r_ij (L_j(e, t) - own mean_j(t))`, the
difference in differences, with r the ratio of what both use in a day, 1/2 to 2, as a large home is cooled by more than
a small one. Matches are the nearest by root mean square distance between daily profiles in kWh, with replacement, so
that level and shape both count (Stuart, Statistical Science 25(1), 2010). The standard error adds what each called
customer's day and each control's, as often as it is used, change by chance; how much that is for a control is what its
own nearest controls say wrongly of it (Abadie and Imbens, Econometrica 74(1), 2006, their variance by matching).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]
BLOCK = 512
Z_90 = 1.6448536269514722
"""Two-sided 90 % of the normal distribution."""
LEAST_CONTROLS, SLOPE_LOW, SLOPE_HIGH, PRECISION = 150, 0.95, 1.05, 0.10
"""CAISO's checks of a control group (K). That precision is 1.645 times what the days are off by is our reading."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How well controls stand for the called.

    Attributes:
        called: How many customers were called.
        controls: How many controls stand for them.
        days: On how many other days they were compared.
        slope: Called mean on control mean over those days' event hours, through the origin (control group), else NaN.
        precision: 1.645 times the root mean square of what the mean of controls was off by there, over the mean load.
        is_valid: Whether the rule's checks of a control group hold; for matched controls: always.
        error: Standard error of the event's sum (the load's unit).
        placebo_error: What it is off by on those other days, each taken as the event, root mean square.
        placebo_bias: The mean of that, over the mean load (above 0 it pays for nothing).
    """

    called: int
    controls: int
    days: int
    slope: float
    precision: float
    is_valid: bool
    error: float
    placebo_error: float
    placebo_bias: float


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Customers' loads: of the event day, shape (m, t); of other days, shape (m, d, t). NaN: no reading."""

    today: Floats
    before: Floats

    @property
    def usual(self) -> Floats:
        """Each one's mean day, of those that it has whole; shape (m, t)."""
        return _mean_of(self.before)


def whole(loads: Floats, axis: int) -> Mask:
    """Return where every value along an axis is a reading."""
    found: Mask = np.asarray(np.isfinite(loads).all(axis=axis))
    return found


def _mean_of(before: Floats) -> Floats:
    has = whole(before, 2)
    count = has.sum(axis=1)
    total = np.where(has[:, :, None], before, 0.0).sum(axis=1)
    mean: Floats = total / np.where(count, count, np.nan)[:, None]
    return mean


def nearest(called: Floats, controls: Floats, count: int) -> Places:
    """Return which controls are nearest to each called customer by profile, the nearest first; shape (m, count).

    Args:
        called: Their profiles; shape (m, t).
        controls: Those of the controls; shape (c, t). Of two as near the first counts.
        count: How many of them; at most c.
    """
    found = np.empty((len(called), count), np.int64)
    for first in range(0, len(called), BLOCK):
        mine = called[first : first + BLOCK]
        apart = np.zeros((len(mine), len(controls)))
        for t in range(called.shape[1]):
            apart += (mine[:, t, None] - controls[None, :, t]) ** 2
        found[first : first + BLOCK] = np.argsort(apart, axis=1, kind="stable")[:, :count]
    return found


def ratios(own: Floats, theirs: Floats, match: Places) -> Floats:
    """Return by how much a match's change counts: what both use in a day, 1/2 to 2; 1 where one of them exports."""
    mine, other = own.sum(axis=1)[:, None], theirs.sum(axis=1)[match]
    both = (mine > 0) & (other > 0)
    found: Floats = np.where(both, np.clip(mine / np.where(both, other, 1.0), 0.5, 2.0), 1.0)
    return found


def matched(called: Group, controls: Group, count: int, span: slice) -> tuple[Floats, Comparison]:
    """Return each called customer's baseline by matched controls, shape (m, t), and how well it stands.

    Args:
        called: Who was called.
        controls: Who was not.
        count: How many controls stand for each.
        span: The event's intervals.
    """
    own, theirs = called.usual, controls.usual
    match = nearest(own, theirs, count)
    ratio = ratios(own, theirs, match)
    change = controls.today - theirs
    made: Floats = own + (ratio[:, :, None] * change[match]).mean(axis=1)
    uses = np.bincount(match.ravel(), ratio.ravel(), len(theirs)) / count
    chance = _chance(theirs, change[:, span].sum(axis=1), count)
    mine = chance[match].mean(axis=1)
    error = float(np.sqrt(mine.sum() + (uses**2 * np.where(uses > 0, chance, 0.0)).sum()))
    missed, load = _placebos(called, controls, match, ratio, span)
    has = len(missed) > 0
    return made, Comparison(
        len(own), int((uses > 0).sum()), len(missed), math.nan, math.nan, True, error,
        float(np.sqrt(np.mean(missed**2))) if has else math.nan,
        float(missed.mean() / load.mean()) if has and load.mean() else math.nan,
    )  # fmt: skip


def _chance(usual: Floats, swing: Floats, count: int) -> Floats:
    """Return the variance of each control's change that its nearest other controls do not explain; shape (c,)."""
    wanted = min(count, len(usual) - 1)
    if wanted < 1:
        return np.full(len(usual), np.nan)
    near = nearest(usual, usual, wanted + 1)
    # Twins may stand before a control itself, or push it out: it is taken out wherever it stands, else the last.
    own = near == np.arange(len(usual))[:, None]
    own[~own.any(axis=1), -1] = True
    others = near[~own].reshape(len(usual), wanted)
    told = (ratios(usual, usual, others) * swing[others]).mean(axis=1)
    found: Floats = (swing - told) ** 2 * wanted / (wanted + 1)
    return found


def _placebos(called: Group, controls: Group, match: Places, ratio: Floats, span: slice) -> tuple[Floats, Floats]:
    """Return what is off on each other day taken as the event, and the load, both of all called customers."""
    off, load = list[float](), list[float]()
    for day in range(called.before.shape[1]):
        rest = np.arange(called.before.shape[1]) != day
        seen = whole(controls.before[:, day], 1)
        mine = whole(called.before[:, day], 1) & np.asarray(seen[match].all(axis=1))
        if not rest.any() or not mine.any():
            continue
        moved = controls.before[:, day] - _mean_of(controls.before[:, rest])
        guess = _mean_of(called.before[:, rest])[mine] + (ratio[:, :, None] * moved[match])[mine].mean(axis=1)
        scale = len(mine) / mine.sum()
        off.append(scale * float((guess - called.before[mine, day])[:, span].sum()))
        load.append(scale * float(called.before[mine, day][:, span].sum()))
    return np.array(off), np.array(load)


def group_mean(called: Group, controls: Group, span: slice) -> tuple[Floats, Comparison]:
    """Return the baseline of a called customer by the controls' mean, shape (t,), and how well it stands."""
    made: Floats = controls.today.mean(axis=0)
    usual, other = (_mean_of(group.before.transpose(1, 0, 2))[:, span] for group in (called, controls))
    has = whole(usual, 1) & whole(other, 1)
    usual, other = usual[has], other[has]
    square = float((other**2).sum())
    slope = float((usual * other).sum()) / square if square else math.nan
    mean = float(usual.mean()) if has.any() else math.nan
    precision = Z_90 * float(np.sqrt(np.mean((other - usual) ** 2))) / mean if mean else math.nan
    day_sums = (other - usual).sum(axis=1) * len(called.today)
    of_mean = controls.today[:, span].sum(axis=1)
    spread = float(of_mean.std(ddof=1)) if len(of_mean) > 1 else math.nan
    is_valid = (
        len(controls.today) >= LEAST_CONTROLS and SLOPE_LOW <= slope <= SLOPE_HIGH and precision <= PRECISION
    )  # NaN holds no bound
    count = len(called.today)
    return made, Comparison(
        count, len(controls.today), int(has.sum()), slope, precision, is_valid,
        # The mean of controls errs by chance, and so does that of the called around what both would have used.
        spread * count * math.sqrt(1 / len(controls.today) + 1 / count),
        float(np.sqrt(np.mean(day_sums**2))) if has.any() else math.nan,
        float(day_sums.mean() / (usual.sum(axis=1).mean() * count)) if has.any() and mean else math.nan,
    )  # fmt: skip
