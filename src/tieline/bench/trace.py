"""How long the trace of an award takes in a store of ten million records."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tieline.flow.record import Record
from tieline.store.journal import SqliteJournal
from tieline.store.trace import trace

BAR = 0.3
UNIT = "s"
WHAT = "trace from an award, forwards and back, in a store of 10,000,000 records (worst of 20)"


def _days(count: int) -> Iterator[list[Record]]:
    """Yield batches of chains: offer, award, 12 instructions, each with claims, commands, reports, interval, line."""
    made, n, batch = 0, 0, list[Record]()
    while made < count:
        chain = [Record(f"offer:{n}", "OfferMade", "pool-1", n, (), b"o")]
        chain.append(Record(f"award:{n}", "AwardTaken", "pool-1", n, (f"offer:{n}",), b"a"))
        for k in range(12):
            name = f"{n}.{k}"
            chain.append(Record(f"batch:{name}", "BatchTaken", "pool-1", n, (f"award:{n}",), b"b" * 60))
            chain.append(Record(f"claims:{name}", "ClaimsPlaced", "pool-1", n, (f"batch:{name}",), b"c" * 60))
            chain.append(Record(f"commands:{name}", "CommandsIssued", "", n, (f"claims:{name}",), b"d" * 60))
            chain.append(Record(f"reports:{name}", "CommandsReported", "", n, (f"commands:{name}",), b"e" * 60))
            causes = (f"award:{n}", f"batch:{name}", f"claims:{name}", f"commands:{name}")
            chain.append(Record(f"interval:{name}", "IntervalTracked", "pool-1", n, causes, b"f" * 60))
            chain.append(Record(f"line:{name}", "LineSettled", "pool-1", n, (f"award:{n}", f"interval:{name}"), b"g"))
        batch += chain
        made, n = made + len(chain), n + 1
        if len(batch) >= 50_000:
            yield batch
            batch = []
    if batch:
        yield batch


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Build the store, then time traces of awards chosen at random."""
    count = 100_000 if quick else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        began = time.perf_counter()
        for batch in _days(count):
            journal.append(batch)
            if journal.last_seq % 1_000_000 < 50_000:
                progress(f"{journal.last_seq:,} records")
        built_s = time.perf_counter() - began
        picks = np.random.default_rng(seed).integers(0, count // 74, 20)
        took, found = [], 0
        for n in picks.tolist():
            began = time.perf_counter()
            seen = trace(journal, f"award:{n}")
            took.append(time.perf_counter() - began)
            found = len(seen.records) if seen else 0
        records = journal.last_seq
        journal.close()
    value = max(took)
    return {
        "value": round(value, 4), "ok": value <= BAR and found == 74, "median_s": round(float(np.median(took)), 4),
        "records": records, "found": found, "built_s": round(built_s, 1),
    }  # fmt: skip
