"""What is doubtful about readings is marked alike whether they come by the handful or by the thousand."""

from __future__ import annotations

import numpy as np
from desk_stage import fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.fleet.columns import FEW
from tieline.resource.batch import Readings
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.times import SECOND_NS

KINDS = [Kind.BATTERY, Kind.EV_CHARGER, Kind.PV]
ODD = st.sampled_from([float("nan"), float("inf"), -1e12, 5_000.0, -5_000.0, 5_100.0, 7_000.0, 0.0, 0.5, 2.0])
ONE = st.tuples(st.integers(0, 2), st.sampled_from(["power_w", "soc_frac", "voltage_v"]), ODD, st.integers(-100, 100))


@given(st.lists(ONE, min_size=1, max_size=FEW))
def test_a_handful_is_marked_as_the_same_readings_among_many(drawn: list[tuple[int, str, float, int]]) -> None:
    def taken(times: int) -> Readings:
        rows, keys, values, ages_s = zip(*(drawn * times), strict=True)
        came_ns = np.full(len(rows), 10**15)
        return Readings(
            np.array(rows, np.int32), np.array([code(key) for key in keys], np.uint16), np.array(values),
            np.zeros(len(rows), np.uint32), came_ns - np.array(ages_s) * SECOND_NS, came_ns, "test",
        )  # fmt: skip

    few, many = fleet_of(KINDS), fleet_of(KINDS)
    times = FEW // len(drawn) + 1
    one, lot = few.checked(taken(1), 30 * SECOND_NS), many.checked(taken(times), 30 * SECOND_NS)
    assert one.quality.tolist() == lot.quality.tolist()[: len(drawn)]
    assert one.taken_at_ns.tolist() == lot.taken_at_ns.tolist()[: len(drawn)]
    assert few.beyond * times == many.beyond
