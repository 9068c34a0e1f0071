"""One power over a million devices every few seconds: fair shares, few commands, no device switched too often.

    told_i = clip(weight_i * level, low_i, high_i),   sum_i told_i = target

The level is found exactly by Newton's method on a piecewise linear function, begun where the last one ended. Devices
that are on or off take the nearer end of their share, none before its least time on or off is over, and the others
make up for it. Then hysteresis: a device whose share moved by less than its band keeps what it was told, and of those
as many move as the sum needs, in turn. So the sum is the target, and a small step touches few devices.

`fair_level` and `followed` are the specification in plain Python. Columns are float32, sums float64 in a fixed order of
shards: the same bits on one thread or many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tieline.compiled import compiled, compiled_unchecked
from tieline.errors import ConfigError

F32 = NDArray[np.float32]
Rows = NDArray[np.int64]
SHARDS = 16
ROUNDS = 80
TOLERANCE_W = 1e-6
"""How far the sum of fair shares may be off, as a part of the greatest power of all: what float32 can tell apart."""


@dataclass(slots=True, eq=False)
class Devices:
    """What is to be told powers, in columns; shape (n,) each.

    `low_w` and `high_w` bound what each may be told (W, positive into the grid; both with 0 or not); `weight` is its
    share of the whole, 0 or more; `band_w` how far its share may move before it is told anew. A store has `most_wh`
    above 0, `stored_wh`, and what of a Wh it keeps as it takes and gives (`charge_frac`, `discharge_frac`); its power
    must last for `hold_s`. A device that is `whole` is told `low_w` or `high_w` and nothing between, and stays there
    for `least_s` (s).
    """

    low_w: F32
    high_w: F32
    weight: F32
    band_w: F32
    stored_wh: F32
    most_wh: F32
    charge_frac: F32
    discharge_frac: F32
    whole: NDArray[np.bool_]
    least_s: F32
    told_w: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    age_s: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    hold_s: float = 300.0

    def __post_init__(self) -> None:
        count = len(self.low_w)
        if not len(self.told_w):
            self.told_w = np.clip(np.zeros(count, np.float32), self.low_w, self.high_w)
        if not len(self.age_s):
            self.age_s = np.full(count, np.inf, np.float32)
        self._check(count)

    def _check(self, count: int) -> None:
        for name in ("low_w", "high_w", "weight", "band_w", "stored_wh", "most_wh", "charge_frac", "discharge_frac",
                     "least_s", "told_w", "age_s"):  # fmt: skip
            column = getattr(self, name)
            if column.shape != (count,) or column.dtype != np.float32:
                raise ConfigError(f"{name} = {column.dtype} {column.shape}: give float32 of shape ({count},)")
            wrong = np.isnan(column) | (np.isinf(column) & (name != "age_s"))
            if name not in ("low_w", "high_w", "told_w"):
                wrong |= column < 0
            if name.endswith("_frac"):
                wrong |= (column <= 0) | (column > 1)
            if wrong.any():
                at = int(np.argmax(wrong))
                limits = "above 0 to 1" if name.endswith("_frac") else "a finite number, 0 or more where no power"
                raise ConfigError(f"{name}[{at}] = {column[at]}: give {limits}")
        crossed = self.low_w > self.high_w
        if crossed.any():
            at = int(np.argmax(crossed))
            raise ConfigError(f"low_w[{at}] = {self.low_w[at]}: give at most high_w, {self.high_w[at]}")


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What one step came to: which rows are told a new power, the sum of all (W), and what lacks of the target (W)."""

    rows: Rows
    sum_w: float
    lacks_w: float
    level: float
    rounds: int


class Follower:
    """Follows a target with a fleet; one object a fleet, one thread at a time."""

    def __init__(self, devices: Devices, threads: Executor | None = None) -> None:
        """Make a follower whose passes go over `threads` (None: the caller's own); results are the same."""
        self.devices, self._threads = devices, threads
        count = len(devices.low_w)
        self._low, self._high = np.zeros(count, np.float32), np.zeros(count, np.float32)
        self._fair = np.zeros(count, np.float32)
        # What is taken out of a store for a Wh given, and what a Wh more in it costs: a division for each, once.
        self._taken, self._filled = np.float32(1.0) / devices.discharge_frac, np.float32(1.0) / devices.charge_frac
        self._moves, self._may_switch = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        edges = [count * k // SHARDS for k in range(SHARDS + 1)]
        self._shards = [(a, b) for a, b in pairwise(edges) if b > a] or [(0, 0)]
        self._level, self._next = 0.0, 0

    def step(self, target_w: float, seconds: float) -> Told:
        """Advance what is stored by the time that passed since the last step, and tell a new power.

        Args:
            target_w: What all together are to give (W, positive into the grid).
            seconds: How long the last powers held (s, 0 or more).

        Raises:
            ConfigError: The target or the time is no finite number, or the time is negative.
        """
        if not math.isfinite(target_w) or not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigError(f"target_w = {target_w}, seconds = {seconds}: give finite numbers, the time 0 or more")
        d = self.devices
        self._pass(
            lambda a, b: _bounds(
                np.float32(seconds), np.float32(d.hold_s),
                *(column[a:b] for column in (
                    d.low_w, d.high_w, d.stored_wh, d.most_wh, d.charge_frac, d.discharge_frac, self._taken,
                    self._filled, d.whole, d.least_s, d.told_w, d.age_s, self._low, self._high, self._may_switch,
                )),
            ) or ()
        )  # fmt: skip
        least_w, most_w, may_switch, *first = self._pass(
            lambda a, b: _summed(a, b, self._level, d.weight, self._low, self._high, self._may_switch)
        )
        within_w = min(max(target_w, least_w), most_w)
        level, rounds = self._solve(within_w, max(abs(least_w), abs(most_w)), (first[0], first[1]))
        if may_switch:
            least_w, most_w = self._pass(
                lambda a, b: _ends(a, b, level, d.weight, d.whole, d.told_w, self._low, self._high)
            )
            within_w = min(max(target_w, least_w), most_w)
            self._level = level
            level, more = self._solve(within_w, max(abs(least_w), abs(most_w)))
            rounds += more
        self._level = level
        sums = self._pass(
            lambda a, b: _tell(
                level,
                *(column[a:b] for column in (
                    d.weight, d.whole, d.band_w, d.told_w, d.age_s, self._low, self._high, self._fair, self._moves,
                )),
            )
        )  # fmt: skip
        told_w, self._next = _make_up(
            within_w - sums[0], self._next, d.told_w, d.whole, d.band_w, self._low, self._high, self._fair, self._moves,
            sums[0],
        )  # fmt: skip
        return Told(np.flatnonzero(self._moves), told_w, target_w - told_w, level, rounds)

    def _pass(self, work: Callable[[int, int], tuple[float, ...]]) -> list[float]:
        """Return the sums of a pass over all shards, added in their order."""
        if self._threads is None:
            parts = [work(a, b) for a, b in self._shards]
        else:
            parts = list(self._threads.map(lambda shard: work(*shard), self._shards))
        return [math.fsum(column) for column in zip(*parts, strict=True)]

    def _at(self, level: float, a: int, b: int) -> tuple[float, float]:
        found: tuple[float, float] = _shares(a, b, level, self.devices.weight, self._low, self._high)
        return found

    def _solve(self, target_w: float, scale_w: float, first: tuple[float, float] | None = None) -> tuple[float, int]:
        """Return the level at which shares sum to a target that can be met, and in how many passes.

        `first` are sum and slope at the last level, where a pass has found them already.
        """
        level, low, high = self._level, -math.inf, math.inf
        far = 1.0
        for turn in range(ROUNDS + 1):
            if turn > 0 or first is None:
                sum_w, slope = self._pass(partial(self._at, level))
            else:
                sum_w, slope = first
            off_w = target_w - sum_w
            if abs(off_w) <= TOLERANCE_W * max(scale_w, 1.0):
                return level, turn
            low, high = (level, high) if off_w > 0 else (low, level)
            step = off_w / slope if slope > 0 else math.inf
            level = level + step
            if not low < level < high:
                if math.isinf(low) or math.isinf(high):
                    level, far = (low + far if math.isinf(high) else high - far), 8.0 * far
                else:
                    level = 0.5 * (low + high)
        return level, ROUNDS


# Without branches inside the loops: what a device is can't be foretold, and a wrong guess costs more than both ways.


@compiled_unchecked
def _bounds(  # type: ignore[no-untyped-def]
    seconds, hold_s, low_w, high_w, stored, most, charge, discharge, taken, filled, whole, least_s, told, age, low,
    high, may_switch,
):  # fmt: skip
    """Advance stores and ages, and find what each may be told now, and who may switch.

    Without sums: so the compiler makes it of eight rows at a time.
    """
    hours, per_h = np.float32(seconds / np.float32(3600.0)), np.float32(3600.0) / max(hold_s, np.float32(1e-3))
    none = np.float32(0.0)
    for i in range(len(low)):
        lo, hi, power, full = low_w[i], high_w[i], told[i], most[i]
        moved = power * (taken[i] if power > none else charge[i])
        held = min(max(stored[i] - moved * hours, none), full)
        stored[i] = held
        is_store = full > none
        hi = min(hi, max(held * discharge[i] * per_h, min(lo, none))) if is_store else hi
        lo = min(max(lo, (held - full) * filled[i] * per_h), hi) if is_store else lo
        since = age[i] + seconds
        age[i] = since
        stays = whole[i] & (since < least_s[i])
        low[i], high[i], may_switch[i] = (power if stays else lo), (power if stays else hi), whole[i] & ~stays


@compiled
def _summed(a, b, level, weight, low, high, may_switch):  # type: ignore[no-untyped-def]
    """Return the sums of both ends, how many may switch, and the sum and slope of the shares at the last level."""
    least_w, most_w, count, sum_w, slope, at = 0.0, 0.0, 0, 0.0, 0.0, np.float32(level)
    for i in range(a, b):
        lo, hi, share = low[i], high[i], weight[i] * at
        count += may_switch[i]
        least_w += np.float64(lo)
        most_w += np.float64(hi)
        sum_w += np.float64(min(max(share, lo), hi))
        slope += np.float64(weight[i]) if (share > lo) & (share < hi) else 0.0
    return least_w, most_w, float(count), sum_w, slope


@compiled
def _shares(a, b, level, weight, low, high):  # type: ignore[no-untyped-def]
    """Return the sum of fair shares at a level, and how much it grows with the level."""
    sum_w, slope, at = 0.0, 0.0, np.float32(level)
    for i in range(a, b):
        share = weight[i] * at
        sum_w += np.float64(min(max(share, low[i]), high[i]))
        slope += np.float64(weight[i]) if (share > low[i]) & (share < high[i]) else 0.0
    return sum_w, slope


@compiled
def _ends(a, b, level, weight, whole, told, low, high):  # type: ignore[no-untyped-def]
    """Pin each whole device to the end that its share is nearer to; returns the sums of both ends of all."""
    least_w, most_w, at, part = 0.0, 0.0, np.float32(level), np.float32(0.5)
    for i in range(a, b):
        share, half = weight[i] * at, part * (low[i] + high[i])
        # On the very middle it stays where it is.
        end = high[i] if (share > half) | ((share == half) & (told[i] > half)) else low[i]
        low[i] = end if whole[i] else low[i]
        high[i] = end if whole[i] else high[i]
        least_w += np.float64(low[i])
        most_w += np.float64(high[i])
    return least_w, most_w


@compiled
def _tell(level, weight, whole, band, told, age, low, high, fair, moves):  # type: ignore[no-untyped-def]
    """Move those whose share left its band or whose bounds left them; returns the sum of what all are told then."""
    sum_w, at = 0.0, np.float32(level)
    for i in range(len(told)):
        share, was = min(max(weight[i] * at, low[i]), high[i]), told[i]
        move = (was < low[i]) | (was > high[i]) | (abs(share - was) > band[i])
        now = share if move else was
        fair[i], moves[i], told[i] = share, move, now
        age[i] = np.float32(0.0) if whole[i] & (now != was) else age[i]
    for i in range(len(told)):
        sum_w += np.float64(told[i])
    return (sum_w,)


@compiled
def _make_up(lack_w, at, told, whole, band, low, high, fair, moves, sum_w):  # type: ignore[no-untyped-def]
    """Let as many of those that kept their power move as the sum lacks, in turn; returns the sum and who is next."""
    count = len(told)
    for _ in range(count):
        if lack_w == 0.0:
            break
        i = at
        at = at + 1 if at + 1 < count else 0
        # To the far end of its band: so few move, and none is further from its share than that.
        goal = fair[i] + band[i] if lack_w > 0 else fair[i] - band[i]
        change = np.float64(min(max(goal, low[i]), high[i])) - told[i]
        if whole[i] or change * lack_w <= 0:
            continue
        part = change if abs(change) < abs(lack_w) else lack_w
        before = np.float64(told[i])
        told[i] = np.float32(before + part)
        moves[i] |= told[i] != before
        sum_w += told[i] - before
        if abs(change) >= abs(lack_w):
            break
        lack_w -= told[i] - before
    return sum_w, at


def fair_level(target: float, low: Sequence[float], high: Sequence[float], weight: Sequence[float]) -> float:
    """Return the level at which shares sum to a target, by the breakpoints in order: the specification.

    Where the target is beyond what all can do, the level at which the last of them stands at its end.

    >>> fair_level(6.0, [0.0, 0.0], [2.0, 10.0], [1.0, 1.0])
    4.0
    """

    def total(level: float) -> float:
        return math.fsum(min(max(w * level, lo), hi) for lo, hi, w in zip(low, high, weight, strict=True))

    ends = {e / w for lo, hi, w in zip(low, high, weight, strict=True) if w > 0 for e in (lo, hi)}
    points = sorted(ends) or [0.0]
    for one, two in pairwise(points):
        below, above = total(one), total(two)
        if below <= target <= above:
            return one if above == below else one + (two - one) * (target - below) / (above - below)
    return points[0] if target < total(points[0]) else points[-1]
