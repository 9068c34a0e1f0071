"""Admission: who may claim what. A wish that may not be placed is refused with its reason, never demoted (rule R1)."""

from __future__ import annotations

import math

from msgspec import Struct

from tieline.resource.claim import Claim, ClaimKind, Quantity, Refusal
from tieline.resource.level import Level
from tieline.resource.mode import mode_of, modes_told
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS, iso

MAX_AGE_NS = 30 * SECOND_NS
MOST = 1e12
"""A finite value beyond it (1 TW) is a slip of units; infinite says that there is no limit on that side."""
MOST_RANDOM_S = 3_600.0
MOST_PRIMACY = 2**31 - 1

LEASE_CAP_NS: dict[Level, int | None] = {
    Level.PHYSICS: None,
    Level.SAFETY: None,
    Level.GRID_EMERGENCY: 4 * HOUR_NS,
    Level.ENVELOPE: 48 * HOUR_NS,
    Level.OWNER_NEED: None,
    Level.RELIABILITY: 10 * MINUTE_NS,
    Level.UTILITY: 15 * MINUTE_NS,
    Level.MARKET: 48 * HOUR_NS,
    Level.PROGRAM: 48 * HOUR_NS,
    Level.PRICE: 48 * HOUR_NS,
    Level.LOCAL: None,
}
"""The longest that a claim of each level may last; None: without end, in the safe direction only (rule R2)."""


class Principal(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may claim: up to which level, of which resources (empty: all), within which power."""

    name: str
    ceiling: Level
    resources: frozenset[str] = frozenset()
    quantities: frozenset[Quantity] = frozenset(Quantity)
    max_power_w: float = math.inf
    is_person: bool = False


FITS: dict[ClaimKind, frozenset[Quantity]] = {
    ClaimKind.LIMIT: frozenset({Quantity.P, Quantity.Q, Quantity.RAMP, Quantity.SOC_RESERVE}),
    ClaimKind.SET: frozenset({Quantity.P, Quantity.Q, Quantity.RAMP, Quantity.SOC_RESERVE}),
    ClaimKind.DELTA: frozenset({Quantity.P, Quantity.Q}),
    ClaimKind.MODE: frozenset({Quantity.MODE}),
    ClaimKind.GATE: frozenset({Quantity.CONNECT}),
}
"""Which quantities can be claimed how."""


def admit(
    claim: Claim,
    principal: Principal | None,
    *,
    now_ns: int,
    last_version: int,
    tagged_ns: int | None = None,
    safe_w: float = 0.0,
) -> Refusal | None:
    """Return why a claim can't be placed, or None where it may be.

    Args:
        claim: What is wished.
        principal: Who wishes; None: nobody that we know.
        now_ns: Now.
        last_version: The newest version of this source, program, resource and quantity that we have.
        tagged_ns: The sender's own time tag, where the protocol has one.
        safe_w: The power that is safe for the resource (W): a claim without end must lead there.
    """
    checks = (
        _may(claim, principal),
        _values(claim),
        _times(claim, now_ns, tagged_ns),
        _lease(claim, now_ns),
        _endless(claim, safe_w),
        _version(claim, last_version),
    )
    return next((refusal for refusal in checks if refusal is not None), None)


def _may(claim: Claim, principal: Principal | None) -> Refusal | None:
    if principal is None:
        return Refusal("not authenticated", "principal", claim.principal, "a known principal", rule="R1")
    if claim.level is Level.PHYSICS:
        return Refusal("physics can't be claimed", "level", "0", "1 to 10", rule="R1")
    # Lower numbers are stronger: a ceiling is the least number that a principal may name. It is refused, not demoted to
    # its ceiling, as whoever asked for a safety stop must not believe that it has one (R1).
    if claim.level < principal.ceiling:
        text = f"{int(principal.ceiling)} or weaker"
        return Refusal("the level is above this principal's ceiling", "level", str(int(claim.level)), text, rule="R1")
    if principal.resources and claim.resource not in principal.resources:
        return Refusal("not this principal's resource", "resource", claim.resource, "its access list", rule="R1")
    if claim.quantity not in principal.quantities:
        allowed = ", ".join(sorted(principal.quantities))
        return Refusal("not this principal's quantity", "quantity", claim.quantity, allowed, rule="R1")
    ends = (
        [claim.value]
        if claim.kind is not ClaimKind.LIMIT
        else [e for e in (claim.low, claim.high) if abs(e) < math.inf]
    )
    # An open end of a limit asks for no power, so only its finite ends are measured.
    too_big = claim.quantity is Quantity.P and any(abs(end) > principal.max_power_w for end in ends)
    if too_big:
        biggest = max(ends, key=abs)
        return Refusal("above this principal's power", "value", f"{biggest:g}", f"{principal.max_power_w:g}", rule="R1")
    return None


def _values(claim: Claim) -> Refusal | None:
    if claim.quantity not in FITS[claim.kind]:
        allowed = ", ".join(sorted(FITS[claim.kind]))
        return Refusal(f"a {claim.kind} can't be claimed of that", "quantity", claim.quantity, allowed, rule="R1")
    if not 0 <= claim.randomise_s <= MOST_RANDOM_S:
        given, limit = f"{claim.randomise_s:g}", f"0 to {MOST_RANDOM_S:g} s"
        return Refusal("randomisation is out of range", "randomise_s", given, limit, rule="R11")
    if claim.kind is ClaimKind.LIMIT:
        if math.isnan(claim.low) or math.isnan(claim.high):
            return Refusal("a limit must be a number", "low, high", f"{claim.low}, {claim.high}", "numbers", rule="R1")
        if claim.low > claim.high:
            return Refusal("the limit is empty", "low", f"{claim.low:g}", f"<= high {claim.high:g}", rule="R1")
        # Both ends at the same infinity pass the test above and leave nothing to choose from.
        if claim.low == math.inf or claim.high == -math.inf:
            return Refusal("the limit is empty", "low, high", f"{claim.low}, {claim.high}", "a range", rule="R1")
        if any(math.isfinite(end) and abs(end) > MOST for end in (claim.low, claim.high)):
            given = f"{claim.low:g}, {claim.high:g}"
            return Refusal("no resource is that large", "low, high", given, f"-{MOST:g} to {MOST:g}", rule="R1")
        return None
    if not math.isfinite(claim.value):
        return Refusal("the value must be finite", "value", str(claim.value), "a finite number", rule="R1")
    if claim.kind is ClaimKind.DELTA and claim.reservation_id is None:
        return Refusal("a delta needs a reservation", "reservation_id", "none", "a live reservation", rule="R8")
    if claim.kind is ClaimKind.GATE and claim.value not in (0.0, 1.0):
        return Refusal("a gate is open or closed", "value", f"{claim.value:g}", "0 (closed) or 1 (open)", rule="R1")
    if claim.kind is ClaimKind.MODE and mode_of(claim.value) is None:
        return Refusal("no such mode", "value", f"{claim.value:g}", modes_told(), rule="R10")
    return None


def _times(claim: Claim, now_ns: int, tagged_ns: int | None) -> Refusal | None:
    if abs(claim.primacy) > MOST_PRIMACY:
        return Refusal("not a primacy", "primacy", str(claim.primacy), f"up to {MOST_PRIMACY}", rule="R1")
    for name, instant_ns in (("start", claim.start_ns), ("end", claim.end_ns)):
        if not 0 <= instant_ns <= FOREVER_NS:
            return Refusal("not an instant", name, str(instant_ns), f"0 to {FOREVER_NS} ns", rule="R1")
    if claim.end_ns <= claim.start_ns:
        return Refusal(
            "the claim ends before it starts", "end", _at(claim.end_ns), f"after {_at(claim.start_ns)}", rule="R1"
        )
    if claim.end_ns <= now_ns:
        return Refusal("the claim is over already", "end", _at(claim.end_ns), f"after {_at(now_ns)}", rule="R1")
    # Either way: an operate that was replayed is old, one from a clock that runs ahead would outlive its lease.
    if tagged_ns is not None and abs(now_ns - tagged_ns) > MAX_AGE_NS:
        return Refusal("the time tag is stale", "tagged", _at(tagged_ns), f"within 30 s of {_at(now_ns)}", rule="R1")
    return None


def _lease(claim: Claim, now_ns: int) -> Refusal | None:
    cap_ns = LEASE_CAP_NS[claim.level]
    # What lies before now can no longer be held: a claim that is admitted late has only the rest of its time.
    length_ns = claim.end_ns - max(claim.start_ns, now_ns)
    if cap_ns is not None and length_ns > cap_ns:
        given = "without end" if claim.end_ns == FOREVER_NS else f"{length_ns / SECOND_NS:.0f} s"
        return Refusal(
            "the lease is too long", "end", given, f"{cap_ns / SECOND_NS:.0f} s at level {claim.level}", rule="R1"
        )
    return None


def _endless(claim: Claim, safe_w: float) -> Refusal | None:
    """Refuse a claim without end that does not lead to the safe side: a limit always does, a gate when closed (R2)."""
    if claim.end_ns < FOREVER_NS or claim.level is Level.LOCAL or claim.kind is ClaimKind.LIMIT:
        return None
    if claim.kind is ClaimKind.GATE and claim.value == 0.0:
        return None
    if claim.kind is ClaimKind.SET and claim.quantity is Quantity.P and claim.value == safe_w:
        return None
    limit = f"an end, or the safe direction (a limit, a closed gate, {safe_w:g} W)"
    return Refusal("only the safe direction may be without end", "end", "without end", limit, rule="R2")


def _version(claim: Claim, last_version: int) -> Refusal | None:
    if not 0 <= claim.source_version < 2**63:
        return Refusal("not a version", "source_version", str(claim.source_version), "0 to 2^63 - 1", rule="R1")
    # Equal is refused too: the same version again is a repeat, which its asker answers from what was said first (R1).
    if claim.source_version <= last_version:
        given = str(claim.source_version)
        return Refusal("a newer version is known", "source_version", given, f"> {last_version}", rule="R4")
    return None


def _at(instant_ns: int) -> str:
    return "without end" if instant_ns >= FOREVER_NS else iso(instant_ns)
