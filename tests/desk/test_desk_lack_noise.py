"""What lacks is told by causes that matter: the rounding of sums is none, and what is told adds up to all of it."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs_stage import START, Programs

from tieline.desk.entry import Entry
from tieline.desk.facts import EventTracked
from tieline.desk.packed import Packed
from tieline.desk.programs import ProgramEvent
from tieline.desk.tracking import Holds, causes
from tieline.market.settlement import SHORTFALL, Basis, Line, split_lack, without_noise
from tieline.node.analysis_settle import sums_of
from tieline.times import MINUTE_NS

_ROWS = np.zeros(0, np.int32)
AMOUNTS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.0, 10.0) | st.floats(0.0, 1e-12), max_size=6)


@given(AMOUNTS, st.sampled_from([1e-3, 0.5]))
def test_no_cause_below_the_least_is_told_and_those_that_are_add_up_to_the_same(
    lacks: dict[str, float], least: float
) -> None:
    told, whole = without_noise(lacks, least), math.fsum(lacks.values())
    assert all(each >= least for each in told.values())
    assert set(told) <= set(lacks)
    assert math.fsum(told.values()) == pytest.approx(whole if whole >= least else 0.0, rel=1e-12)
    assert {cause for cause, each in lacks.items() if each >= least} <= set(told)


def test_an_event_tells_no_cause_of_rounding_and_none_below_half_a_watt_hour() -> None:
    async def main() -> None:
        stage = Programs()
        event = await stage.approved(8_000.0)
        assert isinstance(event, ProgramEvent)
        none, end_ns = Packed.of(stage.state.fleet.power_w[:0]), START + 5 * MINUTE_NS
        lacks_w = {"dno_limit": 1_200.0, "unavailable": 3.2e-14, "opt_out": 1.2}
        fact = EventTracked(event.id, START, end_ns, 8_000.0, 6_798.8, lacks_w, 30, Packed.of(_ROWS), none)
        await stage.desk.commit([Entry("tracked", fact, "pool-1")])
        assert stage.seen(event.id).lacks_wh == pytest.approx({"dno_limit": 1_201.2 / 12})

    asyncio.run(main())


def test_an_interval_that_a_limit_takes_whole_is_put_to_the_limit_alone() -> None:
    """3 times 1.1 W is 4e-16 W more than 3.3 W: no watt of anybody."""
    stage = Programs()
    rows = _ROWS
    nobody = Holds.of(stage.state, rows, stage.state.fleet.power_w[:0], stage.clock.ns)
    empty = stage.state.fleet.power_w[:0]
    found = causes(stage.state, rows, empty, empty, 3 * 1.1, {"dno_limit": 3.3}, 1.0, nobody)
    assert found == {"dno_limit": 3 * 1.1}
    assert split_lack(1e3, {"dno_limit": 1e3 - 1e-12, "unavailable": 2.7e-15}, "baseline_error") == {"dno_limit": 1e3}


def test_the_sums_of_a_statement_name_no_cause_that_comes_to_nothing() -> None:
    basis = Basis("s", "r", "1", "h", "d")
    lines = [
        Line(str(at), SHORTFALL, "a", START, START + 5 * MINUTE_NS, -energy_wh, 50.0, -Decimal(amount), basis, cause)
        for at, (cause, energy_wh, amount) in enumerate(
            [("dno_limit", 2_000.0, "0.10"), ("unavailable", 0.001, "0.00"), ("opt_out", 300.0, "0.00")]
        )
    ]
    assert sums_of(lines)["shortfall_by_cause"] == {"dno_limit": "-0.10", "opt_out": "0.00"}
