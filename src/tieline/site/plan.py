"""What an end-point does with what it is told: within its owner's bounds, and safely when it hears nothing.

Pure: the clock's time and what came in go in, the power to hold comes out. Fencing and fallback are rules R14 and R15;
the times are the fail-safe defaults of the design.
"""

from __future__ import annotations

import math

from msgspec import Struct

from tieline.resource.setpoint import Bounds
from tieline.times import SECOND_NS

TRIP_NS = 120 * SECOND_NS
STAY_NS = 120 * SECOND_NS


class Plan(Struct, frozen=True):
    """What was asked: a power (W; NaN: none) within limits, until an instant; newer by (epoch, seq)."""

    epoch: int
    seq: int
    target_w: float
    bounds: Bounds
    until_ns: int


class Owner(Struct, frozen=True):
    """What the owner allows: bounds (W) that no plan crosses, and whether the device takes part at all."""

    bounds: Bounds
    takes_part: bool = True


class Hold(Struct, frozen=True):
    """What the device is to do: a power (W; NaN: run by itself) within bounds; and why."""

    target_w: float
    bounds: Bounds
    why: str


def newer(plan: Plan, last: Plan | None) -> bool:
    """Return whether a plan may replace the last: only a larger (epoch, seq) does."""
    return last is None or (plan.epoch, plan.seq) > (last.epoch, last.seq)


def decide(plan: Plan | None, owner: Owner, fallback_w: float, now_ns: int, heard_ns: int, came_back_ns: int) -> Hold:
    """Return what to do now.

    Args:
        plan: The newest plan, if any.
        owner: What the owner allows.
        fallback_w: Power to hold when contact is lost past the trip time (W; NaN: run by itself).
        now_ns: Now.
        heard_ns: When the manager was last heard.
        came_back_ns: When contact last came back after a trip (0: never tripped).
    """
    if not owner.takes_part:
        return Hold(math.nan, owner.bounds, "the owner opted out")
    lost = now_ns - heard_ns > TRIP_NS
    settling = came_back_ns > 0 and now_ns - came_back_ns < STAY_NS
    over = plan is None or now_ns >= plan.until_ns
    if over and (lost or settling):
        return Hold(fallback_w, owner.bounds, "contact is lost" if lost else "contact came back just now")
    if plan is None or over:
        return Hold(math.nan, owner.bounds, "nothing is asked")
    bounds = owner.bounds.narrowed(plan.bounds)
    target_w = plan.target_w if math.isnan(plan.target_w) else bounds.clamp(plan.target_w)
    return Hold(target_w, bounds, "as planned")
