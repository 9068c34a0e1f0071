"""What a signal will be is told from its own past where that has been better of late, and else it stands."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.plan.foresight import Foresight


def off(signal: np.ndarray, lead: int) -> tuple[float, float]:
    """Return the mean squared error of what is foretold and of standing still, over the second half."""
    ahead = Foresight(lead)
    told = np.array([ahead.step(float(value)) for value in signal])
    half = len(signal) // 2
    came, was = signal[half + lead :], slice(half, len(signal) - lead)
    return float(((told[was] - came) ** 2).mean()), float(((signal[was] - came) ** 2).mean())


def test_a_swing_is_foretold() -> None:
    foretold, still = off(0.9 * np.sin(np.arange(800) / 10.0), 2)
    assert foretold < 0.01 * still


def test_noise_is_not_foretold_by_the_last_value_alone() -> None:
    foretold, still = off(np.random.default_rng(1).uniform(-1, 1, 2_000), 2)
    # Of noise the mean is the best that can be told, and half as wrong as its last value.
    assert foretold < 0.6 * still


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_what_cannot_be_foretold_costs_little(seed: int, lead: int) -> None:
    steps = np.random.default_rng(seed).standard_normal(1_500)
    walk = 0.5 * np.sin(np.cumsum(0.05 * steps))
    foretold, still = off(walk, lead)
    assert foretold <= 1.1 * still


def test_a_jump_after_a_long_rest_is_taken_as_it_stands() -> None:
    ahead = Foresight(2)
    for _ in range(5_000):
        assert ahead.step(0.0) == 0.0
    told = [ahead.step(1.0) for _ in range(50)]
    assert all(math.isfinite(value) and -1 <= value <= 1 for value in told)
    assert told[-1] == pytest.approx(1.0, abs=0.05)


def test_no_lead_is_the_signal_itself_and_less_is_refused() -> None:
    assert [Foresight(0).step(value) for value in (0.3, -1.0)] == [0.3, -1.0]
    with pytest.raises(ConfigError, match="lead_steps = -1"):
        Foresight(-1)
