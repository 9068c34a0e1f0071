"""How far power can rise and fall from now within all that holds it: what is shown wherever that is asked.

A device could move by `able_w`; its leeway is what its limits, those of all groups that it is in, and the kill switch
leave of that. Who is out by his own word counts: a limit moves his device as any other, a call does not. What a market
or an event can call is less, and has a measure of its own (`desk.redispatch.headroom`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.authority import passing_w
from tieline.desk.ends import least_within_w
from tieline.desk.state import DeskState
from tieline.fleet.able import able_w
from tieline.fleet.columns import places
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


def power_limits(state: DeskState, now_ns: int | None = None) -> dict[str, tuple[float, float]]:
    """Return the tightest limit (W) that is asked of the power of each resource: in force at an instant, or of all."""
    limits: dict[str, tuple[float, float]] = {}
    for ask in (live.ask for live in state.asks.values() if live.ask.kind is ClaimKind.LIMIT):
        if ask.quantity is not Quantity.P or (now_ns is not None and not ask.start_ns <= now_ns < ask.end_ns):
            continue
        low, high = limits.get(ask.resource, (-math.inf, math.inf))
        limits[ask.resource] = max(low, ask.low), min(high, ask.high)
    return limits


def leeway_w(state: DeskState, rows: Rows, now_ns: int) -> tuple[Floats, Floats]:
    """Return how far the power of each row can rise and fall from now (W, 0 or more); shape (n,) each.

    The rows of a group under a limit stay within it together. Where caps of devices leave more than that, as a meter
    has moved since they were shared out, each has its part of what is left. One whose power isn't known counts at 0 W,
    as in the power of its group.
    """
    limits = {
        name: (state.fleet.leaves(name), ends)
        for name, ends in power_limits(state, now_ns).items()
        if state.fleet.holds(name)
    }
    mine = np.zeros(len(state.fleet), np.bool_)
    mine[rows] = True
    held: dict[str, tuple[Rows, tuple[float, float]]] = {}
    # What a limit around them leaves to rows depends on what limits within it leave to the others there.
    while more := {name: one for name, one in limits.items() if name not in held and mine[one[0]].any()}:
        held |= more
        for members, _ in more.values():
            mine[members] = True
    power_w, up_w, down_w = (np.zeros(len(state.fleet)) for _ in range(3))
    some = places(np.flatnonzero(mine))
    power_w[some] = state.fleet.power_or_0_w(some)
    bounds, passes = state.claims.bounds_above(some, Level.MARKET, now_ns), passing_w(state, some)
    able = within_w(power_w[some], able_w(state.fleet, some), least_within_w(state, some, bounds[0]), bounds[1])
    up_w[some], down_w[some] = within_w(power_w[some], able, *passes)
    # Those of the fewest devices first: what these leave is what a limit around them has to divide.
    for name, (members, (low_w, high_w)) in sorted(held.items(), key=lambda one: len(one[1][0])):
        gives_alone = state.fleet.kind_of(name) is Kind.GENERATION
        up_w[members] = _together(power_w[members], up_w[members], high_w, gives_alone)
        down_w[members] = _together_down(power_w[members], down_w[members], low_w, gives_alone)
    return up_w[rows], down_w[rows]


def within_w(power_w: Floats, can_w: tuple[Floats, Floats], low_w: Floats, high_w: Floats) -> tuple[Floats, Floats]:
    """Return how far powers can rise and fall (W), of `can_w`, between bounds; who is beyond one goes no further.

    >>> within_w(np.array([4.0]), (np.array([3.0]), np.array([9.0])), np.array([-5.0]), np.array([5.0]))
    (array([1.]), array([9.]))
    """
    up_w = np.clip(can_w[0], 0.0, np.maximum(high_w - power_w, 0.0))
    return up_w, np.clip(can_w[1], 0.0, np.maximum(power_w - low_w, 0.0))


def _together(power_w: Floats, up_w: Floats, high_w: float, gives_alone: bool) -> Floats:
    """Return how far each of a group can rise (W) so that all together stay below its limit.

    `gives_alone`: only what is given counts there, and what is taken makes none of it good.
    """
    stands_w = np.maximum(power_w, 0.0) if gives_alone else power_w
    counts_w = np.maximum(power_w + up_w, 0.0) - stands_w if gives_alone else up_w
    whole_w, room_w = float(counts_w.sum()), max(high_w - float(stands_w.sum()), 0.0)
    if whole_w <= room_w:
        return up_w
    found: Floats = np.maximum(up_w - counts_w * (1.0 - room_w / whole_w), 0.0)
    return found


def _together_down(power_w: Floats, down_w: Floats, low_w: float, gives_alone: bool) -> Floats:
    """Return how far each of a group can fall (W) so that all together stay above its limit."""
    if not gives_alone:
        return _together(-power_w, down_w, -low_w, False)
    gives_w = np.maximum(power_w, 0.0)
    counts_w = gives_w - np.maximum(power_w - down_w, 0.0)
    whole_w, room_w = float(counts_w.sum()), max(float(gives_w.sum()) - max(low_w, 0.0), 0.0)
    if low_w <= 0.0 or whole_w <= room_w:
        return down_w
    found: Floats = np.maximum(down_w - counts_w * (1.0 - room_w / whole_w), 0.0)
    return found
