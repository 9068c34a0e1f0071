"""Who is called first: one power over a million devices by contract class, then by cost, within that by weight.

    called in full | the last tier: rest_i + weight_i * level, clipped | at rest,   sum_i told_i = target

A tier is a class and a cost level in it. Tiers add up to the supply curve, tier by tier and exact; the one in which the
target lies is filled by weight, level found by Newton's method on its concave sum. Devices that are on or off, or run
at a least power at least, are chosen before: called tiers on, the last one in turn as near to its part as they come,
who stands as called already first; none before its least time is over. Then hysteresis and few commands as in
`plan.realtime`, none beyond its ramp. `plan.stack_rule` is the specification, device by device in plain Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError
from tieline.plan import stack_columns as columns
from tieline.plan.realtime import ROUNDS, SHARDS, TOLERANCE_W, Devices, Rows

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Tiers = NDArray[np.uint16]
MOST_TIERS = 4_096
"""So many sums a shard stay in the cache of a core."""
FREE_W_S = np.float32(1e30)
"""The ramp of what has none."""
NEAR_W = 1e-3
"""Nearer than that two halves of a device are alike, and it is called."""


def tiers(
    level: NDArray[np.integer], cost: NDArray[np.floating] | None = None, *, dearest_first: bool = False
) -> Tiers:
    """Return which tier each device is called with: by its level (0 first), and by cost within it; shape (n,).

    Devices of one level and exactly one cost share a tier, and its power by weight. Going down, who pays most for
    energy may draw it first (`dearest_first`).

    Raises:
        ConfigError: A cost is no finite number, or there are more tiers than sums that are kept.

    >>> tiers(np.array([1, 0, 0, 0]), np.array([5.0, 30.0, 20.0, 30.0])).tolist()
    [2, 1, 0, 1]
    """
    if cost is None:
        _, found = np.unique(level, return_inverse=True)
    else:
        if not np.isfinite(cost).all():
            at = int(np.argmax(~np.isfinite(cost)))
            raise ConfigError(f"cost[{at}] = {cost[at]}: give a finite number")
        pairs = np.stack([level.astype(np.float64), (-cost if dearest_first else cost).astype(np.float64)], axis=1)
        _, found = np.unique(pairs, axis=0, return_inverse=True)
    count = int(found.max(initial=-1)) + 1
    if count > MOST_TIERS:
        raise ConfigError(f"{count} tiers of level and cost: give {MOST_TIERS} at most: round the costs")
    ranks: Tiers = found.reshape(-1).astype(np.uint16)
    return ranks


@dataclass(slots=True, eq=False)
class Ranks:
    """How devices stand in the stack, in columns; shape (n,) each.

    `up` and `down`: the tier that each is called with to give more and to give less than at rest (`tiers`). `rest_w`:
    what it does uncalled (W). `ramp_w_s`: how fast its power may move (W/s, above 0; `FREE_W_S`: at once); what is
    switched starts at its least power. `on_w`: the least power that it runs at, or is off (W, a magnitude; 0: none);
    of what is on or off its whole power. `off_s`: its least time off (s), as `Devices.least_s` is its least time on.
    """

    up: Tiers
    down: Tiers
    rest_w: F32
    ramp_w_s: F32
    on_w: F32
    off_s: F32

    def check(self, devices: Devices) -> None:
        """Raise ConfigError naming the first column and row that can't be."""
        count = len(devices.low_w)
        for name, kind in (
            ("up", np.uint16), ("down", np.uint16), ("rest_w", np.float32), ("ramp_w_s", np.float32),
            ("on_w", np.float32), ("off_s", np.float32),
        ):  # fmt: skip
            column = getattr(self, name)
            if column.shape != (count,) or column.dtype != kind:
                raise ConfigError(f"{name} = {column.dtype} {column.shape}: give {np.dtype(kind)} of shape ({count},)")
        size_w = np.maximum(-devices.low_w, devices.high_w)
        both = (devices.low_w != 0) & (devices.high_w != 0)
        for name, wrong, give in (
            ("up", self.up >= MOST_TIERS, f"below {MOST_TIERS}"),
            ("down", self.down >= MOST_TIERS, f"below {MOST_TIERS}"),
            ("rest_w", ~np.isfinite(self.rest_w), "a finite number"),
            ("ramp_w_s", ~np.isfinite(self.ramp_w_s) | (self.ramp_w_s <= 0), "a finite number above 0"),
            ("on_w", ~(self.on_w >= 0) | (self.on_w > size_w), "0 to its power"),
            ("on_w", (self.on_w > 0) & both, "0 to what may give and take: only what does one of them is switched"),
            ("on_w", devices.whole & (self.on_w != size_w), "its whole power, as it is on or off"),
            ("off_s", ~np.isfinite(self.off_s) | (self.off_s < 0), "a finite number, 0 or more"),
        ):
            if wrong.any():
                at = int(np.argmax(wrong))
                raise ConfigError(f"{name}[{at}] = {getattr(self, name)[at]}: give {give}")


@dataclass(frozen=True, slots=True)
class Lacks:
    """What keeps the sum from the target (W, target less sum), by cause; together all that lacks.

    Named first is what passes soonest. `whole_w`: devices on or off are too large for the rest. `timer_w`: least times.
    `ramp_w`: ramps. `energy_w`: stores that are empty or full. `rating_w`: beyond what all that may be called can do.
    """

    whole_w: float = 0.0
    timer_w: float = 0.0
    ramp_w: float = 0.0
    energy_w: float = 0.0
    rating_w: float = 0.0

    def __str__(self) -> str:
        words = (
            ("steps of devices that are on or off", self.whole_w), ("least times", self.timer_w),
            ("ramps", self.ramp_w), ("stored energy", self.energy_w), ("what all are rated at", self.rating_w),
        )  # fmt: skip
        return ", ".join(f"{watts / 1e3:.1f} kW by {cause}" for cause, watts in words if abs(watts) >= 1.0) or "nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """What one step came to: which rows are told a new power, the sum of all (W), what lacks and why, the last tier
    that is called and whether upward from rest, and in how many passes its level was found."""

    rows: Rows
    sum_w: float
    lacks_w: float
    lacks: Lacks
    tier: int
    is_up: bool
    level: float
    rounds: int


class Stack:
    """Follows a target with a fleet by its stack; one object a fleet, one thread at a time."""

    def __init__(self, devices: Devices, ranks: Ranks, threads: Executor | None = None) -> None:
        """Make a stack whose passes go over `threads` (None: the caller's own); results are the same.

        Raises:
            ConfigError: A column of the ranks can't be: its name, row and value are told.
        """
        ranks.check(devices)
        self.devices, self.ranks, self._threads = devices, ranks, threads
        count = len(devices.low_w)
        self._low, self._high, self._rest, self._end = (np.zeros(count, np.float32) for _ in range(4))
        self._free, self._chosen, self._was_on, self._moves = (np.zeros(count, np.bool_) for _ in range(4))
        edges = [count * k // SHARDS for k in range(SHARDS + 1)]
        self._shards = [(k, a, b) for k, (a, b) in enumerate(pairwise(edges)) if b > a] or [(0, 0, 0)]
        size = 1 + max(int(ranks.up.max(initial=0)), int(ranks.down.max(initial=0)))
        self._sums_w = np.zeros((SHARDS, size))
        self._room: F64 = np.zeros(size)
        """By tier: how far its devices may be called from rest (W)."""
        self._up, self._margin, self._level, self._next = True, -1, 0.0, 0
        self.turn = 0
        """The row whose turn is next to be switched."""

    def step(self, target_w: float, seconds: float) -> Stacked:
        """Advance what is stored by the time that passed since the last step, and tell a new power.

        Args:
            target_w: What all together are to give (W, positive into the grid).
            seconds: How long the last powers held (s, 0 or more).

        Raises:
            ConfigError: The target or the time is no finite number, or the time is negative.
        """
        if not math.isfinite(target_w) or not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigError(f"target_w = {target_w}, seconds = {seconds}: give finite numbers, the time 0 or more")
        d, r = self.devices, self.ranks
        per_h = np.float32(3600.0 / max(d.hold_s, 1e-3))
        self._pass(
            columns.bound, (np.float32(seconds), per_h),
            (
                d.low_w, d.high_w, d.stored_wh, d.most_wh, d.charge_frac, d.discharge_frac, d.told_w, d.age_s,
                d.least_s, r.off_s, r.ramp_w_s, r.on_w, self._low, self._high, self._free,
            ),
        )  # fmt: skip
        rest_w, free = self._sum()
        self._turn_to(target_w >= rest_w)
        if free:
            rest_w += self._choose(target_w, rest_w)
            self._turn_to(target_w >= rest_w)
        room_w = self._room
        margin, part_w = _margin(room_w, abs(target_w - rest_w))
        level, rounds = self._fill(margin, part_w, float(room_w.sum()))
        told_w = self._tell(margin, level, target_w, rest_w, float(room_w.sum()))
        lacks_w = target_w - told_w
        lacks = self._lacks(lacks_w, per_h) if abs(lacks_w) >= 1.0 else Lacks(rating_w=lacks_w)
        return Stacked(np.flatnonzero(self._moves), told_w, lacks_w, lacks, margin, self._up, level, rounds)

    @property
    def _tier(self) -> Tiers:
        return self.ranks.up if self._up else self.ranks.down

    def _pass(
        self,
        kernel: Callable[..., tuple[float, ...] | None],
        scalars: Sequence[object],
        rows: Sequence[NDArray[Any]],
        *,
        sums: bool = False,
    ) -> list[float]:
        """Return the sums of a pass over all shards of some columns, added in their order; `sums`: by tier, too."""

        def work(shard: tuple[int, int, int]) -> tuple[float, ...]:
            k, a, b = shard
            tail = (self._sums_w[k],) if sums else ()
            return kernel(*scalars, *(column[a:b] for column in rows), *tail) or ()

        parts = list((map if self._threads is None else self._threads.map)(work, self._shards))
        return [math.fsum(column) for column in zip(*parts, strict=True)]

    def _sum(self) -> tuple[float, float]:
        """Add up by tier, this way from rest; returns the sum at rest (W), and how many may be on or off."""
        seen = (self._low, self._high, self._free, self._rest, self._end)
        self._pass(columns.rested, (self._up,), (self.devices.weight, self.ranks.rest_w, self.ranks.on_w, *seen))
        rest_w, free = self._pass(columns.summed, (), (self._tier, self._rest, self._end, self._free), sums=True)
        self._room = self._sums_w.sum(axis=0)
        return rest_w, free

    def _turn_to(self, up: bool) -> None:
        """See from rest upward, or downward: where the last step's way was the other, all is added up anew."""
        if up != self._up:
            self._up = up
            self._sum()

    def _choose(self, target_w: float, rest_w: float) -> float:
        """Settle who of those that may be either is on; returns by how much the sum at rest moves (W)."""
        d, up = self.devices, self._up
        margin, part_w = _margin(self._room, abs(target_w - rest_w))
        rows = (
            d.weight, self.ranks.rest_w, self._tier, self._low, self._high, self._free, self._rest, self._end,
            self._chosen,
        )  # fmt: skip
        room_w = self._room
        moved_w, could_w, have_w = self._pass(columns.choose, (up, margin), (*rows, d.told_w), sums=True)
        if could_w > 0.0:
            theirs_w = part_w * min(could_w / float(room_w[margin]), 1.0)
            self.turn = columns.switch(
                self.turn, theirs_w, have_w, NEAR_W, up, self._high, self._free, self._rest, self._end, self._chosen
            )
            moved_w += self._pass(columns.commit, (up,), rows, sums=True)[0]
        self._room = np.maximum(room_w + self._sums_w.sum(axis=0), 0.0)
        return moved_w

    def _fill(self, margin: int, part_w: float, scale_w: float) -> tuple[float, int]:
        """Return the level at which the last tier gives its part, and in how many passes.

        Its sum is concave in the level: from anywhere one step of Newton's lies at or below the solution, and from
        there they only rise. So it begins where the last one ended, and at 0 where that is beyond all of the tier.
        """
        level, before, self._margin = self._level, self._margin, margin
        if part_w <= 0.0 or margin == self._sums_w.shape[1]:
            return 0.0, 0
        if margin != before:
            level = 0.0
        rows = (self.devices.weight, self._tier, self._rest, self._end)
        rounds = 0
        for rounds in range(1, ROUNDS + 1):  # noqa: B007  how many it took is told
            sum_w, slope = self._pass(columns.filled, (margin, level), rows)
            off_w = part_w - sum_w
            if abs(off_w) <= TOLERANCE_W * max(scale_w, 1.0) or (slope <= 0.0 and off_w > 0.0):
                break
            level = max(level + off_w / slope, 0.0) if slope > 0.0 else 0.0
        self._level = level
        return level, rounds

    def _tell(self, margin: int, level: float, target_w: float, rest_w: float, room_w: float) -> float:
        """Tell who is told anew, and return the sum of all (W)."""
        d = self.devices
        ranked = (self._up, margin, level)
        rows = (
            d.weight, self._tier, d.band_w, d.told_w, self._low, self._high, self._rest, self._end, self._moves,
        )  # fmt: skip
        self._pass(columns.tell, ranked, (*rows, self._was_on))
        (sum_w,) = self._pass(columns.heard, (), (d.told_w, self._was_on, self.ranks.on_w, d.age_s))
        within_w = min(target_w, rest_w + room_w) if self._up else max(target_w, rest_w - room_w)
        told_w, self._next = columns.make_up(within_w - sum_w, self._next, sum_w, *ranked, *rows)
        return float(told_w)

    def _lacks(self, lacks_w: float, per_h: np.float32) -> Lacks:
        """Return what lacks by cause: of each as much as it holds back, what passes soonest first."""
        d, r = self.devices, self.ranks
        energy_w, ramp_w, timer_w, whole_w = self._pass(
            columns.lost, (lacks_w > 0, per_h),
            (
                d.low_w, d.high_w, d.weight, d.stored_wh, d.most_wh, d.charge_frac, d.discharge_frac, d.told_w, d.age_s,
                d.least_s, r.off_s, r.on_w,
            ),
        )  # fmt: skip
        left_w, parts = abs(lacks_w), []
        for held_w in (whole_w, timer_w, ramp_w, energy_w):
            parts.append(min(max(held_w, 0.0), left_w))
            left_w -= parts[-1]
        return Lacks(*(math.copysign(part, lacks_w) if part else 0.0 for part in (*parts, left_w)))


def _margin(room_w: F64, need_w: float) -> tuple[int, float]:
    """Return the tier in which a call of so much ends, and its part of it (W); one beyond the last: all are called."""
    if need_w <= 0.0:
        return 0, 0.0
    reached_w = np.cumsum(room_w)
    at = int(np.searchsorted(reached_w, need_w))
    if at == len(room_w):
        return at, 0.0
    return at, need_w - (float(reached_w[at - 1]) if at else 0.0)
