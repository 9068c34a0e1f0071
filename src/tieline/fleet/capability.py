"""Capability envelopes: what resources, pools and feeders can do, for how long, at what notice, and how surely.

A resource can move its power by so much, until so much energy has gone; it needs so long before it starts, so long to
get there, gives some of it back afterwards, and can be reached so often. Of a group the sums below are exact: no
schedule of its members does more, and one does as much.

Sustained power. A constant request of length h is met by each up to min(p, e / h): their sum.

Requests of any shape. Let all run at full power until each is empty: P(t) is what they give then, and E(p) the energy
of it above a level p. A request R can be met if and only if its own energy above p is never more than E(p), for every
level p (Evans, Tindemans and Angeli, "A graphical measure of aggregate flexibility for energy-constrained distributed
resources", IEEE Trans. Smart Grid 11(1), 2020). `follow` is the policy that meets it: who could go on longest, gives
first, so that none is emptied while others are full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.fleet.firm import EXACT_LEAVES, Z95, firm_w

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

LASTS_S = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0)
NOTICES_S = (4.0, 60.0, 600.0, 1800.0, 86400.0)
HOUR_S = 3600.0
ROUNDS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Capability:
    """One direction (up or down) of some resources; each shape (n,).

    Attributes:
        power_w: How far the power can move, 0 or more.
        energy_wh: How much energy that can come to; inf where nothing runs out.
        notice_s: From being told to the first watt.
        ramp_w_per_s: How fast it moves; inf where at once.
        rebound_frac: Share of the energy that comes back afterwards, as a room that was let warm is cooled again.
        reach_frac: How often it could be reached of late, 0 to 1.
    """

    power_w: Floats
    energy_wh: Floats
    notice_s: Floats
    ramp_w_per_s: Floats
    rebound_frac: Floats
    reach_frac: Floats

    def __post_init__(self) -> None:
        shape = self.power_w.shape
        limits = {
            "power_w": (0.0, np.finfo(float).max), "energy_wh": (0.0, np.inf), "notice_s": (0.0, np.finfo(float).max),
            "ramp_w_per_s": (0.0, np.inf), "rebound_frac": (0.0, 2.0), "reach_frac": (0.0, 1.0),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            column: Floats = getattr(self, name)
            if column.shape != shape:
                raise ValueError(f"{name} of shape {column.shape}: give one for each of {shape[0]} resources")
            odd = np.flatnonzero(~((column >= low) & (column <= high)))
            if len(odd):
                raise ValueError(f"{name}[{odd[0]}] = {column[odd[0]]:g}: give {low:g} to {high:g}")


@dataclass(frozen=True, slots=True, eq=False)
class Envelopes:
    """What groups can do; axes are groups, notices, lengths, in that order.

    Attributes:
        lasts_s, notices_s: The lengths and notices.
        power_w: Power that can be held so long with so much notice.
        firm_w: The part of it that 95 of 100 cases reach.
        ramped_s: How long it takes until it is reached, all members moving at once; shape (groups, notices).
        rebound_wh: Energy that comes back after that power was held so long; groups, notices, lengths.
        energy_wh: All that there is, inf where nothing runs out; shape (groups, notices).
        resources: How many stand behind it; shape (groups, notices).
    """

    lasts_s: Floats
    notices_s: Floats
    power_w: Floats
    firm_w: Floats
    ramped_s: Floats
    rebound_wh: Floats
    energy_wh: Floats
    resources: Places


def envelopes(
    can: Capability,
    group_of: Places,
    groups: int,
    lasts_s: Sequence[float] = LASTS_S,
    notices_s: Sequence[float] = NOTICES_S,
) -> Envelopes:
    """Return what each group can do; a resource in no group (-1) counts nowhere.

    Args:
        can: What the resources can do in one direction.
        group_of: The group of each: itself, its pool, its feeder; shape (n,).
        groups: How many groups there are.
        lasts_s: Lengths that are asked, above 0.
        notices_s: A resource counts where its own notice is no longer.
    """
    shape = (groups, len(notices_s), len(lasts_s))
    power, firm, rebound = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    ramped, energy, count = np.zeros(shape[:2]), np.zeros(shape[:2]), np.zeros(shape[:2], np.int64)
    for m, notice_s in enumerate(notices_s):
        rows = np.flatnonzero((group_of >= 0) & (can.notice_s <= notice_s) & (can.power_w > 0))
        at = group_of[rows]
        count[:, m] = np.bincount(at, minlength=groups)
        energy[:, m] = np.bincount(at, can.energy_wh[rows], groups)
        with np.errstate(divide="ignore"):
            np.maximum.at(ramped[:, m], at, can.power_w[rows] / can.ramp_w_per_s[rows])
        for k, last_s in enumerate(lasts_s):
            held_w = np.minimum(can.power_w[rows], can.energy_wh[rows] * (HOUR_S / last_s))
            power[:, m, k] = np.bincount(at, held_w, groups)
            rebound[:, m, k] = np.bincount(at, held_w * can.rebound_frac[rows], groups) * last_s / HOUR_S
            firm[:, m, k] = _firm(held_w, can.reach_frac[rows], at, groups, power[:, m, k])
    return Envelopes(np.array(lasts_s), np.array(notices_s), power, firm, ramped, rebound, energy, count)


def _firm(held_w: Floats, reach_frac: Floats, at: Places, groups: int, most_w: Floats) -> Floats:
    """Return what 95 of 100 cases reach, group by group as `firm_w` does: a handful counted, more taken as normal."""
    mean_w = np.bincount(at, held_w * reach_frac, groups)
    spread_w = np.sqrt(np.bincount(at, held_w**2 * reach_frac * (1.0 - reach_frac), groups))
    found: Floats = np.clip(mean_w - Z95 * spread_w, 0.0, most_w)
    order = np.argsort(at, kind="stable")
    ends = np.searchsorted(at[order], np.arange(groups + 1))
    for group in np.flatnonzero((np.diff(ends) > 0) & (np.diff(ends) <= EXACT_LEAVES)):
        rows = order[ends[group] : ends[group + 1]]
        found[group] = firm_w(held_w[rows], reach_frac[rows])
    return found


_NEAR = np.arange(-2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """What resources can give together, laid out once for many requests: levels of power, the longest lasting first,
    and the energy above each (Wh; inf: a level that never runs out); shape (n + 1,). `lasts_h` is how long each lasts
    (h; inf: for ever), the longest first; shape (n,)."""

    level_w: Floats
    above_wh: Floats
    lasts_h: Floats

    @staticmethod
    def of(power_w: Floats, energy_wh: Floats) -> Together:
        """Lay it out of each resource's power, and its energy, inf where nothing runs out; shape (n,)."""
        able = power_w > 0
        lasts_h = energy_wh[able] / power_w[able]
        order = np.argsort(-lasts_h, kind="stable")
        lasts_h, power = lasts_h[order], power_w[able][order]
        # Levels of P(t), rising: the longest last one gives the lowest level; above a level p its energy is E(p).
        level_w = np.concatenate([[0.0], np.cumsum(power)])
        finite_h = np.where(np.isfinite(lasts_h), lasts_h, 0.0)
        above_wh = np.concatenate([np.cumsum((power * finite_h)[::-1])[::-1], [0.0]])
        # What never runs out holds every level below its own: E is infinite there.
        above_wh[: int(np.isinf(lasts_h).sum())] = np.inf
        return Together(level_w, above_wh, lasts_h)

    def lacks_wh(self, request_w: Floats, step_s: float) -> float:
        """Return by how much a request is more than that; as `lacks_wh` does.

        Between two powers that are wanted what a level lacks rises while who makes the next one lasts for longer than
        the steps that ask for it, and falls from there on: so of a million levels those at the turns are looked at.
        """
        wanted = np.sort(request_w)
        steps, hours = len(wanted), step_s / HOUR_S
        tail = np.concatenate([np.cumsum(wanted[::-1])[::-1], [0.0]])
        begins = np.concatenate([[0], np.searchsorted(self.level_w, wanted, side="left")])
        ends = np.append(begins[1:], len(self.level_w)) - 1
        asks_h = hours * np.arange(steps, -1, -1)
        turns = len(self.lasts_h) - np.searchsorted(self.lasts_h[::-1], asks_h, side="right")
        # Its neighbours, too: what is summed up to a level is off by what numbers are rounded to.
        near = np.clip(turns[:, None] + _NEAR, begins[:, None], np.maximum(ends, begins)[:, None])
        near = np.minimum(near, len(self.level_w) - 1)
        at = np.searchsorted(wanted, self.level_w[near], side="right")
        asked_wh = (tail[at] - self.level_w[near] * (steps - at)) * step_s / HOUR_S
        return max(0.0, float((asked_wh - self.above_wh[near]).max()))


def lacks_wh(request_w: Floats, step_s: float, power_w: Floats, energy_wh: Floats) -> float:
    """Return by how much a request is more than resources can give together; 0: it can be met.

    The most by which its energy above any level is more than theirs: the least energy that must be left out.

    Args:
        request_w: Power wanted in each step, 0 or more; shape (t,).
        step_s: Length of a step.
        power_w: Of each resource; shape (n,).
        energy_wh: Of each resource, inf where nothing runs out; shape (n,).
    """
    return Together.of(power_w, energy_wh).lacks_wh(request_w, step_s)


def follow(request_w: Floats, step_s: float, power_w: Floats, energy_wh: Floats) -> Floats:
    """Return what each resource gives in each step so that a request is met wherever it can be; shape (n, t).

    In each step all that could go on for longer than some length z give, down to z: the request fixes z. What can't be
    met is left out, and as little of it as can be.

    Args:
        request_w: As in `lacks_wh`; so are the others.
    """
    hours = step_s / HOUR_S
    left_wh, given = energy_wh.astype(np.float64), np.zeros((len(power_w), len(request_w)))
    endless = np.isinf(energy_wh)
    base_w = float(power_w[endless].sum())
    rated = np.where(power_w > 0, power_w, 1.0)
    for t, wanted_w in enumerate(request_w):
        first_w = min(wanted_w, base_w)
        given[endless, t] = power_w[endless] * (first_w / base_w if base_w > 0 else 0.0)
        lasts_h = np.where(endless | (power_w <= 0), 0.0, left_wh / rated)
        most_w = power_w * np.minimum(lasts_h / hours, 1.0)
        rest_w = min(wanted_w - first_w, float(most_w.sum()))
        low, high = 0.0, float(lasts_h.max(initial=0.0))
        for _ in range(ROUNDS):
            z = 0.5 * (low + high)
            if float((power_w * np.clip((lasts_h - z) / hours, 0.0, 1.0)).sum()) > rest_w:
                low = z
            else:
                high = z
            if high - low <= 1e-15 * max(high, 1.0):
                break
        share_w = power_w * np.clip((lasts_h - low) / hours, 0.0, 1.0)
        total_w = float(share_w.sum())
        share_w = share_w * min(1.0, rest_w / total_w) if total_w > 0 else share_w
        given[~endless, t] = share_w[~endless]
        left_wh = np.where(endless, left_wh, np.maximum(left_wh - share_w * hours, 0.0))
    return given
