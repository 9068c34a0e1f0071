"""How many decisions become durable in a second: one at a time, and in batches."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tieline.flow.record import Record
from tieline.store.journal import SqliteJournal

BAR = 100_000.0
UNIT = "records/s"
WHAT = "durable records a second in batches of 10,000 (and one at a time), SQLite WAL with synchronous=FULL"
SINGLES_BAR = 200.0


def _records(first: int, count: int) -> list[Record]:
    body = b"x" * 120
    return [Record(f"claims:{first + n}", "Bench", "pool-1", n, (f"award:{n % 50}",), body) for n in range(count)]


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Measure single appends for a while, then batches."""
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        singles = 50 if quick else 1_000
        began = time.perf_counter()
        for n in range(singles):
            journal.append(_records(n, 1))
        single_rate = singles / (time.perf_counter() - began)
        progress(f"one at a time: {single_rate:,.0f}/s")
        total, size = (20_000, 10_000) if quick else (500_000, 10_000)
        made = [_records(singles + at, size) for at in range(0, total, size)]
        began = time.perf_counter()
        for batch in made:
            journal.append(batch)
        rate = total / (time.perf_counter() - began)
        progress(f"in batches of {size:,}: {rate:,.0f}/s")
        whole = journal.verify() is None
        journal.close()
    ok = rate >= BAR and single_rate >= SINGLES_BAR and whole
    return {"value": round(rate), "ok": ok, "singles_per_s": round(single_rate), "singles_bar": SINGLES_BAR}
