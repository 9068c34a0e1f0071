"""How fast a setpoint may move: at once when an authority of levels 0 to 2 tightens, else by the normal ramp (R11)."""

from __future__ import annotations

from tieline.resource.level import Level

EMERGENCY = range(Level.PHYSICS, Level.GRID_EMERGENCY + 1)
"""Levels whose tightening uses the emergency ramp: as fast as the device can."""


def is_tightening(from_w: float, to_w: float, safe_w: float) -> bool:
    """Return whether a move leads towards the safe power, and not past it to the other side by as much."""
    return abs(to_w - safe_w) <= abs(from_w - safe_w)


def stepped(from_w: float, to_w: float, ramp_w_per_s: float, seconds: float, level: int, safe_w: float) -> float:
    """Return the target (W) that may be asked for now on the way to `to_w`.

    Args:
        from_w: What was asked for last, or what is measured (W).
        to_w: What arbitration wants (W).
        ramp_w_per_s: The normal ramp (W/s; inf: none).
        seconds: How long since the last step.
        level: The strongest level that decides: of the winner, or of the limit that bites.
        safe_w: The power that is safe (W).

    >>> stepped(0.0, 6_000.0, 50.0, 60.0, Level.MARKET, 0.0)
    3000.0
    >>> stepped(6_000.0, 0.0, 50.0, 60.0, Level.GRID_EMERGENCY, 0.0)
    0.0
    """
    if level in EMERGENCY and is_tightening(from_w, to_w, safe_w):
        return to_w
    most_w = ramp_w_per_s * seconds
    return min(max(to_w, from_w - most_w), from_w + most_w)
