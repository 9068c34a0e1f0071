"""A story is the same, to the bit, whether its twin, its power flow and its replay are done in line or beside it."""

from __future__ import annotations

from typing import Any

import pytest

from sampled import some
from tieline.node import demo
from tieline.times import HOUR_NS

LENGTH_NS = 3 * HOUR_NS


def played(scenario: str, seed: int) -> dict[str, Any]:
    return demo.run_headless(60, seed, scenario, LENGTH_NS, lambda line: None)


def without_samples(report: dict[str, Any]) -> dict[str, Any]:
    """Who reads along settles every batch of commands anew, who replays at the end a share of them: how many differs."""
    kept = [{key: value for key, value in promise.items() if key != "evidence"} for promise in report["promises"]]
    return report | {"promises": kept}


@pytest.mark.long
@pytest.mark.parametrize(("scenario", "seed"), some([("comms-loss", 12), ("heatwave", 11)]))
def test_what_is_done_beside_a_story_changes_nothing_of_it(
    scenario: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_line = played(scenario, seed)
    monkeypatch.setattr(demo, "ASIDE_NS", LENGTH_NS)
    beside = played(scenario, seed)
    assert beside["digest"] == in_line["digest"]
    assert without_samples(beside) == without_samples(in_line)
