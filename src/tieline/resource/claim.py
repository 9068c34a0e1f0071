"""What one asker wants of a resource: a claim, leased, versioned, and always because of something."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from tieline.resource.level import Level
from tieline.times import FOREVER_NS


class Quantity(StrEnum):
    """What is claimed. A limit on one never conflicts with a mode of another."""

    CONNECT = "connect"
    P = "P"
    Q = "Q"
    MODE = "mode"
    RAMP = "ramp"
    SOC_RESERVE = "soc_reserve"


class ClaimKind(StrEnum):
    """How it is claimed: limits intersect, set values compete, deltas add, gates hold or open."""

    LIMIT = "limit"
    SET = "set"
    DELTA = "delta"
    MODE = "mode"
    GATE = "gate"


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """One asker's wish for one resource.

    `low`/`high` serve LIMIT and `value` serves SET, DELTA, GATE (0 or 1) and MODE; in W, var, W/s or a fraction as
    the quantity says, positive into the grid. [start_ns, end_ns) is half-open, server UTC. Of one (source, program,
    scope, resource, quantity) only the newest `source_version` lives; `scope` is the group that was asked for where
    this claim is one leaf's share of it, so that a limit on a pool and one on a feeder in it both hold.
    """

    id: str
    source: str
    principal: str
    program: str
    level: Level
    resource: str
    quantity: Quantity
    kind: ClaimKind
    start_ns: int
    created_ns: int
    because: str
    end_ns: int = FOREVER_NS
    low: float = float("-inf")
    high: float = float("inf")
    value: float = 0.0
    primacy: int = 0
    source_version: int = 1
    randomise_s: float = 0.0
    reservation_id: str | None = None
    scope: str = ""


class ClaimEnd(StrEnum):
    """How a claim ended; every claim ends in exactly one of these."""

    COMPLETED = "completed"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    FAILED = "failed"


class Refusal(Struct, frozen=True, forbid_unknown_fields=True):
    """A wish that was not granted: a value, not an error. Names the field, the value, the limit and the holder."""

    reason: str
    field: str = ""
    value: str = ""
    limit: str = ""
    holder: str = ""
    rule: str = ""

    def __str__(self) -> str:
        parts = [self.reason]
        if self.field:
            parts.append(f"{self.field} = {self.value}")
        if self.limit:
            parts.append(f"limit {self.limit}")
        if self.holder:
            parts.append(f"held by {self.holder}")
        return "; ".join(parts)
