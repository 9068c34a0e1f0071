"""How long a setpoint over a million devices takes, what they store and may be told brought up to date first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tieline.plan.realtime import Devices, Follower, fair_level
from tieline.plan.stack import FREE_W_S, Ranks, Stack, tiers
from tieline.plan.stack_rule import One, shares

BAR = 0.020
UNIT = "s"
WHAT = (
    "a power laid over 1,000,000 devices (half stores, a fifth on or off) by class, cost and weight within ramps, "
    "states included, on two threads: median; beside it by weight alone"
)
STEP_S, MOVES_FRAC, TURNS = 4.0, 0.005, 40
CLASSES, COSTS, RAMP_S = 4, 64, 60.0


def reference(count: int, seed: int) -> Devices:
    """Return half stores of two hours, a fifth loads that are on or off for three minutes at least, the rest free."""
    rng = np.random.default_rng(seed)
    kind, rated_w = rng.random(count), rng.uniform(1e3, 1e4, count).astype(np.float32)
    store, whole = kind < 0.5, kind > 0.8
    zero, most_wh = np.zeros(count, np.float32), np.where(store, 2 * rated_w, 0).astype(np.float32)
    ones = np.ones(count, np.float32)
    return Devices(
        np.where(whole | store, -rated_w, zero), np.where(whole, zero, rated_w), rated_w.copy(), 0.02 * rated_w,
        0.5 * most_wh, most_wh, 0.95 * ones, 0.95 * ones, whole, np.where(whole, np.float32(180), zero),
    )  # fmt: skip


def ranks(devices: Devices, seed: int) -> Ranks:
    """Return four classes of 64 costs each, drawn; what isn't on or off takes a minute to its rating and rests at 0."""
    rng = np.random.default_rng([seed, 2])
    count, rated_w = len(devices.low_w), devices.weight
    level, cost = rng.integers(0, CLASSES, count), rng.integers(0, COSTS, count).astype(float)
    zero = np.zeros(count, np.float32)
    return Ranks(
        tiers(level, cost), tiers(level, cost, dearest_first=True), zero,
        np.where(devices.whole, FREE_W_S, rated_w / np.float32(RAMP_S)).astype(np.float32),
        np.where(devices.whole, rated_w, zero), np.where(devices.whole, np.float32(180), zero),
    )  # fmt: skip


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Follow a wandering target by the stack and by weight alone, and hold small fleets against the specifications."""
    count = 20_000 if quick else 1_000_000
    off, off_w = _off_specification(seed), _off_rule_w(seed)
    with ThreadPoolExecutor(2) as threads:
        devices = reference(count, seed)
        took, moved, worst_w = _followed(Stack(devices, ranks(devices, seed), threads), devices, seed)
        value = float(np.median(took))
        progress(f"{count:,} devices by their stack: {1e3 * value:.1f} ms, at worst {1e3 * max(took):.1f} ms")
        devices = reference(count, seed)
        plain, _, plain_w = _followed(Follower(devices, threads), devices, seed)
        by_weight = float(np.median(plain))
        progress(f"{count:,} devices by weight alone: {1e3 * by_weight:.1f} ms")
    exact = max(worst_w, plain_w, off_w) <= 1.0 and off <= 1e-6
    return {
        "value": round(value, 5), "ok": max(value, by_weight) <= BAR and exact, "devices": count,
        "tiers": CLASSES * COSTS, "worst_s": round(max(took), 5),
        "told_frac": round(float(np.median(moved)) / count, 4),
        "worst_lack_w": max(worst_w, plain_w), "by_weight_s": round(by_weight, 5), "off_specification": off,
        "off_stack_rule_w": off_w,
    }  # fmt: skip


def _followed(follower: Stack | Follower, devices: Devices, seed: int) -> tuple[list[float], list[int], float]:
    """Return how long each step took (s), how many it told, and the most that lacked (W), of a wandering target."""
    rng = np.random.default_rng(seed + 1)
    span_w = float(devices.high_w.sum())
    target_w, took, moved, worst_w = 0.1 * span_w, [], [], 0.0
    for turn in range(TURNS + 8):
        target_w += MOVES_FRAC * span_w * float(rng.standard_normal())
        began = time.perf_counter()
        told = follower.step(target_w, STEP_S)
        if turn >= 8:  # the first compile, tell everybody, and wait for ramps
            took.append(time.perf_counter() - began)
            moved.append(len(told.rows))
            worst_w = max(worst_w, abs(told.lacks_w))
    return took, moved, worst_w


def _off_specification(seed: int) -> float:
    """Return how far the level of 2,000 devices is from that of the breakpoints in order, as a part of it."""
    rng = np.random.default_rng(seed + 2)
    count = 2_000
    low, high = -rng.uniform(0, 1e4, count).astype(np.float32), rng.uniform(0, 1e4, count).astype(np.float32)
    weight, zero = rng.uniform(1, 1e4, count).astype(np.float32), np.zeros(count, np.float32)
    ones = np.ones(count, np.float32)
    devices = Devices(low, high, weight, zero, zero.copy(), zero, ones, ones, zero > 1, zero)
    target_w = 0.3 * math.fsum(high.tolist())
    level = Follower(devices).step(target_w, STEP_S).level
    exact = fair_level(target_w, low.tolist(), high.tolist(), weight.astype(float).tolist())
    return abs(level - exact) / abs(exact)


def _off_rule_w(seed: int) -> float:
    """Return how far any of 2,000 devices of the reference is told from its share by the rule, over ten steps (W)."""
    devices = reference(2_000, seed + 3)
    devices.band_w[:] = 0.0
    rank, worst_w, rng = ranks(devices, seed), 0.0, np.random.default_rng(seed + 4)
    stack = Stack(devices, rank)
    for _ in range(10):
        target_w = float(rng.uniform(-0.3, 0.3)) * float(devices.high_w.sum())
        before = [
            One(*row) for row in zip(
                *(column.tolist() for column in (
                    devices.low_w, devices.high_w, devices.weight, rank.up, rank.down, rank.rest_w, rank.ramp_w_s,
                    rank.on_w, devices.least_s, rank.off_s, devices.most_wh, devices.stored_wh, devices.charge_frac,
                    devices.discharge_frac, devices.told_w, devices.age_s,
                )), strict=True,
            )
        ]  # fmt: skip
        expected, _, _ = shares(before, target_w, STEP_S, turn=stack.turn)
        stack.step(target_w, STEP_S)
        worst_w = max(worst_w, float(np.abs(devices.told_w - np.array(expected)).max()))
    return worst_w
