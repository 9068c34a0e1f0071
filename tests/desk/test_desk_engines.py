"""Which backup engines a program event calls: those that a rule names, within their permit's hours, and no other."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from engine_stage import HOUR_NS, ORDER, PLACES, START, EngineStage, permit
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tieline.contract.eligibility import FOSSIL, Case, judge
from tieline.desk import events
from tieline.desk.apply import apply
from tieline.desk.event_left_out import told_left_out
from tieline.desk.facts import EngineStarted, EngineStopped, from_record
from tieline.desk.state import DeskState
from tieline.errors import ConfigError
from tieline.fleet.claims import ClaimBook
from tieline.resource.claim import Refusal
from tieline.resource.identity import Fuel
from tieline.times import MINUTE_NS

EMERGENCY, MONEY = "emergency-load-reduction", "peak-rebate"
BATTERIES = [2, 3]


async def begun(stage: EngineStage, program: str, hours: float = 1.0) -> str:
    event = await stage.composed(program, hours)
    assert not isinstance(event, Refusal), event
    await stage.at(max(START, stage.clock.ns), 0.0, 0.0)
    return event.id


def test_an_emergency_calls_the_engine_that_a_rule_and_a_permit_name_and_an_economic_event_none() -> None:
    async def play() -> None:
        stage = EngineStage(permits=(permit(),), orders=(ORDER,))
        assert stage.called(await begun(stage, EMERGENCY)) == [0, *BATTERIES]
        for program in (MONEY, "demand_response", "peak"):
            stage = EngineStage(permits=(permit(),), orders=(ORDER,))
            assert stage.called(await begun(stage, program)) == BATTERIES

    asyncio.run(play())


def test_hours_count_by_what_they_were_for_and_at_the_limit_the_engine_is_refused_by_rule_and_source() -> None:
    async def play() -> None:
        stage = EngineStage(permits=(permit(1.5),), orders=(ORDER,))
        await begun(stage, EMERGENCY)
        for minute in range(1, 60):
            await stage.at(START + minute * MINUTE_NS, 40e3)
            now = stage.state.engines.hours(stage.state.engine_runs, 0, stage.clock.ns)[0]
            assert now.used_h == pytest.approx((minute - 1) / 60)
        await stage.at(START + HOUR_NS, 0.0)
        emergency, *others = stage.state.engines.hours(stage.state.engine_runs, 0, stage.clock.ns)
        assert emergency.used_h == pytest.approx(59 / 60)  # the first reading that shows it comes a minute later
        assert (emergency.left_h, emergency.warns) == (pytest.approx(1.5 - 59 / 60), False)
        assert [one.used_h for one in others] == [0.0, 0.0, 0.0]
        event = await stage.composed(EMERGENCY)
        await stage.at(stage.clock.ns + MINUTE_NS, 0.0)
        assert stage.called(event.id) == BATTERIES
        why = told_left_out(stage.state, event, stage.clock.ns).devices
        assert why["r0"] == "the engine's hours are used (air-1 7: 1.5 (condition 4))"
        assert "us-ca-prohibited-by-order 2024.2" in why["r1"]  # has no permit

    asyncio.run(play())


def test_a_call_that_runs_ends_for_an_engine_as_its_hours_are_used() -> None:
    async def play() -> None:
        stage = EngineStage(permits=(permit(1.0),), orders=(ORDER,))
        await stage.at(START - 30 * MINUTE_NS, 40e3)  # it ran on its owner's own, which this permit does not count
        name = await begun(stage, EMERGENCY)
        assert stage.called(name) == [0, *BATTERIES]
        stage.state.engines = EngineStage(permits=(permit(0.5),)).state.engines  # a tighter permit, and no order
        await stage.at(START + 10 * MINUTE_NS, 40e3)
        assert stage.called(name) == BATTERIES

    asyncio.run(play())


def test_an_event_is_not_made_longer_than_the_hours_of_an_engine_that_it_has() -> None:
    async def play() -> None:
        stage = EngineStage(permits=(permit(1.25),), orders=(ORDER,))
        name = await begun(stage, EMERGENCY)
        await stage.at(START + MINUTE_NS, 40e3)
        _, longer = events.decide_extend(stage.state, name, 10, "bo", stage.clock.ns)
        assert not isinstance(longer, Refusal)
        _, refused = events.decide_extend(stage.state, name, 30, "bo", stage.clock.ns)
        assert isinstance(refused, Refusal)
        assert (refused.rule, refused.limit) == ("air-1 7", "1.25 (condition 4)")

    asyncio.run(play())


def test_a_restart_counts_the_same_hours_and_what_no_server_saw_as_run() -> None:
    async def play() -> None:
        stage = EngineStage(permits=(permit(),), orders=(ORDER,))
        await begun(stage, EMERGENCY, 2.0)
        await stage.at(START + MINUTE_NS, 40e3, 30e3)
        await stage.at(START + HOUR_NS, 0.0, 30e3)
        again = DeskState.empty(stage.state.fleet, ClaimBook(stage.state.fleet), stage.ledger)
        for record in stage.journal.records:
            fact = from_record(record)
            assert fact is not None
            if isinstance(fact, EngineStarted | EngineStopped):
                apply(again, record.id, fact, record.recorded_at_ns)
        assert again.engine_runs == stage.state.engine_runs
        assert list(again.engine_runs.open) == ["r1"]
        later_ns = START + 5 * HOUR_NS  # no server ran: r1 is at rest as the next one hears it
        new = EngineStage(permits=(permit(), structs.replace(permit(9.0, "r1"), id="air-2")), orders=(ORDER,))
        new.state.engine_runs = again.engine_runs
        await new.at(later_ns, 0.0, 0.0)
        of_r1 = new.state.engines.hours(new.state.engine_runs, 1, later_ns)
        used = [one.used_h for one in of_r1 if "non_emergency" in one.uses]
        assert used == [pytest.approx(5 - 1 / 60)] * 2
        assert new.state.engines.hours(new.state.engine_runs, 0, later_ns)[0].used_h == pytest.approx(59 / 60)

    asyncio.run(play())


def test_a_run_over_new_year_counts_in_both_years_of_the_desks_zone() -> None:
    async def play() -> None:
        stage = EngineStage(permits=(permit(),), orders=(ORDER,))
        midnight_ns = round(datetime(2024, 1, 1, 8, tzinfo=UTC).timestamp()) * 10**9  # in Los Angeles
        await stage.at(midnight_ns - HOUR_NS, 30e3)
        await stage.at(midnight_ns + 3 * HOUR_NS, 0.0)
        runs, engines = stage.state.engine_runs, stage.state.engines
        used = [
            next(one.used_h for one in engines.hours(runs, 0, at_ns) if one.uses == ("non_emergency",))
            for at_ns in (midnight_ns - 1, midnight_ns)
        ]
        assert used == [1.0, 3.0]

    asyncio.run(play())


@given(
    st.sampled_from(PLACES), st.sampled_from(["", "disadvantaged_community"]),
    st.sampled_from([*sorted(FOSSIL), "none", "biogas"]), st.sampled_from([EMERGENCY, MONEY, "demand_response"]),
    st.booleans(), st.booleans(), st.sampled_from([0.0, 0.5, 1.0, 50.0]), st.booleans(),
)  # fmt: skip
@settings(max_examples=120)
def test_no_engine_is_ever_called_without_a_rule_that_names_it(
    place: str, location: str, fuel: str, program: str, has_order: bool, names_it: bool, hours: float, has_permit: bool
) -> None:
    """Held against the tables themselves: exactly this case allowed, with a permit whose hours bear the whole call."""
    fuel = fuel if fuel in {one.value for one in Fuel} else "diesel"
    orders = (structs.replace(ORDER, jurisdiction=place, names_disadvantaged=names_it),) if has_order else ()

    async def called() -> list[int]:
        stage = EngineStage(place, location, fuel, (permit(hours),) if has_permit else (), orders)
        event = await stage.composed(program)
        if isinstance(event, Refusal):
            return []
        await stage.at(START, 0.0, 0.0)
        return stage.called(event.id)

    order = ("permits_disadvantaged" if names_it else "permits") if has_order else ""
    kind = "emergency" if program == EMERGENCY else "market"
    asked = {EMERGENCY: "emergency_load_reduction"}.get(program, "demand_response")
    verdict = judge(Case("backup_generator", fuel, place, asked, location, kind, order))
    may = verdict.is_eligible and has_permit and hours >= 1.0
    rows = asyncio.run(called())
    assert (0 in rows) == may
    assert 1 not in rows


def test_without_what_a_server_knows_of_engines_none_is_called() -> None:
    async def play() -> None:
        stage = EngineStage(permits=(permit(),), orders=(ORDER,))
        stage.state.engines, stage.state.enrolments = None, {}
        assert stage.called(await begun(stage, EMERGENCY)) == BATTERIES

    asyncio.run(play())


def test_what_is_not_heard_fit_starts_no_run_and_ends_none() -> None:
    async def play() -> None:
        stage = EngineStage()
        stage.state.fleet.quality[0] = 0xFFFF
        await stage.at(START, 30e3)
        assert not stage.state.engine_runs.open
        stage.state.fleet.quality[0] = 0
        await stage.at(START, 30e3)
        stage.state.fleet.quality[0] = 0xFFFF
        await stage.at(START + HOUR_NS, 0.0)
        assert list(stage.state.engine_runs.open) == ["r0"]
        assert not stage.state.engine_runs.ended

    asyncio.run(play())


@pytest.mark.parametrize(
    ("permits", "orders", "says"),
    [
        ((permit(1.0, "r2"),), (), "$.permits[0].resources = 'r2': give a backup generator"),
        ((permit(), permit()), (), "$.permits[1].resources = 'r0': air-1 has it"),
        ((permit(9_000.0),), (), r"$.permits[0].limits[0].hours = 9000: give 0 to 8784"),
        ((), (structs.replace(ORDER, jurisdiction="Texas"),), "$.orders[0].jurisdiction = 'Texas': give one of EU"),
        ((), (structs.replace(ORDER, ends=ORDER.starts),), "$.orders[0].ends = "),
    ],
)
def test_a_permit_or_order_that_is_none_is_refused_by_its_place(permits: tuple, orders: tuple, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        EngineStage(permits=permits, orders=orders)
    assert says in str(error.value)
