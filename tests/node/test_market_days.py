"""A territory that lives on: every market day is offered before its gate, called, and settled when it is over."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.facts import IntervalTracked, StatementMade, from_record
from tieline.desk.ports import Offer, Segment
from tieline.node.market_days import POINT, MarketDays, expected, expected_from, next_gate, offers_told
from tieline.node.settling import day_of, settle
from tieline.node.stage import Stage, raise_stage, scenario
from tieline.node.story import Story
from tieline.node.timing import Timing
from tieline.rim.supervise import Supervisor
from tieline.simulate.iso.faults import FaultMenu, Faults
from tieline.simulate.iso.market import IsoMarket, SameDay
from tieline.simulate.iso.prices import ZONE, last_day, prices_of
from tieline.simulate.loop import VirtualClock, run_virtual
from tieline.times import DAY_NS, FOREVER_NS, HOUR_NS, MINUTE_NS, SECOND_NS, market_day, to_ns
from tieline.wire.ads import messages as ads

DAY = date(2022, 8, 17)
SECOND, THIRD = DAY + timedelta(days=1), DAY + timedelta(days=2)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, list[str], list[tuple[int, int | None]]]]:
    """Play a first evening and the whole market day after it with 40 devices, on virtual time."""
    folder, said, gates = tmp_path_factory.mktemp("days"), list[str](), list[tuple[int, int | None]]()

    async def main(loop: asyncio.AbstractEventLoop) -> Stage:
        opens_ns = to_ns(datetime.combine(DAY, time(22, 29), tzinfo=ZONE))
        offer_ns, sold_from_ns = opens_ns + 2 * MINUTE_NS, opens_ns + 31 * MINUTE_NS
        when = Timing(opens_ns, offer_ns + MINUTE_NS, offer_ns, sold_from_ns, *[FOREVER_NS] * 5)
        clock = VirtualClock(loop, when.opens_ns)
        async with Supervisor(np.random.default_rng(3)) as supervisor:
            stage = await raise_stage(scenario("heatwave"), 40, 1, clock, supervisor, folder)
            MarketDays(stage, said.append).start()
            await Story(stage, when, said.append).play()
            while clock.now_ns() < market_day(SECOND, ZONE).end_ns + 30 * MINUTE_NS:
                gates.append((clock.now_ns(), next_gate(stage)))
                await asyncio.sleep(HOUR_NS / SECOND_NS)
            await settle(stage, SECOND)  # once more: the next day has begun, and nothing of this one is new
            await stage.node.group.drained()
            assert supervisor.failures == {}
        return stage

    stage = run_virtual(main)
    yield stage, said, gates
    stage.node.journal.close()


@pytest.mark.long
def test_each_day_is_offered_awarded_and_called(lived: tuple) -> None:
    stage, said, _ = lived
    for day in (DAY, SECOND, THIRD):
        assert [o for o in stage.node.state.offers.values() if day_of(o.start_ns) == day], day
        assert any(f"hours of {day}" in line for line in said) or day == DAY
    for day in (DAY, SECOND):
        awards = [a for a in stage.node.state.awards.values() if day_of(a.start_ns) == day]
        assert awards
        steps = {at for a in awards for at in range(a.start_ns, a.end_ns, 5 * MINUTE_NS)}
        assert steps == {at for at in tracked(stage) if day_of(at) == day}


def tracked(stage: Stage) -> dict[int, IntervalTracked]:
    facts = (from_record(record) for record in stage.node.journal.of_kind("IntervalTracked"))
    return {fact.start_ns: fact for fact in facts if isinstance(fact, IntervalTracked)}


@pytest.mark.long
def test_no_interval_is_tracked_outside_of_awards(lived: tuple) -> None:
    stage, _, _ = lived
    awards = stage.node.state.awards.values()
    assert all(any(a.start_ns <= at < a.end_ns for a in awards) for at in tracked(stage))


@pytest.mark.long
def test_each_day_that_is_over_has_one_statement_of_its_own_hours(lived: tuple) -> None:
    stage, said, _ = lived
    made = [from_record(record) for record in stage.node.journal.of_kind("StatementMade")]
    assert all(isinstance(fact, StatementMade) and fact.version == 1 for fact in made)
    assert [day_of(fact.start_ns) for fact in made] == [DAY, SECOND]
    assert [day_of(fact.end_ns - 1) for fact in made] == [DAY, SECOND]
    assert [line for line in said if "not settled" in line or "nothing offered" in line] == []
    # The story's own day was called, and so stands for no other day of the baseline.
    assert DAY.isoformat() not in made[1].body["days"]


@pytest.mark.long
def test_the_next_gate_is_always_ahead_and_on_the_eve(lived: tuple) -> None:
    for now_ns, gate_ns in lived[2]:
        assert gate_ns is not None and 0 < gate_ns - now_ns <= DAY_NS


@pytest.mark.long
def test_a_pool_charges_for_the_day_by_its_own_forecast(lived: tuple) -> None:
    stage, _, _ = lived
    pool = stage.node.cycle.pools["pool-1"]
    assert pool.forecast.keys() >= expected(THIRD).keys()
    (plan,) = stage.node.state.schedules.values()
    assert {stage.node.state.awards[name].pool for name in plan.awards} == {"pool-1"}


@pytest.mark.parametrize("day", [DAY, date(2022, 3, 14), date(2022, 11, 6), date(2022, 11, 9)])
def test_a_forecast_comes_from_the_five_days_before_on_its_own_hours(day: date) -> None:
    """Across the clock change too: a day of 23 hours must not shift the days after it."""
    over, known = market_day(day, ZONE), expected(day)
    assert list(known) == list(range(over.start_ns, over.end_ns, HOUR_NS))[: len(known)]
    assert len(known) >= 23
    past = [list(prices_of("HB_NORTH", day - timedelta(days=back)).values()) for back in range(1, 6)]
    for at, price in enumerate(known.values()):
        hours = [one[at] for one in past if at < len(one)]
        assert min(hours) - 1e-9 <= price <= max(hours) + 1e-9


def test_beyond_the_data_nothing_is_expected() -> None:
    last = last_day("HB_NORTH")
    assert last == date(2022, 12, 31)
    assert expected(last) and not expected(last + timedelta(days=1))
    assert expected_from(market_day(last, ZONE).end_ns - 1) == expected(last)
    assert expected_from(market_day(last, ZONE).end_ns) == {}


class At:
    """A clock that stands where it is put."""

    def __init__(self, day: date, hour: int, minute: int = 0) -> None:
        self.ns = to_ns(datetime.combine(day, time(hour, minute), tzinfo=ZONE))

    def now_ns(self) -> int:
        return self.ns


def bid_of(market: IsoMarket, day: date) -> ads.BidResult:
    return market.submit(ads.Bid("b1", "TIELINE_1", "ENERGY", day, 20, False, (ads.BidSegment(1.0, 50.0),)))


def test_the_iso_refuses_a_day_without_prices_by_its_name() -> None:
    last = last_day("HB_NORTH")
    rng = np.random.default_rng(1)
    market = IsoMarket(At(last, 12), rng, Faults(FaultMenu(), rng), gate=time(23), clears_at=time(23, 30))
    refused = bid_of(market, last + timedelta(days=1))
    assert refused.status == "REJECTED"
    assert "2023-01-01" in refused.reason and "2022-12-31" in refused.reason


def test_a_days_own_auction_is_on_the_day_and_every_others_on_its_eve() -> None:
    rng = np.random.default_rng(1)
    own = SameDay(DAY, time(13, 49), time(13, 50))
    market = IsoMarket(At(DAY, 13, 48), rng, Faults(FaultMenu(), rng), same_day=own, gate=time(23))
    assert market.gate_ns(DAY) == At(DAY, 13, 49).now_ns()
    assert market.clears_ns(DAY) == At(DAY, 13, 50).now_ns()
    assert market.gate_ns(SECOND) == At(DAY, 23).now_ns()
    assert market.gate_ns(THIRD) == At(SECOND, 23).now_ns()
    assert bid_of(market, DAY).status == "SUBMITTED"
    late = IsoMarket(At(DAY, 13, 49), rng, Faults(FaultMenu(), rng), same_day=own, gate=time(23))
    assert bid_of(late, DAY).status == "REJECTED"
    assert "2022-08-17 13:49" in bid_of(late, DAY).reason


@pytest.mark.parametrize(
    ("bids", "gate", "clears"),
    [
        ((13, 31), (13, 49), (13, 50)),  # in time: nothing moves
        ((13, 34), (13, 49), (13, 50)),
        ((13, 40), (13, 55), (13, 56)),
        ((15, 7), (15, 22), (15, 23)),
        ((22, 58), (23, 0), (23, 1)),  # nothing could be sold of what is left then
    ],
)
def test_a_days_own_auction_waits_for_its_first_bid_and_for_no_other(
    bids: tuple[int, int], gate: tuple[int, int], clears: tuple[int, int]
) -> None:
    rng, clock = np.random.default_rng(1), At(DAY, 13, 29)
    own = SameDay(DAY, time(13, 49), time(13, 50), 15 * MINUTE_NS)
    market = IsoMarket(clock, rng, Faults(FaultMenu(), rng), same_day=own, gate=time(23))
    clock.ns = At(DAY, *bids).now_ns()
    market.advance()
    assert DAY not in market.awards, "it does not clear while nobody has bid"
    assert market.gate_ns(DAY) == At(DAY, *gate).now_ns()
    assert bid_of(market, DAY).status == "SUBMITTED"
    clock.ns = At(DAY, *gate).now_ns() - SECOND_NS
    assert bid_of(market, DAY).status == "SUBMITTED"
    assert market.gate_ns(DAY) == clock.ns + SECOND_NS, "who bids again moves nothing"
    clock.ns += SECOND_NS
    assert bid_of(market, DAY).status == "REJECTED"
    assert market.clears_ns(DAY) == At(DAY, *clears).now_ns()
    clock.ns = At(DAY, *clears).now_ns()
    market.advance()
    assert len(market.awards[DAY]) == 1
    assert (market.gate_ns(SECOND), market.gate_ns(THIRD)) == (At(DAY, 23).now_ns(), At(SECOND, 23).now_ns())


def test_a_day_on_which_nobody_bid_takes_none_once_nothing_can_be_sold() -> None:
    rng, clock = np.random.default_rng(1), At(DAY, 23)
    own = SameDay(DAY, time(13, 49), time(13, 50), 15 * MINUTE_NS)
    market = IsoMarket(clock, rng, Faults(FaultMenu(), rng), same_day=own, gate=time(23))
    assert bid_of(market, DAY).status == "REJECTED"


@pytest.mark.long
def test_where_the_prices_end_it_is_said_once_and_nothing_is_offered(lived: tuple) -> None:
    stage, said = lived[0], list[str]()
    days = MarketDays(stage, said.append)
    days.offers_next = last_day(POINT) + timedelta(days=1)
    offers = len(stage.node.state.offers)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await days.offer_days()

    asyncio.run(main())
    assert said == ["prices are known until 2022-12-31: nothing is offered for 2023-01-01 or later"]
    assert len(stage.node.state.offers) == offers


def test_what_is_said_to_be_offered_is_what_every_hour_offers_together(lived: tuple) -> None:
    stage, said, _ = lived
    lines = [line for line in said if line.startswith("offered ")]
    assert len(lines) == 3, lines
    for day, line in zip((DAY, SECOND, THIRD), lines, strict=True):
        offers = [offer for offer in stage.node.state.offers.values() if day_of(offer.start_ns) == day]
        kept = [
            offer for offer in offers if stage.node.state.offer_answers.get(offer.id) is None and offer.pool == "pool-1"
        ]
        watt_hours = sum(step.power_w for offer in kept for step in offer.segments)
        hours = len({offer.start_ns for offer in kept})
        assert line.startswith(f"offered {watt_hours / 1e6:.2f} MWh in {hours} hour"), (line, day)


@given(st.lists(st.lists(st.integers(1, 9_000_000), min_size=1, max_size=3), max_size=6))
def test_the_words_of_an_offer_tell_its_energy_and_its_least_and_greatest_power(hours: list[list[int]]) -> None:
    offers = [
        Offer(f"o{at}", "pool-1", "ENERGY", at * HOUR_NS, (at + 1) * HOUR_NS, tuple(Segment(w, 9.0) for w in steps))
        for at, steps in enumerate(hours)
    ]
    said = offers_told(offers)
    if not hours:
        assert said == "offered nothing"
        return
    numbers = [float(each) for each in re.findall(r"[0-9.]+", said)]
    power_mw = [sum(steps) / 1e6 for steps in hours]
    assert numbers[:2] == [pytest.approx(sum(power_mw), abs=0.0051), len(hours)]
    assert (numbers[2], numbers[-1]) == (
        pytest.approx(min(power_mw), abs=0.0051),
        pytest.approx(max(power_mw), abs=0.0051),
    )
