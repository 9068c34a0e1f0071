"""What a signal will be by the time its command has arrived, learnt from the signal's own past alone.

    told(t + h) = clip(c . (1, r(t), r(t-1), r(t-2), r(t-3)), -1, 1)

The coefficients c of each lead h come from recursive least squares with forgetting, begun at "it stays as it is". What
was foretold is held against what came: unless its squared errors of late are well below those of standing still, the
signal is taken as it stands. So a signal that can't be foretold costs nothing, and one that can gains its lead.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tieline.errors import ConfigError

Floats = NDArray[np.float64]
TERMS = 5
FIRST_DOUBT, MOST_DOUBT = 10.0, 100.0
FORGET_STEPS, JUDGE_STEPS, LEARN_STEPS = 900.0, 60.0, 60
BETTER_FRAC = 0.9
"""The foretold is used while its errors are below this part of those of standing still."""


class Foresight:
    """Foretells one signal over a fixed number of steps; a step a call."""

    def __init__(self, lead_steps: int) -> None:
        """Make a foresight of so many steps, 0 or more. Raises ConfigError where there are fewer."""
        if lead_steps < 0:
            raise ConfigError(f"lead_steps = {lead_steps}: give 0 or more")
        self.lead_steps = lead_steps
        self._past: list[float] = []
        self._c = np.zeros(TERMS)
        self._c[1] = 1.0
        self._spread = np.eye(TERMS) * FIRST_DOUBT
        self._count = 0
        self._off, self._off_still = 1.0, 0.0

    @property
    def is_used(self) -> bool:
        """Whether what is foretold has been better of late than to stand still."""
        return self._count > LEARN_STEPS and self._off < BETTER_FRAC * self._off_still

    def step(self, value: float) -> float:
        """Take the signal's newest value (a share, -1 to 1) and return what it will be `lead_steps` later."""
        self._past = [*self._past[-(self.lead_steps + TERMS) :], value]
        if self.lead_steps == 0 or len(self._past) < self.lead_steps + TERMS:
            return value
        self._learn(value)
        return float(np.clip(self._c @ _terms(self._past), -1.0, 1.0)) if self.is_used else value

    def _learn(self, value: float) -> None:
        """Hold what was foretold for now against what came, then move the coefficients towards it."""
        then = self._past[: -self.lead_steps]
        x = _terms(then)
        was = float(np.clip(self._c @ x, -1.0, 1.0))
        fade = 1.0 / JUDGE_STEPS
        self._off += fade * ((value - was) ** 2 - self._off)
        self._off_still += fade * ((value - then[-1]) ** 2 - self._off_still)
        keep = math.exp(-1.0 / FORGET_STEPS)
        pull = self._spread @ x
        gain = pull / (keep + float(x @ pull))
        self._c = self._c + gain * (value - float(self._c @ x))
        spread = (self._spread - np.outer(gain, pull)) / keep
        # A signal that stands still teaches nothing: without a bound its doubt would grow until a jump threw it off.
        most = max(float(np.trace(spread)), 1e-12)
        self._spread = spread * min(1.0, MOST_DOUBT / most)
        self._count += 1


def _terms(past: list[float]) -> Floats:
    return np.array([1.0, *past[-1:-TERMS:-1]])
