"""Operating envelopes: what any customer does within its own breaks no limit, whatever the others do within theirs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from power_grid_model import ComponentType, PowerGridModel, initialize_array
from power_grid_model.utils import json_deserialize

from tieline.errors import ConfigError, Infeasible
from tieline.grid.operating import EnvelopeTerms, check_corners, operating_envelopes
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.samples import european_lv, european_lv_text

WIDE = EnvelopeTerms(np.full(55, -8e3), np.full(55, 10e3))


@pytest.fixture(scope="module")
def flow() -> PhaseFlow:
    return PhaseFlow(european_lv())


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1_000), st.sampled_from(["sum", "max-min"]), st.floats(0.97, 1.02), st.floats(0.0, 0.3))
def test_no_corner_of_a_robust_envelope_breaks_a_limit(
    flow: PhaseFlow, seed: int, fairness: str, source: float, tangent: float
) -> None:
    rng = np.random.default_rng(seed)
    least, most = rng.uniform(-9e3, 0, (2, 55)), rng.uniform(0, 11e3, (2, 55))
    terms = EnvelopeTerms(least, most, source_pu=np.array([source, 1.0]), var_per_w=tangent)
    made = operating_envelopes(flow, terms, 2, "robust", fairness)
    assert (
        (made.low_w >= least - 1e-6).all() and (made.high_w <= most + 1e-6).all() and (made.low_w <= made.high_w).all()
    )
    corners = check_corners(flow, terms, made, 500, rng)
    assert corners.broken.tolist() == [0, 0]
    assert (made.over <= 0).all()


def test_another_solver_finds_the_corners_within_the_limits_too(flow: PhaseFlow) -> None:
    """power-grid-model at 200 corners, against voltages and each phase of the transformer and of every cable."""
    made = operating_envelopes(flow, WIDE, 1)
    coin = np.random.default_rng(4).random((200, 3)) < 0.5
    phase = flow.feeder.load_phase
    site_w = np.where(coin[:, phase], made.high_w, made.low_w)
    columns = json_deserialize(european_lv_text())
    update = initialize_array("update", ComponentType.asym_load, site_w.shape)
    update["id"] = columns[ComponentType.asym_load]["id"]
    update["p_specified"] = update["q_specified"] = 0.0
    update["p_specified"][:, np.arange(55), phase] = -site_w
    found = PowerGridModel(columns).calculate_power_flow(update_data={ComponentType.asym_load: update}, symmetric=False)
    volts = found["node"]["u_pu"][:, flow.feeder.load_bus, phase]
    assert volts.min() >= 0.94 - 1e-6 and volts.max() <= 1.10 + 1e-6
    assert found["line"]["loading"].max() <= 1.0 + 1e-6
    assert found["transformer"]["i_to"].max() <= 800e3 / 416 / np.sqrt(3) * (1 + 1e-6)


def test_a_nominal_envelope_is_wider_and_unsafe_on_an_unbalanced_feeder(flow: PhaseFlow) -> None:
    robust, nominal = (operating_envelopes(flow, WIDE, 1, kind) for kind in ("robust", "nominal"))
    assert (nominal.high_w - nominal.low_w).sum() > 1.2 * (robust.high_w - robust.low_w).sum()
    broken = check_corners(flow, WIDE, nominal, 1_000, np.random.default_rng(0)).broken[0]
    assert broken > 100
    for side in (nominal.high_w, nominal.low_w):  # what it does promise
        load_pu = flow.solve(side).load_pu
        assert load_pu.min() >= 0.94 and load_pu.max() <= 1.10


def test_the_sum_is_no_less_than_that_of_equal_shares(flow: PhaseFlow) -> None:
    """Equal shares, found by halving with corners alone, are an envelope too: the best must not be worse."""
    made = operating_envelopes(flow, WIDE, 1)
    inner, outer = 0.0, 1.0
    for _ in range(12):
        share = 0.5 * (inner + outer)
        even = replace(made, low_w=share * np.full((1, 55), -8e3), high_w=share * np.full((1, 55), 10e3))
        holds = check_corners(flow, WIDE, even, 400, np.random.default_rng(1)).broken[0] == 0
        inner, outer = (share, outer) if holds else (inner, share)
    assert (made.high_w - made.low_w).sum() > inner * 55 * 18e3


def test_max_min_gives_everybody_more_than_the_least_of_the_sum(flow: PhaseFlow) -> None:
    asked = 18e3
    total, fair = (operating_envelopes(flow, WIDE, 1, "robust", fairness) for fairness in ("sum", "max-min"))
    shares = [((made.high_w - made.low_w) / asked).min() for made in (total, fair)]
    assert shares[0] < 0.01 < 0.15 < shares[1]
    assert (total.high_w - total.low_w).sum() >= (fair.high_w - fair.low_w).sum()


def test_where_voltage_is_no_matter_each_phase_of_the_transformer_is(flow: PhaseFlow) -> None:
    """Phases have 21, 19 and 15 customers: the first two fill the cable behind the transformer, by phase."""
    terms = EnvelopeTerms(np.zeros(55), np.full(55, 20e3), min_pu=0.5, max_pu=2.0, most_loading=0.5)
    made = operating_envelopes(flow, terms, 1)
    assert made.binds[0] and all(name.startswith(("line", "transformer")) for name in made.binds[0])
    result = flow.solve(made.high_w)
    limits = flow.feeder.branch_max_a[flow.watch_branches]
    assert (result.branch_a[0].max(axis=1) / limits).max() == pytest.approx(0.5, rel=0.01)


def test_what_holds_an_envelope_is_named(flow: PhaseFlow) -> None:
    made = operating_envelopes(flow, replace(WIDE, least_w=np.zeros(55)), 1)
    assert any(name.startswith("voltage high at load ") for name in made.binds[0])
    narrow = EnvelopeTerms(np.full(55, -100.0), np.full(55, 100.0))
    free = operating_envelopes(flow, narrow, 1)
    assert free.binds == ((),)
    assert (free.high_w == 100.0).all() and (free.low_w == -100.0).all()


def test_who_listens_to_nobody_stays_where_he_is(flow: PhaseFlow) -> None:
    least, most = np.full(55, -8e3), np.full(55, 10e3)
    least[7] = most[7] = -2e3
    made = operating_envelopes(flow, EnvelopeTerms(least, most), 1)
    assert made.low_w[0, 7] == pytest.approx(-2e3) == made.high_w[0, 7]


def test_an_interval_that_nobody_can_save_is_named(flow: PhaseFlow) -> None:
    least = np.stack([np.full(55, -1e3), np.full(55, -6e3)])
    terms = EnvelopeTerms(least, np.minimum(least + 10.0, -900.0))
    with pytest.raises(Infeasible, match=r"european-lv: interval 1 has no envelope: line 1000 phase a is passed"):
        operating_envelopes(flow, terms, 2)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (EnvelopeTerms(np.full(54, -1.0), np.full(55, 1.0)), r"least_w has shape \(54,\): give \(1, 55\), or \(55,\)"),
        (
            EnvelopeTerms(np.full(55, 2.0), np.full(55, 1.0)),
            "least_w of customer 3000 in interval 0 is 2 W: give at most",
        ),
        (EnvelopeTerms(np.full(55, np.nan), np.full(55, 1.0)), r"least_w at \(0, 0\) is no finite number"),
        (replace(WIDE, min_pu=1.2), "min_pu is 1.2, max_pu 1.1: give 0 < min_pu < max_pu"),
        (replace(WIDE, source_pu=np.ones(3)), r"source_pu has shape \(3, 1\): give \(1, 1\)"),
    ],
)
def test_terms_that_make_no_sense_are_refused_by_name(flow: PhaseFlow, terms: EnvelopeTerms, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        operating_envelopes(flow, terms, 1)
