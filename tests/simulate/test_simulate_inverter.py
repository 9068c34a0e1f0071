"""IEEE 1547-2018 by its own tables: points of the curves, trip and ride-through, enter service.

The golden values are the defaults of the standard for categories B and III as two independent public sources give them:
EPRI's OpenDER 2.2 (common_file_format.py and "AS-with std-values.csv", commit fe7877c, April 2025), which holds each to
its clause, and, for Tables 11 to 13 and 18, the test tables of pyUL1741SB. The volt-watt table is told in words (P2 is
"the lesser of 0.2 Prated or Pmin") by the IEEE 1547.1-2020 scripts of the SunSpec SVP, whose Table 31 repeats Table 10.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.simulate.physics import inverter
from tieline.simulate.physics.inverter import (
    Inverters,
    droop_frac,
    volt_var_frac,
    volt_watt_frac,
    volt_watt_least_frac,
)

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


@pytest.mark.parametrize(("pu", "share"), [(1.0, 1.0), (1.06, 1.0), (1.08, 0.5), (1.10, 0.0), (1.15, 0.0)])
def test_volt_watt_runs_through_the_points_of_table_10(pu: float, share: float) -> None:
    assert volt_watt_frac(np.array([pu]))[0] == pytest.approx(share)


@pytest.mark.parametrize(
    ("least_power_frac", "absorbs", "p2"),
    [(0.0, False, 0.0), (0.1, False, 0.1), (0.2, False, 0.2), (0.5, False, 0.2), (0.5, True, 0.0)],
)
def test_p2_is_the_lesser_of_a_fifth_of_the_rating_and_the_least_power(
    least_power_frac: float, absorbs: bool, p2: float
) -> None:
    """Table 10: the lesser of 0.2 Prated and Pmin for what only generates; P'2 = 0 for what can also absorb."""
    assert volt_watt_least_frac(least_power_frac, np.array([absorbs]))[0] == p2
    found = Inverters.of(FIVE_KW, np.array([absorbs]), least_power_frac)
    assert found.bounds(np.array([1.10]))[0] == pytest.approx(5_000.0 * p2)


def test_a_panel_that_runs_at_any_power_is_let_down_to_nothing() -> None:
    assert inverters().bounds(np.array([1.10]))[0] == 0.0


def test_the_settings_are_the_defaults_of_the_standard() -> None:
    """OpenDER: QV_, PV_, PF_, OV, UV, OF, UF and ES_ parameters of CAT_B and CAT_III."""
    assert (inverter.VOLT_VAR_PU, inverter.VOLT_VAR_FRAC) == ((0.92, 0.98, 1.02, 1.08), (0.44, 0.0, 0.0, -0.44))
    assert inverter.VOLT_WATT_PU == (1.06, 1.1)
    assert (inverter.DROOP_DEADBAND_HZ, inverter.DROOP_FRAC) == (0.036, 0.05)
    assert (inverter.OVER_VOLTAGE, inverter.UNDER_VOLTAGE) == (((1.2, 0.16), (1.1, 13.0)), ((0.5, 2.0), (0.88, 21.0)))
    assert (inverter.OVER_FREQUENCY, inverter.UNDER_FREQUENCY) == (
        ((62.0, 0.16), (61.2, 300.0)),
        ((56.5, 0.16), (58.5, 300.0)),
    )
    assert (inverter.ENTER_PU, inverter.ENTER_HZ) == ((0.917, 1.05), (59.5, 60.1))
    assert (inverter.ENTER_DELAY_S, inverter.ENTER_RAMP_S) == (300.0, 300.0)


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
