"""Why what was awarded, what is paid by baseline, what was truly given and what telemetry saw are four figures.

Theory of operation. All are energies over the called hours, and each step from one to the next is computed by itself:

    awarded + surplus - shortfall by cause                    = paid by baseline (two-settlement, line by line)
    true + baseline error + what may not be paid              = paid by baseline
    telemetered + error of the desk's own base + uncounted    = true
    telemetered + withheld + short by cause - over            = awarded

True is what the meters of the enrolled devices would have shown in the same world left alone, less what they showed.
A baseline of like days errs by how this day differs from them (a small pool by more, as chances even out less); the
desk's own base is learnt from each device's last free minutes, and errs by kind; and telemetry counts rows while they
are called and for an hour after, not those that pay back later or are moved by a limit alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tieline.desk.facts import IntervalTracked
from tieline.desk.settle import Settlement
from tieline.fleet.columns import KINDS
from tieline.market.settlement import DAY_AHEAD, REAL_TIME, SHORTFALL
from tieline.node.metering import GENERATOR, LOAD
from tieline.node.settling import tracked_of
from tieline.node.stage import Stage
from tieline.node.twin import STEP_NS

Floats = NDArray[np.float64]
PER_KWH = 1e3
STEP_H = STEP_NS / 3.6e12


def gap_of(stage: Stage, settlement: Settlement) -> dict[str, Any]:
    """Return the steps from the award to the meters, the truth and the telemetry (kWh); no truth without a twin."""
    awarded = [line for line in settlement.lines if line.kind == DAY_AHEAD]
    called = [start_ns for line in awarded for start_ns in range(line.start_ns, line.end_ns, STEP_NS)]
    owed_wh = math.fsum(line.energy_wh for line in awarded)
    short: dict[str, float] = {}
    for line in settlement.lines:
        if line.kind == SHORTFALL:
            short[line.cause] = short.get(line.cause, 0.0) - line.energy_wh
    found = {
        "awarded_kwh": owed_wh,
        "surplus_kwh": math.fsum(line.energy_wh for line in settlement.lines if line.kind == REAL_TIME),
        "shortfall_kwh": short,
        "paid_kwh": settlement.delivered_wh,
        **_seen(stage, called, owed_wh),
    }
    if stage.twin is not None:
        found |= _true(stage, settlement, called)
    return {name: _rounded(value) for name, value in found.items()}


def telemetered_wh(facts: Iterable[IntervalTracked]) -> float:
    """Return what telemetry saw in intervals (Wh); one in which devices took back more than others gave counts less."""
    return math.fsum(fact.delivered_w * (fact.end_ns - fact.start_ns) / 3.6e12 for fact in facts)


def _seen(stage: Stage, called: list[int], owed_wh: float) -> dict[str, Any]:
    """Return what telemetry saw, and how the rest of the award came about (Wh)."""
    facts = [fact for start_ns, fact in tracked_of(stage).items() if start_ns in set(called)]
    withheld: dict[str, float] = {}
    short: dict[str, float] = {}
    for fact in facts:
        for into, causes in ((withheld, fact.withheld), (short, fact.causes)):
            for cause, watts in causes.items():
                into[cause] = into.get(cause, 0.0) + watts * STEP_H
    seen_wh = telemetered_wh(facts)
    over_wh = seen_wh + math.fsum(withheld.values()) + math.fsum(short.values()) - owed_wh
    return {
        "telemetered_kwh": seen_wh, "telemetry_withheld_kwh": withheld, "telemetry_short_kwh": short,
        "telemetry_over_kwh": over_wh,
    }  # fmt: skip


def _true(stage: Stage, settlement: Settlement, called: list[int]) -> dict[str, Any]:
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
    off_wh = np.sum([gap.counted_w for gap in gaps], axis=0) * STEP_H - _seen_by_kind(stage, called)
    return {
        "true_kwh": true_wh,
        "true_base_kwh": float(alone_w[:, both].sum()) * STEP_H,
        "baseline_error_kwh": by_baseline_wh - true_wh,
        "not_payable_kwh": settlement.delivered_wh - by_baseline_wh,
        "uncounted_kwh": math.fsum(gap.uncounted_w for gap in gaps) * STEP_H,
        "own_base_error_kwh": float(off_wh.sum()),
        "own_base_error_by_kind_kwh": {KINDS[k].value: float(off_wh[k]) for k in np.flatnonzero(np.abs(off_wh) > 1.0)},
    }


def _seen_by_kind(stage: Stage, called: list[int]) -> Floats:
    """Return what telemetry counted in called intervals, by kind (Wh)."""
    kinds, found, wanted = stage.territory.fleet.kinds, np.zeros(len(KINDS)), set(called)
    for start_ns, fact in tracked_of(stage).items():
        if start_ns in wanted:
            found += np.bincount(kinds[fact.rows.array()], fact.row_w.array() * STEP_H, len(KINDS))
    return found


def _rounded(value: float | dict[str, float]) -> float | dict[str, float]:
    if isinstance(value, dict):
        return {name: round(watts / PER_KWH, 3) for name, watts in sorted(value.items())}
    return round(value / PER_KWH, 3)
