"""How long it takes to say who of a million resources may serve a program, and by which rule the others may not."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tieline.contract.eligibility import Case, enrol, judge
from tieline.resource.identity import Kind

BAR = 2.0
UNIT = "s"
WHAT = "eligibility of 1,000,000 resources of all kinds and fuels for a program; a sample against the rules one by one"
FUELS = ("diesel", "natural_gas", "gasoline", "propane", "biogas", "hydrogen")
BURNS = (Kind.BACKUP_GENERATOR.value, Kind.CHP.value, Kind.BIOMASS.value)


def run(*, seed: int, quick: bool, progress: Callable[[str], None]) -> dict[str, object]:
    """Measure the median of five enrolments over programs and jurisdictions."""
    count = 10_000 if quick else 1_000_000
    rng = np.random.default_rng(seed)
    names = np.array([kind.value for kind in Kind])
    kinds = names[rng.integers(0, len(names), count)]
    fuels = np.where(np.isin(kinds, BURNS), np.array(FUELS)[rng.integers(0, len(FUELS), count)], "none")
    took, agree = [], True
    asked = (
        ("US-CA", "energy"),
        ("US-TX", "capacity"),
        ("US-CA", "emergency_load_reduction"),
        ("GB", "energy"),
        ("", ""),
    )
    for jurisdiction, program in asked:
        began = time.perf_counter()
        found = enrol(kinds, fuels, jurisdiction, program)
        took.append(time.perf_counter() - began)
        progress(
            f"{program or '(none)'} in {jurisdiction or '(none)'}: {took[-1]:.3f} s, {int(found.may_serve.sum()):,} may"
        )
        for row in rng.integers(0, count, 200).tolist():
            alone = judge(Case(str(kinds[row]), str(fuels[row]), jurisdiction, program))
            agree &= alone.is_eligible == bool(found.may_serve[row]) and alone == found.verdicts[found.verdict_of[row]]
    value = float(np.median(took))
    return {"value": round(value, 4), "ok": value <= BAR and agree, "resources": count, "sample_agrees": agree}
