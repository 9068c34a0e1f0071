"""Substitutes are found where what was planned for them was delivered, or nobody free could have given it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from test_node_promises import AT, verdict

from tieline.desk.facts import (
    IntervalTracked,
    to_record,
)
from tieline.desk.packed import Packed
from tieline.node.promise_substitutes import missed, substituted
from tieline.node.story import Told
from tieline.times import MINUTE_NS


def interval(minute: int, asked_w: float, delivered_w: float, **causes: float) -> IntervalTracked:
    """One that began so many minutes after the limit came."""
    start_ns = AT + minute * MINUTE_NS
    nobody = Packed.of(np.zeros(0))
    return IntervalTracked(
        "pool-1", start_ns, start_ns + 5 * MINUTE_NS, asked_w, delivered_w, causes, nobody, nobody, 5
    )


@pytest.mark.parametrize(
    ("intervals", "free_w", "until", "held"),
    [
        ([(4, 60e3, 60e3, {})], 30e3, 60, True),
        ([(4, 60e3, 30e3, {"rebound": 30e3})], 0.0, 60, True),  # nobody free could have given it, and it is named
        ([(4, 60e3, 30e3, {"rebound": 30e3})], 30e3, 60, False),  # planned, never given, though somebody could have
        ([(4, 60e3, 30e3, {"dno_limit": 30e3})], 30e3, 60, False),  # a limit is no excuse where others are free
        ([(4, 60e3, 30e3, {"offline": 30e3})], 30e3, 60, True),
        ([(4, 60e3, 30e3, {})], 0.0, 60, False),  # a lack without a cause
        ([(4, -60e3, -30e3, {"rebound": 30e3})], 30e3, 60, False),  # what is to be taken likewise
        ([(4, 60e3, -30e3, {"rebound": 90e3})], 30e3, 60, False),  # taking is no giving
        ([(3, 60e3, 30e3, {"rebound": 30e3})], 30e3, 60, True),  # who stepped in had no time to follow yet
        ([(14, 60e3, 30e3, {"rebound": 30e3})], 30e3, 10, True),  # the limit was over
        ([(at, 60e3, 60e3 - 1e3 * (at == 4), {"paced": 1e3}) for at in range(4, 60, 5)], 30e3, 60, True),
        ([(at, 60e3, 56e3, {"underperformed": 4e3}) for at in range(4, 60, 5)], 30e3, 60, False),
        ([(at, 60e3, 58e3 + 4e3 * (at % 2), {"rebound": 2e3}) for at in range(4, 60, 5)], 30e3, 60, True),  # by turns
        ([(at, 60e3, 40e3 + 4e4 * (at % 2), {"rebound": 2e4}) for at in range(4, 60, 5)], 30e3, 60, False),
    ],
)
def test_what_was_planned_must_be_delivered_too_or_nobody_free_could_have_given_it(
    intervals: list, free_w: float, until: int, held: bool
) -> None:
    records = [
        to_record(interval(at, asked_w, gave_w, **causes), f"r{at}", "pool-1", AT + (at + 5) * MINUTE_NS, ())
        for at, asked_w, gave_w, causes in intervals
    ]
    spares = [(AT + minute * MINUTE_NS, free_w, 0.0) for minute in range(120)]
    told = Told(override={"pool_share_before_w": 9e3, "when_ns": AT}, spare={"spare_w": free_w}, spares=spares)
    override = {"owed_w": 60_000.0, "feasible_w": 60_000.0, "substitute_count": 4}
    found = substituted(told, records, override, AT + until * MINUTE_NS)
    assert verdict(found) == (held, True), found["evidence"]
    assert "planned: 0.0 of 60.0 kW lacked" in found["evidence"]


@pytest.mark.parametrize(("on_way_w", "misses_w"), [(0.0, 30e3), (20e3, 10e3), (40e3, 0.0)])
def test_what_engines_have_yet_to_give_in_their_time_is_not_missed(on_way_w: float, misses_w: float) -> None:
    spares = [(AT + minute * MINUTE_NS, 50e3, on_way_w) for minute in range(60)]
    assert missed(interval(10, 60e3, 30e3, underperformed=30e3), spares) == pytest.approx(misses_w)


def test_the_evidence_says_what_was_delivered_with_its_causes_and_what_was_not_asked_any_more() -> None:
    fact = msgspec.structs.replace(interval(5, 20e3, 12e3, rebound=6e3, dno_limit=2e3), withheld={"dno_limit": 28e3})
    records = [to_record(fact, "r", "pool-1", AT + 10 * MINUTE_NS, ())]
    told = Told(override={"pool_share_before_w": 9e3, "when_ns": AT}, spare={"spare_w": 0.0})
    override = {"owed_w": 48_000.0, "feasible_w": 28_000.0, "substitute_count": 3}
    said = substituted(told, records, override)["evidence"]
    assert "planned: 20.0 of 48.0 kW lacked" in said
    assert "12.0 of 20.0 kW from 23:11 to 23:16, lacking at times 6.0 kW rebound, 2.0 kW dno_limit" in said
    assert "not asked any more 28.0 kW dno_limit" in said
