"""Which limits on groups can't be met beside limits that devices of theirs have, and whose: answers and `why` say so.

Limits of the same level, or a stronger one, hold on a device whatever its group needs (`desk.own_limits`). Together
they may leave a group no power within its end; then all others stand at their least, and no meter says whose word that
is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tieline.desk.nested import in_force
from tieline.desk.own_limits import own_of
from tieline.desk.state import DeskState, LiveAsk
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import GROUP_KINDS, Kind
from tieline.resource.level import Level

MOST_NAMED = 3
"""So many devices, or groups, are named."""


def rated_w(state: DeskState, resource: str) -> tuple[float, float]:
    """Return between what a device, or all of a group, is rated for (W); of a feeder's generation, what it gives."""
    rows, gives = state.fleet.leaves(resource), state.fleet.kind_of(resource) is Kind.GENERATION
    lowest_w = 0.0 if gives else 0.0 - float(state.fleet.max_absorb_w[rows].sum())
    return lowest_w, float(state.fleet.max_inject_w[rows].sum())


def left_w(
    state: DeskState, resource: str, level: Level, now_ns: int, without: Iterable[LiveAsk] = ()
) -> tuple[float, float, tuple[str, ...]]:
    """Return between what limits of their own leave all devices of a group beneath a limit of a level on it (W), and
    which devices they bound; `without`: limits that don't count."""
    fleet, rows = state.fleet, state.fleet.leaves(resource)
    groups = [live for live in state.asks.values() if fleet.kind_of(live.ask.resource) in GROUP_KINDS]
    own = own_of(state, [*groups, *without], level, now_ns)
    if own is None:
        return *rated_w(state, resource), ()
    least_w = np.maximum(own.least_w[rows], -fleet.max_absorb_w[rows])
    most_w = np.minimum(own.most_w[rows], fleet.max_inject_w[rows])
    if fleet.kind_of(resource) is Kind.GENERATION:
        least_w, most_w = np.maximum(least_w, 0.0), np.maximum(most_w, 0.0)
    bound = rows[np.isfinite(own.least_w[rows]) | np.isfinite(own.most_w[rows])]
    return float(least_w.sum()), float(most_w.sum()), tuple(fleet.id_of(int(row)) for row in bound)


def barred_says(state: DeskState, resource: str, low_w: float, high_w: float, level: Level, now_ns: int) -> str:
    """Say that limits of their own keep the devices of a group from what a limit asks (W); empty: they don't, or its
    ratings alone leave it no nearer."""
    if state.fleet.kind_of(resource) not in GROUP_KINDS:
        return ""
    least_w, most_w, names = left_w(state, resource, level, now_ns)
    if not names or _off_w((least_w, most_w), low_w, high_w) <= _off_w(rated_w(state, resource), low_w, high_w) + 1.0:
        return ""
    nearest_w = least_w if least_w > high_w else most_w
    return (
        f"it can't be met: limits of their own leave the devices of {resource} {least_w:.0f} to {most_w:.0f} W "
        f"together, and {_ends(low_w, high_w)} is asked; {nearest_w:.0f} W is as near as it comes ({_named(names)})"
    )


def breaks_says(state: DeskState, mine: LiveAsk, now_ns: int) -> str:
    """Say which groups' limits, that their ratings would let be met, can't be beside a limit on one of their devices,
    nor as near as without it; empty: none."""
    fleet, ask = state.fleet, mine.ask
    if ask.kind is not ClaimKind.LIMIT or ask.quantity is not Quantity.P or fleet.kind_of(ask.resource) in GROUP_KINDS:
        return ""
    row, found = fleet.row(ask.resource), list[str]()
    for live in in_force(state, now_ns):
        group, ends = live.ask.resource, (live.ask.low, live.ask.high)
        if live.ask.quantity is not Quantity.P or ask.level > live.ask.level or row not in fleet.leaves(group):
            continue
        least_w, most_w, _ = left_w(state, group, live.ask.level, now_ns)
        without_w = left_w(state, group, live.ask.level, now_ns, [mine])[:2]
        is_rated = _off_w(rated_w(state, group), *ends) <= 0.0
        if is_rated and _off_w((least_w, most_w), *ends) > _off_w(without_w, *ends) + 1.0:
            nearest_w = least_w if least_w > ends[1] else most_w
            whose = f"{live.ask.source}, {live.ask.level.name}"
            found.append(f"of {_ends(*ends)} on {group} ({whose}): {nearest_w:.0f} W is as near as it comes")
    if not found:
        return ""
    more = f"; and of {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"beside it can't be met the limit {'; nor that '.join(found[:MOST_NAMED])}{more}"


def unmet_says(state: DeskState, live: LiveAsk, now_ns: int) -> str:
    """Say that devices' limits keep one in force from being met, or that it keeps groups' ones; empty: neither."""
    ask = live.ask
    if ask.kind is not ClaimKind.LIMIT or ask.quantity is not Quantity.P:
        return ""
    return barred_says(state, ask.resource, ask.low, ask.high, ask.level, now_ns) or breaks_says(state, live, now_ns)


def _off_w(span_w: tuple[float, float], low_w: float, high_w: float) -> float:
    """Return by how much a span is away from two ends (W)."""
    return max(span_w[0] - high_w, low_w - span_w[1], 0.0)


def _ends(low_w: float, high_w: float) -> str:
    if not np.isfinite(low_w):
        return f"at most {high_w:.0f} W"
    return f"{low_w:.0f} to {high_w:.0f} W" if np.isfinite(high_w) else f"at least {low_w:.0f} W"


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"limits on {', '.join(names[:MOST_NAMED])}{more}"
