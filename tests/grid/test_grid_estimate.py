"""State estimation from few meters: nearer to the truth than what was known before, and honest about how near."""

import numpy as np
import pytest

from tieline.errors import ConfigError, Infeasible
from tieline.grid.estimate import Meter, estimate
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.samples import european_lv

SIGMA_W, SIGMA_VAR = np.full(55, 1_000.0), np.full(55, 300.0)
KNOWN_W, KNOWN_VAR = np.full(55, -1_500.0), np.full(55, -400.0)
FAR = (5, 20, 30, 45, 54)


@pytest.fixture(scope="module")
def flow() -> PhaseFlow:
    """The feeder, its first watched branch the transformer."""
    feeder = european_lv()
    return PhaseFlow(feeder, watch_branches=np.array([feeder.branch_kind.index("transformer")], np.int32))


def truth(flow: PhaseFlow, rng: np.random.Generator, source_pu: float = 1.0):
    site_w, site_var = rng.normal(KNOWN_W, SIGMA_W), rng.normal(KNOWN_VAR, SIGMA_VAR)
    load_pu = flow.solve(site_w[None], site_var[None], np.array([source_pu]), tolerance_pu=1e-11).load_pu[0]
    return site_w, site_var, load_pu


def through(flow: PhaseFlow, site_w, site_var, source_pu: float = 1.0) -> np.ndarray:
    """Return what flows out of the transformer by phase (VA), from the flow itself: all loads and what lines lose."""
    feeder = flow.feeder
    everywhere = PhaseFlow(feeder, watch_buses=np.arange(len(feeder.bus_v), dtype=np.int32))
    drawn = feeder.loads_of(-(site_w + 1j * site_var)[None])
    currents, _, _ = flow.solve_loads(drawn, np.array([source_pu]), 1e-12)
    found = []
    for phase in range(3):
        idle_v, drop, idle_a, reach = everywhere.at_to_end(
            int(np.flatnonzero(everywhere.watch_branches == flow.watch_branches[0])[0]), phase
        )
        found.append((idle_v * source_pu + drop @ currents[0]) * np.conj(-(idle_a * source_pu + reach @ currents[0])))
    return np.array(found)


def metered(flow: PhaseFlow, site_w, site_var, load_pu, rng, source_pu: float = 1.0) -> list[Meter]:
    head = through(flow, site_w, site_var, source_pu)
    meters = [Meter("voltage", k, load_pu[k] + rng.normal(0, 1e-3), 1e-3) for k in FAR]
    meters += [Meter("power_w", 0, head[p].real + rng.normal(0, 100), 100.0, p) for p in range(3)]
    return meters + [Meter("reactive_var", 0, head[p].imag + rng.normal(0, 100), 100.0, p) for p in range(3)]


def test_the_power_out_of_the_transformer_is_that_of_all_customers_and_what_lines_lose(flow: PhaseFlow) -> None:
    site_w, site_var, _ = truth(flow, np.random.default_rng(0))
    head = through(flow, site_w, site_var)
    lost_w = head.real.sum() + site_w.sum()
    assert 0 < lost_w < 0.05 * head.real.sum()
    assert -flow.solve(site_w[None], site_var[None]).source_w[0] == pytest.approx(head.real.sum(), rel=0.01)


@pytest.mark.parametrize("source_pu", [1.0, 1.03])
def test_few_meters_bring_voltages_nearer_and_their_spread_is_honest(flow: PhaseFlow, source_pu: float) -> None:
    """Over 20 states: the error of voltages falls by more than half, and lies within two sigma as often as it should."""
    rng, before, after, within, residuals = np.random.default_rng(4), [], [], [], []
    for _ in range(20):
        site_w, site_var, load_pu = truth(flow, rng, source_pu)
        found = estimate(
            flow,
            KNOWN_W,
            KNOWN_VAR,
            SIGMA_W,
            SIGMA_VAR,
            metered(flow, site_w, site_var, load_pu, rng, source_pu),
            source_pu,
        )
        known = flow.solve(KNOWN_W[None], KNOWN_VAR[None], np.array([source_pu])).load_pu[0]
        before.append(np.abs(known - load_pu).mean())
        after.append(np.abs(found.load_pu - load_pu).mean())
        within.append((np.abs(found.load_pu - load_pu) <= 2 * found.load_pu_sigma).mean())
        residuals.append(found.residuals)
        assert not found.bad
    assert 0.85 < np.std(residuals) < 1.15
    assert np.mean(after) < 0.5 * np.mean(before)
    assert 0.90 <= np.mean(within) <= 0.99


def test_where_every_customer_is_metered_the_state_is_that(flow: PhaseFlow) -> None:
    site_w, site_var, load_pu = truth(flow, np.random.default_rng(5))
    tiny = np.full(55, 1e-3)
    found = estimate(
        flow, site_w, site_var, tiny, tiny, metered(flow, site_w, site_var, load_pu, np.random.default_rng(1))
    )
    assert found.load_pu == pytest.approx(load_pu, abs=1e-7)
    assert found.site_w == pytest.approx(site_w, abs=0.01)


def test_without_meters_what_was_known_stays(flow: PhaseFlow) -> None:
    found = estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, [])
    assert found.site_w == pytest.approx(KNOWN_W)
    assert found.site_w_sigma == pytest.approx(SIGMA_W)


@pytest.mark.parametrize("broken", [2, 6])
def test_a_meter_that_contradicts_all_others_is_named_and_left_out(flow: PhaseFlow, broken: int) -> None:
    rng = np.random.default_rng(9)
    site_w, site_var, load_pu = truth(flow, rng)
    meters = metered(flow, site_w, site_var, load_pu, rng)
    sound = estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, meters[:broken] + meters[broken + 1 :])
    wrong = meters[broken].value * (1.5 if broken > 4 else 1.1)
    meters[broken] = Meter(meters[broken].what, meters[broken].at, wrong, meters[broken].sigma, meters[broken].phase)
    found = estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, meters)
    assert found.bad == (broken,)
    assert np.isnan(found.residuals[broken])
    assert found.load_pu == pytest.approx(sound.load_pu, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.5, 0.7])
def test_a_meter_on_a_dead_phase_is_named_and_left_out(flow: PhaseFlow, value: float) -> None:
    """No power flow has such a voltage, so that there is no state to compare it with."""
    rng = np.random.default_rng(9)
    site_w, site_var, load_pu = truth(flow, rng)
    meters = metered(flow, site_w, site_var, load_pu, rng)
    sound = estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, meters[:2] + meters[3:])
    meters[2] = Meter("voltage", FAR[2], value, 1e-3)
    found = estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, meters)
    assert found.bad == (2,) and np.isnan(found.residuals[2])
    assert found.load_pu == pytest.approx(sound.load_pu, abs=1e-9)
    with pytest.raises(Infeasible, match=rf"meter 2, voltage at {FAR[2]}, says {value:g}, \d+\.\d standard deviations"):
        estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, meters, most_bad=0)


def test_more_dead_meters_than_may_be_left_out_are_named_one_by_one(flow: PhaseFlow) -> None:
    rng = np.random.default_rng(9)
    meters = metered(flow, *truth(flow, rng), rng)
    for k in range(3):
        meters[k] = Meter("voltage", FAR[k], 0.01 * k, 1e-3)
    assert sorted(estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, meters).bad) == [0, 1, 2]
    with pytest.raises(Infeasible, match=r"without meters \d, \d: meter \d, voltage at"):
        estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, meters, most_bad=2)


@pytest.mark.parametrize(
    ("meter", "said"),
    [
        (Meter("voltage", 55, 1.0, 0.01), "meter 0, voltage at 55, stands nowhere: give 0 to 54"),
        (Meter("power_w", 1, 1.0, 0.01), "meter 0, power_w at 1, stands nowhere: give 0 to 0"),
        (Meter("voltage", 0, float("nan"), 0.01), "meter 0 has value nan"),
        (Meter("voltage", 0, 1.0, 0.0), "sigma 0.0"),
    ],
)
def test_a_meter_that_makes_no_sense_is_refused_by_name(flow: PhaseFlow, meter: Meter, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        estimate(flow, KNOWN_W, KNOWN_VAR, SIGMA_W, SIGMA_VAR, [meter])
    with pytest.raises(ConfigError, match="sigma_w of customer 0 is not above 0"):
        estimate(flow, KNOWN_W, KNOWN_VAR, 0 * SIGMA_W, SIGMA_VAR, [])
