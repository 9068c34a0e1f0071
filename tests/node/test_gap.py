"""The report's figures of one delivery: what telemetry saw is one figure, wherever it is told."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.facts import IntervalTracked
from tieline.desk.packed import Packed
from tieline.fleet.columns import KINDS
from tieline.market.settlement import DAY_AHEAD, Basis, Line
from tieline.node.gap import base_error_wh, seen_of, telemetered_wh
from tieline.node.twin import STEP_NS, Gap
from tieline.times import MINUTE_NS, SECOND_NS

NONE = Packed.of(np.empty(0, np.int32))
AWARD_W, STEP_H = 12_000.0, 1.0 / 12.0
SECONDS = st.integers(0, 300)
COUNTED = st.none() | st.tuples(SECONDS, SECONDS)
"""Of an interval: the seconds from which until which nothing was counted (the wrong way round: all was); None: no fact
tells of it, as no server ran in it at all."""


def tracked(at: int, delivered_w: float, uncounted: tuple[tuple[int, int], ...] = ()) -> IntervalTracked:
    start_ns, end_ns = 5 * at * MINUTE_NS, 5 * (at + 1) * MINUTE_NS
    return IntervalTracked(
        "pool-1", start_ns, end_ns, 10_000.0, delivered_w, {}, NONE, NONE, 5, uncounted=uncounted
    )  # fmt: skip


def an_hour() -> Line:
    """An award of one hour."""
    basis = Basis("statement", "rule", "1", "hash", "data")
    return Line("line", DAY_AHEAD, "award", 0, 12 * STEP_NS, AWARD_W, 50.0, Decimal("0.60"), basis)


def lived(stretches: list[tuple[int, int] | None], gave_w: float, short_w: float) -> dict[int, IntervalTracked]:
    """Intervals in which one battery gave so much, and lacked so much, at each second of them that was counted."""
    found = {}
    for at, stretch in enumerate(stretches):
        if stretch is None:
            continue
        start_ns, (since_s, until_s) = at * STEP_NS, stretch
        gaps = ((start_ns + since_s * SECOND_NS, start_ns + until_s * SECOND_NS),) if since_s < until_s else ()
        found[start_ns] = IntervalTracked(
            "pool-1", start_ns, start_ns + STEP_NS, gave_w + short_w, gave_w, {"offline": short_w},
            Packed.of(np.zeros(1, np.int32)), Packed.of(np.array([gave_w])), 5,
            {"iso_instruction": AWARD_W - gave_w - short_w}, uncounted=gaps,
        )  # fmt: skip
    return found


def unseen_h(stretches: list[tuple[int, int] | None]) -> float:
    return sum(STEP_H if each is None else max(each[1] - each[0], 0) / 3_600.0 for each in stretches)


def test_an_interval_in_which_devices_took_back_more_than_others_gave_counts_less() -> None:
    """12 kW for five minutes are 1,000 Wh; 1.6 kW taken in the next five are 133 Wh of them."""
    assert telemetered_wh([tracked(0, 12_000.0), tracked(1, -1_600.0)]) == pytest.approx(1_000.0 - 133.333, abs=1e-3)


def test_telemetry_saw_nothing_of_the_time_that_nobody_counted() -> None:
    """12 kW for the three minutes that were counted are 600 Wh; what lies in the next interval is not this one's."""
    gap = ((4 * MINUTE_NS, 6 * MINUTE_NS), (MINUTE_NS, 2 * MINUTE_NS))
    assert telemetered_wh([tracked(0, 12_000.0, gap)]) == pytest.approx(600.0)


@given(st.lists(COUNTED, min_size=12, max_size=12), st.floats(0.0, AWARD_W), st.floats(0.0, 1.0))
def test_what_was_not_counted_is_told_as_such_and_is_nothing_beyond_or_short_of_an_award(
    stretches: list[tuple[int, int] | None], gave_w: float, lack_frac: float
) -> None:
    short_w = lack_frac * (AWARD_W - gave_w)
    seen = seen_of([an_hour()], lived(stretches, gave_w, short_w))
    hours = 1.0 - unseen_h(stretches)
    assert seen["telemetered_kwh"] == pytest.approx(gave_w * hours, abs=1e-6)
    assert sum(seen["telemetry_short_kwh"].values()) == pytest.approx(short_w * hours, abs=1e-6)
    assert seen["awarded_unseen_kwh"] == pytest.approx(AWARD_W * (1.0 - hours), abs=1e-6)
    assert seen["telemetry_over_kwh"] == pytest.approx(0.0, abs=1e-6)


@given(st.lists(COUNTED, min_size=12, max_size=12), st.floats(0.0, AWARD_W))
def test_a_base_that_is_right_does_not_err_by_what_nobody_counted(
    stretches: list[tuple[int, int] | None], gave_w: float
) -> None:
    gave = np.zeros(len(KINDS))
    gave[3] = gave_w
    gaps = {at * STEP_NS: Gap(np.zeros(3), gave) for at in range(12)}
    off_wh, unseen_wh = base_error_wh(gaps, lived(stretches, gave_w, 0.0), np.array([3], np.uint8))
    assert off_wh == pytest.approx(np.zeros(len(KINDS)), abs=1e-6)
    assert unseen_wh == pytest.approx(gave_w * unseen_h(stretches), abs=1e-6)
