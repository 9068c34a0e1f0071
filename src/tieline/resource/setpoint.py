"""The result of arbitration: the only thing that an adapter ever sees."""

from __future__ import annotations

from msgspec import Struct


class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    """Lowest and highest power allowed, both ends included (W, positive into the grid)."""

    low_w: float
    high_w: float

    def __post_init__(self) -> None:
        if not self.low_w <= self.high_w:
            raise ValueError(f"bounds are empty: {self.low_w} W to {self.high_w} W")

    def clamp(self, power_w: float) -> float:
        """Return the allowed power nearest to `power_w`."""
        return min(max(power_w, self.low_w), self.high_w)

    def narrowed(self, other: Bounds) -> Bounds:
        """Return what both allow, or our end nearest to `other` where they don't meet."""
        return Bounds(self.clamp(other.low_w), self.clamp(other.high_w))


class Setpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """What a device is told, and whose claim it follows (None: the default)."""

    bounds: Bounds
    target_w: float
    by: str | None
    limited_by: str | None = None
