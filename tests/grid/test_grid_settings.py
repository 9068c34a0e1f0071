"""Volt-var and volt-watt: inverters stand on their curves, and the better settings come first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.samples import european_lv
from tieline.grid.settings import OFF, Curves, best_settings, settled

ROOFS = np.where(np.arange(55) % 2, 6e3, 0.0)


@pytest.fixture(scope="module")
def flow() -> PhaseFlow:
    return PhaseFlow(european_lv())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1_000), st.floats(-0.03, 0.05), st.floats(0.98, 1.04))
def test_each_inverter_stands_on_its_curves_at_its_own_voltage(
    flow: PhaseFlow, seed: int, shift: float, source: float
) -> None:
    rng, curves = np.random.default_rng(seed), Curves().shifted(shift)
    base_w, sun_w = rng.uniform(-2e3, 0, (4, 55)), ROOFS * rng.uniform(0, 1, (4, 1))
    done = settled(flow, base_w, sun_w, 1.12 * ROOFS, curves, np.full(4, source))
    assert done.is_settled.all()
    asked = np.interp(done.load_pu, curves.var_pu, curves.var_frac) * 1.12 * ROOFS
    most_w = np.interp(done.load_pu, curves.watt_pu, curves.watt_frac) * 1.12 * ROOFS
    assert done.inverter_var == pytest.approx(asked, abs=2.0)
    assert (done.inverter_w <= np.minimum(sun_w, most_w) + 2.0).all()
    assert (np.hypot(done.inverter_w, done.inverter_var) <= 1.12 * ROOFS + 2.0).all()
    again = flow.solve(base_w + done.inverter_w, done.inverter_var, np.full(4, source))
    assert again.load_pu == pytest.approx(done.load_pu, abs=1e-7)


def test_volt_var_lowers_the_highest_voltage_and_volt_watt_the_rest(flow: PhaseFlow) -> None:
    base_w, sun_w = np.zeros((1, 55)), ROOFS[None]
    none, var, both = (
        settled(flow, base_w, sun_w, 1.12 * ROOFS, curves) for curves in (OFF, Curves(watt_frac=(1.0, 1.0)), Curves())
    )
    assert none.load_pu.max() > var.load_pu.max() > both.load_pu.max()
    assert none.held_back_w[0] == 0 == none.inverter_var.max()
    assert both.held_back_w[0] > 0


def test_the_best_settings_break_nothing_and_hold_least_back(flow: PhaseFlow) -> None:
    rng = np.random.default_rng(6)
    base_w, sun_w = rng.uniform(-1.5e3, 0, (6, 55)), ROOFS * np.linspace(0, 1, 6)[:, None]
    candidates = [OFF, *(Curves().shifted(shift) for shift in (-0.02, 0.0, 0.02))]
    scores = best_settings(flow, base_w, sun_w, 1.12 * ROOFS, candidates, max_pu=1.09)
    assert scores[-1].curves is OFF and scores[-1].broken > 0 and scores[-1].worst_over_pu > 0
    assert scores[0].broken == 0
    kept = [score.held_back_frac for score in scores if score.broken == 0]
    assert kept == sorted(kept)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"var_pu": (0.92, 0.98)}, "var_pu has 2 points, var_frac 4"),
        ({"var_pu": (0.92, 0.98, 0.98, 1.08)}, "give voltages that rise"),
        ({"var_frac": (-0.44, 0.0, 0.0, 0.44)}, "give shares of -1 to 1 that do not rise"),
        ({"watt_frac": (2.0, 0.0)}, "watt_frac is .* give shares of -1 to 1"),
        ({"watt_pu": (float("nan"), 1.1)}, "watt_pu is .* give voltages that rise"),
    ],
)
def test_curves_that_make_no_sense_are_refused_by_name(values: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Curves(**values)


def test_powers_that_make_no_sense_are_refused_by_name(flow: PhaseFlow) -> None:
    base_w = np.zeros((2, 55))
    with pytest.raises(ConfigError, match=r"available_w has shape \(1, 55\): give \(2, 55\)"):
        settled(flow, base_w, base_w[:1], ROOFS, OFF)
    with pytest.raises(ConfigError, match="nameplate_va has a value that is no number or below 0"):
        settled(flow, base_w, base_w, -ROOFS - 1, OFF)
    with pytest.raises(ConfigError, match="candidates has none"):
        best_settings(flow, base_w, base_w, ROOFS, [])
