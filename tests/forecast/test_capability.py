"""Capability envelopes are exact: no schedule of the members does more, and one does as much."""

import highspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.fleet.capability import Capability, envelopes, follow, lacks_wh
from tieline.fleet.firm import firm_w


def most_met_wh(request_w: np.ndarray, step_s: float, power_w: np.ndarray, energy_wh: np.ndarray) -> float:
    """The most energy of a request that any schedule gives, as a linear program in HiGHS."""
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    n, steps, hours = len(power_w), len(request_w), step_s / 3600
    given = [[solver.addVariable(0, float(p)) for _ in range(steps)] for p in power_w]
    for t in range(steps):
        solver.addConstr(sum(given[i][t] for i in range(n)) <= float(request_w[t]))
    for i in range(n):
        if np.isfinite(energy_wh[i]):
            solver.addConstr(sum(given[i]) * hours <= float(energy_wh[i]))
    solver.maximize(sum(x for row in given for x in row) * hours)
    return float(solver.getInfo().objective_function_value)


def drawn(seed: int) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, steps = int(rng.integers(1, 6)), int(rng.integers(1, 7))
    power = rng.integers(0, 6, n) * 1000.0
    energy = rng.integers(0, 8, n) * 500.0
    energy[rng.random(n) < 0.15] = np.inf
    request = rng.integers(0, 12, steps) * 1000.0 * rng.choice([0.3, 0.7, 1.0])
    return request, float(rng.choice([900, 3600])), power, energy


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000))
def test_a_request_is_met_by_the_policy_exactly_where_any_schedule_meets_it(seed: int) -> None:
    request, step_s, power, energy = drawn(seed)
    lacks, found = lacks_wh(request, step_s, power, energy), follow(request, step_s, power, energy)
    hours, wanted_wh = step_s / 3600, request.sum() * step_s / 3600
    assert (found >= 0).all() and (found <= power[:, None] * (1 + 1e-9)).all()
    assert (found.sum(axis=1) * hours <= energy * (1 + 1e-9) + 1e-6).all()
    assert (found.sum(axis=0) <= request * (1 + 1e-9) + 1e-6).all()
    best = most_met_wh(request, step_s, power, energy)
    assert lacks == pytest.approx(wanted_wh - best, abs=1e-4)
    assert found.sum() * hours == pytest.approx(best, abs=1e-3)


def most_over_all_levels_wh(request: np.ndarray, step_s: float, power: np.ndarray, energy: np.ndarray) -> float:
    """What a request lacks by its definition: the most by which its energy above any level is more than theirs."""
    order = sorted((at for at in range(len(power)) if power[at] > 0), key=lambda at: -energy[at] / power[at])
    level_w, worst = 0.0, 0.0
    for place in range(len(order) + 1):
        above_wh = sum(energy[at] for at in order[place:])
        worst = max(worst, np.maximum(request - level_w, 0.0).sum() * step_s / 3600 - above_wh)
        level_w += power[order[place]] if place < len(order) else 0.0
    return worst


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_a_request_lacks_is_the_most_over_all_levels(seed: int) -> None:
    """Few levels are looked at; that no other lacks more is held against all of them."""
    rng = np.random.default_rng(seed)
    n, steps = int(rng.integers(0, 30)), int(rng.integers(1, 20))
    power = np.round(rng.uniform(0.0, 5e3, n), int(rng.integers(-3, 2)))
    energy = power * rng.integers(0, 9, n) / 4 if rng.random() < 0.3 else rng.uniform(0.0, 1e4, n)
    energy = np.where(rng.random(n) < rng.random(), np.inf, energy)
    request = np.round(rng.uniform(0.0, 1.2 * power.sum() + 1.0, steps), int(rng.integers(-3, 3)))
    request *= rng.integers(0, 2, steps)
    step_s = float(rng.choice([300.0, 900.0, 3600.0]))
    expected = most_over_all_levels_wh(request, step_s, power, energy)
    assert lacks_wh(request, step_s, power, energy) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([300.0, 3600.0, 14400.0]))
def test_sustained_power_can_be_held_and_a_watt_more_cannot(seed: int, last_s: float) -> None:
    _, _, power, energy = drawn(seed)
    flat, n = np.zeros(len(power)), len(power)
    can = Capability(power, energy, flat, flat + np.inf, flat, flat + 1)
    found = envelopes(can, np.zeros(n, np.int64), 1, [last_s], [0.0]).power_w[0, 0, 0]
    request = np.full(4, found)
    assert lacks_wh(request, last_s / 4, power, energy) == pytest.approx(0.0, abs=1e-6)
    assert lacks_wh(request + 10.0, last_s / 4, power, energy) == pytest.approx(10.0 * last_s / 3600, rel=1e-6)


def fleet(n: int, seed: int = 1) -> Capability:
    rng = np.random.default_rng(seed)
    energy = rng.uniform(500, 20_000, n)
    energy[::5] = np.inf
    return Capability(
        rng.uniform(500, 5_000, n), energy, rng.choice([2.0, 30.0, 900.0], n), rng.uniform(10, 1_000, n),
        rng.uniform(0, 1, n), rng.uniform(0.7, 1.0, n),
    )  # fmt: skip


def test_what_feeders_can_do_adds_up_to_the_pool_and_resources_to_feeders() -> None:
    can, n = fleet(500), 500
    feeder = np.random.default_rng(2).integers(0, 7, n)
    each, feeders, pool = (envelopes(can, of, k) for of, k in ((np.arange(n), n), (feeder, 7), (feeder * 0, 1)))
    for name in ("power_w", "rebound_wh", "energy_wh", "resources"):
        assert getattr(feeders, name).sum(axis=0) == pytest.approx(getattr(pool, name)[0])
        for k in range(7):
            assert getattr(each, name)[feeder == k].sum(axis=0) == pytest.approx(getattr(feeders, name)[k])
    assert feeders.ramped_s.max(axis=0) == pytest.approx(pool.ramped_s[0])
    assert (feeders.firm_w.sum(axis=0) < pool.firm_w[0]).all()  # many together are surer than each by itself


def test_longer_asks_and_shorter_notice_never_find_more() -> None:
    pool = envelopes(fleet(300), np.zeros(300, np.int64), 1)
    assert (np.diff(pool.power_w, axis=2) <= 1e-9).all() and (np.diff(pool.power_w, axis=1) >= 0).all()
    assert (np.diff(pool.rebound_wh, axis=2) >= -1e-9).all()
    assert (pool.firm_w <= pool.power_w).all()


def test_firm_power_is_that_of_each_group_by_itself() -> None:
    can, group = fleet(60), np.repeat([0, 1, -1], [8, 40, 12])
    found = envelopes(can, group, 2, [3600.0], [1e5])
    for k in range(2):
        mine = group == k
        held = np.minimum(can.power_w, can.energy_wh)[mine]
        assert found.firm_w[k, 0, 0] == pytest.approx(firm_w(held, can.reach_frac[mine]))
        assert found.resources[k, 0] == mine.sum()


def test_what_no_resource_can_be_is_refused_with_value_and_limit() -> None:
    one = np.ones(2)
    with pytest.raises(ValueError, match=r"reach_frac\[1\] = 1.5: give 0 to 1"):
        Capability(one, one, one, one, one, np.array([1.0, 1.5]))
    with pytest.raises(ValueError, match=r"energy_wh\[0\] = nan"):
        Capability(one, one * np.nan, one, one, one, one)
    with pytest.raises(ValueError, match=r"notice_s of shape \(1,\)"):
        Capability(one, one, one[:1], one, one, one)
