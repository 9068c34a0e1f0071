"""Small pools planned as if they were large ones, by samples of so many."""

from pool_programs import Problem

from tieline.bench.kernel import reference_price, reference_stores
from tieline.plan.executor import Executor, Here
from tieline.plan.pool import PoolPlan, Terms
from tieline.plan.pool_large import Sizes, plan_large
from tieline.plan.pool_scaled import scaled_band, units_of
from tieline.plan.pool_terms import checked_terms


def large(problem: Problem, reserve: int, sample: int, seed: int = 0, executor: Executor | None = None) -> PoolPlan:
    """Return the plan by a reserve and a sample of so many."""
    _, band = checked_terms(problem.terms, problem.hours, 1e-8)
    units = units_of(problem.stores, band[0], band[1], problem.hours)
    scaled = scaled_band(problem.terms, band, units)
    sizes = Sizes(reserve, sample)
    return plan_large(problem.stores, problem.course, scaled, units, executor or Here(), seed, sizes)


def reference(count: int, share: float = 0.25) -> Problem:
    """Return reference problem R3: so many batteries that share a part of their rating."""
    stores = reference_stores(count)
    cap = share * float(stores.charge_w.sum())
    return Problem(stores, Terms(reference_price(), low_w=-cap, high_w=cap, slack_per_wh=2.0), 0.25, None)
