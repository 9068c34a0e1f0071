"""Random pools, and the same pools as linear and mixed-integer programs that HiGHS solves: the oracle of the tests."""

from dataclasses import dataclass

import highspy
import numpy as np

from tieline.plan.pool import Course, Terms
from tieline.plan.storage import Stores


@dataclass(frozen=True)
class Problem:
    stores: Stores
    terms: Terms
    hours: float
    course: Course | None


def random_pool(seed: int, is_harsh: bool = False, has_negative: bool = False) -> Problem:
    """Return a small pool; a harsh one has bounds that clash, absent cars, leaks and draws."""
    rng = np.random.default_rng(seed)
    n, steps = int(rng.integers(1, 7)), int(rng.integers(1, 13))
    hours = float(rng.choice([0.25, 1.0]))
    most = rng.uniform(2, 20, n) * (1000.0 if seed % 2 else 1.0)
    rating = most * rng.uniform(0.1, 0.8, n) / hours / 2
    start = most * rng.uniform(0.1, 0.9, n)
    end = most * rng.uniform(0, 1.0 if is_harsh else 0.5, n) if is_harsh else np.minimum(start, 0.5 * most)
    least = 0.1 * most if not is_harsh else most * rng.choice([0.0, 0.1, 0.3], n)
    dear = float(rng.choice([1.0, 1e-4]))
    buy = dear * rng.uniform(-0.3 if has_negative else 0.05, 0.4, steps)
    sell = buy - dear * rng.choice([0.0, 0.02, 0.1], steps)
    if not has_negative:
        sell = np.maximum(sell, 0.5 * buy)
    stores = Stores(
        start, least, most, end, rating, rating * rng.uniform(0.5, 1, n), rng.uniform(0.85, 1, n),
        rng.uniform(0.85, 1, n), dear * rng.uniform(0, 0.02, n),
    )  # fmt: skip
    course = None
    if is_harsh:
        here = rng.random((n, steps)) < 0.8
        course = Course(
            charge_w=rating[:, None] * here, discharge_w=stores.discharge_w[:, None] * here * rng.integers(0, 2, (n, 1)),
            inflow_wh=rng.normal(0, 0.05, (n, steps)) * most[:, None], keep_frac=rng.choice([1.0, 0.99, 0.9], n),
        )  # fmt: skip
    room = float(rating.sum()) * rng.uniform(0.05, 0.8)
    base = rng.normal(0, 0.5, steps) * room if seed % 3 else 0.0
    low = -room * (1 if seed % 5 else -0.3)
    return Problem(
        stores, Terms(buy, sell, low, max(room, low), base, dear * float(rng.choice([2.0, 10.0]))), hours, course
    )


def optimum(problem: Problem, is_one_way: bool = False, low_w: object = None, high_w: object = None) -> float | None:
    """Return the least cost by HiGHS, or None where no schedule keeps the storages' bounds.

    Args:
        is_one_way: A storage takes or gives at a step, never both (a binary each).
        low_w: Another band, as `high_w`.
    """
    stores, terms, hours, course = problem.stores, problem.terms, problem.hours, problem.course or Course()
    n, steps = len(stores.start_wh), len(terms.buy_per_wh)
    at = lambda given, column: np.broadcast_to(column[:, None] if given is None else given, (n, steps))  # noqa: E731
    charge, discharge = at(course.charge_w, stores.charge_w), at(course.discharge_w, stores.discharge_w)
    low, high = at(course.least_wh, stores.least_wh).copy(), at(course.most_wh, stores.most_wh)
    low[:, -1] = np.maximum(low[:, -1], stores.end_wh)
    inflow, keep = at(course.inflow_wh, np.zeros(n)), np.ones(n) if course.keep_frac is None else course.keep_frac
    flat = lambda column: np.broadcast_to(np.asarray(column, float), (steps,))  # noqa: E731
    sell = terms.buy_per_wh if terms.sell_per_wh is None else terms.sell_per_wh
    band_low, band_high = (
        flat(terms.low_w if low_w is None else low_w),
        flat(terms.high_w if high_w is None else high_w),
    )
    lp = highspy.Highs()
    lp.silent()
    lp.setOptionValue("threads", 1)
    for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance", "mip_feasibility_tolerance"):
        lp.setOptionValue(name, 1e-9)
    lp.setOptionValue("mip_rel_gap", 1e-9)
    unit = (
        float(np.abs(charge).max()) or 1.0
    )  # powers in parts of the largest rating, so that tolerances mean something
    money = float(np.abs(terms.buy_per_wh).max()) * hours * unit
    net = [[] for _ in range(steps)]
    for i in range(n):
        before: object = keep[i] * stores.start_wh[i] / unit / hours
        for t in range(steps):
            take = lp.addVariable(0, charge[i, t] / unit, 0)
            give = lp.addVariable(0, discharge[i, t] / unit, stores.wear_per_wh[i] * hours * unit / money)
            if is_one_way:
                gives = lp.addBinary()
                lp.addConstr(give <= discharge[i, t] / unit * gives)
                lp.addConstr(take <= charge[i, t] / unit * (1 - gives))
            now = lp.addVariable(low[i, t] / unit / hours, high[i, t] / unit / hours, 0)
            moved = now - stores.charge_frac[i] * take + (1 / stores.discharge_frac[i]) * give
            drift = inflow[i, t] / unit / hours
            lp.addConstr(moved - before == drift) if t else lp.addConstr(moved == drift + before)
            before = keep[i] * now
            net[t].append((take, give))
    for t in range(steps):
        price = hours * unit / money
        draws, feeds = (
            lp.addVariable(0, highspy.kHighsInf, terms.buy_per_wh[t] * price),
            lp.addVariable(0, highspy.kHighsInf, -sell[t] * price),
        )
        over, under = (lp.addVariable(0, highspy.kHighsInf, terms.slack_per_wh * price) for _ in range(2))
        lp.addConstr(feeds - draws - sum(give - take for take, give in net[t]) == flat(terms.base_w)[t] / unit)
        lp.addConstr(feeds - draws - over <= band_high[t] / unit)
        lp.addConstr(feeds - draws + under >= band_low[t] / unit)
    lp.run()
    if lp.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return float(lp.getObjectiveValue()) * money
