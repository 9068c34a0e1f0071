"""Before enrolment, from a meter file: which rules each meter may keep, and what portfolios are settled wrong by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tieline.errors import ConfigError
from tieline.market.accuracy import Accuracy, accuracies, accuracy_tests, expected
from tieline.market.rule import BaselineRule
from tieline.node.analysis_placebo import Asked, each_told, from_files, rules_of, sample, study_of
from tieline.store.segment import Tell

MOST_SIZE = 10_000_000


def accuracy_of(
    asked: Asked, meter_file: Path | None, zone_name: str | None, temperature_file: Path | None, say: Tell
) -> dict[str, Any]:
    """Return RRMSE and bias of each rule on each meter with the tests that it stands, and errors by portfolio size.

    `say` hears what is studied and how far it is.

    Raises:
        ConfigError: A file or option is not what it should be, or no day can be settled.
    """
    if meter_file is None:
        homes, weather, per_hour = sample()
    else:
        homes, weather, per_hour = from_files(meter_file, zone_name, temperature_file)
    study = study_of(asked, homes, weather, per_hour)
    rules = rules_of(asked, study, bool(weather.warmest))
    bad = [size for size in asked.sizes if not 1 <= size <= MOST_SIZE]
    if bad:
        raise ConfigError(f"--size {bad[0]}: give 1 to {MOST_SIZE}")
    found = [one for rule in each_told(rules, len(homes), study, say) for one in accuracies([rule], homes, study)]
    if not any(one.days for one in found):
        raise ConfigError(
            f"no day from {asked.first} to {asked.last} has like days enough before it: give more readings"
        )
    rng = np.random.default_rng(asked.seed)
    grown = []
    for rule in rules if asked.sizes else []:
        by_size, law = expected(rule, homes, study, asked.sizes, asked.draws, rng)
        if law is not None:
            grown.append({"rule": rule.id, "own": law.own, "common": law.common,
                          "sizes": [{name: getattr(one, name) for name in one.__slots__ if name != "rule"}
                                    for one in by_size]})  # fmt: skip
    return {
        "meters": len(homes), "days": len(study.days), "hours": list(asked.hours), "day_type": asked.day_type,
        "tests": [{"id": t.id, "version": t.version, "source": t.source, "certainty": t.certainty,
                   "most_rrmse": t.most_rrmse, "most_bias": None if t.most_bias == float("inf") else t.most_bias}
                  for t in accuracy_tests()],
        "rules": [_summed(rule, [one for one in found if one.rule == rule.id]) for rule in rules],
        "accuracy": [{"rule": one.rule, "meter": one.meter, "days": one.days, "refused": one.refused,
                      "rrmse": _told(one.rrmse), "bias": _told(one.bias), "holds": list(one.holds)} for one in found],
        "expected": grown, "seed": asked.seed,
    }  # fmt: skip


def _summed(rule: BaselineRule, mine: list[Accuracy]) -> dict[str, Any]:
    known = [one for one in mine if one.rrmse == one.rrmse]
    return {
        "rule": rule.id,
        "version": rule.version,
        "meters": len(known),
        "median_rrmse": float(np.median([one.rrmse for one in known])) if known else None,
        "holds": {test.id: sum(test.id in one.holds for one in mine) for test in accuracy_tests()},
    }


def _told(value: float) -> float | None:
    return None if value != value else value
