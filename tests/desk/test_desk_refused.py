"""What a market asked that was refused is an alarm of its own, until nobody can count on it any more."""

from __future__ import annotations

import asyncio
import math

import pytest
from desk_stage import START_NS, Stage1, fleet_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline.desk.entry import Entry
from tieline.desk.facts import AlarmChanged, AuthorityChanged
from tieline.desk.ports import Award, DispatchBatch, Instruction, Offer, Segment
from tieline.desk.views import AlarmView
from tieline.fleet.ledger import Ledger
from tieline.node.read_refused import refused_by_us
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, MINUTE_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
STEP_NS = 5 * MINUTE_NS
OFFER = Offer("o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, (Segment(10_000.0, 50.0), Segment(5_000.0, 90.0)))
AWARD = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 12_000.0, 90.0)


def stage_of() -> Stage1:
    stage = Stage1(fleet_of([Kind.BATTERY] * 4))
    stage.state.offers["o"], stage.state.awards["a"] = OFFER, AWARD
    stage.clock.ns = HOUR - 10 * MINUTE_NS
    return stage


def instruction(uid: str, power_w: float, step: int = 0, revision: int = 1, product: str = "ENERGY") -> Instruction:
    start_ns = HOUR + step * STEP_NS
    return Instruction(f"i{step}", uid, "pool-1", product, start_ns, start_ns + STEP_NS, power_w, 60.0, revision)


def batch(*asked: Instruction) -> DispatchBatch:
    return DispatchBatch(asked[0].batch, 0, 0, HOUR + HOUR_NS, asked, f"f{asked[0].batch}")


def told(stage: Stage1) -> list[AlarmView]:
    """Return the alarms that stand: the same after a replay of the journal."""
    return [alarm for alarm, after_ns in refused_by_us(stage.state, stage.clock.ns) if not after_ns]


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (instruction("7", 40_000.0), "Dispatch batch 7 is refused: 40.0 kW of ENERGY from"),
        (instruction("7", 4_000.0, product="SPIN"), "Dispatch batch 7 is refused: 4.0 kW of SPIN from"),
        (instruction("7", math.nan), "Dispatch batch 7 is refused: nan kW of ENERGY from"),
    ],
)
def test_an_instruction_that_is_declined_is_an_alarm_with_its_batch_what_was_asked_and_why(
    one: Instruction, says: str
) -> None:
    stage = stage_of()

    async def act() -> None:
        answer = await stage.desk.dispatch(batch(one, instruction("7", 1_000.0, 1)))
        (alarm,) = told(stage)
        assert alarm.title.startswith(says)
        assert str(answer.declined[0][1]) in alarm.title
        assert alarm.subject == "pool-1"
        stage.clock.ns = one.end_ns - 1
        assert told(stage) == [alarm]
        stage.clock.ns = one.end_ns
        assert told(stage) == [], "its time is over"

    asyncio.run(act())


@pytest.mark.parametrize(
    "award",
    [
        replace(AWARD, id="b", offer="nobody's"),
        replace(AWARD, id="b", power_w=90_000.0),
        replace(AWARD, power_w=11_000.0),
        replace(AWARD, id="b", product="SPIN"),
    ],
)
def test_an_award_that_is_refused_is_an_alarm_until_its_time_is_over(award: Award) -> None:
    stage = stage_of()

    async def act() -> None:
        (refusal,) = await stage.desk.awards([award], "f")
        await stage.desk.awards([award], "f")
        (alarm,) = told(stage)
        assert alarm.title.startswith(
            f"Award {award.id} is refused: {award.power_w / 1e3:.1f} kW of {award.product} from"
        )
        assert refusal is not None and refusal.reason in alarm.title
        stage.clock.ns = award.end_ns
        assert told(stage) == []

    asyncio.run(act())


def test_an_award_that_is_told_again_as_it_was_taken_ends_the_alarm_of_one_that_had_changed() -> None:
    stage = stage_of()

    async def act() -> None:
        for award, standing in ((replace(AWARD, power_w=11_000.0), 1), (AWARD, 0), (AWARD, 0)):
            await stage.desk.awards([award], f"f{award.power_w}")
            assert len(told(stage)) == standing
        assert stage.state.awards["a"] == AWARD

    asyncio.run(act())
    assert [record.kind for record in stage.journal.records].count("AwardTaken") == 2


def test_a_mended_award_of_the_same_offer_ends_the_alarm_whatever_its_name() -> None:
    stage = stage_of()
    del stage.state.awards["a"]

    async def act() -> None:
        await stage.desk.awards([replace(AWARD, id="b", power_w=90_000.0)], "f")
        assert len(told(stage)) == 1
        assert await stage.desk.awards([replace(AWARD, id="c")], "g") == [None]
        assert told(stage) == []

    asyncio.run(act())


def test_who_acknowledges_it_ends_it_and_the_next_that_is_declined_is_told_anew() -> None:
    stage = stage_of()

    async def act() -> None:
        await stage.desk.dispatch(batch(instruction("7", 40_000.0, 0)))
        (alarm,) = told(stage)
        body = {"by": "test:anna", "since_ns": alarm.since_ns}
        fact = AlarmChanged(alarm.id, "acknowledged", "test:anna", body)
        await stage.desk.commit([Entry("acknowledged", fact, "", ())])
        assert told(stage) == []
        stage.clock.ns += MINUTE_NS
        await stage.desk.dispatch(batch(instruction("8", 50_000.0, 1)))
        assert ["batch 8" in each.title for each in told(stage)] == [True]

    asyncio.run(act())


def test_what_came_too_late_is_superseded_or_finds_the_kill_switch_pressed_asks_nobody_to_do_anything() -> None:
    stage = stage_of()

    async def act() -> None:
        await stage.desk.dispatch(batch(instruction("7", 5_000.0, 0, 3)))
        await stage.desk.dispatch(batch(instruction("6", 6_000.0, 0, 2)))
        stage.clock.ns = HOUR + STEP_NS
        await stage.desk.dispatch(batch(instruction("9", 5_000.0, 0, 4)))
        await stage.desk.dispatch(replace(batch(instruction("10", 5_000.0, 2, 4)), expires_ns=HOUR))
        await stage.desk.commit([Entry("kill", AuthorityChanged("kill", "on", "test:anna"), "", ())])
        answer = await stage.desk.dispatch(batch(instruction("11", 5_000.0, 3)))
        assert answer.declined
        assert told(stage) == []

    asyncio.run(act())


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=12)
)
def test_it_stands_until_an_instruction_for_its_time_is_taken_and_a_replay_has_the_same(
    asked: list[tuple[int, int, bool, int]],
) -> None:
    stage = stage_of()

    async def act() -> None:
        standing: dict[str, Instruction] = {}
        for uid, (step, revision, is_much, passed) in enumerate(asked, 1):
            stage.clock.ns += passed * 30_000_000_000
            one = instruction(str(uid), 40_000.0 if is_much else 4_000.0, step, revision)
            answer = await stage.desk.dispatch(batch(one))
            if answer.accepted:
                standing = {
                    name: was for name, was in standing.items() if was.start_ns != one.start_ns or was.rank > one.rank
                }
            elif answer.declined[0][1].reason == "the instruction is for what was not offered":
                standing[one.batch] = one
            names = {name for name, was in standing.items() if stage.clock.ns < was.end_ns}
            assert {alarm.title.split()[2] for alarm in told(stage)} == names

    asyncio.run(act())
    assert stage.replayed(Ledger()).refused.keys() == stage.state.refused.keys()
