"""Feeders under one substation, and the envelope that keeps them within their limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.grid.envelope import sweep
from tieline.grid.network import GridNetwork
from tieline.grid.powerflow import FeederFlow
from tieline.simulate.datasets import feeder

RURAL, URBAN, UPPER = feeder("1-lv-rural1"), feeder("1-lv-urban6"), feeder("1-mv-semiurb")
MODEL_OF = np.array([0, 1, 0], np.int32)


def network(upper: bool) -> GridNetwork:
    at = [k for k, name in enumerate(UPPER.load_profile) if name == "lv_rural1"][:3]
    return GridNetwork((RURAL, URBAN), MODEL_OF, UPPER if upper else None, np.array(at, np.int32))


def natives(frac: float) -> list:
    return [np.tile(frac * RURAL.native_w, (2, 1)), np.tile(frac * URBAN.native_w, (1, 1))]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_all_feeders_at_once_are_what_each_is_alone(seed: int, sun: float) -> None:
    net = network(False)
    rng = np.random.default_rng(seed)
    site_w, site_var = rng.normal(-1e3, 2e3, 137), rng.normal(0, 300, 137)
    state = net.solve(site_w, site_var, natives(sun))
    for k, model in enumerate((RURAL, URBAN, RURAL)):
        mine = net.sites(k)
        alone = FeederFlow(model).solve(site_w[None, mine], site_var[None, mine], sun * model.native_w[None, :])
        low, high, loading = alone.worst()
        assert (state.low_pu[k], state.high_pu[k], state.loading[k]) == pytest.approx((low[0], high[0], loading[0]))
        assert state.site_pu[mine] == pytest.approx(alone.voltage_pu[0, model.load_bus])
        assert net.flow_of(state, k)[1].voltage_pu == pytest.approx(alone.voltage_pu)


def test_a_heavy_day_above_lowers_the_voltage_below() -> None:
    net, site_w = network(True), np.full(137, -500.0)
    light, heavy = (
        net.solve(site_w, np.zeros(137), natives(0.0), -share * UPPER.load_w, 0.0 * UPPER.native_w)
        for share in (0.2, 0.9)
    )
    assert (heavy.low_pu < light.low_pu).all()
    assert heavy.upper is not None and heavy.upper.source_w[0] < light.upper.source_w[0] < 0


def test_energy_is_kept_from_the_source_to_the_meters() -> None:
    """What the source gives is what the meters take and the wires lose; losses are above 0 and a few per cent."""
    flow = FeederFlow(URBAN).solve(np.full((1, 111), -3e3), np.zeros((1, 111)))
    lost_w = -flow.source_w[0] - 333e3
    assert 0.0 < lost_w < 0.06 * 333e3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([-1.0, 1.0]), st.floats(0.2, 4.0))
def test_at_the_envelope_nothing_is_broken_and_just_beyond_something_is(seed: int, sign: float, size: float) -> None:
    solver, rng = FeederFlow(RURAL), np.random.default_rng(seed)
    base_w = -rng.uniform(0, 2e3, 13)
    device_w = sign * rng.uniform(0, 5e3, 13) * size
    room_w = sign * rng.uniform(2e3, 20e3, 13)
    found = sweep(solver, base_w, device_w, room_w).within()
    bound_w = found.high_w if sign > 0 else found.low_w

    def broken(total_w: float) -> bool:
        back_w = -device_w
        share = (total_w - (device_w + back_w).sum()) / (room_w - back_w).sum()
        site_w = base_w + device_w + back_w + share * (room_w - back_w)
        flow = solver.solve(site_w[None, :], (RURAL.load_tan * base_w)[None, :])
        return bool(solver.violations(flow))

    if np.isinf(bound_w):
        assert not broken(float((device_w + room_w).sum()))
    else:
        assert not broken(bound_w)
        assert broken(bound_w + 2 * float((device_w + room_w).sum()) / 63)


def test_room_of_both_signs_is_refused() -> None:
    with pytest.raises(ValueError, match="both signs"):
        sweep(FeederFlow(RURAL), np.zeros(13), np.zeros(13), np.array([1.0, -1.0] + [0.0] * 11))
