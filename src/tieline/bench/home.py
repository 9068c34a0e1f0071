"""How long the plan of a MILP home takes and how good it is, beside HiGHS on the same mixed-integer program."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tieline.bench._home_set import home_set
from tieline.plan.home import HomePlan, plan_home, plan_homes
from tieline.plan.home_program import HomeProgram
from tieline.plan.home_terms import Home

BAR = 100.0
UNIT = "times HiGHS, over the whole set"
WHAT = "homes with battery, sun, car, heater and appliance behind one meter, 96 steps; HiGHS on the same program"
BAR_OFF = 1e-3
HOMES, BATCH, TURNS = 9, 1_000, 3
LIMIT_S, QUICK_LIMIT_S = 60.0, 4.0
"""How long HiGHS may take for a home; one that it has not closed by then counts with this time."""
CLOSE = 1e-4
"""The gap to which HiGHS is run once more, untimed, for an optimum to hold ours against."""


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Plan homes by both, hold our costs against HiGHS' best and its bound, and plan a batch."""
    homes = home_set(3 if quick else HOMES, seed)
    for home in homes[:2]:
        plan_home(home)
    rows = [_one(home, QUICK_LIMIT_S if quick else LIMIT_S, progress) for home in homes]
    ratios, gaps = np.array([row["ratio"] for row in rows]), np.array([row["gap"] for row in rows])
    ours_s, highs_s = (np.array([row[name] for row in rows]) for name in ("ours_s", "highs_s"))
    worst, ratio = max(row["off"] for row in rows), float(highs_s.sum() / ours_s.sum())
    batch = _batch(20 if quick else BATCH, seed + 1, progress)
    return {
        "value": round(ratio, 1), "ok": bool((quick or ratio >= BAR) and worst <= BAR_OFF), "homes": len(rows),
        "ours_ms": round(float(ours_s.mean()) * 1e3, 2), "worst_off": worst, "bar_off": BAR_OFF,
        "closed_by_highs": sum(row["is_closed"] for row in rows),
        "worst_off_bound_of_closed": max((row["off_bound"] for row in rows if row["is_closed"]), default=None),
        "worst_gap_proven": float(gaps.max()), "median_gap_proven": float(np.median(gaps)),
        "median_ratio": round(float(np.median(ratios)), 1), "least_ratio": round(float(ratios.min()), 1),
        "median_ratio_by_heater": {
            kind: round(float(np.median([row["ratio"] for row in rows if row["has"] == kind])), 1)
            for kind in sorted({row["has"] for row in rows})
        },
        "peer": f"HiGHS 1.15.1 to a gap of {BAR_OFF:g}, the same program, at most {LIMIT_S:g} s a home",
        "peer_value": round(float(highs_s.mean()), 3), "peer_unit": "s of processor time a home",
        "ratio": round(ratio, 1), "rows": rows, **batch,
    }  # fmt: skip


def _one(home: Home, limit_s: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return how long both take for a home (processor time) and how far ours is from the best that is known."""
    took = []
    for _ in range(TURNS):
        began = time.process_time()
        plan = plan_home(home)
        took.append(time.process_time() - began)
    _, _, highs_s = _highs(home, BAR_OFF, limit_s)
    best, bound, _ = _highs(home, CLOSE, limit_s)
    known = min(best, plan.cost)
    ours_s, gap = float(np.median(took)), plan.gap / abs(plan.cost)
    row = {
        "home": home.name, "has": "heat pump" if home.heaters[0].start_cost else "water heater", "engine": plan.engine,
        "ours_s": ours_s, "highs_s": highs_s, "ratio": highs_s / ours_s,
        "cost": plan.cost, "highs_cost": best, "off": (plan.cost - known) / abs(known),
        "off_bound": (plan.cost - bound) / abs(known), "is_closed": bool(best - bound <= 2 * CLOSE * abs(best)),
        "gap": gap,
    }  # fmt: skip
    progress(
        f"{home.name} ({row['has']}): {ours_s * 1e3:.1f} ms, HiGHS {highs_s:.1f} s, {highs_s / ours_s:.0f} times; "
        f"{row['off']:.3%} off the best known, proven gap {gap:.2%}"
    )
    return row


def _highs(home: Home, gap_frac: float, limit_s: float) -> tuple[float, float, float]:
    """Return HiGHS' cost, its bound, and the processor time it took, its model made beforehand."""
    solver = HomeProgram(home).solver(gap_frac, limit_s)
    began = time.process_time()
    solver.run()
    told = solver.getInfo()
    return float(told.objective_function_value), float(told.mip_dual_bound), time.process_time() - began


def _batch(count: int, seed: int, progress: Callable[[str], None]) -> dict[str, object]:
    """Plan thousands of homes on two threads."""
    homes = home_set(count, seed)
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        plans = plan_homes(homes, threads.map)
    took = time.perf_counter() - began
    made = [plan for plan in plans if isinstance(plan, HomePlan)]
    gap = sum(plan.gap for plan in made) / sum(abs(plan.cost) for plan in made)
    progress(f"{count:,} homes on two threads: {took:.1f} s, {count - len(made)} refused, proven gap {gap:.2%}")
    return {"batch": {"homes": count, "s": round(took, 2), "homes_per_s": round(count / took, 1),
                      "refused": count - len(made), "gap": gap}}  # fmt: skip
