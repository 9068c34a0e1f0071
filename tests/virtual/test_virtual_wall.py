"""On virtual time nothing reads the wall clock: a machine ten times as slow plays the same story."""

import time

import pytest

from tieline.node.demo import quiet, run_headless
from tieline.times import HOUR_NS


@pytest.mark.long
def test_a_story_on_a_machine_whose_wall_clock_leaps_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that lets connections expire by the wall clock makes other connections, and so other faults."""
    quiet()
    first = run_headless(40, 2, "comms-loss", HOUR_NS, lambda line: None)
    leaps = iter(range(0, 10**9, 60))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(leaps)))
    second = run_headless(40, 2, "comms-loss", HOUR_NS, lambda line: None)
    assert first["digest"] == second["digest"]
    assert first["faults"] == second["faults"]
