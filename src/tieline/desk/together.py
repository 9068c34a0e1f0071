"""What devices do once all limits on groups that share them are kept: what each of these limits is shared out by.

Each limit by itself would be kept by other devices than the next one counts on: a car that one cuts no longer takes
what a roof gives under another. So it is found first, for all at once, what each device would do if every limit were
kept: from what the meters say, whoever is beyond an end is brought back to it by all that can, each in proportion to
what it can, limit by limit, until all hold (a method of projections onto what each limit allows).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tieline.desk.disobedience import ignoring
from tieline.desk.extents import reach_w, unheard_w
from tieline.desk.nested import MARGIN_FRAC, Floats, Layer
from tieline.desk.state import DeskState
from tieline.resource.claim import Quantity
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH

Mask = NDArray[np.bool_]
ROUNDS, KEPT_W = 60, 1.0
"""So often limits are gone through at most, and how near to its end each is then (W)."""


@dataclass(frozen=True)
class _Span:
    """Between what each device can be (W), and what one that can't be reached, or doesn't obey, counts at."""

    least_w: Floats
    most_w: Floats
    is_load: Mask
    fixed: Mask
    worst_gives_w: Floats
    worst_draws_w: Floats


def does_together_w(state: DeskState, layers: list[Layer], now_ns: int) -> Floats:
    """Return what each row of the fleet would do (W) with the limits of all layers kept, as far as they can be."""
    does_w, span = np.nan_to_num(state.fleet.power_w), _span_of(state, now_ns)
    binding = [(layer, *_ends_of(state, layer)) for layer in layers if layer.quantity is Quantity.P]
    for _ in range(ROUNDS):
        before_w = does_w
        for layer, low_w, high_w, kinds in binding:
            does_w = _lifted(layer, low_w, _lowered(layer, high_w, does_w, span, kinds), span)
        if float(np.abs(does_w - before_w).max(initial=0.0)) < KEPT_W:
            break
    return does_w


def _span_of(state: DeskState, now_ns: int) -> _Span:
    fleet, rows = state.fleet, np.arange(len(state.fleet), dtype=np.int32)
    now_w = np.nan_to_num(fleet.power_w)
    least_up_w, least_w = reach_w(state, rows)
    most_w, is_load, is_sun = -least_up_w, fleet.max_inject_w <= 0, fleet.max_absorb_w <= 0
    # Nobody is told to draw, and nobody can make the sun shine.
    least_w = np.where(is_load, now_w, least_w)
    most_w = np.where(is_sun, now_w, most_w)
    lost = (fleet.quality & int(UNFIT_FOR_DISPATCH)) != 0
    gives, draws = (mask & ~lost for mask in ignoring(state, rows, now_ns))
    fixed, spared = lost | gives | draws, state.opted_out
    # Who is spared goes to the other side of 0 W by nobody's need but the last: the limit's own caps see to that.
    least_w = np.where(spared, np.maximum(least_w, np.minimum(now_w, 0.0)), least_w)
    most_w = np.where(spared, np.minimum(most_w, np.maximum(now_w, 0.0)), most_w)
    gives_w, draws_w = unheard_w(state, rows, now_ns)
    return _Span(
        np.where(fixed, now_w, np.minimum(least_w, now_w)), np.where(fixed, now_w, np.maximum(most_w, now_w)),
        is_load, fixed, np.where(lost, gives_w, now_w), np.where(lost, -draws_w, now_w),
    )  # fmt: skip


def _ends_of(state: DeskState, layer: Layer) -> tuple[Floats, Floats, tuple[Mask, Mask]]:
    """Return the ends (W) of each limit of a layer, less what caps keep as a margin, and which are sites, or say what
    a feeder generates; infinite where an end binds none."""
    count, at = len(layer.limits), np.flatnonzero(layer.of >= 0)
    inject_w, absorb_w = (
        np.bincount(layer.of[at], size_w[at], count) for size_w in (state.fleet.max_inject_w, state.fleet.max_absorb_w)
    )
    low_w, high_w = (np.array([getattr(live.ask, end) for live in layer.limits]) for end in ("low", "high"))
    kinds = [state.fleet.kind_of(live.ask.resource) for live in layer.limits]
    makes = np.array([kind is Kind.GENERATION for kind in kinds])
    low_end_w = np.where(low_w > -absorb_w, low_w + MARGIN_FRAC * np.minimum(absorb_w, np.abs(low_w)), -np.inf)
    high_end_w = np.where(high_w < inject_w, high_w - MARGIN_FRAC * np.minimum(inject_w, np.abs(high_w)), np.inf)
    sites = np.array([kind is Kind.SITE for kind in kinds])
    return np.where(makes, -np.inf, low_end_w), high_end_w, (sites, makes)


def _lowered(layer: Layer, high_w: Floats, does_w: Floats, span: _Span, kinds: tuple[Mask, Mask]) -> Floats:
    """Return what rows do once none of a layer's limits is beyond its upper end.

    A load counts behind a site's meter alone, as elsewhere it may stop; and what is taken where giving is limited.
    """
    if not np.isfinite(high_w).any():
        return does_w
    at = np.flatnonzero(layer.of >= 0)
    of, (sites, makes) = layer.of[at], kinds
    counted_w = np.where(span.fixed[at], span.worst_gives_w[at], does_w[at])
    counted_w = np.where(span.is_load[at] & ~sites[of], np.maximum(counted_w, 0.0), counted_w)
    counted_w = np.where(makes[of], np.maximum(counted_w, 0.0), counted_w)
    least_w = np.where(makes[of], np.maximum(span.least_w[at], 0.0), span.least_w[at])
    can_w = np.where(span.fixed[at], 0.0, np.maximum(does_w[at] - least_w, 0.0))
    over_w = np.maximum(np.bincount(of, counted_w, len(high_w)) - high_w, 0.0)
    return _moved(does_w, at, of, -can_w, over_w)


def _lifted(layer: Layer, low_w: Floats, does_w: Floats, span: _Span) -> Floats:
    """Return what rows do once none of a layer's limits is beyond its lower end."""
    if not np.isfinite(low_w).any():
        return does_w
    at = np.flatnonzero(layer.of >= 0)
    of = layer.of[at]
    counted_w = np.where(span.fixed[at], span.worst_draws_w[at], does_w[at])
    can_w = np.where(span.fixed[at], 0.0, np.maximum(span.most_w[at] - does_w[at], 0.0))
    under_w = np.maximum(low_w - np.bincount(of, counted_w, len(low_w)), 0.0)
    return _moved(does_w, at, of, can_w, under_w)


def _moved(does_w: Floats, at: NDArray[np.int64], of: NDArray[np.int32], can_w: Floats, by_w: Floats) -> Floats:
    """Return what rows do after those of each limit moved by so much together, each in proportion to what it can."""
    whole_w = np.bincount(of, np.abs(can_w), len(by_w))
    part = np.divide(by_w, whole_w, out=np.zeros(len(by_w)), where=whole_w > 0.0)
    moved_w = does_w.copy()
    moved_w[at] += can_w * np.minimum(part, 1.0)[of]
    return moved_w
