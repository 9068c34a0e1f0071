"""Limits on groups that share devices: which are in force, and what the others leave to each device of one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.ports import Ask
from tieline.desk.scopes import scope_of
from tieline.desk.state import DeskState, LiveAsk
from tieline.resource.claim import ClaimKind
from tieline.resource.identity import GROUP_KINDS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
NEAR_LEAST_W, NEAR_FRAC = 50.0, 0.05
"""A group stands at an end of its limit so near to it."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Within:
    """What limits of other groups leave to each row of one: `low` and `high` (W); shape (n,) each.

    Rows that `draw_on` are part of a smaller group that stands at its upper end: what they would draw less that one
    must give less, and the larger group gains nothing by it. Rows that `give_on` are so at a lower end.
    """

    low: Floats
    high: Floats
    draw_on: NDArray[np.bool_]
    give_on: NDArray[np.bool_]


def left_by_others(state: DeskState, ask: Ask, rows: Rows, now_ns: int) -> Within | None:
    """Return what limits of other groups leave to each row; None where no other holds any of them.

    A limit on what a feeder generates is none of them: it says nothing of what its devices draw.
    """
    low, high, is_any = np.full(len(rows), -math.inf), np.full(len(rows), math.inf), False
    draw_on, give_on = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    mine = np.zeros(len(state.fleet), np.bool_)
    mine[rows] = True
    for live in in_force(state, now_ns):
        other, its = live.ask, state.fleet.leaves(live.ask.resource)
        its_own = (other.source, other.program, other.resource) == (ask.source, ask.program, ask.resource)
        if its_own or other.quantity is not ask.quantity or not mine[its].any():
            continue
        scope = scope_of(state, other)
        other_low, other_high = state.claims.limits_of(rows, other.source, other.program, other.quantity, scope)
        low, high, is_any = np.fmax(low, other_low), np.fmin(high, other_high), True
        if len(its) < len(rows):
            at_low, at_high = _stands_at(state, other, its)
            draw_on |= at_high & np.isfinite(other_high)
            give_on |= at_low & np.isfinite(other_low)
    return Within(np.minimum(low, high), high, draw_on, give_on) if is_any else None


def _stands_at(state: DeskState, ask: Ask, rows: Rows) -> tuple[bool, bool]:
    """Whether a limited group stands at its lower, and at its upper end, by its meters and what all limits leave it."""
    low, high = np.full(len(rows), -math.inf), np.full(len(rows), math.inf)
    for batch, alive in state.claims.batches():
        if batch.kind is ClaimKind.LIMIT and batch.quantity is ask.quantity and len(batch.rows) > 1:
            _, mine, its = np.intersect1d(rows, batch.rows[alive], assume_unique=True, return_indices=True)
            low[mine] = np.maximum(low[mine], batch.low[alive][its])
            high[mine] = np.minimum(high[mine], batch.high[alive][its])
    does_w = float(np.minimum(np.maximum(np.nan_to_num(state.fleet.power_w[rows]), low), high).sum())
    near_w = (NEAR_LEAST_W + NEAR_FRAC * abs(end_w) for end_w in (ask.low, ask.high))
    return does_w <= ask.low + next(near_w), does_w >= ask.high - next(near_w)
