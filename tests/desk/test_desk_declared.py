"""What is instructed below an award is ours only as far as we declared less, for that award, before the batch was sent."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_desk_declares import HOUR, Pool

from tieline.desk.declared import is_untrue, ours_w
from tieline.desk.entry import Entry
from tieline.desk.facts import AvailabilityDeclared, AwardTaken, BatchTaken, IntervalTracked, from_record
from tieline.desk.likely import Follows, likely
from tieline.desk.obligation import owed
from tieline.desk.ports import Award, BatchAnswer, DispatchBatch, Instruction
from tieline.ids import derive
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS

AWARD_W = 40_000.0


class Evening(Pool):
    """A pool whose market took 10 kW for yesterday's award, and then 40 kW of today's, which it takes at noon."""

    def __init__(self) -> None:
        super().__init__()
        self.state.awards.clear()

    async def at(self, at_ns: int, name: str, fact: object, caused_by: tuple[str, ...] = ()) -> None:
        now_ns, self.clock.ns = self.clock.ns, at_ns
        await self.desk.commit([Entry(name, fact, "pool-1", caused_by)])
        self.clock.ns = now_ns

    async def sold(self, name: str, start_ns: int, taken_ns: int, power_w: float = AWARD_W) -> None:
        award = Award(name, "o", "pool-1", "ENERGY", start_ns, start_ns + HOUR_NS, power_w, 50.0)
        await self.at(taken_ns, derive("award", name), AwardTaken(award, None, "f"))

    async def said(self, at_ns: int, up_w: float) -> None:
        await self.at(at_ns, f"said {at_ns} {up_w}", AvailabilityDeclared("pool-1", "c", at_ns, up_w, 0.0))

    async def called(self, uid: str, sent_ns: int, power_w: float, start_ns: int = HOUR, minutes: int = 5) -> None:
        call = Instruction(
            f"i{uid}", uid, "pool-1", "ENERGY", start_ns, start_ns + minutes * MINUTE_NS, power_w, 50.0, 1
        )
        batch = DispatchBatch(uid, sent_ns, sent_ns + SECOND_NS, HOUR + HOUR_NS, (call,), "f")
        await self.at(sent_ns + SECOND_NS, derive("batch", uid), BatchTaken(batch, BatchAnswer(uid, (call.id,), ())))

    def ours_w(self, at_ns: int = HOUR) -> float:
        return ours_w(self.state, owed(self.state, "pool-1", at_ns), AWARD_W, at_ns)

    def withheld(self) -> dict[str, float]:
        facts = [fact for r in self.journal.records if isinstance(fact := from_record(r), IntervalTracked)]
        return facts[0].withheld


async def second_day(taken_ns: int) -> Evening:
    it = Evening()
    await it.sold("yesterday", HOUR - DAY_NS, HOUR - DAY_NS - 8 * HOUR_NS)
    await it.said(HOUR - DAY_NS + 20 * MINUTE_NS, 10_000.0)
    await it.sold("today", HOUR, taken_ns)
    return it


@pytest.mark.parametrize("taken_ns", [HOUR - DAY_NS - 4 * HOUR_NS, HOUR - 8 * HOUR_NS])
def test_what_was_declared_for_yesterdays_award_says_nothing_of_todays(taken_ns: int) -> None:
    """The batch is sent seconds before we declare for today, by what the market had of yesterday."""

    async def play() -> dict[str, float]:
        it = await second_day(taken_ns)
        await it.called("b", HOUR - 75 * SECOND_NS, 20_000.0)
        await it.said(HOUR - 68 * SECOND_NS, 60_000.0)
        await it.beats(7)
        return it.withheld()

    assert asyncio.run(play()) == pytest.approx({"iso_instruction": 20_000.0})


def test_what_is_called_below_the_award_though_the_newest_we_declared_covers_it_is_the_isos_own() -> None:
    async def play() -> dict[str, float]:
        it = await second_day(HOUR - 8 * HOUR_NS)
        await it.said(HOUR - 8 * MINUTE_NS, 10_000.0)
        await it.said(HOUR - 4 * MINUTE_NS, 60_000.0)
        await it.called("b", HOUR - 2 * MINUTE_NS, 20_000.0)
        await it.beats(7)
        return it.withheld()

    assert asyncio.run(play()) == pytest.approx({"iso_instruction": 20_000.0})


def test_of_what_is_called_below_the_award_no_more_is_ours_than_we_declared_less() -> None:
    async def play() -> dict[str, float]:
        it = await second_day(HOUR - 8 * HOUR_NS)
        await it.said(HOUR - 3 * MINUTE_NS, 35_000.0)
        await it.called("b", HOUR - 2 * MINUTE_NS, 20_000.0)
        await it.said(HOUR - 1 * MINUTE_NS, 0.0)
        await it.beats(7)
        return it.withheld()

    assert asyncio.run(play()) == pytest.approx({"unavailable": 5_000.0, "iso_instruction": 15_000.0})


def test_each_part_of_an_interval_goes_by_what_was_declared_before_its_own_batch() -> None:
    """Two minutes of 20 kW though all was declared, then three of 10 kW as we declared that: 16 and 18 kW of 34."""

    async def play() -> dict[str, float]:
        it = await second_day(HOUR - 8 * HOUR_NS)
        await it.called("1", HOUR - 2 * MINUTE_NS, 20_000.0)
        await it.beats(1)
        await it.said(HOUR + 30 * SECOND_NS, 10_000.0)
        await it.called("2", HOUR + 45 * SECOND_NS, 10_000.0, HOUR + 2 * MINUTE_NS)
        await it.beats(6)
        return it.withheld()

    told = asyncio.run(play())
    assert told == pytest.approx({"iso_instruction": 8_000.0, "unavailable": 18_000.0})


SAID = st.lists(st.tuples(st.integers(-9 * 60, 3), st.floats(0.0, 60_000.0)), max_size=6)


@given(SAID, st.integers(-30, -1), st.floats(0.0, AWARD_W), st.booleans())
def test_ours_is_what_the_newest_word_for_the_award_before_the_batch_said_less_and_the_rest_is_the_isos(
    said: list[tuple[int, float]], sent_min: int, power_w: float, was_before: bool
) -> None:
    async def play() -> float:
        it = await second_day(HOUR - 8 * HOUR_NS) if was_before else Evening()
        if not was_before:
            await it.sold("today", HOUR, HOUR - 8 * HOUR_NS)
        for minute, up_w in sorted(said):
            await it.said(HOUR + minute * MINUTE_NS, up_w)
        await it.called("b", HOUR + sent_min * MINUTE_NS, power_w)
        return it.ours_w()

    counts = [up_w for minute, up_w in sorted(said) if -8 * 60 <= minute <= sent_min]
    less_w = max(AWARD_W - counts[-1], 0.0) if counts else 0.0
    assert asyncio.run(play()) == pytest.approx(min(less_w, AWARD_W - power_w))


def test_what_was_declared_for_an_award_before_is_said_anew_for_the_next_where_it_is_true_of_that_too() -> None:
    """Else the market would call by a word that counts for nothing, and what it calls less would be put to it."""

    async def play() -> list[bool]:
        it = await second_day(HOUR - 8 * HOUR_NS)
        found = [is_untrue(it.state, "pool-1", (10_000.0, 0.0), (AWARD_W, 0.0), HOUR - 10 * MINUTE_NS)]
        found.append(is_untrue(it.state, "pool-1", (60_000.0, 0.0), (AWARD_W, 0.0), HOUR - 10 * MINUTE_NS))
        await it.said(HOUR - 10 * MINUTE_NS, 10_000.0)
        found.append(is_untrue(it.state, "pool-1", (10_000.0, 0.0), (AWARD_W, 0.0), HOUR - 9 * MINUTE_NS))
        return found

    assert asyncio.run(play()) == [True, True, False]


def test_a_word_for_one_hour_speaks_for_the_hours_that_follow_it_without_a_gap() -> None:
    async def play() -> float:
        it = Evening()
        await it.sold("one", HOUR - HOUR_NS, HOUR - 8 * HOUR_NS)
        await it.sold("two", HOUR, HOUR - 8 * HOUR_NS)
        await it.said(HOUR - 50 * MINUTE_NS, 15_000.0)
        await it.called("b", HOUR - MINUTE_NS, 10_000.0)
        return it.ours_w()

    assert asyncio.run(play()) == pytest.approx(AWARD_W - 15_000.0)


def test_what_is_likely_to_lack_of_the_asked_is_not_put_again_to_opt_outs_for_which_less_was_asked() -> None:
    """Of 50 kW 20 are out and declared less; of the 30 asked two devices that kept still lack."""

    async def play() -> dict[str, float]:
        it = Evening()
        await it.sold("today", HOUR, HOUR - 8 * HOUR_NS, 50_000.0)
        it.state.opted_out[:4] = True
        it.state.outs_of[:4] = 1
        await it.said(HOUR - 4 * MINUTE_NS, 30_000.0)
        await it.called("b", HOUR - 2 * MINUTE_NS, 30_000.0, minutes=60)
        await it.beats(1)
        it.state.missed_until_ns[4:6] = HOUR + 2 * HOUR_NS
        return dict(likely(it.state, it.pool, Follows(), HOUR + MINUTE_NS)["today"].lacks_w)

    told = asyncio.run(play())
    assert "opt_out" not in told and told["unresponsive"] > 0.0, told
