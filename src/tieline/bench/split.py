"""How long one target takes to be split over a million rows."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tieline.fleet.split import split_even, split_merit

BAR = 0.3
UNIT = "s"
WHAT = "one target over 1,000,000 rows by merit order, the sort included"


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Measure the median of five splits, by merit order and by weight."""
    count = 10_000 if quick else 1_000_000
    rng = np.random.default_rng(seed)
    room_w, price = rng.uniform(0, 5e3, count), rng.uniform(10, 100, count)
    target_w = 0.4 * float(room_w.sum())
    split_merit(1.0, room_w[:10], price[:10])
    merit, even = [], []
    for turn in range(5):
        began = time.perf_counter()
        share_w = split_merit(target_w, room_w, price)
        merit.append(time.perf_counter() - began)
        began = time.perf_counter()
        split_even(target_w, room_w, price)
        even.append(time.perf_counter() - began)
        progress(f"run {turn + 1}: {merit[-1]:.3f} s by merit, {even[-1]:.3f} s by weight")
    value = float(np.median(merit))
    return {
        "value": round(value, 4),
        "ok": value <= BAR,
        "rows": count,
        "by_weight_s": round(float(np.median(even)), 4),
        "error_w": abs(float(share_w.sum()) - target_w),
    }
