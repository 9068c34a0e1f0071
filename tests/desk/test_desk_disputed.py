"""An award at a price that our offer rules out binds, is journalled with what was offered, and alarms until it is settled."""

from __future__ import annotations

import asyncio

from desk_stage import START_NS, Stage1, fleet_of
from msgspec.structs import replace

from tieline.desk.entry import Entry
from tieline.desk.facts import AlarmChanged, AwardTaken, from_record
from tieline.desk.ports import Award, Offer, Segment
from tieline.desk.trading import view_of
from tieline.desk.views import AlarmView
from tieline.fleet.ledger import Ledger
from tieline.ids import derive
from tieline.node.read_market import disputes
from tieline.node.read_refused import refused_by_us
from tieline.resource.identity import Kind
from tieline.times import HOUR_NS, MINUTE_NS

HOUR = START_NS // HOUR_NS * HOUR_NS + HOUR_NS
OFFER = Offer("o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, (Segment(8_000.0, 20.0), Segment(4_000.0, 40.0)))
AWARD = Award("a", "o", "pool-1", "ENERGY", HOUR, HOUR + HOUR_NS, 12_000.0, 10.0)


def stage_of() -> Stage1:
    stage = Stage1(fleet_of([Kind.BATTERY] * 4))
    stage.state.offers["o"] = OFFER
    stage.clock.ns = HOUR - 10 * MINUTE_NS
    return stage


def told(stage: Stage1) -> list[AlarmView]:
    return [alarm for alarm, after_ns in refused_by_us(stage.state, stage.clock.ns) if not after_ns]


def taken(stage: Stage1) -> list[AwardTaken]:
    facts = [from_record(record) for record in stage.journal.records if record.kind == "AwardTaken"]
    return [fact for fact in facts if isinstance(fact, AwardTaken)]


def test_it_is_taken_and_an_alarm_names_award_price_and_what_was_offered_beyond_its_time_till_acknowledged() -> None:
    stage = stage_of()

    async def act() -> None:
        assert await stage.desk.awards([AWARD], "frame") == [None]
        assert await stage.desk.awards([AWARD], "frame") == [None]
        assert stage.state.awards == {"a": AWARD}, "it binds"
        (alarm,) = told(stage)
        assert alarm.title.startswith("Award a is taken, its price disputed: 12.0 kW of ENERGY from ")
        assert alarm.title.endswith(
            "the award is priced below the offer; price_per_mwh = 10.00; limit 40.00 $/MWh or more at 12.0 kW of offer o"
        )
        assert derive("award", "a") in alarm.action
        stage.clock.ns = AWARD.end_ns + HOUR_NS
        assert told(stage) == [alarm], "it is settled after its time"
        body = {"by": "test:anna", "since_ns": alarm.since_ns}
        await stage.desk.commit(
            [Entry("acknowledged", AlarmChanged(alarm.id, "acknowledged", "test:anna", body), "", ())]
        )
        assert told(stage) == []

    asyncio.run(act())
    (fact,) = taken(stage)
    assert fact.refusal is None and fact.frame == "frame"
    assert fact.dispute is not None and (fact.dispute.value, fact.dispute.limit) == (
        "10.00",
        "40.00 $/MWh or more at 12.0 kW of offer o",
    )
    (record,) = [one for one in stage.journal.records if one.kind == "AwardTaken"]
    assert record.caused_by == (derive("offer", "o"),)
    assert stage.replayed(Ledger()).disputed == stage.state.disputed
    assert view_of(stage.state, OFFER, stage.clock.ns).disputed == str(fact.dispute)
    assert disputes(stage.state, [AWARD]) == {"a": f"award a: {fact.dispute}"}


def test_a_price_that_the_market_mends_is_taken_and_ends_it_and_nothing_else_that_changes_is() -> None:
    stage = stage_of()

    async def act() -> None:
        await stage.desk.awards([AWARD], "f")
        before = stage.state.ledger.digest()
        for changed in (
            replace(AWARD, price_per_mwh=25.0),  # still below what was offered
            replace(AWARD, price_per_mwh=45.0, power_w=11_000.0),
            replace(AWARD, price_per_mwh=float("nan")),
        ):
            (refusal,) = await stage.desk.awards([changed], f"f{changed}")
            assert refusal is not None and "the first stands" in refusal.reason
            assert stage.state.awards == {"a": AWARD}
            assert "disputed" in " ".join(alarm.title for alarm in told(stage))
        mended = replace(AWARD, price_per_mwh=45.0)
        assert await stage.desk.awards([mended], "g") == [None]
        assert await stage.desk.awards([mended], "g") == [None]
        assert stage.state.awards == {"a": mended}
        assert stage.state.ledger.digest() == before, "it moves no obligation"
        assert told(stage) == []
        (refusal,) = await stage.desk.awards([AWARD], "h")
        assert refusal is not None, "a price that was right stays"
        assert stage.state.awards == {"a": mended}

    asyncio.run(act())
    replayed = stage.replayed(Ledger())
    assert (replayed.awards, replayed.disputed) == (stage.state.awards, {})


def test_whatever_an_award_is_told_as_by_turns_the_alarm_says_how_it_was_told_last() -> None:
    """What is told each minute again is one record; what reads as it did some readings ago is news all the same."""
    stage, right = stage_of(), replace(AWARD, price_per_mwh=45.0)
    less, bad = replace(right, power_w=11_000.0), replace(right, price_per_mwh=float("nan"))

    async def act() -> None:
        for award in (AWARD, right, less, AWARD, right, AWARD, less, bad, right):
            for frame in (f"{award}", f"{award}", "another"):
                await stage.desk.awards([award], frame)
                titles = [alarm.title for alarm in told(stage)]
                if award == right or (len(stage.state.awards) == len(titles) == 1 and "disputed" in titles[0]):
                    continue
                assert len(titles) == 1 and "the first stands" in titles[0], (award, titles)
                assert f"{award.power_w / 1e3:.1f} kW" in titles[0] or str(award.price_per_mwh) in titles[0], titles
            if award == right:
                assert stage.state.awards == {"a": right} and told(stage) == []

    asyncio.run(act())
    names = [record.id for record in stage.journal.records]
    assert len(set(names)) == len(names) == 9, "one for each time that it read otherwise"
    again = stage.replayed(Ledger())
    assert (again.awards, str(again.refused)) == (stage.state.awards, str(stage.state.refused))


def test_an_award_within_its_offer_alarms_nobody() -> None:
    stage = stage_of()

    async def act() -> None:
        assert await stage.desk.awards([replace(AWARD, power_w=8_000.0, price_per_mwh=20.0)], "f") == [None]
        assert told(stage) == [] and stage.state.disputed == {}

    asyncio.run(act())
    assert taken(stage)[0].dispute is None
