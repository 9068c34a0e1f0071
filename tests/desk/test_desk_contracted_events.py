"""What contracts bear of a program's calls: notice, hours and calls a season, counted from events that were made."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from contracts_stage import NEW, book
from desk_stage import Stage1, fleet_of
from programs_stage import COUNT, START, Programs

from tieline.contract.budget import Call
from tieline.contract.programs import parse_programs
from tieline.desk import events
from tieline.desk.agreed import Agreements
from tieline.desk.consents import decide_agreed, decide_word
from tieline.desk.desk_views import EventPreview
from tieline.desk.event_stack import newest
from tieline.desk.programs import EventState, ProgramEvent
from tieline.desk.screens import ComposeEvent
from tieline.desk.state import DeskState
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS

PROGRAM = """
[[program]]
type = "direct-load-control"
id = "peak"
version = "2023.1"
source = "a sample"
certainty = "sample"
jurisdiction = "US"
zone = "UTC"
currency = "USD"
eligibility = "demand_response"
market = "utility-dr"
kinds = ["battery"]
effective_from = 2023-01-01
triggers = [{ by = "operator", reasons = ["peak"] }]
budget = { hours_a_call = 4.0, calls_a_day = 1, calls_a_season = 15 }
opt_out = { is_allowed = true }
off_frac = 0.5
longest_off_s = 900
snapback = { release_s = 2700, stages = 4, most_rise_frac = 0.15 }
"""


class Contracted(Programs):
    """Ten batteries under ten contracts whose terms are given."""

    def __init__(self, terms: str = "", programs: str = "", covered: int = COUNT) -> None:
        super().__init__()
        made = parse_programs(programs, "programs.toml") if programs else ()
        self.state.agreed = Agreements(book(covered, terms), self.state.fleet, "UTC", made)
        self.state.agreed.tick(self.clock.ns)

    async def at(self, at_ns: int) -> None:
        """Go to an instant, and do what a beat and the events' clock do there."""
        self.clock.ns = at_ns
        self.state.fleet.taken_at_ns[:] = at_ns
        await self.desk.commit(decide_agreed(self.state, at_ns))
        await self.desk.settle()
        await self.desk.commit(events.due(self.state, at_ns))
        await self.desk.settle()

    async def run(self, power_w: float, start_ns: int, hours: float = 1.0) -> str | Refusal:
        """Run one event to its end, and return its id."""
        event = await self.approved(power_w, start_ns=start_ns, end_ns=start_ns + int(hours * HOUR_NS))
        if isinstance(event, Refusal):
            return event
        await self.at(start_ns)
        await self.at(start_ns + int(hours * HOUR_NS))
        return event.id

    def called(self, event: str) -> list[int]:
        held = newest(self.state, event)
        return [] if held is None else held.rows.tolist()


def test_calls_of_a_season_are_counted_from_events_and_the_refusal_names_contract_and_terms() -> None:
    async def play() -> None:
        stage = Contracted("calls_a_season = 2")
        for day in range(2):
            assert isinstance(await stage.run(40_000.0, START + day * DAY_NS), str)
        refused = await stage.compose(40_000.0, start_ns=START + 3 * DAY_NS, end_ns=START + 3 * DAY_NS + HOUR_NS)
        assert isinstance(refused, Refusal)
        assert (refused.reason, refused.field, refused.value, refused.limit) == (
            "the budget is spent", "calls_a_season", "3", "2",
        )  # fmt: skip
        assert refused.rule.startswith("c") and refused.rule.endswith("terms 1")
        again = stage.replayed(Ledger())
        assert again.called == stage.state.called, "a restart counts the same from the journal"

    asyncio.run(play())


def test_a_call_that_nobody_got_is_no_call_and_who_was_passed_over_has_his_budget_still() -> None:
    async def play() -> None:
        stage = Contracted("calls_a_season = 1")
        first = await stage.approved(5_000.0, group="feeder-1")
        await stage.at(START)
        had = stage.called(first.id)
        assert had and max(had) < 5
        await stage.at(START + HOUR_NS)
        cancelled = await stage.approved(5_000.0, start_ns=START + DAY_NS, end_ns=START + DAY_NS + HOUR_NS)
        await stage.step(cancelled.id, EventState.CANCELED)
        later = START + 2 * DAY_NS
        second = await stage.approved(50_000.0, start_ns=later, end_ns=later + HOUR_NS)
        assert isinstance(second, ProgramEvent)
        await stage.at(later)
        assert stage.called(second.id) == sorted(set(range(COUNT)) - set(had))

    asyncio.run(play())


@pytest.mark.parametrize(
    ("terms", "hours", "field", "limit"),
    [
        ("notice_s = 7200", 1.0, "notice_s", ">= 7200"),
        ("hours_a_call = 0.5", 1.0, "hours", "0 to 0.5"),
        ("hours_a_season = 1.5", 2.0, "hours_a_season", "1.5"),
    ],
)
def test_an_event_that_no_contract_bears_is_refused_with_the_term(
    terms: str, hours: float, field: str, limit: str
) -> None:
    async def play() -> None:
        stage = Contracted(terms)
        refused = await stage.compose(40_000.0, end_ns=START + int(hours * HOUR_NS))
        assert isinstance(refused, Refusal)
        assert (refused.field, refused.limit) == (field, limit)

    asyncio.run(play())


def test_notice_counts_from_the_approval_and_not_from_the_first_wish() -> None:
    async def play() -> None:
        stage = Contracted("notice_s = 3600")
        start_ns = stage.clock.ns + 2 * HOUR_NS
        event = await stage.compose(40_000.0, start_ns=start_ns, end_ns=start_ns + HOUR_NS)
        await stage.step(event.id, EventState.SUBMITTED, "ada")
        stage.clock.ns = start_ns - 30 * MINUTE_NS
        late = await stage.step(event.id, EventState.APPROVED)
        assert isinstance(late, Refusal)
        assert (late.reason, late.value) == ("the notice is too short", "1800")

    asyncio.run(play())


def test_a_programs_own_budget_counts_beside_the_contracts() -> None:
    async def play() -> None:
        stage = Contracted(programs=PROGRAM)
        assert isinstance(await stage.run(40_000.0, START), str)
        refused = await stage.compose(40_000.0, start_ns=START + HOUR_NS, end_ns=START + 2 * HOUR_NS)
        assert isinstance(refused, Refusal)
        assert (refused.field, refused.rule) == ("calls_a_day", "peak 2023.1")

    asyncio.run(play())


def test_a_preview_counts_whom_contracts_keep_from_it_and_says_why() -> None:
    stage = Contracted(covered=4)
    wish = ComposeEvent("peak", "pool-1", START, START + HOUR_NS, 40_000.0)
    shown = events.preview(stage.state, wish, stage.clock.ns)
    assert (shown.devices, shown.unagreed) == (4, 6)
    other = events.preview(stage.state, ComposeEvent("heat", "pool-1", START, START + HOUR_NS, 1e4), stage.clock.ns)
    assert other.devices > 0, "demand response is agreed to, whatever the program calls itself"


def test_a_preview_says_that_no_contract_knows_its_program_and_how_many_of_which_kind_it_calls() -> None:
    """Any text is a program's name, and `own-thermostat` calls batteries: where no contract names it, nothing bars them."""

    def said(state: DeskState, program: str) -> str:
        wish = ComposeEvent(program, "pool-1", START, START + HOUR_NS, 40_000.0)
        shown = events.preview(state, wish, START)
        assert isinstance(shown, EventPreview) and shown.devices == 10
        return shown.unknown_program

    assert said(Programs().state, "own-thermostat") == (
        "no contract knows the program 'own-thermostat': there are none here, and everything eligible in pool-1 is "
        "called whatever its kind: 10 battery"
    )
    stage = Contracted()
    assert (said(stage.state, "peak"), said(stage.state, " demand_response ")) == ("", "")
    assert said(stage.state, "own-thermostat") == (
        "no contract in pool-1 knows the program 'own-thermostat': everything is called that a contract lets be called "
        "for demand_response, whatever its kind: 10 battery"
    )
    others = Stage1(fleet_of([Kind.BATTERY] * 2 + [Kind.INTERRUPTIBLE_LOAD], rating_w=20_000.0))
    others.state.fleet.power_w[2] = others.state.base_w[2] = -10_000.0
    others.state.fleet.available_up_w[:2], others.state.fleet.energy_available_wh[:2] = 20_000.0, 1e5
    others.state.agreed = Agreements(book(1), others.state.fleet, "UTC", serves_others=True)
    others.state.agreed.tick(START)
    wish = ComposeEvent("heat", "pool-1", START, START + HOUR_NS, 40_000.0)
    shown = events.preview(others.state, wish, START)
    assert "for demand_response or that has none, whatever its kind: " in shown.unknown_program
    kinds = {"battery": 2, "interruptible_load": 1}
    assert shown.by_kind == kinds and shown.unknown_program.endswith(": 2 battery, 1 interruptible load")


def test_who_takes_his_consent_to_a_program_back_is_let_go_and_another_is_called_for_him() -> None:
    async def play() -> None:
        stage = Contracted()
        event = await stage.approved(10_000.0)
        await stage.at(START)
        had = stage.called(event.id)
        assert had
        gone = had[0]
        stage.clock.ns += MINUTE_NS
        entries, refusal = decide_word(
            stage.state, f"c{gone}", ("peak", "demand_response"), None, "olga", "", stage.clock.ns
        )
        assert refusal is None
        await stage.desk.commit(entries)
        await stage.at(stage.clock.ns)
        assert not stage.state.opted_out.any(), "he is still the market's"
        settled = stage.state.claims.arbitrate(stage.clock.ns, np.array([gone], np.int32))
        assert settled.winner[0] < 0
        assert gone not in stage.called(event.id)
        asked_w = sum(newest(stage.state, event.id).value)
        assert asked_w == pytest.approx(10_000.0, rel=0.06)
        await stage.at(stage.clock.ns + MINUTE_NS)
        assert gone not in stage.called(event.id), "nor is he called again"

    asyncio.run(play())


@pytest.mark.parametrize("beats", [1, 6])
def test_for_who_takes_all_consent_back_others_are_called_with_the_next_beat_and_too_many_are_let_go_as_he_is_back(
    beats: int,
) -> None:
    """No meter has to show the lack first, as it has to of an opt-out."""

    def asked_w(stage: Contracted, event: str) -> float:
        held, now_ns = newest(stage.state, event), stage.clock.ns
        winner = stage.state.claims.arbitrate(now_ns, held.rows).winner
        return float(held.value[winner >= 0].sum())

    async def play() -> None:
        stage = Contracted()
        event = await stage.approved(20_000.0)
        await stage.at(START)
        gone = stage.called(event.id)[0]
        assert asked_w(stage, event.id) == pytest.approx(20_000.0)
        stage.clock.ns += MINUTE_NS
        entries, refusal = decide_word(stage.state, f"c{gone}", (), None, "olga", "", stage.clock.ns)
        assert refusal is None
        await stage.desk.commit(entries)
        for _ in range(beats):
            await stage.at(stage.clock.ns + 10**9)
            assert asked_w(stage, event.id) == pytest.approx(20_000.0, rel=0.06)
        assert stage.state.opted_out[gone]
        entries, refusal = decide_word(stage.state, f"c{gone}", (), NEW, "olga", "", stage.clock.ns)
        assert refusal is None
        await stage.desk.commit(entries)
        for _ in range(beats):
            await stage.at(stage.clock.ns + 10**9)
            assert asked_w(stage, event.id) == pytest.approx(20_000.0, rel=0.06)

    asyncio.run(play())


def test_an_event_is_not_made_longer_than_the_contracts_of_those_it_called_bear() -> None:
    async def play() -> None:
        stage = Contracted("hours_a_call = 1.5")
        event = await stage.approved(10_000.0)
        await stage.at(START)
        _, longer = events.decide_extend(stage.state, event.id, 30, "ada with bo", stage.clock.ns)
        assert isinstance(longer, ProgramEvent)
        _, refused = events.decide_extend(stage.state, event.id, 31, "ada with bo", stage.clock.ns)
        assert isinstance(refused, Refusal) and refused.limit == "0 to 1.5"

    asyncio.run(play())


def test_consent_that_ends_within_an_event_keeps_its_device_out_of_it() -> None:
    """A contract that ends in the midst of a call is not relied on for any of it."""

    async def play() -> None:
        stage = Contracted()
        stage.state.agreed.book.contracts["c0"]  # the contract stands; its consent is taken back and given for later
        entries, _ = decide_word(stage.state, "c0", (), None, "olga", "", stage.clock.ns)
        await stage.desk.commit(entries)
        event = await stage.approved(50_000.0)
        stage.clock.ns = START + MINUTE_NS
        entries, refusal = decide_word(stage.state, "c0", (), NEW, "olga", "", stage.clock.ns)
        assert refusal is None
        await stage.desk.commit(entries)
        await stage.at(stage.clock.ns)
        assert 0 not in stage.called(event.id)
        assert stage.state.called[event.id].call == Call(START, START + HOUR_NS)

    asyncio.run(play())
