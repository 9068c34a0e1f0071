"""How long a mixed pool of 10,000 devices on 20 nested feeders takes, with its gap; a small one beside HiGHS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tieline.bench._mixed_program import MixedProgram
from tieline.bench.kernel import HOURS, STEPS, reference_price, reference_stores
from tieline.plan.mixed import Contracts, Feeders, Gensets, Heaters, Mix, MixedPlan, Terms, plan_mixed
from tieline.plan.mixed_terms import KINDS, Ints
from tieline.rim.executors import Threads

BAR = 180.0
UNIT = "s"
WHAT = (
    "10,000 mixed devices (60 % stores, gensets, contracts, 10 % heaters) on 20 nested feeders, 96 steps, two threads"
)
BAR_GAP, SLACK = 1e-2, 2.0
PEER_DEVICES, PEER_FEEDERS, PEER_GAP, PEER_S = 40, 4, 1e-3, 120.0


def reference_mix(count: int, feeders: int, seed: int) -> tuple[Mix, Terms, Feeders]:
    """Return a mix: a quarter of the feeders hang on the pool, the others on those; each lets through a quarter of what
    its devices are rated at, the pool 15 % down and 20 % up. Sizes in kW and kWh are assumptions; the price is R1's.
    """
    rng = np.random.default_rng(seed)
    each = [6 * count // 10, 15 * count // 100, 15 * count // 100]
    each.append(count - sum(each))
    stores, price = reference_stores(each[0]), reference_price()
    gensets, contracts = _gensets(rng, each[1]), _contracts(rng, each[2])
    heaters = _heaters(rng, each[3])
    feeder_of: dict[str, Ints] = {kind: rng.integers(0, feeders, n) for kind, n in zip(KINDS, each, strict=True)}
    first = -(-feeders // 4)
    parent = np.concatenate([np.full(first, -1), rng.integers(0, first, feeders - first)])
    through = np.zeros(feeders)
    for kind, rated in zip(KINDS, (stores.charge_w, gensets.most_w, contracts.power_w, heaters.power_w), strict=True):
        np.add.at(through, feeder_of[kind], rated)
    whole = float(through.sum())
    for feeder in range(first, feeders):
        through[parent[feeder]] += through[feeder]
    terms = Terms(price, low_w=-0.15 * whole, high_w=0.2 * whole, slack_per_wh=SLACK)
    mix = Mix(stores, gensets, contracts, heaters, feeder_of=feeder_of)
    return mix, terms, Feeders(-0.25 * through, 0.25 * through, parent=parent)


def _gensets(rng: np.random.Generator, n: int) -> Gensets:
    """Return engines of 1 to 10 kW at 0.15 to 0.3 a kWh, half with a tank for half an hour to two; off for long."""
    most = rng.uniform(1, 10, n)
    tank = np.where(rng.random(n) < 0.5, rng.uniform(0.1, 0.5, n) * most, np.inf)
    return Gensets(
        rng.uniform(0.3, 0.5, n) * most, most, rng.uniform(0.02, 0.1, n) * most, rng.uniform(0.9, 1.3, n), 0.03 * most,
        rng.uniform(0.15, 0.25, n), tank, rng.integers(2, 9, n), rng.integers(2, 9, n), np.full(n, -50), np.zeros(n),
    )  # fmt: skip


def _contracts(rng: np.random.Generator, n: int) -> Contracts:
    """Return customers of 1 to 10 kW with one to three calls left, of one to four hours, noticed up to four before."""
    longest = rng.integers(4, 17, n)
    return Contracts(
        rng.uniform(1, 10, n), rng.integers(1, 4, n), longest, np.minimum(longest, rng.integers(1, 5, n)),
        rng.integers(4, 17, n), rng.integers(8, 33, n), rng.integers(0, 17, n), np.zeros(n, np.int64),
        rng.uniform(0.1, 1, n), rng.uniform(0.1, 0.3, n), np.zeros(n),
    )  # fmt: skip


def _heaters(rng: np.random.Generator, n: int) -> Heaters:
    """Return tanks of 6 to 16 quarters of an hour of 1 to 4 kW, of which draws need a tenth to 0.4."""
    power = rng.uniform(1, 4, n)
    most = power * HOURS * rng.uniform(6, 16, n)
    draw = power[:, None] * HOURS * rng.uniform(0.1, 0.4, (n, 1)) * rng.uniform(0.5, 1.5, (n, STEPS))
    return Heaters(
        power, rng.uniform(1, 3, n), most * rng.uniform(0.3, 0.8, n), 0.1 * most, most, rng.uniform(0.97, 1, n), -draw,
        rng.integers(1, 4, n), rng.integers(1, 4, n), np.full(n, -9), np.full(n, 0.005),
    )  # fmt: skip


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Plan the large mix; plan a small one, and give HiGHS two minutes for the same."""
    count = 300 if quick else 10_000
    with Threads(2) as threads:
        _planned(20, 2, seed, threads)  # the first compiles
        began = time.process_time()
        plan, took = _planned(count, 20, seed, threads)
        cpu = time.process_time() - began  # what other work on the machine doesn't change much
        progress(f"{count:,} devices: {took:.1f} s ({cpu:.1f} of CPU), gap {plan.gap_frac:.1e}")
        devices, feeders = (12, 2) if quick else (PEER_DEVICES, PEER_FEEDERS)
        small, small_took = _planned(devices, feeders, seed, threads)
    progress(f"{devices} devices: {small_took:.1f} s, gap {small.gap_frac:.1e}")
    began = time.perf_counter()
    program = MixedProgram(*_problem(devices, feeders, seed))
    made = time.perf_counter() - began
    cost, bound, is_found = program.solved(PEER_GAP, 8.0 if quick else PEER_S)
    peer_took = time.perf_counter() - began - made
    progress(f"HiGHS on those: {peer_took:.1f} s, {cost:.4f} (bound {bound:.4f}); ours {small.cost:.4f}")
    tiny = 1e-6 * max(abs(small.cost), 1.0)
    is_true = small.bound <= (cost if is_found else np.inf) + tiny and bound <= small.cost + tiny
    return {
        "value": round(took, 1), "ok": bool(is_true and took <= BAR and plan.gap_frac <= BAR_GAP),
        "devices": count, "feeders": 20, "steps": STEPS, "cpu_s": round(cpu, 1), "gap": plan.gap_frac,
        "bar_gap": BAR_GAP, "cost": plan.cost, "bound": plan.bound, "slack_cost": plan.slack_cost,
        "gave_way": len(plan.gave_way), "passes": plan.passes, "rounds": plan.rounds, "bounds_are_true": bool(is_true),
        "peer": f"HiGHS 1.15.1, the same as one mixed-integer program: {devices} devices, to {PEER_GAP:g}",
        "peer_value": round(peer_took, 2), "peer_unit": "s", "peer_found": is_found,
        "peer_gap": abs(cost - bound) / max(abs(cost), 1e-9) if is_found else None,
        "small_s": round(small_took, 2), "ratio": round(peer_took / small_took, 1), "small_gap": small.gap_frac,
        "small_dearer": (small.cost - cost) / max(abs(cost), 1e-9) if is_found else None,
    }  # fmt: skip


def _problem(count: int, feeders: int, seed: int) -> tuple[Mix, Terms, float, Feeders]:
    mix, terms, below = reference_mix(count, feeders, seed)
    return mix, terms, HOURS, below


def _planned(count: int, feeders: int, seed: int, threads: Any) -> tuple[MixedPlan, float]:
    began = time.perf_counter()
    plan = plan_mixed(*_problem(count, feeders, seed), tolerance=1e-6, executor=threads)
    return plan, time.perf_counter() - began
