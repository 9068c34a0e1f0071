"""How big an aggregation must be, and what its members must share, by rule; every breach is named, not the first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

from msgspec import Struct

from tieline.contract.party import Location
from tieline.contract.strict import Name, Watts, shipped_rules
from tieline.resource.claim import Refusal

SUM_ROUNDING_W = 1e-6


class SizeRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sizes in W; 0 and None are no bound. `one_of`: what all members must have alike."""

    id: Name
    version: str
    source: str
    certainty: str
    least_resource_w: Watts = 0.0
    least_total_w: Watts = 0.0
    most_location_w: Watts | None = None
    one_of: tuple[Literal["retailer", "load_zone", "utility", "node"], ...] = ()


class Member(Struct, frozen=True):
    """What one resource brings to an aggregation (W), and where."""

    resource: str
    power_w: float
    location: Location


@cache
def size_rules() -> dict[str, SizeRule]:
    """Return the rules by id."""
    return {rule.id: rule for rule in shipped_rules("minimums.toml", SizeRule)}


def size_refusals(rule: SizeRule, members: Sequence[Member]) -> list[Refusal]:
    """Return each way in which an aggregation breaks a rule; none: it may be offered."""
    name, found = f"{rule.id} {rule.version}", list[Refusal]()
    for one in members:
        if one.power_w < rule.least_resource_w:
            given, limit = f"{one.power_w:.0f}", f">= {rule.least_resource_w:.0f}"
            found.append(Refusal("the resource is too small", "power_w", given, limit, one.resource, name))
    at: dict[str, float] = {}
    for one in members:
        at[one.location.id] = at.get(one.location.id, 0.0) + one.power_w
    for place, power_w in at.items():
        if rule.most_location_w is not None and power_w > rule.most_location_w + SUM_ROUNDING_W:
            limit = f"<= {rule.most_location_w:.0f}"
            found.append(Refusal("the location is too big", "power_w", f"{power_w:.0f}", limit, place, name))
    for field in rule.one_of:
        values = sorted({str(getattr(one.location, field)) for one in members})
        if len(values) > 1 or "" in values:
            given = ", ".join(value or "none" for value in values)
            found.append(Refusal("members must have it alike", field, given, "one for all", rule=name))
    total_w = sum(at.values())
    if total_w < rule.least_total_w - SUM_ROUNDING_W:
        limit = f">= {rule.least_total_w:.0f}"
        found.append(Refusal("the aggregation is too small", "total_w", f"{total_w:.0f}", limit, rule=name))
    return found
