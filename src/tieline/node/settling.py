"""Settles a staged day: metered history to baseline, tracked intervals to lines, delivered energy to owner shares."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.settle import Settlement, entries_of, settle_day
from tieline.market.baseline import Baseline, Event, compute
from tieline.market.rule import baseline_rule
from tieline.node.stage import POOL, Stage
from tieline.simulate.iso.prices import ZONE
from tieline.times import DAY_NS, MINUTE_NS, from_ns, market_day

Floats = NDArray[np.float64]
STEP_NS = 5 * MINUTE_NS
RULE = "caiso-10-in-10"
OPERATOR_FRAC = Decimal("0.20")


def by_day(starts_ns: NDArray[np.int64], net_w: Floats) -> dict[date, Floats]:
    """Return metered consumption (kWh an interval) by local day; only whole days of 24 hours."""
    days: dict[date, list[tuple[int, float]]] = {}
    for start_ns, watts in zip(starts_ns.tolist(), net_w.tolist(), strict=True):
        local = from_ns(start_ns).astimezone(ZONE).date()
        days.setdefault(local, []).append((start_ns, -watts * 5 / 60 / 1e3))
    whole = DAY_NS // STEP_NS
    return {day: np.array([kwh for _, kwh in sorted(rows)]) for day, rows in days.items() if len(rows) == whole}


def tracked_of(stage: Stage) -> dict[int, IntervalTracked]:
    """Return what the journal says was tracked, by interval start."""
    found: dict[int, IntervalTracked] = {}
    for record in stage.node.journal.of_kind("IntervalTracked"):
        fact = from_record(record)
        if isinstance(fact, IntervalTracked):
            found[fact.start_ns] = fact
    return found


def baseline_of(stage: Stage, first_ns: int, last_ns: int) -> Baseline:
    """Return the pool's baseline for the called hours, from its meters of the days before."""
    starts = np.concatenate([stage.history_starts, np.array(sorted(stage.metered), np.int64)])
    watts = np.concatenate([stage.history, np.array([stage.metered[k] for k in sorted(stage.metered)])])
    load = by_day(starts, watts)
    begin_ns = market_day(stage.day, ZONE).start_ns
    event = Event(stage.day, (first_ns - begin_ns) // STEP_NS, (last_ns - begin_ns) // STEP_NS)
    return compute(baseline_rule(RULE), load, event)


def owner_kwh(stage: Stage, tracked: Mapping[int, IntervalTracked]) -> dict[str, float]:
    """Return the energy that each site's devices delivered above their base (kWh)."""
    total = np.zeros(len(stage.territory.fleet))
    for fact in tracked.values():
        total[fact.rows.array()] += fact.row_w.array() * (fact.end_ns - fact.start_ns) / 3.6e12 / 1e3
    sites = np.bincount(stage.territory.site_of, total, len(stage.territory.feeder_of_site))
    return {f"site-{n:06d}": float(kwh) for n, kwh in enumerate(sites) if kwh > 0}


async def settle(stage: Stage) -> Settlement | None:
    """Settle the day's awards and record the statement; None where nothing was awarded or the day is not over."""
    awards = list(stage.node.state.awards.values())
    if not awards:
        return None
    first_ns, last_ns = min(a.start_ns for a in awards), max(a.end_ns for a in awards)
    tracked = tracked_of(stage)
    try:
        base = baseline_of(stage, first_ns, last_ns)
    except ValueError:
        return None
    kwh = base.performance
    performance_w = {first_ns + k * STEP_NS: float(kwh[k]) * 1e3 * 12 for k in range(len(kwh))}
    prices = stage.iso.prices(stage.day)
    made = settle_day(
        POOL, awards, tracked, performance_w, prices, base, owner_kwh(stage, tracked), OPERATOR_FRAC
    )  # fmt: skip
    await stage.node.desk.commit(entries_of(POOL, made, awards))
    return made
