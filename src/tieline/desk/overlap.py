"""What the caps of limits that share devices come to together, looked at once more before they are placed.

Each limit is shared out by what the others leave to its devices, and what one makes of that the next takes up, so often
as there is time for. Where a cut for one's sake still takes what another counts on, as a car's for the feeder's sake
what fed a home's store, those of the other give way in the same beat, not at the next one. It goes by what each does
then, not by what it may: how far caps grow is found by each limit alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tieline.desk.nested import Floats, Layer
from tieline.desk.own_limits import Own
from tieline.desk.state import DeskState
from tieline.desk.together import KEPT_W, Bound, Span, bound_of, brought_within, gives_w, span_of, takes_w
from tieline.fleet.columns import KIND_CODE
from tieline.resource.claim import Quantity
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind


def keep_together(state: DeskState, layers: list[Layer], now_ns: int, own: Own | None = None) -> None:
    """Sink caps of layers, so that no limit is left beyond an end by what devices do within the caps of all."""
    mine = [layer for layer in layers if layer.quantity is Quantity.P]
    span, (low_w, high_w) = span_of(state, now_ns, own), _left_w(mine, len(state.fleet))
    if own is not None:
        low_w, high_w = (
            np.where(span.fixed, low_w, np.fmax(low_w, own.low_w)),
            np.where(span.fixed, high_w, np.fmin(high_w, own.high_w)),
        )
        low_w = np.minimum(low_w, high_w)
    told_low_w, told_high_w = _told_w(state, now_ns)
    does_w = _does_w(state, low_w, high_w)
    # A cap that grows may be held back on its way: nobody gives way to what another will do by it.
    lags_w = does_w - _does_w(state, low_w, np.minimum(high_w, told_high_w))
    leads_w = _does_w(state, np.maximum(low_w, told_low_w), high_w) - does_w
    bounds = [_narrowed(bound_of(state, layer, now_ns), lags_w, leads_w) for layer in mine]
    if not any(_is_beyond(bound, does_w, span) for bound in bounds):
        return
    # Nobody is told to draw: a load stays at what it does, and a car that stops is at rest.
    least_w = np.where(span.is_load, does_w, np.minimum(does_w, span.least_w))
    if own is not None:  # nor is anybody pushed below an end of his own, however little the sun shines
        least_w = np.maximum(least_w, np.minimum(np.where(span.fixed, -np.inf, own.least_w), does_w))
    kept_w = brought_within(bounds, does_w, replace(span, least_w=least_w, most_w=np.maximum(does_w, span.most_w)))
    for layer in mine:
        sinks, rises = (layer.of >= 0) & (kept_w < does_w - KEPT_W), (layer.of >= 0) & (kept_w > does_w + KEPT_W)
        # What another limit had it do is over: that one is kept as well.
        layer.high[sinks], layer.low[sinks] = np.fmin(layer.high, kept_w)[sinks], np.fmin(layer.low, kept_w)[sinks]
        layer.low[rises], layer.high[rises] = np.fmax(layer.low, kept_w)[rises], np.fmax(layer.high, kept_w)[rises]


def _left_w(layers: list[Layer], count: int) -> tuple[Floats, Floats]:
    """Return what the caps of all layers leave to each row (W)."""
    low_w, high_w = np.full(count, -np.inf), np.full(count, np.inf)
    for layer in layers:
        low_w, high_w = np.fmax(low_w, layer.low), np.fmin(high_w, layer.high)
    return np.minimum(low_w, high_w), high_w


def _told_w(state: DeskState, now_ns: int) -> tuple[Floats, Floats]:
    """Return the caps that each row was told last (W; infinite: none holds)."""
    last = state.commands
    alive = last.valid_until_ns > now_ns
    return np.where(alive, last.low_w, -np.inf), np.where(alive, last.high_w, np.inf)


def _does_w(state: DeskState, low_w: Floats, high_w: Floats) -> Floats:
    """Return what each row does within caps (W); a car charges with what it needs at least, or not."""
    fleet = state.fleet
    does_w = np.minimum(np.maximum(fleet.power_or_0_w(), low_w), high_w)
    stops = (fleet.kinds == KIND_CODE[Kind.EV_CHARGER]) & (does_w > -LEAST_CHARGE_W)
    return np.where(stops, np.maximum(does_w, 0.0), does_w)


def _narrowed(bound: Bound, lags_w: Floats, leads_w: Floats) -> Bound:
    """Return the ends of a layer's limits for what all do, each load at what it draws, less what may not come yet."""
    lack_w, more_w = (
        np.bincount(bound.of, np.maximum(by_w[bound.at], 0.0), len(bound.low_w)) for by_w in (lags_w, leads_w)
    )
    return replace(bound, low_w=bound.low_w + lack_w, high_w=bound.high_w - more_w, counts=np.ones_like(bound.counts))


def _is_beyond(bound: Bound, does_w: Floats, span: Span) -> bool:
    """Return whether a limit of a layer is beyond an end."""
    over_w = np.bincount(bound.of, gives_w(bound, does_w, span), len(bound.high_w)) - bound.high_w
    under_w = bound.low_w - np.bincount(bound.of, takes_w(bound, does_w, span), len(bound.low_w))
    return bool((over_w > KEPT_W).any() or (under_w > KEPT_W).any())
