"""The score that is told while an hour runs is the one that is settled after it."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.livescore import LiveScore
from tieline.market.product import Regulation, rule_of
from tieline.market.regulation import score

RULE = rule_of("pjm-regulation-mileage", Regulation, date(2024, 6, 1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(60, 110), st.sampled_from(["noise", "late", "still", "rests"]))
def test_it_is_the_score_of_the_samples_so_far(seed: int, count: int, shape: str) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.uniform(-1, 1, count)
    response = {"noise": rng.uniform(-1, 1, count), "late": np.roll(signal, 3), "still": np.zeros(count),
                "rests": np.where(np.arange(count) < 70, signal, 0.4)}[shape]  # fmt: skip
    live = LiveScore(RULE)
    for at in range(count):
        live.add(signal[at], response[at])
        if at < 59:
            assert live.now is None, "a window is told once its longest lag is over"
            continue
        found, right = live.now, score(RULE, signal[: at + 1], response[: at + 1])
        assert found is not None
        assert (found.windows, found.still) == (right.windows, right.still)
        for name in ("accuracy", "delay", "precision", "lag_s"):
            assert getattr(found, name) == pytest.approx(getattr(right, name), abs=1e-12, nan_ok=True)


def test_a_perfect_echo_scores_one_and_a_constant_has_no_correlation() -> None:
    # Reference problem R9.
    signal = np.random.default_rng(1).uniform(-1, 1, 90)
    echo, constant = LiveScore(RULE), LiveScore(RULE)
    for value in signal:
        echo.add(value, value)
        constant.add(value, 0.5)
    assert echo.now is not None and constant.now is not None
    assert echo.now.total == pytest.approx(1.0, abs=1e-12)
    assert (constant.now.accuracy, constant.now.delay) == (0.0, 0.0)


def test_a_sample_that_is_no_number_is_refused_and_not_counted() -> None:
    live = LiveScore(RULE)
    live.add(0.5, 0.5)
    with pytest.raises(ValueError, match="response = nan: give finite numbers"):
        live.add(0.5, math.nan)
    assert live.precision == 1.0
