"""How long the exact schedules of a million batteries take, 96 steps each, beside a linear program by HiGHS."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tieline.plan.storage import Stores, plan_stores

BAR = 15.0
UNIT = "s"
WHAT = "exact schedules of 1,000,000 batteries at one price, 96 steps, two threads; HiGHS on the same linear program"
STEPS, HOURS, SHARD = 96, 0.25, 65_536
BAR_ONE_US, PEERS = 20.0, 20
KNOWN = {1_000: -2258.0942046, 100_000: -228918.6017794}
"""Cost of so many batteries (reference problem R3 uncoupled, seed 3), by a linear program."""

Floats = NDArray[np.float64]


def reference_price() -> Floats:
    """Return the price of a day ($/kWh, seed 0), two peaks and a trough at noon; shape (96,)."""
    hour = 24 * np.arange(STEPS) / STEPS
    peaks = 0.05 * np.exp(-(((hour - 8) / 2) ** 2)) + 0.16 * np.exp(-(((hour - 19) / 2.2) ** 2))
    trough = 0.07 * np.exp(-(((hour - 13) / 2.5) ** 2))
    price: Floats = 0.10 + peaks - trough + 0.01 * np.random.default_rng(0).standard_normal(STEPS)
    return price


def reference_stores(count: int) -> Stores:
    """Return so many batteries of different sizes and losses (kWh and kW; seed 3)."""
    rng = np.random.default_rng(3)
    size = rng.uniform(5, 20, count)
    power = size * rng.uniform(0.2, 0.6, count)
    charge, discharge = rng.uniform(0.9, 0.98, count), rng.uniform(0.9, 0.98, count)
    start, wear = size * rng.uniform(0.2, 0.9, count), rng.uniform(0, 0.02, count)
    return Stores(start, 0.1 * size, size, start, power, power, charge, discharge, wear)


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Plan all batteries in shards on two threads; hold two sums against the known optimum, some against HiGHS."""
    count, price = (20_000 if quick else 1_000_000), reference_price()
    stores = reference_stores(count)
    plan_stores(_part(stores, 0, 2), price, price, HOURS)
    began = time.perf_counter()
    cost = np.zeros(count)

    def plan(first: int) -> None:
        part = slice(first, min(first + SHARD, count))
        cost[part] = plan_stores(_part(stores, part.start, part.stop), price, price, HOURS).cost

    with ThreadPoolExecutor(2) as threads:
        for done, _ in enumerate(threads.map(plan, range(0, count, SHARD))):
            progress(f"shard {done + 1} of {-(-count // SHARD)}")
    value = time.perf_counter() - began
    errors = {}
    for size, known in KNOWN.items():
        if size <= count:
            errors[size] = abs(float(plan_stores(reference_stores(size), price, price, HOURS).cost.sum()) - known)
            progress(f"{size:,} batteries: {errors[size]:.2e} off the optimum")
    few = _part(stores, 0, 2_000)
    began = time.perf_counter()
    plan_stores(few, price, price, HOURS)
    one_us = (time.perf_counter() - began) / 2_000 * 1e6
    peer_us, peer_error = _peer(stores, price, cost)
    progress(f"one battery: {one_us:.1f} us, HiGHS {peer_us:.0f} us")
    is_exact = all(error <= 5e-7 * max(1.0, size / 1_000) for size, error in errors.items()) and peer_error <= 1e-8
    return {
        "value": round(value, 3), "ok": value <= BAR and one_us <= BAR_ONE_US and is_exact, "batteries": count,
        "one_us": round(one_us, 2), "bar_one_us": BAR_ONE_US, "off_optimum": errors, "off_highs": peer_error,
        "peer": "HiGHS 1.15.1, the same linear program, one battery", "peer_value": round(peer_us, 1),
        "peer_unit": "us", "ratio": round(peer_us / one_us, 1),
        "peers_elsewhere": "FlexMeasures and EMHASS: tieline bench schedulers",
    }  # fmt: skip


def _part(stores: Stores, first: int, last: int) -> Stores:
    return Stores(**{name: getattr(stores, name)[first:last] for name in Stores.__slots__})


def _peer(stores: Stores, price: Floats, cost: Floats) -> tuple[float, float]:
    """Return how long HiGHS takes for one battery (us, median) and how far the kernel's cost is from its optimum."""
    took, off = [], 0.0
    for at in range(PEERS):
        solver = _program(stores, at, price)
        began = time.perf_counter()
        solver.run()
        took.append(time.perf_counter() - began)
        off = max(off, abs(solver.getInfo().objective_function_value - float(cost[at])))
    return float(np.median(took)) * 1e6, off


def _program(stores: Stores, at: int, price: Floats) -> Any:
    """Return the linear program of one battery: what it takes, gives and holds at each step."""
    import highspy

    lp, n = highspy.HighsLp(), STEPS
    charge, discharge = float(stores.charge_frac[at]), float(stores.discharge_frac[at])
    lp.num_col_, lp.num_row_ = 3 * n, n
    wear = float(stores.wear_per_wh[at])
    lp.col_cost_ = np.concatenate([price * HOURS, (wear - price) * HOURS, np.zeros(n)])
    least = np.full(n, float(stores.least_wh[at]))
    least[-1] = max(least[-1], float(stores.end_wh[at]))
    lp.col_lower_ = np.concatenate([np.zeros(2 * n), least])
    most_w = np.concatenate([np.full(n, float(stores.charge_w[at])), np.full(n, float(stores.discharge_w[at]))])
    lp.col_upper_ = np.concatenate([most_w, np.full(n, float(stores.most_wh[at]))])
    start = np.zeros(n)
    start[0] = float(stores.start_wh[at])
    lp.row_lower_ = lp.row_upper_ = start
    rows = np.arange(n)
    starts = np.concatenate([rows, n + rows, 2 * n + np.minimum(2 * rows, 2 * n - 1), [4 * n - 1]])
    held = np.concatenate([np.stack([rows[:-1], rows[1:]], 1).ravel(), rows[-1:]])
    lp.a_matrix_.start_ = starts
    lp.a_matrix_.index_ = np.concatenate([rows, rows, held])
    lp.a_matrix_.value_ = np.concatenate(
        [np.full(n, -charge * HOURS), np.full(n, HOURS / discharge), np.tile([1.0, -1.0], n - 1), [1.0]]
    )
    solver: Any = cast(Any, highspy).Highs()
    solver.setOptionValue("output_flag", False)
    solver.passModel(lp)
    return solver
