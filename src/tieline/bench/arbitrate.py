"""How long a million resources with seven claims each take to settle, in columns."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tieline.fleet.claims import ClaimBatch, ClaimBook
from tieline.fleet.columns import KIND_CODE, Fleet
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import FOREVER_NS

BAR = 0.5
UNIT = "s"
WHAT = "1,000,000 resources x 7 claims each at mixed levels, settled in columns"
LEVELS = (Level.GRID_EMERGENCY, Level.ENVELOPE, Level.OWNER_NEED, Level.RELIABILITY, Level.UTILITY, Level.MARKET)


def plain_fleet(count: int) -> Fleet:
    """Return a fleet of equal batteries."""
    ones = np.ones(count)
    kinds = np.full(count, KIND_CODE[Kind.BATTERY], np.uint8)
    ids = [f"battery-{n}" for n in range(count)]
    return Fleet(ids, kinds, 5e3 * ones, 5e3 * ones, 1e4 * ones, 0 * ones, 0 * ones, [], {})


def filled_book(fleet: Fleet, rng: np.random.Generator) -> ClaimBook:
    """Return a book with seven claims a row: four limits and three targets, each batch over a random third of rows."""
    book, count = ClaimBook(fleet), len(fleet)
    levels = [*LEVELS, Level.PROGRAM]
    for n in range(21):
        level = levels[n % 7]
        kind = ClaimKind.LIMIT if n % 7 < 4 else ClaimKind.SET
        rows = np.arange(n // 7, count, 3, dtype=np.int32)
        ends = np.sort(rng.uniform(-5e3, 5e3, (2, len(rows))), axis=0)
        book.place(
            ClaimBatch(
                f"b{n}", f"s{n}", "bench", "bench", level, 0, Quantity.P, kind, "bench", 1, n, 0, FOREVER_NS,
                rows, ends[0], ends[1], rng.uniform(-5e3, 5e3, len(rows)),
            )
        )  # fmt: skip
    return book


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Measure the median of five settlements of everything."""
    count = 10_000 if quick else 1_000_000
    fleet = plain_fleet(count)
    progress(f"placing 7 claims on each of {count:,} resources")
    book = filled_book(fleet, np.random.default_rng(seed))
    rows = np.arange(count, dtype=np.int32)
    book.arbitrate(1, rows)
    took = []
    for turn in range(5):
        began = time.perf_counter()
        settled = book.arbitrate(1, rows)
        took.append(time.perf_counter() - began)
        progress(f"run {turn + 1}: {took[-1]:.3f} s")
    value = float(np.median(took))
    return {
        "value": round(value, 4),
        "ok": value <= BAR,
        "resources": count,
        "claims": book.count(),
        "settled_by_a_claim": int((settled.winner >= 0).sum()),
        "bytes_per_row": fleet.bytes_per_row(),
    }
