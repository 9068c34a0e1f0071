"""The storage kernel: equal to its scalar twin and to HiGHS, and to the reference problems of 8-planning.md section 8."""

import itertools

import highspy
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tieline.errors import Infeasible
from tieline.plan.storage import Step, Stores, plan_store, plan_stores, schedule

STEPS, HOURS = 96, 0.25


def reference_price(seed: int = 0) -> np.ndarray:
    hour = 24 * np.arange(STEPS) / STEPS
    noise = 0.01 * np.random.default_rng(seed).standard_normal(STEPS)
    peaks = 0.05 * np.exp(-(((hour - 8) / 2) ** 2)) + 0.16 * np.exp(-(((hour - 19) / 2.2) ** 2))
    return 0.10 + peaks - 0.07 * np.exp(-(((hour - 13) / 2.5) ** 2)) + noise


def random_problem(seed: int, count: int, segments: int) -> tuple[float, float, list[Step], float]:
    rng = np.random.default_rng(seed)
    keep = float(rng.choice([1.0, 0.995, 0.9]))
    size = float(rng.uniform(2, 10))
    steps = []
    for at in range(count):
        lengths = rng.uniform(0, 2, segments)
        slopes = np.sort(rng.normal(0.1, 0.2, segments))
        low = 0.0 if at < count - 1 else float(rng.uniform(0, 0.3) * size)
        least = -float(rng.uniform(0.2, 0.8)) * float(lengths.sum())
        inflow = float(rng.normal(0, 0.2)) if seed % 3 == 0 else 0.0
        steps.append(Step(inflow, low, size, least, tuple(zip(lengths.tolist(), slopes.tolist(), strict=True))))
    return float(rng.uniform(0.2, 0.8) * size), keep, steps, float(rng.choice([0.0, 0.1]))


def by_highs(start: float, keep: float, steps: list[Step], end_value: float) -> float | None:
    """Return the optimum by a linear program, or None where there is none."""
    lp = highspy.Highs()
    lp.silent()
    lp.setOptionValue("threads", 1)
    stored = []
    for step in steps:
        parts = [lp.addVariable(0, length, rate) for length, rate in step.segments]
        now = lp.addVariable(step.low, step.high, 0.0)
        before = start if not stored else stored[-1]
        constant = step.inflow + step.least
        lp.addConstr(now - sum(parts) - keep * before == constant) if stored else lp.addConstr(
            now - sum(parts) == constant + keep * start
        )
        stored.append(now)
    lp.changeColCost(stored[-1].index, -end_value)
    lp.run()
    if lp.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return float(lp.getObjectiveValue())


def in_columns(start: float, keep: float, steps: list[Step], end_value: float) -> tuple[float, float, np.ndarray]:
    count, segments = len(steps), len(steps[0].segments)
    columns = [np.array([getattr(step, name) for step in steps]) for name in ("inflow", "low", "high", "least")]
    length = np.array([[part[0] for part in step.segments] for step in steps])
    slope = np.array([[part[1] for part in step.segments] for step in steps])
    moves = np.zeros(count)
    work = np.zeros((2, count * segments + 4))
    cost, worth = plan_store(start, keep, *columns, length, slope, end_value, work, np.zeros((count, segments)), moves)
    return cost, worth, moves


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 4))
def test_columns_and_the_scalar_twin_are_the_linear_programs_optimum(seed: int, count: int, segments: int) -> None:
    problem = random_problem(seed, count, segments)
    best = by_highs(*problem)
    cost, worth, moves = in_columns(*problem)
    if best is None:
        assert np.isnan(cost)
        with pytest.raises(Infeasible):
            schedule(*problem)
        return
    twin = schedule(*problem)
    assert twin.cost == pytest.approx(best, abs=1e-9)
    assert cost == pytest.approx(best, abs=1e-9)
    assert moves == pytest.approx(twin.moves, abs=1e-9)
    assert worth == pytest.approx(twin.value, abs=1e-9)


def a_car_with_a_deadline(rng: np.random.Generator) -> tuple[float, float, list[Step], float]:
    """It takes only, is away and drives for some hours, and must hold its need when it leaves."""
    size, leaves, back = float(rng.uniform(30, 80)), int(rng.integers(30, 40)), int(rng.integers(60, 80))
    start, need, trip = 0.3 * size, float(rng.uniform(0.5, 0.7)) * size, float(rng.uniform(0.2, 0.4)) * size
    steps = []
    for at, rate in enumerate(rng.normal(0.1, 0.1, STEPS)):
        is_here = not leaves <= at < back
        length = 11.0 * HOURS * 0.9 if is_here else 0.0
        inflow = -trip if at == leaves else 0.0
        steps.append(Step(inflow, need if at == leaves - 1 else 0.0, size, 0.0, ((length, float(rate) / 0.9),)))
    return start, 1.0, steps, float(rng.choice([0.0, 0.05]))


def a_house_with_heat(rng: np.random.Generator) -> tuple[float, float, list[Step], float]:
    """Leaky storage: a heat pump in two stages, sun and losses that flow in and out by themselves."""
    keep = float(rng.uniform(0.9, 0.99))
    needs = rng.uniform(0.2, 0.8, STEPS)
    steps = [
        Step(-float(need), 0.0, 12.0, 0.0, ((0.8, float(rate)), (0.6, float(rate) * 1.3)))
        for need, rate in zip(needs, rng.uniform(0.02, 0.3, STEPS), strict=True)
    ]
    return 6.0, keep, steps, 0.0


def a_net_metered_battery(rng: np.random.Generator) -> tuple[float, float, list[Step], float]:
    """A tariff of three segments: less fed in, less drawn from what the home draws, more drawn."""
    steps, size = [], float(rng.uniform(8, 15))
    for buy, load in zip(rng.uniform(0.05, 0.4, STEPS), rng.uniform(0.2, 4.0, STEPS), strict=True):
        saved = min(float(load), 5.0)
        parts = ((5.0 - saved, 0.4 * buy * 0.95), (saved, buy * 0.95), (5.0, buy / 0.95))
        steps.append(Step(0.0, 0.1 * size, size, -5.0 * HOURS / 0.95, tuple(
            (length * HOURS * (0.95 if k == 2 else 1 / 0.95), float(rate)) for k, (length, rate) in enumerate(parts)
        )))  # fmt: skip
    return 0.5 * size, 1.0, steps, 0.0


def four_random_segments(rng: np.random.Generator) -> tuple[float, float, list[Step], float]:
    while True:
        problem = random_problem(int(rng.integers(10**6)), STEPS, 4)
        if by_highs(*problem) is not None:
            return problem


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "family", [a_car_with_a_deadline, a_house_with_heat, a_net_metered_battery, four_random_segments]
)
def test_reference_problem_r4_each_family_is_a_linear_programs_optimum_to_1e_9(family, seed: int) -> None:
    """Origin: 8-planning.md section 8, R4, 96 steps of each: the kernel and its scalar twin against HiGHS."""
    problem = family(np.random.default_rng(seed))
    best = by_highs(*problem)
    assert best is not None
    assert schedule(*problem).cost == pytest.approx(best, rel=1e-9, abs=1e-9)
    assert in_columns(*problem)[0] == pytest.approx(best, rel=1e-9, abs=1e-9)


def test_a_leaky_store_of_a_month_of_hours_is_planned_as_exactly_as_one_of_a_day() -> None:
    """A house loses a fifth of its warmth an hour: what rounding leaves over must not grow by that each step."""
    rng = np.random.default_rng(5)
    steps = [Step(-float(needs), 0.0, 1.0, 0.0, ((1.5, float(rate)),)) for needs, rate in rng.random((700, 2))]
    twin = schedule(0.5, 0.8, steps, 0.0)
    cost, worth, moves = in_columns(0.5, 0.8, steps, 0.0)
    assert cost == pytest.approx(twin.cost, abs=1e-9)
    assert moves == pytest.approx(twin.moves, abs=1e-9)
    assert worth == pytest.approx(twin.value, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 24))
def test_the_schedule_keeps_every_bound(seed: int, count: int) -> None:
    start, keep, steps, end_value = random_problem(seed, count, 3)
    try:
        made = schedule(start, keep, steps, end_value)
    except Infeasible:
        assume(False)
    now = start
    for step, move, stored in zip(steps, made.moves, made.stored, strict=True):
        now = keep * now + move + step.inflow
        assert now == pytest.approx(stored, abs=1e-7)
        assert step.low - 1e-7 <= now <= step.high + 1e-7
        assert step.least - 1e-9 <= move <= step.least + sum(length for length, _ in step.segments) + 1e-9


def test_the_water_value_is_what_one_more_unit_saves() -> None:
    start, keep, steps, end_value = random_problem(42, 20, 3)
    here, more = schedule(start, keep, steps, end_value), schedule(start + 1e-6, keep, steps, end_value)
    assert (here.cost - more.cost) / 1e-6 == pytest.approx(here.value, abs=1e-3)


def behind_the_meter(wear: float) -> tuple[list[Step], float]:
    """Return R1's steps, whose f has a segment for each of selling, saving and buying, and the cost at the least u."""
    hour, price = 24 * np.arange(STEPS) / STEPS, reference_price()
    evening = 1.4 * np.exp(-(((hour - 19) / 2.5) ** 2)) + 0.15 * np.random.default_rng(1).random(STEPS)
    load = 0.4 + 0.6 * np.exp(-(((hour - 7.5) / 1.5) ** 2)) + evening
    sun = 5 * np.maximum(np.sin(np.pi * (hour - 6) / 12), 0) ** 1.3 * 0.85
    steps, fixed = [], 0.0
    for at in range(STEPS):
        net, buy, sell = load[at] - sun[at], price[at], 0.6 * price[at] - 0.01
        lowest, highest = net - 5.0, net + 5.0
        cuts = sorted({lowest, highest, *(cut for cut in (net, 0.0) if lowest < cut < highest)})
        parts = []
        for begin, end in itertools.pairwise(cuts):
            rate = sell if end <= 0 else buy
            charges = begin >= net
            length = (end - begin) * HOURS * (0.95 if charges else 1 / 0.95)
            parts.append((length, rate / 0.95 if charges else (rate - wear) * 0.95))
        fixed += HOURS * ((buy if lowest > 0 else sell) * lowest + wear * 5.0)
        steps.append(Step(0.0, 1.35 if at < STEPS - 1 else 6.75, 13.5, -5.0 * HOURS / 0.95, tuple(parts)))
    return steps, fixed


@pytest.mark.parametrize(("wear", "cost"), [(0.005, -0.47814949), (0.0, -0.5664906012)])
def test_reference_problem_r1_one_battery_behind_a_meter(wear: float, cost: float) -> None:
    """Origin: 8-planning.md section 8, R1 (kWh and kW there; any unit serves)."""
    steps, fixed = behind_the_meter(wear)
    assert schedule(6.75, 1.0, steps).cost + fixed == pytest.approx(cost, abs=5e-9)


def test_reference_problem_r3_a_thousand_batteries_at_one_price() -> None:
    """Origin: 8-planning.md section 8, R3 uncoupled, N = 1,000."""
    rng, n, price = np.random.default_rng(3), 1_000, reference_price()
    size = rng.uniform(5, 20, n)
    power = size * rng.uniform(0.2, 0.6, n)
    charge, discharge = rng.uniform(0.9, 0.98, n), rng.uniform(0.9, 0.98, n)
    start, wear = size * rng.uniform(0.2, 0.9, n), rng.uniform(0, 0.02, n)
    stores = Stores(start, 0.1 * size, size, start, power, power, charge, discharge, wear)
    plans = plan_stores(stores, price, price, HOURS)
    assert plans.cost.sum() == pytest.approx(-2258.0942046, abs=5e-7)
    assert (np.abs(plans.power_w) <= power[:, None] + 1e-9).all()


def test_a_cost_that_is_not_convex_is_refused() -> None:
    with pytest.raises(ValueError, match="slopes"):
        schedule(0.5, 1.0, [Step(0, 0, 1, -1, ((1, 5.0), (1, 2.0)))])
    with pytest.raises(Infeasible, match="start"):
        schedule(5.0, 1.0, [Step(0, 0, 1, 0, ((1, 1.0),))])
