"""Why what was awarded, what is paid by baseline, what was truly given and what telemetry saw are four figures.

Theory of operation. All are energies over the called hours, and each step from one to the next is computed by itself:

    awarded + surplus - shortfall by cause                    = paid by baseline (two-settlement, line by line)
    true + baseline error + what may not be paid              = paid by baseline
    telemetered + error of the desk's own base + uncounted + unseen of it = true
    telemetered + withheld + short by cause - over + unseen of it         = awarded

True is what the meters of the enrolled devices would have shown in the same world left alone, less what they showed.
A baseline of like days errs by how this day differs from them (a small pool by more, as chances even out less); the
desk's own base is learnt from each device's last free minutes, and errs by kind; and telemetry counts rows while they
are called and for an hour after, not those that pay back later or are moved by a limit alone.

What is tracked of an interval are means over what was counted of it. A server that is killed counts nothing until it is
back, and what it had counted of its interval died with it. Telemetry says nothing of such stretches: what was awarded
there, and what was truly given there (by the mean of its interval), is `unseen`, and nobody's error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import IntervalTracked
from tieline.desk.settle import Settlement
from tieline.fleet.columns import KINDS
from tieline.market.settlement import DAY_AHEAD, REAL_TIME, SHORTFALL, Line
from tieline.node.metering import GENERATOR, LOAD
from tieline.node.settling import tracked_of
from tieline.node.stage import Stage
from tieline.node.twin import STEP_NS, Gap
from tieline.times import HOUR_NS

Floats = NDArray[np.float64]
PER_KWH = 1e3
STEP_H = STEP_NS / 3.6e12


def gap_of(stage: Stage, settlement: Settlement) -> dict[str, Any]:
    """Return the steps from the award to the meters, the truth and the telemetry (kWh); no truth without a twin."""
    awarded = [line for line in settlement.lines if line.kind == DAY_AHEAD]
    called = sorted({start_ns for line in awarded for start_ns in range(line.start_ns, line.end_ns, STEP_NS)})
    owed_wh = math.fsum(line.energy_wh for line in awarded)
    short: dict[str, float] = {}
    for line in settlement.lines:
        if line.kind == SHORTFALL:
            short[line.cause] = short.get(line.cause, 0.0) - line.energy_wh
    tracked = {start_ns: fact for start_ns, fact in tracked_of(stage).items() if start_ns in called}
    found = {
        "awarded_kwh": owed_wh,
        "surplus_kwh": math.fsum(line.energy_wh for line in settlement.lines if line.kind == REAL_TIME),
        "shortfall_kwh": short,
        "paid_kwh": settlement.delivered_wh,
        **seen_of(awarded, tracked),
    }
    if stage.twin is not None:
        found |= _true(stage, settlement, called, tracked)
    return {name: _rounded(value) for name, value in found.items()}


def counted_h(fact: IntervalTracked | None) -> float:
    """Return for how long an interval was counted (h): not in its stretches `uncounted`, nor at all without a fact."""
    if fact is None:
        return 0.0
    gaps_ns = (min(until_ns, fact.end_ns) - max(since_ns, fact.start_ns) for since_ns, until_ns in fact.uncounted)
    return (fact.end_ns - fact.start_ns - sum(max(gap_ns, 0) for gap_ns in gaps_ns)) / HOUR_NS


def telemetered_wh(facts: Iterable[IntervalTracked]) -> float:
    """Return what telemetry saw in intervals (Wh), of what was counted of them; one in which devices took back more
    than others gave counts less."""
    return math.fsum(fact.delivered_w * counted_h(fact) for fact in facts)


def awarded_unseen_wh(awarded: Iterable[Line], facts: Mapping[int, IntervalTracked]) -> float:
    """Return what was awarded for times of which telemetry counted nothing (Wh), of the day-ahead lines of awards.

    Args:
        awarded: The lines; each awards one power for whole intervals.
        facts: What was tracked, by the start of its interval: one that is not there was not counted at all.
    """
    unseen_wh = 0.0
    for line in awarded:
        starts = range(line.start_ns, line.end_ns, STEP_NS)
        unseen_h = math.fsum(STEP_H - counted_h(facts.get(start_ns)) for start_ns in starts)
        unseen_wh += line.energy_wh * unseen_h / (len(starts) * STEP_H)
    return unseen_wh


def seen_of(awarded: Sequence[Line], facts: Mapping[int, IntervalTracked]) -> dict[str, Any]:
    """Return what telemetry saw of awards, how the rest of them came about, and of what of them it says nothing (Wh).

    Args:
        awarded: The day-ahead lines.
        facts: What was tracked of their intervals, by start.
    """
    withheld: dict[str, float] = {}
    short: dict[str, float] = {}
    for fact in facts.values():
        for into, causes in ((withheld, fact.withheld), (short, fact.causes)):
            for cause, watts in causes.items():
                into[cause] = into.get(cause, 0.0) + watts * counted_h(fact)
    seen_wh, unseen_wh = telemetered_wh(facts.values()), awarded_unseen_wh(awarded, facts)
    owed_wh = math.fsum(line.energy_wh for line in awarded) - unseen_wh
    return {
        "telemetered_kwh": seen_wh, "telemetry_withheld_kwh": withheld, "telemetry_short_kwh": short,
        "telemetry_over_kwh": seen_wh + math.fsum(withheld.values()) + math.fsum(short.values()) - owed_wh,
        "awarded_unseen_kwh": unseen_wh,
    }  # fmt: skip


def base_error_wh(
    gaps: Mapping[int, Gap], facts: Mapping[int, IntervalTracked], kinds: NDArray[np.uint8]
) -> tuple[Floats, float]:
    """Return by how much less than was truly given telemetry counted, by kind (Wh), and what was truly given unseen.

    Args:
        gaps: What was truly given in each called interval, by its start.
        facts: What was tracked of them.
        kinds: The kind of each row of the fleet, as a code.
    """
    off_wh, unseen_wh = np.zeros(len(KINDS)), 0.0
    for start_ns, gap in gaps.items():
        fact = facts.get(start_ns)
        hours = counted_h(fact)
        off_wh += gap.counted_w * hours
        unseen_wh += float(gap.counted_w.sum()) * (STEP_H - hours)
        if fact is not None:
            off_wh -= np.bincount(kinds[fact.rows.array()], fact.row_w.array() * hours, len(KINDS))
    return off_wh, unseen_wh


def _true(
    stage: Stage, settlement: Settlement, called: list[int], tracked: Mapping[int, IntervalTracked]
) -> dict[str, Any]:
    """Return what was truly given, and by how much each measure of it errs (Wh)."""
    assert stage.twin is not None
    twin_gaps = stage.twin.gaps()
    gaps = [twin_gaps[start_ns] for start_ns in called]
    metered_w = np.array([stage.metered[start_ns] for start_ns in called])
    alone_w = np.array([gap.meters_w for gap in gaps])
    both = [LOAD, GENERATOR]
    true_wh = float((alone_w - metered_w)[:, both].sum()) * STEP_H
    at = (np.array(called) - min(called)) // STEP_NS  # the baselines run from the first called interval to the last
    by_baseline_wh = math.fsum(float(base.performance[at].sum()) for base in settlement.baselines) * PER_KWH
    off_wh, unseen_wh = base_error_wh(dict(zip(called, gaps, strict=True)), tracked, stage.territory.fleet.kinds)
    return {
        "true_kwh": true_wh,
        "true_base_kwh": float(alone_w[:, both].sum()) * STEP_H,
        "baseline_error_kwh": by_baseline_wh - true_wh,
        "not_payable_kwh": settlement.delivered_wh - by_baseline_wh,
        "uncounted_kwh": math.fsum(gap.uncounted_w for gap in gaps) * STEP_H,
        "true_unseen_kwh": unseen_wh,
        "own_base_error_kwh": float(off_wh.sum()),
        "own_base_error_by_kind_kwh": {KINDS[k].value: float(off_wh[k]) for k in np.flatnonzero(np.abs(off_wh) > 1.0)},
    }


def _rounded(value: float | dict[str, float]) -> float | dict[str, float]:
    if isinstance(value, dict):
        return {name: round(watts / PER_KWH, 3) for name, watts in sorted(value.items())}
    return round(value / PER_KWH, 3)
