"""What a SunSpec device holds of power and limit, in its own units and in the steps of its controls, model 704."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tieline.device.steps import steps_within
from tieline.links.device.sunspec_models import model
from tieline.wire.sunspec.models import scale_of

FUNCTIONS = ((22, 33), (14, 20))
"""Of model 704: from the first to after the last register that is written of each function; its switch is the first."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a device holds: a target (W; NaN: none) and an upper limit (share of its own WMax; 1: none).

    `revert_s` is the timer that it was given (s; NaN: it has none). `low_w` and `high_w` are what a target was asked
    within (W): its registers may not round it beyond them. `leaves_power`: whatever power it was set is somebody else's
    and stays as it is; the limit alone is told, and looked for. `unread`: of what is switched on, what holds no number.
    """

    target_w: float
    limit_frac: float
    revert_s: float = math.nan
    low_w: float = -math.inf
    high_w: float = math.inf
    leaves_power: bool = False
    unread: frozenset[str] = frozenset()

    def same(self, other: Held) -> bool:
        """Return whether a device holds what another says that it was told, within what devices round to.

        A limit may be narrower by a hundredth and is not wider.
        """
        targets = self.target_w, other.target_w
        near_w = max(10.0, 0.01 * abs(other.target_w)) if not math.isnan(other.target_w) else 0.0
        equal = other.leaves_power or all(map(math.isnan, targets)) or abs(targets[0] - targets[1]) <= near_w
        return equal and -0.01 <= self.limit_frac - other.limit_frac <= 0.0005

    @property
    def is_free(self) -> bool:
        """Whether nothing is asked of the device."""
        return math.isnan(self.target_w) and self.limit_frac >= 1.0

    @property
    def says(self) -> str:
        """Power and limit in words, to stand after `holds`."""
        power = "no power" if math.isnan(self.target_w) else f"{self.target_w:g} W"
        limit = f"limit {self.limit_frac:.0%}"
        said = zip(_SET, (power, limit), strict=True)
        return ", ".join(f"a {key} {UNREAD}" if key in self.unread else words for key, words in said)


FREE = Held(math.nan, 1.0)
UNREAD = "that can't be read as a number"
_SET = "power", "limit"


def rounded_in(block: Sequence[int], what: Held) -> Held:
    """Return a wish in the steps of the controls in `block`; what has no scale factor stays as it is."""
    target_w, limit_frac = what.target_w, max(what.limit_frac, 0.0)
    if math.isfinite(target_w) and (step_w := _step(block, "WSet")) is not None:
        target_w = steps_within(target_w, step_w, what.low_w, what.high_w) * step_w
    if limit_frac < 1.0 and (step := _step(block, "WMaxLimPct")) is not None:
        percent = 100.0 * limit_frac
        limit_frac = steps_within(percent, step, high=percent) * step / 100.0
    found = target_w, limit_frac  # nearly always it was rounded before; no target, NaN, is the same object then
    return what if found == (what.target_w, what.limit_frac) else replace(what, target_w=found[0], limit_frac=found[1])


def _step(block: Sequence[int], name: str) -> float | None:
    exponent = scale_of(model(704), model(704).field(name), block)
    return None if exponent is None else 10.0**exponent
