"""Limits on groups that share devices: which are in force, and what the others leave to each device of one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ports import Ask
from tieline.desk.scopes import scope_of
from tieline.desk.state import DeskState, LiveAsk
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import GROUP_KINDS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


def in_force(state: DeskState, now_ns: int) -> list[LiveAsk]:
    """Return the limits on groups that are in force."""
    return [
        live
        for live in state.asks.values()
        if live.ask.kind is ClaimKind.LIMIT
        and live.ask.start_ns <= now_ns < live.ask.end_ns
        and state.fleet.kind_of(live.ask.resource) in GROUP_KINDS
    ]


def covers_of(state: DeskState, limits: list[LiveAsk]) -> NDArray[np.int16]:
    """Return how many of some limits hold each row; shape (n,)."""
    found = np.zeros(len(state.fleet), np.int16)
    for live in limits:
        found[state.fleet.leaves(live.ask.resource)] += 1
    return found


def left_by_others(state: DeskState, ask: Ask, rows: Rows, now_ns: int) -> tuple[Floats, Floats] | None:
    """Return what limits of other groups leave to each row (W); None where no other holds any of them.

    A limit on what a feeder generates is none of them: it says nothing of what its devices draw.
    """
    low, high, is_any = np.full(len(rows), -math.inf), np.full(len(rows), math.inf), False
    mine = np.zeros(len(state.fleet), np.bool_)
    mine[rows] = True
    for live in in_force(state, now_ns):
        other = live.ask
        its_own = (other.source, other.program, other.resource) == (ask.source, ask.program, ask.resource)
        if its_own or other.quantity is not ask.quantity or not mine[state.fleet.leaves(other.resource)].any():
            continue
        scope = scope_of(state, other)
        other_low, other_high = state.claims.limits_of(rows, other.source, other.program, other.quantity, scope)
        low, high, is_any = np.fmax(low, other_low), np.fmin(high, other_high), True
    return (np.minimum(low, high), high) if is_any else None
