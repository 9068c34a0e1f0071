"""Whether a device does what a command asks: one rule, in scalar and column form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.resource.obedience import astray, astray_w

POWER = st.integers(-500, 500).map(lambda n: n * 10.0)
TARGET = st.one_of(st.just(math.nan), POWER)
ENDS = st.one_of(
    st.just((-math.inf, math.inf)), st.tuples(POWER, POWER).map(lambda pair: (min(pair), max(pair))),
    POWER.map(lambda high: (-math.inf, high)), POWER.map(lambda low: (low, math.inf)),
)  # fmt: skip


@given(st.lists(st.tuples(st.one_of(st.just(math.nan), POWER), TARGET, ENDS), min_size=1, max_size=20))
def test_the_columns_say_what_the_rule_says(drawn: list) -> None:
    power_w, target_w = np.array([x[0] for x in drawn]), np.array([x[1] for x in drawn])
    low_w, high_w = np.array([x[2][0] for x in drawn]), np.array([x[2][1] for x in drawn])
    expected = [astray(power, target, *ends) for power, target, ends in drawn]
    np.testing.assert_allclose(astray_w(power_w, target_w, low_w, high_w), expected)


@given(POWER, TARGET, ENDS)
def test_a_device_within_its_limits_is_astray_by_its_target_alone_and_one_beyond_them_by_no_less(
    power_w: float, target_w: float, ends: tuple[float, float]
) -> None:
    low_w, high_w = ends
    off_w = astray(power_w, target_w, low_w, high_w)
    beyond_w = max(power_w - high_w, low_w - power_w, 0.0)
    assert abs(off_w) >= beyond_w
    if math.isnan(target_w):
        assert abs(off_w) == beyond_w
    elif low_w <= target_w <= high_w:
        assert off_w == power_w - target_w


@pytest.mark.parametrize(
    ("power_w", "target_w", "low_w", "high_w", "off_w"),
    [
        (3_815.0, math.nan, -math.inf, 0.0, 3_815.0),  # told to give nothing, and gives
        (-4_000.0, math.nan, 0.0, math.inf, -4_000.0),  # told to draw nothing, and draws
        (-4_000.0, math.nan, -math.inf, 0.0, 0.0),
        (3_000.0, 3_000.0, -math.inf, 1_000.0, 2_000.0),  # at its target, which a limit has cut since
        (math.nan, math.nan, -math.inf, math.inf, 0.0),
    ],
)
def test_a_limit_is_obeyed_or_not_whether_or_not_a_target_stands_beside_it(
    power_w: float, target_w: float, low_w: float, high_w: float, off_w: float
) -> None:
    assert astray(power_w, target_w, low_w, high_w) == off_w
