"""How long a pool of 1,000 coupled batteries takes, 96 steps, beside the same linear program by HiGHS."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tieline.bench._pool_program import coupled_program
from tieline.bench.kernel import HOURS, STEPS, Floats, reference_price, reference_stores
from tieline.plan.pool import PoolPlan, Terms, plan_pool

BAR = 2.0
UNIT = "s"
WHAT = "1,000 batteries that share a quarter of their rating, 96 steps, two threads; HiGHS on the same linear program"
BAR_RATIO, BAR_ERROR = 50.0, 1e-6
SHARE, SLACK = 0.25, 2.0
KNOWN = {100: -99.680201, 1_000: -959.239572}
"""Cost of so many batteries (reference problem R3 coupled, seed 3), by a linear program."""
LARGE = 100_000


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Plan the reference pool, hold it against its known optimum and HiGHS', then plan a pool of 100,000."""
    count, price = (100 if quick else 1_000), reference_price()
    with ThreadPoolExecutor(2) as threads:
        _planned(8, price, threads)
        plan, took = _planned(count, price, threads)
        progress(f"{count:,} batteries: {took:.2f} s, {plan.rounds} rounds, gap {plan.gap_frac:.1e}")
        large = {} if quick else _large(price, threads, progress)
    peer_cost, peer_took = _peer(count, price, {})
    progress(f"HiGHS: {peer_took:.1f} s")
    # Its interior point without crossover answers less exactly, as ours does: the fairer of the two to be held against.
    _, inner_took = _peer(count, price, {"solver": "ipx", "run_crossover": "off"})
    progress(f"HiGHS, interior point alone: {inner_took:.1f} s")
    off = abs(plan.cost - KNOWN[count]) / abs(KNOWN[count])
    off_peer = abs(plan.cost - peer_cost) / abs(peer_cost)
    ratio = peer_took / took
    is_met = abs(plan.net_w).max() <= SHARE * float(reference_stores(count).charge_w.sum()) * (1 + 1e-6)
    is_exact = max(off, off_peer, plan.gap_frac) <= BAR_ERROR and plan.bound <= plan.cost and is_met
    return {
        "value": round(took, 3), "ok": bool(is_exact and took <= BAR and (quick or ratio >= BAR_RATIO)),
        "batteries": count, "steps": STEPS, "rounds": plan.rounds, "cost": plan.cost, "bound": plan.bound,
        "gap": plan.gap_frac, "off_optimum": off, "off_highs": off_peer, "bar_error": BAR_ERROR,
        "band_held": bool(is_met),
        "peer": "HiGHS 1.15.1 as it chooses, the same linear program", "peer_value": round(peer_took, 3),
        "peer_unit": "s", "ratio": round(ratio, 1), "bar_ratio": BAR_RATIO,
        "peer_interior_value": round(inner_took, 3), "peer_interior_ratio": round(inner_took / took, 1), **large,
        "peers_elsewhere": "FlexMeasures: tieline bench schedulers",
    }  # fmt: skip


def _planned(count: int, price: Floats, threads: ThreadPoolExecutor) -> tuple[PoolPlan, float]:
    stores = reference_stores(count)
    cap = SHARE * float(stores.charge_w.sum())
    began = time.perf_counter()
    plan = plan_pool(stores, Terms(price, low_w=-cap, high_w=cap, slack_per_wh=SLACK), HOURS, spread=threads.map)
    return plan, time.perf_counter() - began


def _large(price: Floats, threads: ThreadPoolExecutor, progress: Callable[[str], None]) -> dict[str, object]:
    plan, took = _planned(LARGE, price, threads)
    progress(f"{LARGE:,} batteries: {took:.1f} s, {plan.rounds} rounds, gap {plan.gap_frac:.1e}")
    return {"large": {"batteries": LARGE, "s": round(took, 1), "rounds": plan.rounds, "gap": plan.gap_frac}}


def _peer(count: int, price: Floats, options: dict[str, str]) -> tuple[float, float]:
    """Return HiGHS' cost and how long it takes, its model made beforehand."""
    stores = reference_stores(count)
    solver = coupled_program(stores, price, SHARE * float(stores.charge_w.sum()), SLACK, HOURS)
    for name, choice in options.items():
        solver.setOptionValue(name, choice)
    began = time.perf_counter()
    solver.run()
    return float(solver.getInfo().objective_function_value), time.perf_counter() - began
