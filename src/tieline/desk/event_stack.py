"""Program events of one side on one device add up: each one's target stands upon those of the events before it.

Each event is booked for itself, so that what two of them call of a device is both: the later one's target is the base,
what the earlier ones ask, and its own share on top. The topmost decides, by a primacy that goes down with each event;
where one beneath it ends, those above sink by its share. An event of the other side is a rival, not a part of the sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.desk.programs import EventState
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBatch

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]
SOURCE = "program"


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What one event asks of its devices: targets (W) that stand upon those of a greater primacy; shape (n,)."""

    event: str
    batch: str
    side: float
    primacy: int
    rows: Rows
    value_w: Floats


def layers(state: DeskState, apart_from: Iterable[str] = (), over: Iterable[str] = ()) -> list[Layer]:
    """Return what the events that run ask of their devices, some of them left out.

    Of those that are `over`, what they asked till then: their claims may have run out with them.
    """
    left_out, ended, found = set(apart_from), set(over), []
    for name, event in state.events.items():
        if event.state is not EventState.IN_PROGRESS or name in left_out:
            continue
        held = newest(state, name) or (state.event_called.get(name) if name in ended else None)
        if held is not None:
            found.append(Layer(name, held.id, float(np.sign(event.power_w)), held.primacy, held.rows, held.value))
    return found


def beneath_w(stack: Iterable[Layer], rows: Rows, base_w: Floats, side: float, above: int | None = None) -> Floats:
    """Return what the events of a stack move each row from its base on a side already (W, 0 or more); shape (n,).

    Args:
        stack: The events.
        rows: Whose; each once, in any order.
        base_w: What each would do uncalled, within stronger limits (W).
        side: 1 for events that ask for more power into the grid, -1 for those that ask for less.
        above: Count only what stands beneath this primacy; None: all.
    """
    found = np.zeros(len(rows))
    for layer in stack:
        if layer.side == side and (above is None or layer.primacy > above):
            _, mine, its = np.intersect1d(rows, layer.rows, assume_unique=True, return_indices=True)
            found[mine] = np.maximum(found[mine], side * (layer.value_w[its] - base_w[mine]))
    return found


def asked_from_w(base_w: Floats, bounded_w: Floats, side: float) -> Floats:
    """Return from where what is asked of each row counts (W): its base, or what stronger limits leave of it.

    One that a limit moves to the other side of its base (a store that has to charge) was asked from its base: no event
    would have called it behind that limit.

    >>> asked_from_w(np.array([-7_000.0, 0.0]), np.array([-3_500.0, -10_000.0]), 1.0).tolist()
    [-3500.0, 0.0]
    """
    return np.maximum(base_w, bounded_w) if side > 0 else np.minimum(base_w, bounded_w)


def top(stack: Iterable[Layer]) -> int:
    """Return the primacy of an event that stands upon all of a stack: 0 for the first, and one less for each."""
    return min((layer.primacy for layer in stack), default=1) - 1


def sunk(stack: Iterable[Layer], layer: Layer, ended: Iterable[str], base_of: Floats) -> Layer:
    """Return what an event asks once those that ended are gone from beneath it; without a batch where that is new.

    Args:
        stack: All events that ran, those that ended among them.
        layer: One that goes on.
        ended: Which ended.
        base_of: From where each row of the fleet is asked on the side of `layer` (W): see `asked_from_w`.
    """
    gone, stack, base_w = set(ended), list(stack), base_of[layer.rows]
    value_w = layer.value_w.copy()
    for other in stack:
        if other.event in gone and other.side == layer.side and other.primacy > layer.primacy:
            under_w = beneath_w(stack, other.rows, base_of[other.rows], other.side, other.primacy)
            share_w = np.maximum(other.side * (other.value_w - base_of[other.rows]) - under_w, 0.0)
            _, mine, its = np.intersect1d(layer.rows, other.rows, assume_unique=True, return_indices=True)
            value_w[mine] -= other.side * share_w[its]
    if (np.abs(value_w - layer.value_w) <= 1e-6).all():
        return layer
    value_w = base_w + layer.side * np.maximum(layer.side * (value_w - base_w), 0.0)
    return replace(layer, batch="", value_w=value_w)


def newest(state: DeskState, event: str) -> ClaimBatch | None:
    """Return the newest claims of an event that stand."""
    held = [batch for batch, _ in state.claims.batches() if batch.source == SOURCE and batch.program == event]
    return max(held, key=lambda batch: batch.source_version, default=None)
