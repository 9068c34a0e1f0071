"""The report's figures of one delivery: what telemetry saw is one figure, wherever it is told."""

import numpy as np
import pytest

from tieline.desk.facts import IntervalTracked
from tieline.desk.packed import Packed
from tieline.node.gap import telemetered_wh
from tieline.times import MINUTE_NS

NONE = Packed.of(np.empty(0, np.int32))


def tracked(at: int, delivered_w: float) -> IntervalTracked:
    start_ns, end_ns = 5 * at * MINUTE_NS, 5 * (at + 1) * MINUTE_NS
    return IntervalTracked("pool-1", start_ns, end_ns, 10_000.0, delivered_w, {}, NONE, NONE, 5)


def test_an_interval_in_which_devices_took_back_more_than_others_gave_counts_less() -> None:
    """12 kW for five minutes are 1,000 Wh; 1.6 kW taken in the next five are 133 Wh of them."""
    assert telemetered_wh([tracked(0, 12_000.0), tracked(1, -1_600.0)]) == pytest.approx(1_000.0 - 133.333, abs=1e-3)
