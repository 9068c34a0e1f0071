"""First-order lags that reach 90 % of a step in an open-loop response time (IEEE 1547-2018, 3.1), in two roundings.

The standard names the time and leaves the course. A lag `out = now * in + before * in_before + kept * out_before` is
true at every step length under `EXACT`; `BILINEAR` is the rounding of EPRI's OpenDER, to be held against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Weights = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a lag is rounded to steps: weights of a time constant and a step, and response time by time constant."""

    response_by_constant: float
    weights: Callable[[float, float], Weights]

    def of_response(self, response_s: float, seconds: float) -> Weights:
        """Return the weights of what is 90 % done after a response time."""
        return self.weights(response_s / self.response_by_constant, seconds)


def _exact(constant_s: float, seconds: float) -> Weights:
    kept = math.exp(-seconds / constant_s) if constant_s > 0 else 0.0
    return 1.0 - kept, 0.0, kept


def _bilinear(constant_s: float, seconds: float) -> Weights:
    if constant_s < 0.5 * seconds:  # longer steps would swing
        return 1.0, 0.0, 0.0
    part = seconds / (seconds + 2.0 * constant_s)
    return part, part, (2.0 * constant_s - seconds) / (seconds + 2.0 * constant_s)


EXACT = Rule(math.log(10.0), _exact)
BILINEAR = Rule(2.3, _bilinear)
