"""What a market may call: what the offers behind its awards hold, and nothing else; told as it is recorded."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from desk_stage import START_NS, Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline.desk.awards import decide_batch
from tieline.desk.obligation import owed
from tieline.desk.pool_desk import PoolDesk
from tieline.desk.ports import Award, DispatchBatch, Instruction, Offer, Segment
from tieline.desk.tracking import counted_w
from tieline.fleet.ledger import Ledger
from tieline.ids import derive
from tieline.node.read_market import declines, delivery
from tieline.node.read_words import says
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, MINUTE_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
EARLY = HOUR - 10 * MINUTE_NS
OFFER = Offer("o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, (Segment(10_000.0, 50.0), Segment(5_000.0, 90.0)))
AWARD = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 12_000.0, 50.0)


def answered(power_w: float, product: str = "ENERGY", start_ns: int = HOUR) -> str:
    """What is said to an instruction where 12 kW of 15 kW offered are awarded: "" where it is accepted."""
    state = Stage1(fleet_of([Kind.BATTERY] * 4)).state
    state.offers["o"], state.awards["a"] = OFFER, AWARD
    one = Instruction("i", "7", "pool-1", product, start_ns, start_ns + 5 * MINUTE_NS, power_w, 60.0, 1)
    _, answer = decide_batch(state, DispatchBatch("7", EARLY, EARLY, HOUR + HOUR_NS, (one,), "f"), EARLY)
    assert len(answer.accepted) + len(answer.declined) == 1
    return answer.declined[0][1].field if answer.declined else ""


@given(st.floats(-40_000.0, 40_000.0))
def test_a_market_may_call_what_was_offered_beyond_its_award_and_not_a_watt_more_nor_the_other_way(
    power_w: float,
) -> None:
    if -1.0 <= power_w <= 15_001.0:
        assert answered(power_w) == ""
    else:
        assert answered(power_w) == "power_w"


@pytest.mark.parametrize(
    ("product", "start_ns", "field"),
    [("SPIN", HOUR, "product"), ("ENERGY", HOUR + HOUR_NS, "start"), ("ENERGY", HOUR - 5 * MINUTE_NS, "start")],
)
def test_an_instruction_for_another_product_or_time_than_awarded_is_declined_by_name(
    product: str, start_ns: int, field: str
) -> None:
    assert answered(5_000.0, product, start_ns) == field


def test_nan_is_no_power_that_was_offered() -> None:
    assert answered(float("nan")) == "power_w"


def test_where_two_awards_hold_what_both_offers_hold_may_be_called() -> None:
    state = Stage1(fleet_of([Kind.BATTERY] * 4)).state
    second = replace(OFFER, id="o2", segments=(Segment(1_000.0, 10.0),))
    state.offers |= {"o": OFFER, "o2": second}
    state.awards |= {"a": AWARD, "a2": replace(AWARD, id="a2", offer="o2", power_w=1_000.0)}
    step_ns = 5 * MINUTE_NS
    made = [
        Instruction(f"i{n}", "7", "pool-1", "ENERGY", HOUR + n * step_ns, HOUR + (n + 1) * step_ns, power_w, 60.0, n)
        for n, power_w in enumerate((15_900.0, 16_100.0))
    ]
    _, answer = decide_batch(state, DispatchBatch("7", HOUR, HOUR, HOUR + HOUR_NS, tuple(made), "f"), HOUR)
    assert (answer.accepted, [name for name, _ in answer.declined]) == (("i0",), ["i1"])


def batch_of(state: object, *made: Instruction) -> list[tuple[str, str]]:
    """Return (id, field refused or "") of each instruction of a batch."""
    _, answer = decide_batch(state, DispatchBatch("7", HOUR, HOUR, HOUR + HOUR_NS, made, "f"), HOUR)
    fields = {name: refusal.field for name, refusal in answer.declined} | dict.fromkeys(answer.accepted, "")
    return [(one.id, fields[one.id]) for one in made]


def test_a_batch_that_instructs_one_pool_twice_for_one_start_is_declined_for_both_and_the_rest_of_it_taken() -> None:
    state = Stage1(fleet_of([Kind.BATTERY] * 4)).state
    state.offers["o"], state.awards["a"] = OFFER, AWARD
    one = Instruction("a", "7", "pool-1", "ENERGY", HOUR, HOUR + 5 * MINUTE_NS, 8_000.0, 60.0, 1)
    later = replace(one, id="c", start_ns=HOUR + 5 * MINUTE_NS, end_ns=HOUR + 10 * MINUTE_NS)
    found = batch_of(state, one, replace(one, id="b", power_w=4_000.0), later)
    assert found == [("a", "start"), ("b", "start"), ("c", "")]


def test_a_batch_whose_instructions_of_one_pool_overlap_is_declined_for_both_wherever_each_begins() -> None:
    state = Stage1(fleet_of([Kind.BATTERY] * 4)).state
    state.offers["o"], state.awards["a"] = OFFER, AWARD
    one = Instruction("a", "7", "pool-1", "ENERGY", HOUR, HOUR + 10 * MINUTE_NS, 8_000.0, 60.0, 1)
    within = replace(one, id="b", start_ns=HOUR + 5 * MINUTE_NS, power_w=4_000.0)
    after = replace(one, id="c", start_ns=HOUR + 10 * MINUTE_NS, end_ns=HOUR + 15 * MINUTE_NS)
    assert batch_of(state, one, within, after) == [("a", "start"), ("b", "start"), ("c", "")]


def test_an_instruction_that_was_cut_in_pieces_and_declined_is_listed_once_with_its_reason() -> None:
    stage = Stage1(fleet_of([Kind.BATTERY] * 4))
    stage.state.offers["o"], stage.state.awards["a"], five = OFFER, AWARD, 5 * MINUTE_NS
    first = Instruction("u/1", "7", "pool-1", "ENERGY", HOUR, HOUR + five, 99_000.0, 60.0, 1, whole="u")
    last = replace(first, id="u/2", start_ns=HOUR + 2 * five, end_ns=HOUR + 3 * five)
    other = replace(first, id="v/1", start_ns=HOUR + 3 * five, end_ns=HOUR + 4 * five, product="SPIN", whole="v")
    batch = DispatchBatch("7", HOUR, HOUR, HOUR + HOUR_NS, (first, last, other), "f")
    assert len(asyncio.run(stage.desk.dispatch(batch)).declined) == 3, "the ISO is answered piece by piece"
    told = declines(stage.state)
    assert len(told) == 2
    assert "power_w" in told[0] and "product" in told[1]


def test_a_newer_instruction_that_began_before_an_older_one_holds_over_it_and_they_never_add() -> None:
    """Sent at :00 for :05 to :10; then a revision for all of :00 to :10; then one more for :05 to :15."""

    async def play() -> None:
        stage = Stage1(fleet_of([Kind.BATTERY] * 4))
        state, five = stage.state, 5 * MINUTE_NS
        state.offers["o"], state.awards["a"], stage.clock.ns = OFFER, AWARD, HOUR
        one = Instruction("a", "7", "pool-1", "ENERGY", HOUR + five, HOUR + 2 * five, 8_000.0, 60.0, 1)
        wide = replace(one, id="b", batch="8", start_ns=HOUR, power_w=4_000.0, revision=2)
        last = replace(one, id="c", batch="9", end_ns=HOUR + 3 * five, power_w=2_000.0, revision=2)

        async def taken(each: Instruction) -> list[str]:
            sent = DispatchBatch(each.batch, HOUR, HOUR, HOUR + HOUR_NS, (each,), "f")
            answer = await stage.desk.dispatch(sent)
            return [refusal.field for _, refusal in answer.declined]

        def asked() -> list[float | None]:
            debts = [owed(state, "pool-1", HOUR + at * five) for at in range(4)]
            return [debt.power_w if debt is not None and debt.is_instructed else None for debt in debts]

        assert (await taken(one), asked()) == ([], [None, 8e3, None, None])
        assert (await taken(wide), asked()) == ([], [4e3, 4e3, None, None])
        assert await taken(replace(one, id="d", batch="10")) == ["revision"], "it came late, and has no time left"
        assert (await taken(last), asked()) == ([], [4e3, 2e3, 2e3, None])
        again = stage.replayed(Ledger())
        assert [owed(again, "pool-1", HOUR + at * five).power_w for at in range(3)] == [4e3, 2e3, 2e3]

    asyncio.run(play())


def test_an_instruction_may_last_as_long_as_what_was_sold_and_no_longer() -> None:
    state = Stage1(fleet_of([Kind.BATTERY] * 4)).state
    state.offers["o"], state.awards["a"] = OFFER, AWARD
    one = Instruction("a", "7", "pool-1", "ENERGY", HOUR + HOUR_NS // 2, HOUR + HOUR_NS, 8_000.0, 60.0, 1)
    beyond = replace(one, end_ns=HOUR + HOUR_NS + 5 * MINUTE_NS)
    assert (batch_of(state, one), batch_of(state, beyond)) == ([("a", "")], [("a", "end")])
    state.awards["next"] = replace(AWARD, id="next", start_ns=HOUR + HOUR_NS, end_ns=HOUR + 2 * HOUR_NS)
    assert batch_of(state, beyond) == [("a", "")]
    days = replace(one, end_ns=one.start_ns + 25 * HOUR_NS)
    assert batch_of(state, days) == [("a", "end")]


def test_what_a_screen_calls_delivered_is_what_the_interval_s_record_counts() -> None:
    """Three are called; the fourth was called and draws now what it missed: that counts against the pool."""
    stage = Stage1(fleet_of([Kind.BATTERY] * 3 + [Kind.WATER_HEATER] * 2))
    state, now_ns = stage.state, HOUR
    state.awards["a"] = AWARD
    state.fleet.quality[:] = 0
    state.fleet.power_w[:] = [4_000.0, 4_000.0, 3_000.0, -5_000.0, -5_000.0]
    state.base_w[:] = [0.0, 0.0, 0.0, -2_000.0, -2_000.0]
    state.rebounds_until_ns[3] = now_ns + HOUR_NS
    share_w = np.array([4_000.0, 4_000.0, 4_000.0, 0.0, 0.0])
    pool = PoolDesk("pool-1", np.arange(5, dtype=np.int32), np.zeros(5), np.ones(5, np.bool_), share_w)
    asked_w, gave_w, price = delivery(state, pool, now_ns)
    assert (asked_w, gave_w, price) == (12_000.0, 8_000.0, 50.0)
    assert gave_w == counted_w(state, pool.rows, share_w, 1.0, now_ns).sum()
    pool.share_w = np.zeros(5)
    assert delivery(state, pool, now_ns)[1] == -3_000.0, "while nobody is called nothing is delivered, only taken back"


def test_a_batch_that_reads_otherwise_later_is_recorded_once_beside_what_was_answered_and_changes_nothing() -> None:
    stage = Stage1(fleet_of([Kind.BATTERY] * 4))
    stage.state.offers["o"], stage.state.awards["a"] = OFFER, AWARD
    one = Instruction("i", "7", "pool-1", "ENERGY", HOUR, HOUR + 5 * MINUTE_NS, 5_000.0, 60.0, 1)
    refusal = Refusal("reads otherwise", "instructions", "9 MW", "5 MW, as it was answered")

    async def act() -> None:
        await stage.desk.dispatch(DispatchBatch("7", EARLY, EARLY, HOUR + HOUR_NS, (one,), "f"))
        told, answer = dict(stage.state.instructions), stage.state.batches["7"]
        for frame in ("g", "g", "h"):
            await stage.desk.corrected("7", refusal, frame)
        assert (dict(stage.state.instructions), stage.state.batches["7"]) == (told, answer)

    asyncio.run(act())
    records = [record for record in stage.journal.records if record.kind == "BatchChanged"]
    assert len({record.id for record in records}) == 2  # a record is kept once by its id
    assert {record.caused_by for record in records} == {(derive("batch", "7"),)}
    assert "9 MW" in says(records[0])
