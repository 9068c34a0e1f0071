"""Limits on groups that share devices: which are in force, in layers, and what others leave to each device of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tieline.desk.own_limits import Own
from tieline.desk.scopes import scope_of
from tieline.desk.state import DeskState, LiveAsk
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import GROUP_KINDS
from tieline.resource.level import Level

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


def firm_of(layers: list[Layer], own: Mapping[Level, Own]) -> dict[int, Own]:
    """Return, by the id of each layer, what its limits can't push the rows that they hold below, or above."""
    found: dict[int, Own] = {}
    for layer in layers if own else ():
        levels = [live.ask.level for live in layer.limits]
        found[id(layer)] = own[levels[0]]
        if len(set(levels)) > 1:
            pushes = np.array([int(level) for level in levels])[layer.of]
            parts = [np.where(pushes == int(level), each, np.nan) for level in set(levels) for each in own[level]]
            found[id(layer)] = Own(*(np.fmax.reduce(parts[at :: len(Own._fields)]) for at in range(len(Own._fields))))
    return found


def left_by_others(
    layers: list[Layer], own: Layer, rows: Rows, does_w: tuple[Floats, Floats], firm: Mapping[int, Own]
) -> Within | None:
    """Return what limits of other layers leave to each row of a group (W); None where no other holds any of them.

    A cap that still waits is none to one whom its limit can't keep from that (`firm`).
    """
    low, high, is_any = np.full(len(rows), -np.inf), np.full(len(rows), np.inf), False
    for layer in layers:
        if layer is not own and layer.quantity is own.quantity and (layer.of[rows] >= 0).any():
            low_w, high_w = layer.low[rows], layer.high[rows]
            if firm:
                low_w, high_w = firm[id(layer)].at(rows).firm(low_w, high_w)
            low, high, is_any = np.fmax(low, low_w), np.fmin(high, high_w), True
    if not is_any:
        return None
    low = np.minimum(low, high)
    does, wants = (np.minimum(np.maximum(found_w[rows], low), high) for found_w in does_w)
    return Within(low, high, does, wants)
