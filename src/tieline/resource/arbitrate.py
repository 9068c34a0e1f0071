"""One resource, many askers: settle their claims into the one setpoint that the device gets.

This scalar form is the specification; `fleet.claims` is the same in columns, and a property test holds the two
together. Rules R4 to R9 of the design: limits intersect, targets compete, deltas add, the output is clamped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from msgspec import Struct

from tieline.resource.claim import Claim, ClaimKind, Quantity
from tieline.resource.level import Level
from tieline.resource.setpoint import Bounds, Setpoint

REMOTE_LEVELS = range(Level.RELIABILITY, Level.LOCAL + 1)


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
    reserved_w: Mapping[str, float] | None = None,
    quantity: Quantity = Quantity.P,
) -> Arbitration:
    """Settle `claims` on a resource that can do `rating`.

    Args:
        rating: What physics allows (W).
        claims: Claims in any order; duplicates of an id count once.
        now_ns: The instant that decides which of them are live.
        default_w: Target where nobody names one (W).
        safe_w: Where a level whose own limits contradict each other falls to (W).
        is_local: The device is in LOCAL: remote claims of levels 5 to 10 are held (R5).
        reserved_w: Power held by each reservation; a delta beyond it, or without one, is not counted (R8).
        quantity: Which quantity to settle.
    """
    unique = {claim.id: claim for claim in claims if claim.quantity is quantity}
    live, losers = _live(list(unique.values()), now_ns, is_local)
    bounds, limits, holders = _limits(rating, live, safe_w)
    targets = sorted((claim for claim in live if claim.kind is ClaimKind.SET), key=rank)
    winner = targets[0] if targets else None
    losers += [Lost(claim.id, claim.level, f"superseded by {targets[0].id}") for claim in targets[1:]]
    deltas_w, refused = _deltas(live, reserved_w or {})
    losers += refused
    wanted_w = (default_w if winner is None else winner.value) + deltas_w
    target_w = bounds.clamp(wanted_w)
    limited_by = holders[0] if wanted_w < target_w else holders[1] if wanted_w > target_w else None
    setpoint = Setpoint(bounds, target_w, winner.id if winner else None, limited_by)
    losers.sort(key=lambda lost: (lost.level, lost.claim))
    return Arbitration(setpoint, tuple(losers), tuple(limits), _conflicts(targets))


def _live(claims: Sequence[Claim], now_ns: int, is_local: bool) -> tuple[list[Claim], list[Lost]]:
    live: list[Claim] = []
    losers: list[Lost] = []
    newest: dict[tuple[str, str], int] = {}
    for claim in claims:
        key = (claim.source, claim.program)
        newest[key] = max(newest.get(key, 0), claim.source_version)
    for claim in sorted(claims, key=rank):
        if claim.source_version < newest[(claim.source, claim.program)]:
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


def _limits(
    rating: Bounds, live: Sequence[Claim], safe_w: float
) -> tuple[Bounds, list[tuple[Level, Bounds, str]], tuple[str | None, str | None]]:
    """Return the bounds of all levels together, each level's own, and who holds the low and the high end."""
    limits: list[tuple[Level, Bounds, str]] = []
    bounds, low_by, high_by = rating, None, None
    for level in sorted({claim.level for claim in live if claim.kind is ClaimKind.LIMIT}):
        mine = [claim for claim in live if claim.kind is ClaimKind.LIMIT and claim.level == level]
        own = _level_limit([(claim.low, claim.high) for claim in mine], safe_w)
        narrowed = bounds.narrowed(own)
        holder_low = min(mine, key=lambda claim: (-claim.low, rank(claim)))
        holder_high = min(mine, key=lambda claim: (claim.high, rank(claim)))
        if narrowed.low_w > bounds.low_w:
            low_by = holder_low.id
        if narrowed.high_w < bounds.high_w:
            high_by = holder_high.id
        limits.append((level, own, holder_low.id if own.low_w > rating.low_w else holder_high.id))
        bounds = narrowed
    return bounds, limits, (low_by, high_by)


def _level_limit(ends: Sequence[tuple[float, float]], safe_w: float) -> Bounds:
    low_w = reduce(max, (low for low, _ in ends))
    high_w = reduce(min, (high for _, high in ends))
    if low_w <= high_w:
        return Bounds(low_w, high_w)
    point_w = min(max(safe_w, high_w), low_w)  # a level that contradicts itself: the nearest to safe
    return Bounds(point_w, point_w)


def _deltas(live: Sequence[Claim], reserved_w: Mapping[str, float]) -> tuple[float, list[Lost]]:
    total_w, refused = 0.0, []
    for claim in sorted((c for c in live if c.kind is ClaimKind.DELTA), key=rank):
        held_w = reserved_w.get(claim.reservation_id or "", 0.0)
        if abs(claim.value) > held_w:
            refused.append(Lost(claim.id, claim.level, f"its reservation holds {held_w:g} W"))
        else:
            total_w += claim.value
    return total_w, refused


def _conflicts(targets: Sequence[Claim]) -> tuple[tuple[str, str], ...]:
    if len(targets) < 2:
        return ()
    first = targets[0]
    return tuple(
        (first.id, other.id)
        for other in targets[1:]
        if (other.level, other.primacy) == (first.level, first.primacy) and other.value != first.value
    )
