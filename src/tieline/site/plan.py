"""What an end-point does with what it is told: within its owner's bounds, and safely when it hears nothing.

Pure: the clock's time and what came in go in, the power to hold comes out. Fencing and fallback are rules R14 and R15,
limits and targets of several plans rules R6 and R7; the times are the fail-safe defaults of the design.
"""

from __future__ import annotations

import math

from msgspec import Struct

from tieline.resource.setpoint import Bounds
from tieline.times import FOREVER_NS, SECOND_NS

LEAST_PRIORITY = 2**31


class Step(Struct, frozen=True):
    """One stretch of a plan, [start, end): a power (W; NaN: none) within limits."""

    start_ns: int
    end_ns: int
    target_w: float
    bounds: Bounds


class Plan(Struct, frozen=True):
    """What one asker wants, step by step.

    `program` with (epoch, seq) fences: of one program only a larger (epoch, seq) replaces what was known; a plan of
    (0, 0) is not fenced, and counts while it is shown. `priority` 0 is the strongest (OpenADR 3.1 User Guide 7.1).
    """

    id: str
    program: str
    steps: tuple[Step, ...]
    epoch: int = 0
    seq: int = 0
    priority: int = LEAST_PRIORITY
    made_ns: int = 0

    @property
    def stamp(self) -> tuple[int, int]:
        """The fence."""
        return self.epoch, self.seq

    def at(self, now_ns: int) -> Step | None:
        """Return the step that holds now; of steps that overlap the one that began last."""
        running = [step for step in self.steps if step.start_ns <= now_ns < step.end_ns]
        return max(running, key=lambda step: step.start_ns) if running else None


class Owner(Struct, frozen=True):
    """What the owner allows: bounds (W) that no plan crosses, and whether the device takes part at all.

    `simple_frac` is how much of its largest consumption is left at each SIMPLE level, 0 to 3: the standard leaves the
    levels to the resource (OpenADR 3.1 Definition, table 1).
    """

    bounds: Bounds
    takes_part: bool = True
    simple_frac: tuple[float, float, float, float] = (1.0, 0.67, 0.33, 0.0)


class FailSafe(Struct, frozen=True, forbid_unknown_fields=True):
    """What to do when the manager is not heard: after `trip_s` hold `power_w` (NaN: run by itself), for `hold_s`.

    It stays for `stay_s` after contact came back, so that a link that flaps does not make the device flap.
    """

    power_w: float = math.nan
    trip_s: float = 120.0
    stay_s: float = 120.0
    hold_s: float = 7_200.0


class Hold(Struct, frozen=True):
    """What the device is to do: a power (W; NaN: run by itself) within bounds; why; until when; and by which plan."""

    target_w: float
    bounds: Bounds
    why: str
    until_ns: int = 0
    by: str = ""


class EndPoint:
    """What one end-point knows: its plans, how far each program's fence has come, when it last heard the manager."""

    def __init__(self, owner: Owner, fail_safe: FailSafe, now_ns: int) -> None:
        self.owner = owner
        self._fail_safe = fail_safe
        self._plans: dict[str, Plan] = {}
        self._fence: dict[str, tuple[int, int]] = {}
        self._heard_ns, self._came_back_ns = now_ns, 0

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans that count."""
        return tuple(self._plans.values())

    def hear(self, now_ns: int) -> None:
        """Note that the manager spoke."""
        if self._is_lost(now_ns):
            self._came_back_ns = now_ns
        self._heard_ns = now_ns

    def show(self, plans: list[Plan]) -> list[Plan]:
        """Take all plans that the manager shows now, and return those that are new. What it shows no more is over.

        The fence outlives a plan: one that was deleted lets no older one in.
        """
        newest: dict[str, Plan] = {}
        for plan in plans:
            if not plan.epoch and not plan.seq:
                newest[plan.id] = plan
            elif plan.program not in newest or newest[plan.program].stamp < plan.stamp:
                newest[plan.program] = plan
        kept, fresh = {}, []
        # R14: a fence is raised by what is taken and by nothing else, and never lowered.
        for key, plan in newest.items():
            known = self._plans.get(key)
            version = plan.id, plan.stamp, plan.made_ns
            is_same = known is not None and (known.id, known.stamp, known.made_ns) == version
            if is_same:
                kept[key] = plan  # as it reads now: what it stands under, or its owner, may say something else since
            elif plan.stamp == (0, 0) or plan.stamp > self._fence.get(plan.program, (0, 0)):
                kept[key] = plan
                fresh.append(plan)
        for plan in fresh:
            self._fence[plan.program] = max(self._fence.get(plan.program, (0, 0)), plan.stamp)
        self._plans = kept
        return fresh

    def hold(self, now_ns: int) -> Hold:
        """Return what to do now."""
        if not self.owner.takes_part:
            return Hold(math.nan, self.owner.bounds, "the owner opted out")
        running = sorted(
            ((plan, step) for plan in self._plans.values() if (step := plan.at(now_ns)) is not None),
            key=lambda one: (one[0].priority, -one[0].epoch, -one[0].seq, -one[0].made_ns, one[0].id),
        )
        if running:  # R15: a plan in force stands though nobody is heard; its horizon is the manager's to choose
            return self._planned(running)
        fall = self._fail_safe
        over_ns = self._heard_ns + round((fall.trip_s + fall.hold_s) * SECOND_NS)
        if self._is_lost(now_ns) and now_ns <= over_ns:
            return Hold(self._falls_to_w(), self.owner.bounds, "contact is lost", over_ns)
        if self._is_settling(now_ns):
            settled_ns = self._came_back_ns + round(fall.stay_s * SECOND_NS)
            return Hold(self._falls_to_w(), self.owner.bounds, "contact came back just now", settled_ns)
        return Hold(math.nan, self.owner.bounds, "nothing is asked")

    def _falls_to_w(self) -> float:
        """Return the fail-safe power within what the owner lets (R9), W; NaN: none is named."""
        power_w = self._fail_safe.power_w
        return power_w if math.isnan(power_w) else self.owner.bounds.clamp(power_w)

    def _planned(self, running: list[tuple[Plan, Step]]) -> Hold:
        """Fold the limits of all, the strongest first (R6); the target is the strongest's that has one (R7)."""
        bounds, target_w, by = self.owner.bounds, math.nan, running[0][0].id
        for _, step in running:
            bounds = bounds.narrowed(step.bounds)
        # R9: the winner is clamped into what the limits of all leave.
        for plan, step in running:
            if not math.isnan(step.target_w):
                target_w, by = bounds.clamp(step.target_w), plan.id
                break
        return Hold(target_w, bounds, "as planned", min(step.end_ns for _, step in running), by)

    def due_ns(self, now_ns: int) -> int:
        """Return the next instant at which the answer of `hold` may be another."""
        fall = self._fail_safe
        edges = [edge for plan in self._plans.values() for step in plan.steps for edge in (step.start_ns, step.end_ns)]
        for after_s in (fall.trip_s, fall.trip_s + fall.hold_s):
            edges.append(self._heard_ns + round(after_s * SECOND_NS) + 1)
        if self._came_back_ns:
            edges.append(self._came_back_ns + round(fall.stay_s * SECOND_NS))
        return min((edge for edge in edges if edge > now_ns), default=FOREVER_NS)

    def _is_lost(self, now_ns: int) -> bool:
        return now_ns - self._heard_ns > self._fail_safe.trip_s * SECOND_NS

    def _is_settling(self, now_ns: int) -> bool:
        return 0 < self._came_back_ns <= now_ns < self._came_back_ns + round(self._fail_safe.stay_s * SECOND_NS)
