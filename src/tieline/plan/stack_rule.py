"""The specification of `plan.stack`: the same step, device by device, in plain Python and exact.

It knows no hysteresis: what it returns is each device's share, which the columns are within a band of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

NEAR_W = 1e-3


@dataclass(frozen=True, slots=True)
class One:
    """One device as it stands before a step: the columns of `Devices` and `Ranks`, a row of them."""

    low_w: float
    high_w: float
    weight: float
    up: int
    down: int
    rest_w: float = 0.0
    ramp_w_s: float = math.inf
    on_w: float = 0.0
    least_s: float = 0.0
    off_s: float = 0.0
    most_wh: float = 0.0
    stored_wh: float = 0.0
    charge_frac: float = 1.0
    discharge_frac: float = 1.0
    told_w: float = 0.0
    age_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Within:
    """Where a device may stand, uncalled and called; `may_be_off`: either off or in these bounds."""

    low_w: float
    high_w: float
    may_be_off: bool = False


def after(one: One, seconds: float) -> tuple[float, float]:
    """Return what a device holds (Wh) and since when it is as it is (s), once its power has held for so long."""
    out_w = one.told_w / one.discharge_frac if one.told_w > 0 else one.told_w * one.charge_frac
    return min(max(one.stored_wh - out_w * seconds / 3600.0, 0.0), one.most_wh), one.age_s + seconds


def within(one: One, stored_wh: float, age_s: float, seconds: float, hold_s: float) -> Within:
    """Return where a device may stand: its power, what it holds, its ramp, its least power and its least times."""
    low_w, high_w, per_h = one.low_w, one.high_w, 3600.0 / hold_s
    if one.most_wh > 0:
        high_w = min(high_w, max(stored_wh * one.discharge_frac * per_h, min(low_w, 0.0)))
        low_w = min(max(low_w, (stored_wh - one.most_wh) / one.charge_frac * per_h), high_w)
    reach_w, was_w = one.ramp_w_s * seconds if seconds else 0.0, abs(one.told_w)
    if one.on_w == 0:
        lowest_w = min(max(low_w, one.told_w - reach_w), high_w)
        return Within(lowest_w, max(min(high_w, one.told_w + reach_w), lowest_w))
    able_w, is_on = max(high_w, -low_w), one.told_w != 0
    if able_w < one.on_w:
        return Within(0.0, 0.0)
    is_free = age_s >= (one.least_s if is_on else one.off_s)
    if not is_free and not is_on:
        return Within(0.0, 0.0)
    least_w = min(max(one.on_w, was_w - reach_w), able_w) if is_on else one.on_w
    most_w = max(min(able_w, max(was_w, one.on_w) + reach_w), least_w)
    return Within(least_w, most_w, is_free) if one.high_w > 0 else Within(-most_w, -least_w, is_free)


def uncalled(one: One, may: Within) -> float:
    """Return where it stands uncalled: at rest, and off where its rest is less than half its least power."""
    if may.may_be_off and math.copysign(1.0, may.high_w) * one.rest_w < 0.5 * one.on_w:
        return 0.0
    return min(max(one.rest_w, may.low_w), may.high_w)


def called(one: One, may: Within, up: bool) -> float:
    """Return where it stands when its whole tier is called; what has no weight is never called."""
    if one.weight == 0:
        return uncalled(one, may)
    ends = [may.low_w, may.high_w, *([0.0] if may.may_be_off else [])]
    return max(ends) if up else min(ends)


def margin(devices: Sequence[One], may: Sequence[Within], target_w: float) -> tuple[bool, float, float]:
    """Return whether the call is upward, the tier in which it ends (inf: beyond all), and that tier's part (W)."""
    rests = [uncalled(one, each) for one, each in zip(devices, may, strict=True)]
    need_w = target_w - math.fsum(rests)
    up, left_w = need_w >= 0, abs(need_w)
    if left_w <= 0:
        return up, 0, 0.0
    for tier in sorted({one.up if up else one.down for one in devices}):
        room_w = math.fsum(
            abs(called(one, each, up) - rest)
            for one, each, rest in zip(devices, may, rests, strict=True)
            if (one.up if up else one.down) == tier
        )
        if left_w <= room_w:
            return up, tier, left_w
        left_w -= room_w
    return up, math.inf, 0.0


def chosen(devices: Sequence[One], may: Sequence[Within], target_w: float, turn: int = 0) -> tuple[list[Within], int]:
    """Return where devices may stand once it is settled who of those that may be either is on, and whose turn is next.

    Tiers before the last are called, those after it at rest. In the last one its part is divided by what each can give:
    of theirs as many are called, or let go, in turn as come nearest to it; others stay as they are.
    """
    up, last, part_w = margin(devices, may, target_w)
    on, doubt, gives = [one.told_w != 0 for one in devices], [], {}
    for at, (one, each) in enumerate(zip(devices, may, strict=True)):
        if not each.may_be_off:
            continue
        rest_w, tier = uncalled(one, each), one.up if up else one.down
        end_w = called(one, each, up)
        if one.weight == 0 or tier > last or (end_w != 0) == (rest_w != 0):
            on[at] = rest_w != 0
        elif tier < last:
            on[at] = end_w != 0
        else:
            doubt.append(at)
            gives[at] = abs(end_w - rest_w)
    room_w = math.fsum(
        abs(called(one, each, up) - uncalled(one, each))
        for one, each in zip(devices, may, strict=True)
        if (one.up if up else one.down) == last
    )

    def is_called(at: int) -> bool:
        return on[at] == (called(devices[at], may[at], up) != 0)

    if doubt:
        theirs_w = part_w * min(math.fsum(gives.values()) / room_w, 1.0)
        have_w = math.fsum(gives[at] for at in doubt if is_called(at))
        calls = have_w < theirs_w
        for step in range(len(devices)):
            at = (turn + step) % len(devices)
            if at not in gives or is_called(at) == calls:
                continue
            half_w = 0.5 * gives[at]
            if (have_w + half_w > theirs_w + NEAR_W) if calls else (have_w - half_w < theirs_w - NEAR_W):
                turn = at
                break
            on[at] = not on[at]
            have_w += gives[at] if calls else -gives[at]
    settled = [
        Within(0.0, 0.0) if each.may_be_off and not is_on else Within(each.low_w, each.high_w)
        for each, is_on in zip(may, on, strict=True)
    ]
    return settled, turn


def level(parts: Sequence[tuple[float, float]], part_w: float) -> float:
    """Return the level at which `min(weight * level, room)` over (weight, room) sums to a part (W), by its breakpoints.

    >>> level([(1.0, 2.0), (1.0, 10.0)], 6.0)
    4.0
    """
    at, sum_w, slope = 0.0, 0.0, math.fsum(weight for weight, room in parts if weight > 0 and room > 0)
    for end, weight in sorted((room / weight, weight) for weight, room in parts if weight > 0 and room > 0):
        if sum_w + slope * (end - at) >= part_w:
            return at + (part_w - sum_w) / slope
        sum_w, at, slope = sum_w + slope * (end - at), end, slope - weight
    return at


def shares(
    devices: Sequence[One], target_w: float, seconds: float, hold_s: float = 300.0, turn: int = 0
) -> tuple[list[float], list[Within], int]:
    """Return each device's share (W) of a target, where it might stand, and whose turn is next.

    >>> base, peak = One(0, 2e3, 1, 0, 1), One(0, 2e3, 1, 1, 0)
    >>> shares([base, peak], 3e3, 4.0)[0]
    [2000.0, 1000.0]
    """
    held = [after(one, seconds) for one in devices]
    may = [
        within(one, stored_wh, age_s, seconds, hold_s) for one, (stored_wh, age_s) in zip(devices, held, strict=True)
    ]
    if any(each.may_be_off for each in may):
        may, turn = chosen(devices, may, target_w, turn)
    up, last, part_w = margin(devices, may, target_w)
    rests = [uncalled(one, each) for one, each in zip(devices, may, strict=True)]
    ends = [called(one, each, up) for one, each in zip(devices, may, strict=True)]
    tier = [one.up if up else one.down for one in devices]
    mine = [at for at, of in enumerate(tier) if of == last]
    at_level = level([(devices[at].weight, abs(ends[at] - rests[at])) for at in mine], part_w) if part_w else 0.0
    found = []
    for one, of, rest_w, end_w in zip(devices, tier, rests, ends, strict=True):
        moved_w = min(one.weight * at_level, abs(end_w - rest_w))
        found.append(end_w if of < last else rest_w if of > last else rest_w + (moved_w if up else -moved_w))
    return found, may, turn
