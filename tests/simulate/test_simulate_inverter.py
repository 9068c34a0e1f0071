"""IEEE 1547-2018 by its own tables: points of the curves, trip and ride-through, enter service."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.simulate.physics.inverter import Inverters, droop_frac, volt_var_frac, volt_watt_frac

FIVE_KW = np.array([5_000.0])


def inverters(n: int = 1) -> Inverters:
    return Inverters.of(np.full(n, 5_000.0), np.zeros(n, bool))


def after(voltage: float, hz: float, seconds: float, step: float = 0.05) -> Inverters:
    found = inverters()
    for _ in range(round(seconds / step)):
        found.watch(np.array([voltage]), hz, step)
    return found


@pytest.mark.parametrize(
    ("pu", "share"),
    [
        (0.80, 0.44),
        (0.92, 0.44),
        (0.95, 0.22),
        (0.98, 0.0),
        (1.0, 0.0),
        (1.02, 0.0),
        (1.05, -0.22),
        (1.08, -0.44),
        (1.2, -0.44),
    ],
)
def test_volt_var_runs_through_the_points_of_table_8_category_b(pu: float, share: float) -> None:
    assert volt_var_frac(np.array([pu]))[0] == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("pu", "share"), [(1.0, 1.0), (1.06, 1.0), (1.08, 0.6), (1.10, 0.2), (1.15, 0.2)])
def test_volt_watt_runs_through_the_points_of_table_31_category_b(pu: float, share: float) -> None:
    assert volt_watt_frac(np.array([pu]))[0] == pytest.approx(share)


def test_a_store_is_let_down_to_nothing_by_volt_watt() -> None:
    assert volt_watt_frac(np.array([1.10]), np.zeros(1))[0] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("hz", "share"),
    [(60.0, 0.0), (60.036, 0.0), (59.964, 0.0), (60.336, -0.1), (59.664, 0.1), (61.0, -0.964 / 3.0)],
)
def test_droop_is_that_of_table_23_with_the_defaults_of_table_24(hz: float, share: float) -> None:
    """p = p_pre + (60 - 0.036 - f) / (60 * 0.05) below, and the mirror image above."""
    assert droop_frac(hz) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("pu", "hz", "rides_s", "trips_s"),
    [
        (1.21, 60.0, 0.10, 0.20),
        (1.15, 60.0, 12.5, 13.2),
        (0.80, 60.0, 20.5, 21.2),
        (0.40, 60.0, 1.9, 2.1),
        (1.00, 62.1, 0.10, 0.20),
        (1.00, 61.5, 299.0, 300.5),
        (1.00, 58.0, 299.0, 300.5),
        (1.00, 56.0, 0.10, 0.20),
    ],
)
def test_clearing_times_are_those_of_tables_13_and_18_category_iii(
    pu: float, hz: float, rides_s: float, trips_s: float
) -> None:
    assert not after(pu, hz, rides_s).is_tripped[0]
    assert after(pu, hz, trips_s).is_tripped[0]


@given(st.floats(0.881, 1.099), st.floats(58.51, 61.19))
def test_within_the_continuous_region_nothing_ever_trips(pu: float, hz: float) -> None:
    assert not after(pu, hz, 3_600.0, 60.0).is_tripped.any()


def test_a_dip_that_ends_in_time_is_ridden_through_and_forgotten() -> None:
    found = inverters()
    for voltage in [0.7] * 20 + [1.0] + [0.7] * 20:
        found.watch(np.array([voltage]), 60.0, 1.0)
    assert not found.is_tripped[0]


def test_it_enters_service_after_300_s_and_ramps_over_300_s() -> None:
    """Table 4: 0.917 to 1.05 pu and 59.5 to 60.1 Hz for 300 s; then the power comes back over 300 s."""
    found = after(1.21, 60.0, 1.0)
    assert found.bounds(np.ones(1))[0] == 0.0
    shares = []
    for _ in range(700):
        found.watch(np.ones(1), 60.0, 1.0)
        shares.append(found.bounds(np.ones(1))[0] / 5_000.0)
    assert max(shares[:298]) == 0.0
    assert shares[449] == pytest.approx(0.5, abs=0.01)
    assert shares[601] == 1.0
    assert (np.diff(shares) <= 1 / 300 + 1e-9).all()


def test_it_stays_out_while_the_voltage_is_above_the_enter_range() -> None:
    found = after(1.21, 60.0, 1.0)
    for _ in range(3_600):
        found.watch(np.array([1.06]), 60.0, 1.0)
    assert found.is_tripped[0]


@given(st.floats(-5e3, 5e3), st.floats(0.7, 1.3))
def test_apparent_power_never_exceeds_the_nameplate(power_w: float, pu: float) -> None:
    found = inverters()
    var = found.react(np.array([power_w]), np.array([pu]))[0]
    assert power_w**2 + var**2 <= (found.nameplate_va[0] * (1 + 1e-9)) ** 2
    assert var * (1.0 - pu) >= 0.0  # low voltage: inject; high: absorb


def test_columns_do_what_each_inverter_does_alone() -> None:
    """The slow twin is one inverter at a time."""
    rng = np.random.default_rng(4)
    many, alone = inverters(50), [inverters() for _ in range(50)]
    for _ in range(400):
        voltage = np.where(rng.random(50) < 0.9, rng.normal(1.0, 0.02, 50), rng.uniform(0.3, 1.25, 50))
        hz = float(rng.normal(60.0, 0.3))
        many.watch(voltage, hz, 5.0)
        for k, one in enumerate(alone):
            one.watch(voltage[k : k + 1], hz, 5.0)
    assert [bool(one.is_tripped[0]) for one in alone] == many.is_tripped.tolist()
    assert [float(one.ramp_frac[0]) for one in alone] == pytest.approx(many.ramp_frac.tolist())
    assert many.trips > 0
