"""One resource, many askers: settle their claims into the one setpoint that the device gets.

This scalar form is the specification; `fleet.claims` is the same in columns, and a property test holds the two
together. Rules R4 to R9 and R12 of the design: limits intersect, targets compete, deltas add, the output is clamped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from msgspec import Struct

from tieline.resource.claim import Claim, ClaimKind, Quantity
from tieline.resource.hold import HOLD_TIMER
from tieline.resource.level import Level
from tieline.resource.setpoint import Bounds, Setpoint

REMOTE_LEVELS = range(Level.RELIABILITY, Level.LOCAL + 1)
ABOVE_TIMERS = range(Level.PHYSICS, Level.SAFETY + 1)
"""Levels that a hold timer does not bind (R12)."""
LOCKS_OUT = range(Level.PHYSICS, Level.ENVELOPE + 1)
"""Levels whose closed gate also takes the resource to its safe power."""
Held = tuple[float, float]
NOTHING_HELD: Held = (0.0, 0.0)


class Lost(Struct, frozen=True):
    """A claim that does not decide, and why."""

    claim: str
    level: Level
    why: str


class Arbitration(Struct, frozen=True):
    """The setpoint with all that explains it: losers with reasons, the limits of each level, conflicts."""

    setpoint: Setpoint
    losers: tuple[Lost, ...]
    limits: tuple[tuple[Level, Bounds, str], ...]
    conflicts: tuple[tuple[str, str], ...]


class _Limit(Struct, frozen=True):
    """One level's limits together: what it allows, and who holds its low and its high end."""

    level: Level
    own: Bounds
    low_by: str
    high_by: str
    clash: tuple[str, str] | None = None


def rank(claim: Claim) -> tuple[int, int, int, str, str]:
    """Return what targets compete by, the least first (R7): level, primacy, the newest, source, id."""
    return (claim.level, claim.primacy, -claim.created_ns, claim.source, claim.id)


def arbitrate(
    rating: Bounds,
    claims: Iterable[Claim],
    *,
    now_ns: int,
    default_w: float = 0.0,
    safe_w: float = 0.0,
    is_local: bool = False,
    reserved_w: Mapping[str, Held] | None = None,
    quantity: Quantity = Quantity.P,
    hold: Bounds | None = None,
) -> Arbitration:
    """Settle `claims` on a resource that can do `rating`.

    Args:
        rating: What physics allows (W).
        claims: Claims in any order; duplicates of an id count once.
        now_ns: The instant that decides which of them are live.
        default_w: Target where nobody names one (W).
        safe_w: Where a level whose own limits contradict each other falls to, and a locked-out resource goes (W).
        is_local: The device is in LOCAL: remote claims of levels 5 to 10 are held (R5).
        reserved_w: What each reservation holds up and down (W); deltas beyond it, or without one, don't count (R8).
        quantity: Which quantity to settle.
        hold: What the device's own timer leaves (R12); None: no timer runs.
    """
    # By id, so that a message that came twice weighs once, and the order of arrival decides nothing.
    everything = {claim.id: claim for claim in claims}.values()
    live, losers = _live([claim for claim in everything if claim.quantity is quantity], now_ns, is_local)
    gates, _ = _live([claim for claim in everything if claim.quantity is Quantity.CONNECT], now_ns, is_local)
    closed = closed_gate(gates)
    bounds, limits, holders = _limits(rating, live, safe_w, hold, closed)
    live, barred = _past_gate(live, closed)
    losers += barred
    targets = sorted((claim for claim in live if claim.kind is ClaimKind.SET), key=rank)
    winner = targets[0] if targets else None
    losers += [Lost(claim.id, claim.level, f"superseded by {targets[0].id}") for claim in targets[1:]]
    deltas_w, refused = _deltas(live, reserved_w or {})
    losers += refused
    # Deltas ride on the target before it is clamped: a reserve never carries a resource past a limit (R9).
    wanted_w = (default_w if winner is None else winner.value) + deltas_w
    target_w = bounds.clamp(wanted_w)
    limited_by = holders[0] if wanted_w < target_w else holders[1] if wanted_w > target_w else None
    setpoint = Setpoint(bounds, target_w, winner.id if winner else None, limited_by)
    losers.sort(key=lambda lost: (lost.level, lost.claim))
    told = tuple((limit.level, limit.own, _holder(limit, rating)) for limit in limits)
    return Arbitration(setpoint, tuple(losers), told, _conflicts(targets, limits))


def closed_gate(gates: Iterable[Claim]) -> Claim | None:
    """Return the gate that bars weaker targets, or None: of all gates the one that wins by R7 decides, if it is 0."""
    ranked = sorted((claim for claim in gates if claim.kind is ClaimKind.GATE), key=rank)
    return ranked[0] if ranked and ranked[0].value == 0.0 else None


def _live(claims: Sequence[Claim], now_ns: int, is_local: bool) -> tuple[list[Claim], list[Lost]]:
    live: list[Claim] = []
    losers: list[Lost] = []
    # The newest version counts even where it is over or not yet begun: an older one never comes back in its stead (R4).
    newest: dict[tuple[str, str, str], int] = {}
    for claim in claims:
        key = (claim.source, claim.program, claim.scope)
        newest[key] = max(newest.get(key, 0), claim.source_version)
    for claim in sorted(claims, key=rank):
        if claim.source_version < newest[(claim.source, claim.program, claim.scope)]:
            losers.append(Lost(claim.id, claim.level, "a newer version replaced it"))
        elif now_ns >= claim.end_ns:
            losers.append(Lost(claim.id, claim.level, "expired"))
        elif now_ns < claim.start_ns:
            losers.append(Lost(claim.id, claim.level, "not yet started"))
        elif is_local and claim.level in REMOTE_LEVELS:
            losers.append(Lost(claim.id, claim.level, "held: the device is in LOCAL"))
        else:
            live.append(claim)
    return live, losers


def _past_gate(live: list[Claim], closed: Claim | None) -> tuple[list[Claim], list[Lost]]:
    """Return the claims that a closed gate lets pass, and those that it bars: weaker targets and deltas."""
    if closed is None:
        return live, []
    moves = (ClaimKind.SET, ClaimKind.DELTA)
    barred = [claim for claim in live if claim.kind in moves and claim.level > closed.level]
    names = {claim.id for claim in barred}
    lost = [Lost(claim.id, claim.level, f"held: the gate of {closed.id} is closed") for claim in barred]
    return [claim for claim in live if claim.id not in names], lost


def _limits(
    rating: Bounds, live: Sequence[Claim], safe_w: float, hold: Bounds | None, closed: Claim | None
) -> tuple[Bounds, list[_Limit], tuple[str | None, str | None]]:
    """Return the bounds of all levels together, each level's own, and who holds the low and the high end."""
    limits = [
        _level_limit(level, [claim for claim in live if claim.kind is ClaimKind.LIMIT and claim.level == level], safe_w)
        for level in sorted({claim.level for claim in live if claim.kind is ClaimKind.LIMIT})
    ]
    # Behind the limits of its own level: a lock-out overrules what the level said before, and nothing stronger.
    if closed is not None and closed.level in LOCKS_OUT:
        at = sum(limit.level <= closed.level for limit in limits)
        limits.insert(at, _Limit(closed.level, Bounds(safe_w, safe_w), closed.id, closed.id))
    if hold is not None:
        at = sum(limit.level in ABOVE_TIMERS for limit in limits)
        limits.insert(at, _Limit(Level.PHYSICS, hold, HOLD_TIMER, HOLD_TIMER))
    bounds, low_by, high_by = rating, None, None
    for limit in limits:
        narrowed = bounds.narrowed(limit.own)
        if narrowed.low_w > bounds.low_w:
            low_by = limit.low_by
        if narrowed.high_w < bounds.high_w:
            high_by = limit.high_by
        bounds = narrowed
    return bounds, limits, (low_by, high_by)


def _level_limit(level: Level, mine: Sequence[Claim], safe_w: float) -> _Limit:
    low_w = reduce(max, (claim.low for claim in mine))
    high_w = reduce(min, (claim.high for claim in mine))
    low_by = min(mine, key=lambda claim: (-claim.low, rank(claim))).id
    high_by = min(mine, key=lambda claim: (claim.high, rank(claim))).id
    if low_w <= high_w:
        return _Limit(level, Bounds(low_w, high_w), low_by, high_by)
    point_w = min(max(safe_w, high_w), low_w)  # a level that contradicts itself: the nearest to safe
    return _Limit(level, Bounds(point_w, point_w), low_by, high_by, (low_by, high_by))


def _holder(limit: _Limit, rating: Bounds) -> str:
    return limit.low_by if limit.own.low_w > rating.low_w else limit.high_by


def _deltas(live: Sequence[Claim], reserved_w: Mapping[str, Held]) -> tuple[float, list[Lost]]:
    """Return the sum of the deltas; of one reservation they count in order of rank as far as it holds (R8)."""
    total_w, refused = 0.0, list[Lost]()
    used_w: dict[tuple[str, bool], float] = {}
    for claim in sorted((c for c in live if c.kind is ClaimKind.DELTA), key=rank):
        name, rises = claim.reservation_id or "", claim.value >= 0
        held_w = reserved_w.get(name, NOTHING_HELD)[0 if rises else 1]
        if used_w.get((name, rises), 0.0) + abs(claim.value) > held_w:
            refused.append(Lost(claim.id, claim.level, f"its reservation holds {held_w:g} W"))
        else:
            used_w[(name, rises)] = used_w.get((name, rises), 0.0) + abs(claim.value)
            total_w += claim.value
    return total_w, refused


def _conflicts(targets: Sequence[Claim], limits: Sequence[_Limit]) -> tuple[tuple[str, str], ...]:
    """Return pairs of claims of equal priority that want different things: told, though the rule settles them."""
    found = [limit.clash for limit in limits if limit.clash is not None]
    first = targets[0] if targets else None
    found += [
        (first.id, other.id)
        for other in targets[1:]
        if first and (other.level, other.primacy) == (first.level, first.primacy) and other.value != first.value
    ]
    return tuple(found)
