"""What a pool owes at an instant, and which interval each second is counted into."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest
from desk_stage import START_NS, Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline.desk.cycle import Cycle
from tieline.desk.facts import IntervalTracked, from_record
from tieline.desk.obligation import DISPATCH_STEP_NS, next_call_ns, owed
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, Instruction
from tieline.desk.tracking import parts
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import ClaimKind, Quantity
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
AWARD = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 6_000.0, 50.0)
INSTANTS = st.integers(0, 3 * DISPATCH_STEP_NS)


def told(start_ns: int, end_ns: int, power_w: float, revision: int) -> Instruction:
    return Instruction(f"i{start_ns}", f"b{revision}", "pool-1", "ENERGY", start_ns, end_ns, power_w, 60.0, revision)


@given(INSTANTS, INSTANTS)
def test_parts_of_a_stretch_are_the_stretch_and_none_crosses_a_mark(begins_ns: int, length_ns: int) -> None:
    found = parts(begins_ns, begins_ns + length_ns)
    assert (found[0][0], found[-1][1]) == (begins_ns, begins_ns + length_ns)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
    assert all(a // DISPATCH_STEP_NS == max(b - 1, a) // DISPATCH_STEP_NS for a, b in found)


def test_a_revision_that_begins_within_the_step_holds_from_there_on() -> None:
    """What it supersedes holds until then; the next step knows nothing of either and owes the award."""
    state = Stage1(fleet_of([Kind.BATTERY])).state
    state.awards["a"] = AWARD
    middle, end = HOUR + DISPATCH_STEP_NS // 2, HOUR + DISPATCH_STEP_NS
    state.instructions["pool-1", "ENERGY"] = {HOUR: told(HOUR, end, 6_000.0, 1), middle: told(middle, end, 4_000.0, 2)}
    asked = [owed(state, "pool-1", at) for at in (HOUR, middle - 1, middle, end - 1, end, HOUR + HOUR_NS)]
    assert [None if debt is None else debt.power_w for debt in asked] == [6e3, 6e3, 4e3, 4e3, 6e3, None]
    assert [debt.is_instructed for debt in asked[:-1]] == [True, True, True, True, False]


@pytest.mark.parametrize("late_s", [0.0, 0.4, 7.0, 31.0])
def test_however_late_a_beat_comes_an_award_is_asked_in_its_own_intervals_and_in_no_other(late_s: float) -> None:
    """A clock that is paced by the wall beats a moment after the mark, at 600 times its speed many seconds after."""
    stage = Stage1(fleet_of([Kind.BATTERY, Kind.BATTERY]))
    pool = PoolDesk("pool-1", np.arange(2, dtype=np.int32), np.zeros(2), np.ones(2, np.bool_), np.zeros(2))
    stage.state.awards["a"] = AWARD
    cycle = Cycle(stage.desk, {"pool-1": pool})

    async def play() -> None:
        late_ns = round(late_s * SECOND_NS)
        for mark_ns in range(HOUR - 10 * MINUTE_NS, HOUR + HOUR_NS + 15 * MINUTE_NS, MINUTE_NS):
            stage.clock.ns = mark_ns + late_ns
            stage.state.fleet.taken_at_ns[:] = stage.clock.ns
            await cycle.beat(stage.clock.ns)

    asyncio.run(play())
    facts = [from_record(record) for record in stage.journal.records if record.kind == "IntervalTracked"]
    asked_w = {fact.start_ns: fact.asked_w for fact in facts if isinstance(fact, IntervalTracked)}
    assert sorted(asked_w) == list(range(HOUR, HOUR + HOUR_NS, DISPATCH_STEP_NS))
    assert list(asked_w.values()) == pytest.approx([6_000.0] * 12)


def test_an_opt_out_ends_with_its_time_and_the_device_is_called_again() -> None:
    """The claim lapses by the clock, and so must the word of who is out: else a timed opt-out lasted for ever."""
    stage = Stage1(fleet_of([Kind.BATTERY, Kind.BATTERY]))
    pool = PoolDesk("pool-1", np.arange(2, dtype=np.int32), np.zeros(2), np.ones(2, np.bool_), np.zeros(2))
    cycle, out_ns = Cycle(stage.desk, {"pool-1": pool}), 10 * MINUTE_NS
    opt_out = stage.ask("owner", Level.OWNER_NEED, "r0", ClaimKind.GATE, quantity=Quantity.CONNECT)

    async def play() -> list[bool]:
        await stage.desk.ask(replace(opt_out, end_ns=stage.clock.ns + out_ns))
        seen = []
        for passed_ns in (0, out_ns - 1, out_ns, out_ns + MINUTE_NS):
            stage.clock.ns = START_NS + passed_ns
            await cycle.beat(stage.clock.ns)
            seen.append(bool(stage.state.opted_out[0]))
        return seen

    assert asyncio.run(play()) == [True, True, False, False]
    assert [record.kind for record in stage.journal.records].count("AskWithdrawn") == 1
    assert not stage.replayed(Ledger()).opted_out.any()


def test_a_limit_that_came_and_went_within_an_interval_is_its_cause_for_as_long_as_it_held() -> None:
    """Two batteries of 5 kW owe 6 kW; a limit of 0 W on both for two of the five minutes, gone before the close."""
    stage = Stage1(fleet_of([Kind.BATTERY, Kind.BATTERY]))
    state, rows = stage.state, np.arange(2, dtype=np.int32)
    pool = PoolDesk("pool-1", rows, np.zeros(2), np.ones(2, np.bool_), np.zeros(2))
    cycle = Cycle(stage.desk, {"pool-1": pool})
    state.awards["a"] = AWARD
    for column, value in (("available_up_w", 5e3), ("available_down_w", 5e3), ("soc_frac", 0.9)):
        state.fleet.column(column)[:] = value
    state.fleet.column("energy_available_wh")[:] = 1e5

    async def play() -> None:
        for minute in range(7):
            stage.clock.ns = HOUR + minute * MINUTE_NS
            state.fleet.taken_at_ns[:] = stage.clock.ns
            state.fleet.quality[:] = 0
            if minute == 1:
                limit = stage.ask(
                    "dso", Level.ENVELOPE, "feeder-1", ClaimKind.LIMIT, low=-1e4, high=0.0,
                    end_ns=stage.clock.ns + HOUR_NS,
                )  # fmt: skip
                await stage.desk.ask(limit)
            if minute == 3:
                await stage.desk.withdraw("test:dso", "p", "feeder-1", Quantity.P, "f")
            await cycle.beat(stage.clock.ns)
            held = state.claims.bounds_above(rows, Level.MARKET, stage.clock.ns)[1] <= 0.0
            state.fleet.power_w[:] = np.where(held, 0.0, 3_000.0)

    asyncio.run(play())
    facts = [from_record(record) for record in stage.journal.records if record.kind == "IntervalTracked"]
    (fact,) = [fact for fact in facts if isinstance(fact, IntervalTracked)]
    lacks_w = fact.asked_w - fact.delivered_w
    assert lacks_w > 1_000.0
    assert fact.causes["dno_limit"] >= 0.95 * lacks_w
    assert sum(fact.causes.values()) == pytest.approx(lacks_w)


@pytest.mark.parametrize("product", ["SPIN", "NSPIN", "REG", "CAPACITY"])
def test_an_award_of_a_reserve_asks_for_nothing_until_an_instruction_calls_it(product: str) -> None:
    state = Stage1(fleet_of([Kind.BATTERY])).state
    state.awards["a"] = replace(AWARD, product=product)
    assert owed(state, "pool-1", HOUR) is None
    state.awards["b"] = replace(AWARD, id="b", power_w=2_000.0)
    found = owed(state, "pool-1", HOUR)
    assert found is not None and found.power_w == 2_000.0
    call = replace(told(HOUR, HOUR + DISPATCH_STEP_NS, 4_000.0, 1), product=product)
    state.instructions["pool-1", product] = {HOUR: call}
    found = owed(state, "pool-1", HOUR)
    assert found is not None and found.power_w == 6_000.0, "beside the energy that was sold, not instead of it"
    state.instructions["pool-1", "ENERGY"] = {HOUR: told(HOUR, HOUR + DISPATCH_STEP_NS, 1_000.0, 1)}
    found = owed(state, "pool-1", HOUR)
    assert found is not None and found.power_w == 5_000.0
    state.awards.clear()
    del state.instructions["pool-1", "ENERGY"]
    found = owed(state, "pool-1", HOUR)
    assert found is not None and found.power_w == 4_000.0
    assert owed(state, "pool-1", HOUR + DISPATCH_STEP_NS) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 12), st.integers(1, 3)), max_size=8, unique_by=lambda one: one[0]
    ),
    st.integers(0, 40),
)
def test_of_instructions_that_overlap_the_newest_revision_holds_alone_and_of_one_revision_what_came_last(
    told_at: list, now: int
) -> None:
    state, part_ns = Stage1(fleet_of([Kind.BATTERY])).state, DISPATCH_STEP_NS // 2
    made = [
        told(HOUR + at * part_ns, HOUR + (at + long) * part_ns, 1e3 * (at + 1), revision)
        for at, long, revision in told_at
    ]
    state.instructions["pool-1", "ENERGY"] = {one.start_ns: one for one in made}
    at_ns = HOUR + now * part_ns
    covers = [one for one in made if one.start_ns <= at_ns < one.end_ns]
    found = owed(state, "pool-1", at_ns)
    if not covers:
        assert found is None
    else:
        newest = max(covers, key=lambda one: (one.revision, made.index(one)))
        assert found is not None and (found.power_w, found.end_ns) == (newest.power_w, newest.end_ns)


def test_an_instruction_of_energy_and_a_call_of_ten_minutes_are_owed_in_their_second_step_too() -> None:
    state = Stage1(fleet_of([Kind.BATTERY])).state
    state.awards |= {"a": AWARD, "s": replace(AWARD, id="s", product="SPIN")}
    end = HOUR + 2 * DISPATCH_STEP_NS
    state.instructions["pool-1", "ENERGY"] = {HOUR: told(HOUR, end, 4_000.0, 1)}
    state.instructions["pool-1", "SPIN"] = {HOUR: replace(told(HOUR, end, 3_000.0, 1), product="SPIN")}
    asked = [owed(state, "pool-1", at) for at in (HOUR, HOUR + DISPATCH_STEP_NS, end - 1, end)]
    assert [debt.power_w for debt in asked if debt is not None] == [7e3, 7e3, 7e3, 6e3]


@given(st.lists(st.tuples(st.integers(-40, 40), st.integers(1, 30)), max_size=8), st.integers(-60, 60))
def test_the_next_call_is_the_first_start_or_end_that_is_still_to_come(told_at: list, now: int) -> None:
    state, half_ns = Stage1(fleet_of([Kind.BATTERY])).state, 30 * SECOND_NS
    made = [told(HOUR + at * half_ns, HOUR + (at + long) * half_ns, 1e3, 1) for at, long in sorted(told_at)]
    state.instructions["pool-1", "ENERGY"] = {one.start_ns: one for one in made}
    kept = state.instructions["pool-1", "ENERGY"].values()
    at_ns = HOUR + now * half_ns
    later = [at for one in kept for at in (one.start_ns, one.end_ns) if at > at_ns]
    assert next_call_ns(state, at_ns) == min(later, default=FOREVER_NS)


def test_two_awards_of_one_hour_are_owed_together_and_an_instruction_stands_for_both() -> None:
    state = Stage1(fleet_of([Kind.BATTERY])).state
    state.awards |= {"a": AWARD, "b": replace(AWARD, id="b", offer="o2", power_w=2_500.0)}
    found = owed(state, "pool-1", HOUR)
    assert found is not None and found.power_w == 8_500.0
    state.awards["b"] = replace(state.awards["b"], end_ns=HOUR + DISPATCH_STEP_NS)
    later = owed(state, "pool-1", HOUR + DISPATCH_STEP_NS)
    assert later is not None and later.power_w == AWARD.power_w
    state.instructions["pool-1", "ENERGY"] = {HOUR: told(HOUR, HOUR + DISPATCH_STEP_NS, 1_000.0, 1)}
    found = owed(state, "pool-1", HOUR)
    assert found is not None and found.power_w == 1_000.0
