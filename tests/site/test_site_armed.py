"""What a device does about the frequency by the table that it holds, with no word from anybody."""

from __future__ import annotations

import math
from datetime import date

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.market.product import FrequencyCurve, rule_of
from tieline.market.reserve import called_frac
from tieline.site.armed import Edge, Shed, Table, curve_of, droop_curve, packed, shed_stages, unpacked
from tieline.site.armed_fleet import ArmedFleet

S = 10**9
SHED = Shed(below_hz=49.0, after_s=0.2, restore_hz=49.9, restore_s=30.0, load_w=3_000.0)


def table(seq: int = 1, **odd: object) -> Table:
    made = Table(id="t", epoch=1, seq=seq, start_ns=0, end_ns=3_600 * S, nominal_hz=50.0, dead_band_mhz=10.0,
                 curve=((0.0, 0.0), (200.0, 1.0)), up_w=1_000.0, down_w=600.0)  # fmt: skip
    return msgspec.structs.replace(made, **odd)


def armed(held: Table) -> Edge:
    edge = Edge()
    assert edge.arm(held, 0)
    return edge


@pytest.mark.parametrize(
    ("hertz", "share"), [(49.995, 0.0), (49.95, 0.25), (49.8, 1.0), (49.7, 1.0), (50.1, -0.5), (50.01, 0.0)]
)
def test_an_armed_device_gives_what_fcr_calls_for(hertz: float, share: float) -> None:
    # The design's vectors of FCR: 1 MW, 200 mHz, 10 mHz dead band; the last is the edge of the band.
    held = table(up_w=1e6, down_w=1e6)
    assert armed(held).step(S, hertz, 0.5) == pytest.approx(share * 1e6)


@given(st.sampled_from(["eu-fcr", "gb-dynamic-containment", "gb-dynamic-moderation"]), st.floats(49.0, 51.0))
def test_a_table_made_of_a_markets_rule_gives_what_the_rule_calls_for(name: str, hertz: float) -> None:
    rule = rule_of(name, FrequencyCurve, date(2024, 6, 1))
    nominal_hz, dead_band_mhz, curve = curve_of(rule)
    held = table(nominal_hz=nominal_hz, dead_band_mhz=dead_band_mhz, curve=curve, up_w=500.0, down_w=500.0)
    assert armed(held).step(S, hertz, 0.5) == pytest.approx(500.0 * called_frac(rule, np.array([hertz]))[0])


def test_droop_gives_all_at_its_share_of_the_nominal_beyond_the_dead_band() -> None:
    held = table(dead_band_mhz=20.0, curve=droop_curve(50.0, 20.0, 0.04))
    # 4 % of 50 Hz are 2 Hz: half of it beyond a band of 20 mHz calls for half.
    assert armed(held).step(S, 50.0 - 1.02, 0.5) == pytest.approx(500.0)
    assert armed(held).step(S, 51.02, 0.5) == pytest.approx(-300.0)


def test_a_load_is_shed_after_its_time_and_comes_back_after_its_own() -> None:
    edge = armed(table(shed=SHED))
    assert edge.step(S, 48.9, 0.1) == 1_000.0
    assert edge.step(S, 48.9, 0.1) == 3_000.0, "0.2 s below 49 Hz"
    assert edge.step(S, 49.8, 60.0) == 3_000.0, "not yet where it may come back"
    assert edge.step(S, 49.95, 29.9) == 3_000.0
    assert edge.step(S, 49.85, 1.0) == 3_000.0, "the time begins anew"
    assert edge.step(S, 49.95, 29.9) == 3_000.0
    assert edge.step(S, 50.0, 0.2) == 0.0


def test_a_dip_that_is_shorter_than_the_delay_sheds_nothing() -> None:
    edge = armed(table(shed=SHED))
    for _ in range(50):
        assert edge.step(S, 48.9, 0.1) == 1_000.0, "the curve's call alone"
        edge.step(S, 49.1, 0.1)


def test_a_load_stays_shed_when_its_table_ends_and_comes_back_by_the_table_that_shed_it() -> None:
    edge = armed(table(shed=SHED))
    edge.step(S, 48.5, 1.0)
    over = 4_000 * S
    assert edge.step(over, 48.5, 1.0) == 3_000.0
    assert edge.step(over, 49.95, 30.0) == 0.0
    assert edge.step(over, 48.5, 9.0) == 0.0, "no table, no shed"


def test_only_a_newer_table_before_its_end_is_taken() -> None:
    edge = armed(table(seq=5))
    assert not edge.arm(table(seq=5, up_w=9.0), 0)
    assert not edge.arm(table(seq=4, up_w=9.0), 0)
    assert not edge.arm(table(seq=9, up_w=9.0), 3_600 * S)
    assert edge.step(S, 49.0, 1.0) == 1_000.0
    assert edge.arm(table(seq=1, epoch=2, up_w=7.0), 0)
    assert edge.step(S, 49.0, 1.0) == 7.0
    assert edge.step(3_600 * S, 49.0, 1.0) == 0.0, "it is over"


def test_a_frequency_that_cannot_be_measured_calls_for_nothing_and_brings_nothing_back() -> None:
    edge = armed(table(shed=SHED))
    assert edge.step(S, math.nan, 5.0) == 0.0
    edge.step(S, 48.0, 1.0)
    assert edge.step(S, math.nan, 500.0) == 3_000.0


HERTZ = st.sampled_from([48.0, 48.9, 49.0, 49.5, 49.9, 49.97, 50.0, 50.2, math.nan])
ROW = st.tuples(
    st.sampled_from([((0.0, 0.0), (200.0, 1.0)), ((20.0, 0.0), (500.0, 0.9))]), st.integers(0, 5_000),
    st.sampled_from([None, 48.9, 49.0]), st.sampled_from([0.0, 0.5, 2.0]), st.sampled_from([0.0, 1.0, 5.0]),
    st.integers(0, 9), st.integers(10, 30),
)  # fmt: skip


@given(st.lists(ROW, max_size=8), st.lists(st.tuples(HERTZ, st.sampled_from([0.0, 0.5, 1.0])), max_size=30))
def test_many_devices_in_columns_do_what_each_would_alone(rows: list, course: list) -> None:
    tables = [
        table(curve=curve, up_w=float(up), start_ns=start * S, end_ns=end * S,
              shed=below and Shed(below, after_s, 49.9, restore_s, 2_000.0))
        for curve, up, below, after_s, restore_s, start, end in rows
    ]  # fmt: skip
    fleet, edges = ArmedFleet(tables), [armed(held) for held in tables]
    now_s = 0.0
    for hertz, seconds in course:
        now_s += seconds
        found = fleet.step(int(now_s * S), hertz, seconds)
        alone = [edge.step(int(now_s * S), hertz, seconds) for edge in edges]
        assert found == pytest.approx(np.array(alone, float), abs=1e-9)
        assert fleet.is_shed.tolist() == [edge.is_shed for edge in edges]


def test_a_table_comes_back_from_the_wire_as_it_went() -> None:
    held = table(shed=SHED)
    assert unpacked(packed(held)) == held
    assert len(packed(held)) < 400


@given(st.binary(max_size=300) | st.just(b"[" * 5_000))
def test_bytes_that_are_no_table_are_refused(text: bytes) -> None:
    with pytest.raises(ConfigError, match="table"):
        unpacked(text)


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ({"up_w": -1.0}, r"up_w = -1.0: give 0 to 1e\+09"),
        ({"up_w": math.nan}, "up_w = nan"),
        ({"nominal_hz": 500.0}, "nominal_hz = 500.0: give 40 to 70"),
        ({"end_ns": 0}, "end_ns = 0: give more than start_ns, 0"),
        ({"curve": ((0.0, 0.0),)}, "curve has 1 points: give 2 to 16"),
        ({"curve": ((0.0, 0.5), (9.0, 0.1))}, "give shares of 0 to 1 that do not fall"),
        ({"curve": ((9.0, 0.0), (9.0, 1.0))}, "give rising deviations"),
        ({"shed": Shed(49.0, 1.0, 48.9, 1.0, 1.0)}, "shed.restore_hz = 48.9: give 49 to 70"),
        ({"shed": Shed(51.0, 1.0, 52.0, 1.0, 1.0)}, "shed.below_hz = 51.0: give 40 to 50"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_by_its_field(odd: dict, says: str) -> None:
    fields = {name: getattr(table(), name) for name in Table.__struct_fields__}
    with pytest.raises(ConfigError, match=says):
        Table(**(fields | odd))


@given(st.lists(st.integers(0, 9_000), max_size=60), st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.3]), max_size=3))
def test_no_stage_is_off_its_share_by_more_than_the_largest_load(loads: list, shares: list) -> None:
    load_w = np.array(loads, float)
    stage_of = shed_stages(load_w, shares)
    for stage, share in enumerate(shares):
        assert abs(load_w[stage_of == stage].sum() - share * load_w.sum()) <= load_w.max(initial=0.0) + 1e-6


def test_who_must_not_be_shed_never_is_and_shares_that_make_no_sense_are_refused() -> None:
    load_w, may = np.full(10, 1_000.0), np.arange(10) >= 5
    stage_of = shed_stages(load_w, [0.2, 0.2, 0.2], may)
    assert (stage_of[:5] == -1).all()
    assert np.bincount(stage_of[5:], minlength=3).max() == 2
    for shares in ([0.7, 0.7], [-0.1], [math.nan]):
        with pytest.raises(ConfigError, match="shares"):
            shed_stages(load_w, shares)
    with pytest.raises(ConfigError, match="load_w"):
        shed_stages(np.array([math.nan]), [0.1])
