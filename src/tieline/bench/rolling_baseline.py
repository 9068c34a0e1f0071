"""How many baseline values a second come of every meter and interval, beside the scalar engine that specifies them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np

from tieline.market.baseline import compute
from tieline.market.calendar import nerc_holidays
from tieline.market.picking import Event, LeftOut
from tieline.market.rolling import Block, Floats, rolling_baseline, unadjusted
from tieline.market.rule import BaselineRule, baseline_rule

BAR = 100e6
UNIT = "values/s"
WHAT = "rolling 10-in-10 baseline of every meter and 15-minute interval of ten days; the scalar engine in the same run"
RULE, LAST, PER_DAY = "caiso-10-in-10", date(2024, 7, 31), 96
PEER = "the scalar engine, an interval as an event of its own"
WANTED, WINDOW = 10, 45
APART = LeftOut(frozenset({date(2024, 7, 24), date(2024, 7, 11)}), nerc_holidays(2024))


def _load(count: int, meters: int, rng: np.random.Generator) -> Block:
    """Return readings (kWh) of each day, a column an interval of a meter; one in two thousand has none."""
    load = np.empty((count, meters * PER_DAY), np.float32)
    for row in load:
        row[:] = rng.random(meters * PER_DAY, np.float32)
        row[rng.integers(0, meters * PER_DAY, max(meters * PER_DAY // 2_000, 1))] = np.nan
    return load


def _scalar(
    rule: BaselineRule, days: list[date], load: Block, wanted: list[date], meters: list[int], rolled: Floats
) -> tuple[float, bool, int]:
    """Return the scalar engine's values a second, whether every value of the sample is the same, and how many."""
    seconds, same, count = 0.0, True, 0
    for meter in meters:
        own = slice(meter * PER_DAY, (meter + 1) * PER_DAY)
        mine = {day: load[at, own].astype(np.float64) for at, day in enumerate(days)}
        for at, day in ((0, wanted[0]), (len(wanted) - 1, wanted[-1])):
            began = time.perf_counter()
            found = np.full(PER_DAY, np.nan)
            for t in range(PER_DAY):
                try:
                    event = Event(day, t, t + 1, 4)
                    found[t] = compute(
                        rule, mine, event, event_days=APART.event_days, holidays=APART.holidays
                    ).baseline[0]  # fmt: skip
                except ValueError:
                    continue  # too few like days: no baseline, as on the other side
            seconds += time.perf_counter() - began
            same &= np.array_equal(found, rolled[at, own], equal_nan=True)
            count += PER_DAY
    return count / seconds, same, count


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Measure the median of five passes over all meters, and the scalar engine over a sample of them."""
    meters = 1_000 if quick else 20_000
    rng = np.random.default_rng(seed)
    days = [LAST - timedelta(days=back) for back in range(WINDOW + WANTED - 1, -1, -1)]
    load, wanted = _load(len(days), meters, rng), days[-WANTED:]
    rule = unadjusted(baseline_rule(RULE))
    rolled = np.empty((len(wanted), load.shape[1]))
    rolling_baseline(rule, days, load, wanted, APART, rolled)  # compiles, and brings memory in
    took = []
    for turn in range(5):
        began = time.perf_counter()
        rolling_baseline(rule, days, load, wanted, APART, rolled)
        took.append(time.perf_counter() - began)
        progress(f"pass {turn + 1}: {rolled.size / took[-1] / 1e6:.0f} M values/s")
    sample = rng.integers(0, meters, 2 if quick else 6).tolist()
    peer, same, checked = _scalar(rule, days, load, wanted, sample, rolled)
    value = rolled.size / float(np.median(took))
    gaps = int((~np.isfinite(load)).sum())
    return {
        "value": round(value), "ok": value >= BAR and same, "meters": meters, "days": len(wanted),
        "values": rolled.size,
        "readings_lacking": gaps, "rule": RULE, "adjusted": False, "peer": PEER, "peer_value": round(peer),
        "ratio": round(value / peer), "sample": checked, "sample_same_bits": same,
    }  # fmt: skip
