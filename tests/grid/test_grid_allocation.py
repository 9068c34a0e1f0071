"""Relief by three rules, and hosting capacity: what the rules promise, held against the power flow."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.errors import ConfigError
from tieline.grid.allocation import ReliefTerms, relieve
from tieline.grid.envelope_terms import EnvelopeTerms
from tieline.grid.hosting import hosting
from tieline.grid.phaseflow import PhaseFlow
from tieline.grid.samples import european_lv

RULES = ["least-cost", "pro-rata", "last-in-first-out"]
SUN_W = np.full(55, 6e3)
SUNNY = ReliefTerms(np.zeros(55), SUN_W, connected=np.random.default_rng(3).permutation(55).astype(float))
"""Roofs give 6 kW each and may be held back to nothing: voltage at the far end is above 1.10 then."""


@pytest.fixture(scope="module")
def flow() -> PhaseFlow:
    return PhaseFlow(european_lv())


def holds(flow: PhaseFlow, power_w: np.ndarray, source_pu: float = 1.0) -> bool:
    result = flow.solve(power_w[None], source_pu=np.array([source_pu]))
    limits = flow.feeder.branch_max_a[flow.watch_branches]
    low, high = result.load_pu.min(), result.load_pu.max()
    return bool(low >= 0.94 and high <= 1.10 and (result.branch_a[0].max(axis=1) <= limits).all())


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_after_relief_every_limit_holds_and_nobody_was_moved_too_far(flow: PhaseFlow, rule: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    site_w = rng.uniform(2e3, 9e3, 55)
    terms = replace(SUNNY, most_w=site_w, connected=rng.permutation(55).astype(float))
    done = relieve(flow, site_w, terms, rule)
    assert holds(flow, done.power_w)
    assert not done.passed
    assert (done.power_w >= -1e-6).all() and (done.power_w <= site_w + 1e-6).all()
    assert done.cost == pytest.approx((site_w - done.power_w).sum(), rel=1e-6, abs=1e-3)


def test_the_cheapest_relief_is_no_dearer_than_that_of_any_rule(flow: PhaseFlow) -> None:
    costs = [relieve(flow, SUN_W, SUNNY, rule).cost for rule in RULES]
    assert 0 < costs[0] < min(costs[1:])


def test_pro_rata_moves_all_by_one_share(flow: PhaseFlow) -> None:
    done = relieve(flow, SUN_W, SUNNY, "pro-rata")
    shares = done.power_w / SUN_W
    assert shares == pytest.approx(shares[0], abs=1e-9)
    assert not holds(flow, SUN_W * (shares[0] + 0.01))  # not more than must be


def test_the_last_who_came_is_moved_wholly_before_the_one_before(flow: PhaseFlow) -> None:
    done = relieve(flow, SUN_W, SUNNY, "last-in-first-out")
    order = np.argsort(-SUNNY.connected)
    moved = (SUN_W - done.power_w)[order]
    touched = np.flatnonzero(moved > 1e-6)
    partly = [k for k in touched if moved[k] < 6e3 - 1e-6]
    assert len(partly) <= 1 and (not partly or partly[0] == touched[-1])


def test_where_nothing_is_passed_nobody_moves(flow: PhaseFlow) -> None:
    for rule in RULES:
        done = relieve(flow, np.zeros(55), replace(SUNNY, most_w=np.zeros(55)), rule)
        assert not done.power_w.any() and done.cost == 0 and not done.prices


def test_the_price_of_a_limit_is_what_a_little_more_room_saves(flow: PhaseFlow) -> None:
    """The dual: 0.0005 pu more at every load saves the sum of the prices of voltages times it, within its curvature."""
    done, wider = (relieve(flow, SUN_W, replace(SUNNY, max_pu=1.10 + more)) for more in (0.0, 5e-4))
    priced = sum(price for name, price in done.prices.items() if name.startswith("voltage high"))
    assert done.cost - wider.cost == pytest.approx(5e-4 * priced, rel=0.1)


def test_loads_give_way_to_low_voltage_as_roofs_do_to_high(flow: PhaseFlow) -> None:
    drawn = np.full(55, -4e3)
    terms = ReliefTerms(drawn, np.zeros(55), source_pu=0.97)
    done = relieve(flow, drawn, terms)
    assert not holds(flow, drawn, 0.97) and holds(flow, done.power_w, 0.97)


def test_what_stays_passed_when_all_has_moved_is_named(flow: PhaseFlow) -> None:
    """Half of the roofs may not be held back: the others stop, and the answer says what is left."""
    least = np.where(np.arange(55) % 2, 12e3, 0.0)
    done = relieve(flow, np.full(55, 12e3), replace(SUNNY, least_w=least, most_w=np.full(55, 12e3)))
    assert done.passed and next(iter(done.passed)).startswith(("voltage high", "line"))


@pytest.mark.parametrize(
    ("terms", "rule", "said"),
    [
        (
            replace(SUNNY, least_w=np.full(55, 7e3)),
            "least-cost",
            "least_w of customer 3000 is 7000 W where it stands at 6000 W",
        ),
        (replace(SUNNY, most_w=np.zeros(55)), "pro-rata", "most_w of customer 3000 is 0 W where it stands at 6000 W"),
        (replace(SUNNY, connected=None), "last-in-first-out", "connected: give when each customer was connected"),
        (SUNNY, "by-lot", "rule is 'by-lot': give least-cost, pro-rata or last-in-first-out"),
        (replace(SUNNY, down_per_w=-1.0), "least-cost", "give numbers from 0 on"),
        (replace(SUNNY, least_w=np.zeros(3)), "least-cost", r"least_w has shape \(3,\): give \(55,\)"),
    ],
)
def test_relief_that_makes_no_sense_is_refused_by_name(
    flow: PhaseFlow, terms: ReliefTerms, rule: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        relieve(flow, SUN_W, terms, rule)


def test_a_customer_can_add_what_hosting_says_and_no_more(flow: PhaseFlow) -> None:
    site_w = np.random.default_rng(8).uniform(-2e3, 0, (3, 55))
    found = hosting(flow, site_w, EnvelopeTerms(site_w, site_w), 60e3)
    assert found.held_by[0] == "nothing" and found.alone_w[0] == 60e3  # beside the transformer
    for customer in (20, 54):
        for factor, fits in ((0.999, True), (1.01, False)):
            added = site_w.copy()
            added[:, customer] += factor * found.alone_w[customer]
            assert all(holds(flow, row) for row in added) is fits
        assert found.held_by[customer].startswith("voltage high at load ")


def test_all_together_host_less_than_one_alone_and_the_far_less_than_the_near(flow: PhaseFlow) -> None:
    site_w = np.zeros((1, 55))
    for most_w in (60e3, -60e3):
        found = hosting(flow, site_w, EnvelopeTerms(site_w, site_w), most_w)
        assert 0 < found.together_w < found.alone_w.min()
        assert found.alone_w[0] > found.alone_w[54]
    free = hosting(flow, site_w, EnvelopeTerms(site_w, site_w), 100.0)
    assert (free.alone_w == 100.0).all() and free.together_held_by == "nothing"
    with pytest.raises(ConfigError, match="most_w is 0 W"):
        hosting(flow, site_w, EnvelopeTerms(site_w, site_w), 0.0)
