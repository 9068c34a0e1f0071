"""What devices do once all limits on groups that share them are kept: what each of these limits is shared out by.

Each limit by itself would be kept by other devices than the next one counts on: a car that one cuts no longer takes
what a roof gives under another. So it is found first, for all at once, what each device would do if every limit were
kept: from what the meters say, whoever is beyond an end is brought back to it by all that can, each in proportion to
what it can, limit by limit, until all hold (a method of projections onto what each limit allows). Those come first who
can move without another limit's giving way: where a home stands at its export limit, what its car draws less its roof
must give less, and the feeder would gain nothing by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tieline.desk.beside import own_w
from tieline.desk.counted_loads import counted
from tieline.desk.extents import reach_w, unheard_w
from tieline.desk.nested import MARGIN_FRAC, Floats, Layer, Mask
from tieline.desk.own_limits import Own
from tieline.desk.state import DeskState
from tieline.desk.strays import strays
from tieline.desk.wants import LEAST_TRIED, TURN_NS, may_take_w, tried_charger, wants
from tieline.resource.claim import Quantity
from tieline.resource.hold import LEAST_CHARGE_W
from tieline.resource.identity import Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH

ROUNDS, KEPT_W = 60, 1.0
"""So often limits are gone through at most, and how near to its end each is then (W)."""


@dataclass(frozen=True)
class Span:
    """Between what each device can be (W), and what one that can't be reached, or doesn't obey, counts at."""

    least_w: Floats
    most_w: Floats
    is_load: Mask
    fixed: Mask
    worst_gives_w: Floats
    worst_draws_w: Floats


@dataclass(frozen=True, eq=False)
class Bound:
    """A layer's limits: the rows that they hold, and which holds each; their ends (W; infinite: binds none), and which
    say what a feeder generates; which rows' draw makes room beneath an upper end is `counts`, one each of `at`."""

    at: NDArray[np.int64]
    of: NDArray[np.int32]
    low_w: Floats
    high_w: Floats
    counts: Mask
    makes: Mask


def does_together_w(
    state: DeskState, layers: list[Layer], now_ns: int, own: Own | None = None
) -> tuple[Floats, Floats]:
    """Return what each row of the fleet would do (W) with the limits of all layers kept, as far as they can be: by what
    the meters say, and by what each wants to draw."""
    span = span_of(state, now_ns, own)
    binding = [bound_of(state, layer, now_ns) for layer in layers if layer.quantity is Quantity.P]
    does_w = brought_within(binding, known_w(state, own, span.fixed, now_ns), span)
    wished_w, tried, waits_w, turns = _wanted_w(state, layers, now_ns)
    if own is not None:
        wished_w = np.where(span.fixed, wished_w, _kept_to(state, own, wished_w, now_ns))
    wants_w = brought_within(binding, wished_w, replace(span, most_w=np.where(tried, wished_w, span.most_w)))
    begins_w = _begins_w(binding, wants_w, waits_w, turns, span)
    wants_w = wants_w - begins_w
    # What nobody is known to want takes nothing from those who do, nor, for a turn, from a load that just made room.
    stands = (waits_w > begins_w) & (now_ns - state.commands.since_ns < TURN_NS)
    more_w = may_take_w(state, np.arange(len(wants_w), dtype=np.int32), -wants_w, now_ns)
    for bound in binding:
        awaited = np.bincount(bound.of, stands[bound.at], len(bound.low_w)) > 0
        more_w[bound.at[awaited[bound.of]]] = 0.0
    if not more_w.any():
        return does_w, wants_w
    left = replace(span, least_w=np.where(more_w > 0.0, span.least_w, wants_w), most_w=wants_w)
    return does_w, brought_within(binding, wants_w - more_w, left)


def _begins_w(binding: list[Bound], does_w: Floats, waits_w: Floats, turns: NDArray[np.int64], span: Span) -> Floats:
    """Return what loads draw that wait to be on (W, each wholly or not at all): as many, in turn, as all limits that
    hold them have room for beside what all do."""
    begins, rank = waits_w > KEPT_W, np.empty(len(does_w), np.int64)
    rank[:], rank[turns] = len(turns), np.arange(len(turns))
    for bound in binding:
        room_w = np.bincount(bound.of, takes_w(bound, does_w, span), len(bound.low_w)) - bound.low_w
        places = np.flatnonzero(begins[bound.at])
        places = places[np.lexsort((rank[bound.at[places]], bound.of[places]))]
        rows, of = bound.at[places], bound.of[places]
        whole_w = np.cumsum(waits_w[rows])
        before_w = (whole_w - waits_w[rows])[np.searchsorted(of, of)]
        begins[rows[whole_w - before_w > room_w[of] + KEPT_W]] = False
    return np.where(begins, waits_w, 0.0)


def brought_within(binding: list[Bound], does_w: Floats, span: Span) -> Floats:
    for _ in range(ROUNDS):
        before_w = does_w
        for bound in binding:
            others = [other for other in binding if other is not bound]
            does_w = _lifted(bound, _lowered(bound, does_w, span, others), span, others)
        if float(np.abs(does_w - before_w).max(initial=0.0)) < KEPT_W:
            break
    return does_w


def _wanted_w(state: DeskState, layers: list[Layer], now_ns: int) -> tuple[Floats, Mask, Floats, NDArray[np.int64]]:
    """Return what each row does (W), or would draw, or give, if no cap held it: who came last has his part too; which
    chargers are let charge to see whether a car came; and what loads draw that wait for their turn to be on, with it.

    A charger that is tried wants what a car needs at least, and no part of that.
    """
    fleet = state.fleet
    rows, does_w = np.arange(len(fleet), dtype=np.int32), fleet.power_or_0_w()
    wants_w, turns = wants(state, rows, -does_w, now_ns)
    by_itself_w = own_w(state, rows, now_ns)
    gives = (fleet.max_inject_w > 0.0) & (by_itself_w > 0.0)
    wished_w = np.where(gives, np.maximum(does_w, by_itself_w), np.minimum(does_w, -wants_w))
    waits = state.is_switched & (wants_w > 0.0) & (does_w > -0.5 * fleet.max_absorb_w)
    waits_w = np.where(waits, fleet.max_absorb_w + does_w, 0.0)
    wished_w = np.where(state.is_switched, does_w, wished_w)
    tried, tight = np.zeros(len(fleet), np.bool_), np.zeros(len(fleet), np.bool_)
    for live in (live for layer in layers for live in layer.limits if layer.quantity is Quantity.P):
        mine = fleet.leaves(live.ask.resource)
        at = tried_charger(state, mine, -does_w[mine], now_ns)
        if live.ask.low > -LEAST_TRIED * LEAST_CHARGE_W:
            tight[mine] = True
        elif at is not None:
            least_w = (1.0 + MARGIN_FRAC) * LEAST_CHARGE_W  # a watt less than a car needs is nothing to it
            wished_w[mine[at]] = min(wished_w[mine[at]], -min(least_w, float(fleet.max_absorb_w[mine[at]])))
            tried[mine[at]] = True
    return wished_w, tried & ~tight, waits_w, turns


def known_w(state: DeskState, own: Own | None, fixed: Mask, now_ns: int) -> Floats:
    """Return what each row does (W), within what limits of its own leave it, but for who keeps to none (`fixed`)."""
    does_w = state.fleet.power_or_0_w()
    return does_w if own is None else np.where(fixed, does_w, _kept_to(state, own, does_w, now_ns))


def _kept_to(state: DeskState, own: Own, power_w: Floats, now_ns: int) -> Floats:
    fleet, rows = state.fleet, np.arange(len(power_w), dtype=np.int32)
    able_w = np.where(fleet.max_absorb_w <= 0.0, own_w(state, rows, now_ns), fleet.max_inject_w)
    return own.kept_to(power_w, fleet.max_inject_w <= 0.0, able_w)


def span_of(state: DeskState, now_ns: int, own: Own | None = None) -> Span:
    fleet, rows = state.fleet, np.arange(len(state.fleet), dtype=np.int32)
    lost = (fleet.quality & int(UNFIT_FOR_DISPATCH)) != 0
    fixed, spared = lost | strays(state, rows, now_ns), state.opted_out
    now_w = known_w(state, own, fixed, now_ns)
    least_up_w, least_w = reach_w(state, rows)
    if own is not None:
        least_up_w, least_w = np.maximum(least_up_w, -own.high_w), np.maximum(least_w, own.low_w)
    most_w, is_load, is_sun = -least_up_w, fleet.max_inject_w <= 0, fleet.max_absorb_w <= 0
    # Nobody is told to draw, and nobody can make the sun shine.
    least_w = np.where(is_load, now_w, least_w)
    most_w = np.where(is_sun, now_w, most_w)
    # Who is spared goes to the other side of 0 W by nobody's need but the last: the limit's own caps see to that.
    least_w = np.where(spared, np.maximum(least_w, np.minimum(now_w, 0.0)), least_w)
    most_w = np.where(spared, np.minimum(most_w, np.maximum(now_w, 0.0)), most_w)
    gives_w, draws_w = unheard_w(state, rows, now_ns)
    return Span(
        np.where(fixed, now_w, np.minimum(least_w, now_w)), np.where(fixed, now_w, np.maximum(most_w, now_w)),
        is_load, fixed, np.where(lost, gives_w, now_w), np.where(lost, -draws_w, now_w),
    )  # fmt: skip


def bound_of(state: DeskState, layer: Layer, now_ns: int) -> Bound:
    """Return the ends of each limit of a layer, less what caps keep as a margin; infinite where an end binds none."""
    count, at = len(layer.limits), np.flatnonzero(layer.of >= 0)
    inject_w, absorb_w = (
        np.bincount(layer.of[at], size_w[at], count) for size_w in (state.fleet.max_inject_w, state.fleet.max_absorb_w)
    )
    low_w, high_w = (np.array([getattr(live.ask, end) for live in layer.limits]) for end in ("low", "high"))
    kinds = [state.fleet.kind_of(live.ask.resource) for live in layer.limits]
    makes = np.array([kind is Kind.GENERATION for kind in kinds])
    low_end_w = np.where(low_w > -absorb_w, low_w + MARGIN_FRAC * np.minimum(absorb_w, np.abs(low_w)), -np.inf)
    high_end_w = np.where(high_w < inject_w, high_w - MARGIN_FRAC * np.minimum(inject_w, np.abs(high_w)), np.inf)
    counts = np.array([kind is Kind.SITE for kind in kinds])[layer.of[at]]
    for place, live in enumerate(layer.limits):
        if live.ask.resource in state.counted:
            mine = layer.of[at] == place
            counts[mine] |= counted(state, live.ask.resource, at[mine].astype(np.int32), now_ns)
    return Bound(at, layer.of[at], np.where(makes, -np.inf, low_end_w), high_end_w, counts, makes)


def gives_w(bound: Bound, does_w: Floats, span: Span) -> Floats:
    """Return what each row of a layer counts at beneath an upper end (W).

    A load counts behind a site's meter, and where the settings say so, as elsewhere it may stop; and nothing that is
    taken where giving is limited.
    """
    at, of = bound.at, bound.of
    counted_w = np.where(span.fixed[at], span.worst_gives_w[at], does_w[at])
    is_free = (span.is_load[at] & ~bound.counts) | bound.makes[of]
    return np.where(is_free, np.maximum(counted_w, 0.0), counted_w)


def takes_w(bound: Bound, does_w: Floats, span: Span) -> Floats:
    """Return what each row of a layer counts at above a lower end (W)."""
    return np.where(span.fixed[bound.at], span.worst_draws_w[bound.at], does_w[bound.at])


def _lowered(bound: Bound, does_w: Floats, span: Span, others: list[Bound]) -> Floats:
    """Return what rows do once none of a layer's limits is beyond its upper end."""
    if not np.isfinite(bound.high_w).any():
        return does_w
    at, of, can_w = bound.at, bound.of, np.zeros(len(does_w))
    least_w = np.where(bound.makes[of], np.maximum(span.least_w[at], 0.0), span.least_w[at])
    can_w[at] = np.where(span.fixed[at], 0.0, np.maximum(does_w[at] - least_w, 0.0))
    over_w = np.bincount(of, gives_w(bound, does_w, span), len(bound.high_w)) - bound.high_w
    freely_w = can_w
    for other in others:
        room_w = np.bincount(other.of, takes_w(other, does_w, span), len(other.low_w)) - other.low_w
        freely_w = np.minimum(freely_w, _within(other, can_w, room_w, np.ones(len(other.at), np.bool_)))
    return does_w - _shared(bound, over_w, freely_w, can_w)


def _lifted(bound: Bound, does_w: Floats, span: Span, others: list[Bound]) -> Floats:
    """Return what rows do once none of a layer's limits is beyond its lower end."""
    if not np.isfinite(bound.low_w).any():
        return does_w
    at, of, can_w = bound.at, bound.of, np.zeros(len(does_w))
    can_w[at] = np.where(span.fixed[at], 0.0, np.maximum(span.most_w[at] - does_w[at], 0.0))
    under_w = bound.low_w - np.bincount(of, takes_w(bound, does_w, span), len(bound.low_w))
    freely_w = can_w
    for other in others:
        room_w = other.high_w - np.bincount(other.of, gives_w(other, does_w, span), len(other.high_w))
        counts = ~span.is_load[other.at] | other.counts
        freely_w = np.minimum(freely_w, _within(other, can_w, room_w, counts))
    return does_w + _shared(bound, under_w, freely_w, can_w)


def _within(other: Bound, can_w: Floats, room_w: Floats, counts: Mask) -> Floats:
    """Return how far each row can move (W) within what each limit of another layer leaves to those that count there."""
    asked_w = np.where(counts, can_w[other.at], 0.0)
    whole_w = np.bincount(other.of, asked_w, len(room_w))
    binds = whole_w > np.maximum(room_w, 0.0)
    part = np.divide(np.maximum(room_w, 0.0), whole_w, out=np.ones(len(room_w)), where=binds)
    within_w = can_w.copy()
    within_w[other.at] *= np.where(counts, part[other.of], 1.0)
    return within_w


def _shared(bound: Bound, by_w: Floats, freely_w: Floats, can_w: Floats) -> Floats:
    """Return by how much each row moves (W) so that those of each limit move by so much together, as far as they can:
    first as far as they can freely, then as far as they can at all."""
    moved_w = np.zeros(len(can_w))
    for most_w in (freely_w, can_w):
        left_w = most_w[bound.at] - moved_w[bound.at]
        whole_w = np.bincount(bound.of, left_w, len(by_w))
        lacks_w = np.maximum(by_w - np.bincount(bound.of, moved_w[bound.at], len(by_w)), 0.0)
        part = np.divide(lacks_w, whole_w, out=np.zeros(len(by_w)), where=whole_w > 0.0)
        moved_w[bound.at] += left_w * np.minimum(part, 1.0)[bound.of]
    return moved_w
