"""What an event is credited with under a stronger limit: never more than a meter shows above what a device would do."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from programs_stage import COUNT, START, Programs

from tieline.desk import events, tracking
from tieline.desk.event_tracking import EventTallies
from tieline.desk.facts import EventTracked
from tieline.desk.programs import ProgramEvent
from tieline.fleet.ledger import SLOT_NS
from tieline.resource.claim import ClaimKind
from tieline.resource.command import Stage
from tieline.resource.level import Level
from tieline.times import HOUR_NS, MINUTE_NS

WATTS = st.integers(-50, 50).map(lambda n: 100.0 * n)


async def tracked(
    event_w: float,
    base_w: np.ndarray,
    power_w: np.ndarray,
    ends: list[tuple[float, float]],
    ended: Stage | None = None,
) -> EventTracked:
    """Five minutes of an event over ten batteries that each have a limit of their own soon after it began."""
    stage = Programs()
    fleet, state = stage.state.fleet, stage.state
    state.base_w[:] = fleet.power_w[:] = base_w
    fleet.available_up_w[:], fleet.available_down_w[:] = 5_000.0 - base_w, 5_000.0 + base_w
    stage.clock.ns = START
    event = await stage.approved(event_w, start_ns=START + SLOT_NS)
    assert isinstance(event, ProgramEvent), event
    stage.clock.ns = START + SLOT_NS
    await stage.desk.commit(events.due(state, stage.clock.ns))
    for row, (low_w, high_w) in enumerate(ends):
        limit = stage.ask("dso", Level.ENVELOPE, f"r{row}", ClaimKind.LIMIT, low=low_w, high=high_w,
                          start_ns=stage.clock.ns, end_ns=stage.clock.ns + HOUR_NS)  # fmt: skip
        await stage.desk.ask(limit)
    await stage.desk.settle()
    if ended is not None:
        stage.devices.report(stage.devices.batches[-1], ended)
        await stage.desk.flush()
    tallies, facts, began_ns = EventTallies(), [], stage.clock.ns
    for minute in range(7):
        fleet.power_w[:], fleet.taken_at_ns[:] = power_w, began_ns + minute * MINUTE_NS
        facts += tallies.count(state, began_ns + minute * MINUTE_NS)
    return facts[0].fact


def test_who_ignores_a_limit_is_credited_with_no_more_than_it_gives_above_its_base() -> None:
    """One battery gives 1.5 kW whatever it is told; its limit of -875 W made that 2.4 kW of the event's."""
    ends = [(-5_000.0, -875.0)] + [(-5_000.0, 5_000.0)] * (COUNT - 1)
    power_w = np.array([1_500.0] + [3_000.0] * (COUNT - 1))
    fact = asyncio.run(tracked(30_000.0, np.zeros(COUNT), power_w, ends))
    row_w = dict(zip(fact.rows.array().tolist(), fact.row_w.array().tolist(), strict=True))
    assert row_w[0] == pytest.approx(1_500.0)
    assert row_w[1] == pytest.approx(3_000.0)


@pytest.mark.parametrize(
    ("does_w", "ended", "because"),
    [
        (-5_000.0, Stage.UNCONFIRMED, "unconfirmed"),
        (-5_000.0, Stage.DONE, "underperformed"),
        (0.0, Stage.DONE, "dno_limit"),
    ],
)
def test_what_an_event_lacks_by_one_that_ignores_its_limit_is_that_ones_and_a_limits_where_it_is_kept(
    does_w: float, ended: Stage, because: str
) -> None:
    """Ten batteries that charge at 5 kW are called to rest; nine do, and the first has a limit of 0 W as well."""
    ends = [(0.0, 5_000.0)] + [(-5_000.0, 5_000.0)] * (COUNT - 1)
    power_w = np.array([does_w] + [0.0] * (COUNT - 1))
    fact = asyncio.run(tracked(50_000.0, np.full(COUNT, -5_000.0), power_w, ends, ended))
    assert fact.delivered_w == pytest.approx(45_000.0)
    assert fact.causes == pytest.approx({because: 5_000.0})


ROW = st.tuples(WATTS, WATTS, WATTS, WATTS)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=COUNT, max_size=COUNT), st.sampled_from([-8_000.0, 8_000.0]))
@example([(0.0, 1_500.0, -5_000.0, -900.0)] * COUNT, 8_000.0)
@example([(0.0, -1_500.0, 900.0, 5_000.0)] * COUNT, -8_000.0)
@example([(-5_000.0, -5_000.0, -100.0, 5_000.0)] * COUNT, 8_000.0)
def test_no_limit_ever_makes_an_event_be_credited_with_more_than_a_meter_shows_above_its_base(
    rows: list, event_w: float
) -> None:
    base_w, power_w, one_w, other_w = (np.array(each) for each in zip(*rows, strict=True))
    ends = list(zip(np.minimum(one_w, other_w).tolist(), np.maximum(one_w, other_w).tolist(), strict=True))
    fact = asyncio.run(tracked(event_w, base_w, power_w, ends))
    side, found_w = np.sign(event_w), np.zeros(COUNT)
    found_w[fact.rows.array()] = fact.row_w.array()
    assert (side * found_w <= np.maximum(side * (power_w - base_w), 0.0) + 1e-6).all()
    assert (side * found_w >= np.minimum(side * (power_w - base_w), 0.0) - 1e-6).all(), "nor charged with more"


@given(st.lists(ROW, min_size=COUNT, max_size=COUNT), st.sampled_from([-1.0, 1.0]))
@settings(max_examples=40, deadline=None)
def test_nor_does_a_limit_make_an_award_be_credited_with_more(rows: list, side: float) -> None:
    base_w, power_w, one_w, other_w = (np.array(each) for each in zip(*rows, strict=True))

    async def play() -> None:
        stage, everyone = Programs(), np.arange(COUNT, dtype=np.int32)
        stage.state.base_w[:], stage.state.fleet.power_w[:] = base_w, power_w
        for row, (low_w, high_w) in enumerate(zip(np.minimum(one_w, other_w), np.maximum(one_w, other_w), strict=True)):
            limit = stage.ask("dso", Level.ENVELOPE, f"r{row}", ClaimKind.LIMIT, low=float(low_w), high=float(high_w))
            await stage.desk.ask(limit)
        called_w = np.full(COUNT, side * 1_000.0)
        row_w = tracking.counted_w(stage.state, everyone, called_w, side, stage.clock.ns)
        assert (side * row_w <= side * (power_w - base_w) + 1e-6).all()

    asyncio.run(play())
