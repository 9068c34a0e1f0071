"""Limits on groups that share devices: which are in force, in layers, and what others leave to each device of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tieline.desk.scopes import scope_of
from tieline.desk.state import DeskState, LiveAsk
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import GROUP_KINDS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
Mask = NDArray[np.bool_]
MARGIN_FRAC = 0.01


class Within(NamedTuple):
    """What limits of other groups leave to each row of one (W), and what it does then: by its meter, or as it wants."""

    low_w: Floats
    high_w: Floats
    does_w: Floats
    wants_w: Floats


@dataclass(frozen=True)
class Layer:
    """Limits on one quantity of which no two share a device, and the caps by which they hold each row (W; NaN: none).

    The caps are written anew as they are shared out, before they are placed.
    """

    quantity: Quantity
    limits: list[LiveAsk]
    of: Rows
    """Which of them holds each row; -1: none."""
    low: Floats
    high: Floats


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


def layers_of(state: DeskState, limits: list[LiveAsk]) -> list[Layer]:
    """Return limits in layers, those of the smallest groups first, with the caps that are placed."""
    layers: list[Layer] = []
    size, of_rows = len(state.fleet), [state.fleet.leaves(live.ask.resource) for live in limits]
    for at in sorted(range(len(limits)), key=lambda at: len(of_rows[at])):
        ask, rows = limits[at].ask, of_rows[at]
        free = (layer for layer in layers if layer.quantity is ask.quantity and (layer.of[rows] < 0).all())
        layer = next(free, None)
        if layer is None:
            nothing = np.full(size, np.nan)
            layer = Layer(ask.quantity, [], np.full(size, -1, np.int32), nothing, nothing.copy())
            layers.append(layer)
        layer.of[rows] = len(layer.limits)
        layer.limits.append(limits[at])
        scope = scope_of(state, ask)
        layer.low[rows], layer.high[rows] = state.claims.limits_of(rows, ask.source, ask.program, ask.quantity, scope)
    return layers


def left_by_others(layers: list[Layer], own: Layer, rows: Rows, does_w: tuple[Floats, Floats]) -> Within | None:
    """Return what limits of other layers leave to each row of a group (W); None where no other holds any of them."""
    low, high, is_any = np.full(len(rows), -np.inf), np.full(len(rows), np.inf), False
    for layer in layers:
        if layer is not own and layer.quantity is own.quantity and (layer.of[rows] >= 0).any():
            low, high, is_any = np.fmax(low, layer.low[rows]), np.fmin(high, layer.high[rows]), True
    if not is_any:
        return None
    low = np.minimum(low, high)
    does, wants = (np.minimum(np.maximum(found_w[rows], low), high) for found_w in does_w)
    return Within(low, high, does, wants)
