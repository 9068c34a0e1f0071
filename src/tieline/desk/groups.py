"""A limit on a group: shared out as caps on its leaves, and kept by feedback from their meters (rules R16, R17).

Only what can hold a power takes part: against an upper limit stores and generators, against a lower one stores and
loads. The others are counted at what they do; a leaf that can't be reached counts at the larger of its leased cap and
its default. When caps move, those that sink are placed at once; one that grows waits until what another gave up is
acknowledged, as a command may be lost on its way.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.desk.entry import Entry
from tieline.desk.facts import ClaimsEnded, ClaimsPlaced, Packed
from tieline.desk.ports import Ask
from tieline.desk.scopes import scope_of
from tieline.desk.state import DeskState, LiveAsk
from tieline.fleet.grouplimit import moved_caps
from tieline.ids import derive
from tieline.resource.claim import ClaimEnd, ClaimKind
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.resource.quality import UNFIT_FOR_DISPATCH
from tieline.times import SECOND_NS

Floats = NDArray[np.float64]
Rows = NDArray[np.int32]
SITE_STALE_NS = 10 * SECOND_NS
MARGIN_FRAC = 0.01
MOVES_FRAC, SWAPS_FRAC = 0.005, 0.05
"""Caps are placed afresh when their sum moves by the first share of the group's rating, or when by the second share of
it they change places: then one leaf lies idle below its cap while another is held at its own."""


def caps(
    state: DeskState, rows: Rows, low_w: float, high_w: float, now_ns: int, is_site: bool = False
) -> tuple[Floats, Floats]:
    """Return the leaves' low and high caps (W) for a group's limit; an end that is not limited stays open.

    Behind a site's connection a reading older than 10 s is none: the worst load is assumed (R17).
    """
    fleet = state.fleet
    inject_w, absorb_w = fleet.max_inject_w[rows], fleet.max_absorb_w[rows]
    now_w, base_w = np.nan_to_num(fleet.power_w[rows]), state.base_w[rows]
    lost = (fleet.quality[rows] & int(UNFIT_FOR_DISPATCH)) != 0
    blind = is_site & (now_ns - fleet.taken_at_ns[rows] > SITE_STALE_NS)
    alone_low_w, alone_high_w = _alone_w(state, rows, now_ns)
    low, high = np.full(len(rows), -math.inf), np.full(len(rows), math.inf)
    if math.isfinite(high_w):
        most_w = np.where(lost, np.maximum(alone_high_w, 0.0), np.nan)
        high = _ceilings(high_w, np.where(blind, inject_w, now_w), base_w, -absorb_w, inject_w, most_w)
    if math.isfinite(low_w):
        least_w = np.where(lost, np.maximum(-alone_low_w, 0.0), np.nan)
        low = -_ceilings(-low_w, np.where(blind, absorb_w, -now_w), -base_w, -inject_w, absorb_w, least_w)
    return low, high


def _ceilings(
    limit_w: float, now_w: Floats, base_w: Floats, least_w: Floats, most_w: Floats, alone_w: Floats
) -> Floats:
    """Return upper caps whose sum keeps the limit.

    Rows that can't push upwards (`most_w` is 0) follow their base and are counted at what they do; where room is left
    when all others are at their most, they get it too.
    """
    lost = np.isfinite(alone_w)
    holds = (most_w > 0) & ~lost
    others = ~holds & ~lost
    margin_w = MARGIN_FRAC * float(most_w.sum())
    left_w = limit_w - margin_w - float(alone_w[lost].sum()) - float(now_w[others].sum())
    ceiling = np.where(lost, np.nan_to_num(alone_w), np.minimum(base_w, most_w))
    now_held_w = np.clip(now_w[holds], least_w[holds], most_w[holds])
    ceiling[holds] = share_out(left_w, now_held_w, least_w[holds], most_w[holds])
    spare_w = left_w - float(ceiling[holds].sum())
    room_w = np.where(others, most_w - ceiling, 0.0)
    whole_w = float(room_w.sum())
    return ceiling + room_w * min(1.0, spare_w / whole_w) if spare_w > 0 and whole_w > 0 else ceiling


def _alone_w(state: DeskState, rows: Rows, now_ns: int) -> tuple[Floats, Floats]:
    """Return the least and most (W) that a leaf that can't be reached may be at: its leased cap, or its default."""
    fleet, last, default_w = state.fleet, state.commands, state.fleet.default_w[rows]
    alive = last.valid_until_ns[rows] > now_ns
    target_w = np.where(np.isfinite(last.target_w[rows]), last.target_w[rows], default_w)
    low_w, high_w = last.leased_low_w[rows], last.leased_high_w[rows]
    low_w = np.where(low_w > -fleet.max_absorb_w[rows], low_w, target_w)
    high_w = np.where(high_w < fleet.max_inject_w[rows], high_w, target_w)
    return (
        np.where(alive, np.minimum(low_w, default_w), default_w),
        np.where(alive, np.maximum(high_w, default_w), default_w),
    )


def share_out(limit_w: float, now_w: Floats, least_w: Floats, most_w: Floats) -> Floats:
    """Return caps that sum to `limit_w` where that is feasible, each in [least, most], as near to `now_w` as can be.

    Where there is room above `now_w` it is given in proportion to what is left up to `most_w`; where there is too
    little, each gives way in proportion to what it can.

    >>> share_out(3.0, np.array([4.0, 2.0]), np.array([0.0, 0.0]), np.array([5.0, 5.0]))
    array([2., 1.])
    """
    total_w = float(now_w.sum())
    if limit_w >= total_w:
        room_w = most_w - now_w
        whole = float(room_w.sum())
        return now_w + room_w * min(1.0, (limit_w - total_w) / whole) if whole > 0 else now_w.copy()
    give_w = now_w - least_w
    whole = float(give_w.sum())
    return now_w - give_w * min(1.0, (total_w - limit_w) / whole) if whole > 0 else now_w.copy()


def decide_regulation(state: DeskState, now_ns: int) -> list[Entry]:
    """Return the facts that move the caps of group limits to where the meters say that they must be."""
    entries: list[Entry] = []
    for live in state.asks.values():
        ask = live.ask
        limits = ask.kind is ClaimKind.LIMIT and ask.start_ns <= now_ns < ask.end_ns
        if limits and state.fleet.kind_of(ask.resource) in GROUP_KINDS:
            entries += _moved(state, live, now_ns)
    return entries


def _moved(state: DeskState, live: LiveAsk, now_ns: int) -> list[Entry]:
    ask, rows = live.ask, state.fleet.leaves(live.ask.resource)
    scope = scope_of(state, ask)
    old_low, old_high = state.claims.limits_of(rows, ask.source, ask.program, ask.quantity, scope)
    if np.isnan(old_low).any():
        return []
    wish = caps(state, rows, ask.low, ask.high, now_ns, state.fleet.kind_of(ask.resource) is Kind.SITE)
    low, high = _grown_where_free(state, rows, ask, wish, now_ns)
    size_w = float((state.fleet.max_inject_w + state.fleet.max_absorb_w)[rows].sum())
    pairs = [(new[np.isfinite(new)], old[np.isfinite(new)]) for new, old in ((low, old_low), (high, old_high))]
    shift_w = math.fsum(abs(float(new.sum()) - float(old.sum())) for new, old in pairs)
    swap_w = math.fsum(float(np.abs(new - old).sum()) for new, old in pairs)
    if shift_w < MOVES_FRAC * size_w and swap_w < SWAPS_FRAC * size_w:
        return []
    batch = derive("claims", ask.source, ask.program, ask.resource, ask.quantity.value, ask.version, now_ns)
    ended = ClaimsEnded(
        ask.source, ask.program, ask.quantity.value, ClaimEnd.SUPERSEDED.value, live.claims, Packed.of(rows), scope
    )
    placed = ClaimsPlaced(
        batch, ask.source, ask.principal, ask.program, int(ask.level), ask.primacy, ask.quantity.value, ask.kind.value,
        ask.because, ask.version, now_ns, now_ns, ask.end_ns, Packed.of(rows), Packed.of(low), Packed.of(high),
        Packed.of(np.zeros(len(rows))), scope=scope, randomise_s=ask.randomise_s,
    )  # fmt: skip
    return [
        Entry(derive("ended", batch), ended, ask.resource, (live.record,)),
        Entry(batch, placed, ask.resource, (live.record,)),
    ]


def _grown_where_free(
    state: DeskState, rows: Rows, ask: Ask, wish: tuple[Floats, Floats], now_ns: int
) -> tuple[Floats, Floats]:
    """Return caps that sink at once and grow only into what no leaf may still hold (R16)."""
    low, high = wish
    fleet, last = state.fleet, state.commands
    lapsed, default_w = last.valid_until_ns[rows] <= now_ns, fleet.default_w[rows]
    if math.isfinite(ask.high):
        held_w = np.where(lapsed, default_w, np.minimum(last.leased_high_w[rows], fleet.max_inject_w[rows]))
        told_w = np.where(lapsed, held_w, last.high_w[rows])
        high = moved_caps(max(ask.high, float(high.sum())), high, held_w, told_w)
    if math.isfinite(ask.low):
        held_w = np.where(lapsed, default_w, np.maximum(last.leased_low_w[rows], -fleet.max_absorb_w[rows]))
        told_w = np.where(lapsed, held_w, last.low_w[rows])
        low = -moved_caps(max(-ask.low, float(-low.sum())), -low, -held_w, -told_w)
    return low, high
