"""How long a called event of a million meters takes to settle: baselines, performance, money and owners' shares."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa

from tieline.compiled import compiled
from tieline.contract.pay import CENT, owner_cents
from tieline.market.baseline import compute
from tieline.market.event_columns import Block, DayBlocks, Plan
from tieline.market.picking import Event, LeftOut
from tieline.market.rule import baseline_rule
from tieline.market.settlement import Basis
from tieline.node.analysis_fleet import Gain, gain_lines, gain_of
from tieline.node.analysis_settle import AwardFile
from tieline.store.meter_days import PART, ColdDays, HotDays, parts_of, write_cold, write_hot

BAR = 5.0
UNIT = "s"
WHAT = "one event of 1,000,000 meters with 45 days of 15 minutes: baseline, performance, money and shares, warm columns"
PARQUET_BAR_S = 60.0
RULE, DAY, PER_DAY, STEP_NS = "caiso-residential-5-in-10", date(2024, 7, 31), 96, 900_000_000_000
EVENT = Event(DAY, 68, 84, 4)
AWARD_KWH = 0.25
"""Sold in each interval, a meter."""
APART = LeftOut(frozenset({date(2024, 7, 24)}), frozenset({date(2024, 7, 4)}))


@compiled
def _fill(block: Block, seed: int, called: bool, first: int, last: int) -> None:
    """Fill a day with kWh by watt-hours: its own size and shape, noise, a gap here and there; called load is less."""
    intervals, meters = block.shape
    for m in range(meters):
        state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(m) * np.uint64(0xBF58476D1CE4E5B9)
        size = 200 + (m * 7919) % 800
        gap = np.int64(-1)
        for k in range(intervals):
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            if k == 0 and state % np.uint64(200) == np.uint64(0):
                gap = np.int64((state >> np.uint64(20)) % np.uint64(intervals))
            wh = size * (2 + k // 24) // 4 + np.int64((state >> np.uint64(11)) % np.uint64(300))
            if called and first <= k < last:
                wh = wh * 2 // 3
            block[k, m] = np.float32(np.nan) if k == gap else np.float32(wh * 1e-3)


def _write(folder: Path, meters: int, seed: int, progress: Callable[[str], None]) -> tuple[Path, Path]:
    hot, cold = folder / "hot", folder / "cold"
    hot.mkdir()
    cold.mkdir()
    names = pa.array([f"m{m:07d}" for m in range(meters)])
    block = np.empty((PER_DAY, meters), np.float32)
    for back in range(46):
        day = DAY - timedelta(days=back)
        _fill(block, seed * 1_000 + back, back == 0, EVENT.first, EVENT.last)
        write_hot(hot, day, block)
        write_cold(cold, day, block, names)
        if back % 9 == 0:
            progress(f"wrote {back + 1} of 46 days")
    return hot, cold


@dataclass(frozen=True, slots=True, eq=False)
class _Settled:
    """What an event came to: money, the hash of all of it, and what each meter gained."""

    total: Decimal
    digest: str
    adds_up: bool
    gain: Gain


def _settle(plan: Plan, blocks: DayBlocks, meters: int) -> _Settled:
    """Settle the event: what `tieline settle energy` does with a folder of day files."""
    gain = gain_of(plan, blocks, len(parts_of(meters)))
    start_ns = 1_722_470_400_000_000_000
    steps = start_ns + np.arange(plan.event_n) * STEP_NS
    asked = AwardFile(
        np.array([start_ns]), np.array([AWARD_KWH * meters * 4e-3]), np.array([62.15]), plan.event_n * STEP_NS,
        steps, np.linspace(55.0, 190.0, plan.event_n), STEP_NS,
    )  # fmt: skip
    lines = gain_lines(
        Basis("bench", plan.rule.id, plan.rule.version, gain.digest, "data"), asked, start_ns, STEP_NS, gain
    )
    total = sum((line.amount for line in lines), Decimal("0.00"))
    operator, cents, left = owner_cents(total, Decimal(0), Decimal("0.2"), gain.milliwatt_hours)
    digest = blake2b(
        gain.milliwatt_hours.tobytes() + cents.tobytes() + repr(lines).encode(), digest_size=12
    ).hexdigest()
    return _Settled(total, digest, operator + int(cents.sum()) * CENT + left == total, gain)


def _agrees(plan: Plan, blocks: DayBlocks, gain: Gain, seed: int) -> bool:
    """Return whether a sample of meters comes to what the rule gives a meter at a time."""
    agrees = True
    for meter in np.random.default_rng(seed).integers(0, len(gain.milliwatt_hours), 25).tolist():
        part, at = divmod(meter, PART)
        load = {}
        for day in (DAY, *plan.candidates):
            block = np.empty((PER_DAY, blocks.size(part)), np.float32)
            if blocks.read(day, range(PER_DAY), part, block):
                load[day] = block[:, at].astype(np.float64)
        alone = compute(plan.rule, load, EVENT, event_days=APART.event_days, holidays=APART.holidays)
        agrees &= abs(float(alone.performance.sum()) * 1e6 - int(gain.milliwatt_hours[meter])) <= 1.0
    return agrees


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Measure the median of three settlements from warm columns, and one from Parquet."""
    meters = 10_000 if quick else 1_000_000
    plan = Plan.of(baseline_rule(RULE), EVENT, APART, PER_DAY)
    folder = Path(tempfile.mkdtemp(prefix="tieline-bench-"))
    try:
        hot, cold = _write(folder, meters, seed, progress)
        warm = HotDays(hot)
        _settle(plan, warm, meters)  # compiles, and brings the pages that the event touches into memory
        took, made = [], []
        for turn in range(3):
            began = time.perf_counter()
            made.append(_settle(plan, warm, meters))
            took.append(time.perf_counter() - began)
            progress(f"warm run {turn + 1}: {took[-1]:.2f} s")
        began = time.perf_counter()
        from_parquet = _settle(plan, ColdDays(cold), meters)
        parquet_s = time.perf_counter() - began
        progress(f"from Parquet: {parquet_s:.2f} s")
        agrees = _agrees(plan, warm, made[0].gain, seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    value = float(np.median(took))
    same = len({each.digest for each in [*made, from_parquet]}) == 1
    exact = all(each.adds_up for each in made)
    return {
        "value": round(value, 3), "ok": value <= BAR and parquet_s <= PARQUET_BAR_S and same and exact and agrees,
        "parquet_s": round(parquet_s, 2), "parquet_bar_s": PARQUET_BAR_S, "meters": meters, "rule": RULE,
        "total": str(made[0].total), "no_baseline": made[0].gain.no_baseline, "same_bits": same, "exact": exact,
        "sample_agrees": agrees, "digest": made[0].digest,
    }  # fmt: skip
