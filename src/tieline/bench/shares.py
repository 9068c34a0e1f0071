"""How long the owners' shares of a pool's money take, exact to the cent."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import numpy as np

from tieline.contract.pay import CENT, owner_cents

BAR = 0.1
UNIT = "s"
WHAT = "money shared over 1,000,000 owners by delivered energy, by largest remainders in whole numbers"


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Measure the median of five distributions of different sums; each must add up to the cent."""
    count = 10_000 if quick else 1_000_000
    rng = np.random.default_rng(seed)
    milliwatt_hours = np.round(rng.uniform(-1.0, 30.0, count) * 1e6).astype(np.int64)
    took, is_exact = [], True
    for turn in range(5):
        revenue = Decimal(int(rng.integers(10_000_000, 200_000_000))) * CENT
        began = time.perf_counter()
        operator, cents, _ = owner_cents(revenue, Decimal("12.34"), Decimal("0.2"), milliwatt_hours)
        took.append(time.perf_counter() - began)
        is_exact &= operator + int(cents.sum()) * CENT == revenue - Decimal("12.34")
        progress(f"run {turn + 1}: {took[-1] * 1e3:.1f} ms")
    value = float(np.median(took))
    return {"value": round(value, 5), "ok": value <= BAR and is_exact, "owners": count, "exact": is_exact}
