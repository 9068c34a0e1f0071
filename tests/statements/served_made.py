"""A journal of what a server settled: an hour of a pool of three rows and two owners, in two versions."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from tieline.desk.facts import IntervalTracked
from tieline.desk.packed import Packed
from tieline.desk.paid import Metered
from tieline.desk.ports import Award
from tieline.desk.settle import Former, Owners, Settlement, amend, entries_of, settle_day
from tieline.market.baseline import Event, compute
from tieline.market.rule import baseline_rule
from tieline.store.journal import SqliteJournal
from tieline.times import HOUR_NS, MINUTE_NS

STEP = 5 * MINUTE_NS
START = 1_660_762_800 * 10**9  # 2022-08-17T19:00:00Z
AWARD = Award("a", "o", "pool", "ENERGY", START, START + HOUR_NS, 4e6, 62.15)


def settled(gave_w: float) -> Settlement:
    """Settle an hour in which a pool of three rows gave so much of four megawatts, at 100 $/MWh."""
    load = {date(2022, 8, 17) - timedelta(days=back): np.full(24, 50.0) for back in range(20)}
    base = compute(
        baseline_rule("caiso-10-in-10"),
        load,
        Event(date(2022, 8, 17), 14, 15),
        event_days=frozenset({date(2022, 8, 15)}),
    )
    rows, share = Packed.of(np.arange(3, dtype=np.int32)), Packed.of(np.array([1.0, 2.0, 3.0]))
    when = [START + k * STEP for k in range(12)]
    tracked = {
        at: IntervalTracked("pool", at, at + STEP, 4e6, gave_w, {"opt_out": 1e9}, rows, share, 1, {}) for at in when
    }
    metered = Metered(dict.fromkeys(when, gave_w), dict.fromkeys(when, 100.0), (base,))
    owners = Owners(np.array([0, 0, 1], np.int32), ["east", "west"], Decimal("0.20"))
    return settle_day("pool", [AWARD], tracked, metered, owners)


def served_folder(base: Path) -> Path:
    """Return a folder whose journal has two versions: 3 MW first, 3.5 after a correction."""
    folder = base / "data"
    folder.mkdir()
    first = settled(3e6)
    second = amend(Former(first.statement, 1, first.basis.input_hash, first.lines), settled(3.5e6))
    assert second is not None
    journal = SqliteJournal(folder / "journal.db")
    for at, made in enumerate((first, second)):
        journal.append([entry.record(START + (at + 1) * HOUR_NS) for entry in entries_of("pool", made, [AWARD])])
    journal.close()
    return folder
