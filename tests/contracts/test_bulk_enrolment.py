"""Many enrolments from a file: every row and fault told, all or nothing, and the same file twice has one effect."""

from __future__ import annotations

import pytest
from agreed import CONTRACTS, contracts, ns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tieline.contract.admission import Promises, Standing, reservation_refusal
from tieline.contract.budget import Call
from tieline.contract.bulk import Bulk, TableRow, enrol_rows
from tieline.contract.engine_hours import HourMeter, hour_rules
from tieline.contract.enrolment import State, Why, step
from tieline.contract.membership import EnrolmentBook, review_memberships
from tieline.contract.minimum import Member
from tieline.contract.party import withdraw
from tieline.contract.programs import sample_programs
from tieline.contract.progress import answer_review, pass_time
from tieline.fleet.booking import Capacity
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, HOUR_NS, SECOND_NS

NOW = ns("2026-05-01T00:00:00")
AGREED = contracts()
PROGRAMS = sample_programs()
BY_ID = {one.id: one for one in PROGRAMS}
GOOD = {
    "location": "site-1", "resource": "line-1", "kind": "process_line", "fuel": "", "power_w": "150000",
    "rating_w": "200000", "program": "emergency-load-reduction", "contract": "contract-1",
    "starts": "2026-06-01T00:00:00-07:00", "ends": "", "aggregation": "",
}  # fmt: skip


def enrolled(*rows: dict[str, str], book: EnrolmentBook | None = None, ledger: Ledger | None = None) -> Bulk:
    table = [TableRow(at, {**GOOD, **row}) for at, row in enumerate(rows, 2)]
    promises = Promises(ledger or Ledger(), NOW)
    return enrol_rows(table, AGREED, PROGRAMS, book or EnrolmentBook(), promises, NOW, "clerk")


ROWS = st.lists(
    st.fixed_dictionaries({
        "location": st.sampled_from(["site-1", "site-2", "site-9"]),
        "resource": st.sampled_from(["line-1", "line-2"]),
        "program": st.sampled_from(["emergency-load-reduction", "base-interruptible", "nothing"]),
        "power_w": st.sampled_from(["150000", "0", "nan"]),
        "aggregation": st.sampled_from(["", "agg-1"]),
    }),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_a_file_has_one_effect_however_often_it_is_run_and_none_if_any_row_is_refused(rows: list) -> None:
    first = enrolled(*rows)
    assert [row.row for row in first.rows] == list(range(2, len(rows) + 2))
    assert all(bool(row.faults) == (row.outcome == "refused") for row in first.rows)
    if not first.is_taken:
        assert first.book == EnrolmentBook()
        return
    again = enrolled(*rows, book=first.book)
    assert again.book == first.book and again.count("unchanged") == len(rows)
    assert len(first.book.enrolments) == first.count("added") == len(rows)
    places = [(one.location, one.market) for one in first.book.enrolments.values()]
    programs = {place: {one.program for one in first.book.enrolments.values() if (one.location, one.market) == place}
                for place in places}  # fmt: skip
    assert all(len(each) == 1 for each in programs.values())


WRONG = [
    ({"location": ""}, "location = ''"),
    ({"location": "site-9"}, "location = 'site-9': is not in the file"),
    ({"contract": "contract-9"}, "contract = 'contract-9'"),
    ({"resource": "../x"}, "resource = '../x'"),
    ({"kind": "toaster"}, "kind = 'toaster'"),
    ({"kind": "pv"}, "emergency-load-reduction takes"),
    ({"fuel": "coal"}, "fuel = 'coal'"),
    ({"kind": "process_line", "fuel": "diesel"}, "fuel = 'diesel'"),
    ({"power_w": "-1"}, "power_w = '-1'"),
    ({"power_w": "150 kW"}, "power_w = '150 kW'"),
    ({"power_w": "inf"}, "power_w = 'inf'"),
    ({"power_w": "300000"}, "give at most rating_w 200000"),
    ({"program": "nothing"}, "program = 'nothing'"),
    ({"program": "own-thermostat", "kind": "thermostat"}, "the contract does not have this product"),
    ({"program": "cycling-half", "kind": "thermostat"}, "consent is missing, over or withdrawn"),
    ({"program": "base-interruptible"}, "aggregation = ''"),
    ({"starts": "2026-06-01T00:00:00"}, "starts = '2026-06-01T00:00:00'"),
    ({"starts": "1 June"}, "give ISO 8601 with an offset"),
    ({"starts": "2020-06-01T00:00:00Z"}, "none holds on 2020-06-01"),
    ({"starts": "2027-06-01T00:00:00Z"}, "no terms hold then"),
    ({"ends": "2026-05-01T00:00:00-07:00"}, "give one after starts"),
    ({"program": "hourly-price", "kind": "battery"}, "lies in US-CA: hourly-price is of US-PJM"),
]


@pytest.mark.parametrize(("row", "told"), WRONG, ids=[each[1] for each in WRONG])
def test_a_faulty_row_is_refused_with_field_value_and_limit(row: dict, told: str) -> None:
    made = enrolled(row, {"location": "site-2"})
    assert told in "; ".join(made.rows[0].faults)
    assert made.rows[1].outcome == "added" and not made.is_taken and made.book == EnrolmentBook()


INTERRUPTIBLE = {"program": "base-interruptible", "aggregation": "north-1"}


@pytest.mark.parametrize("rows", [(INTERRUPTIBLE, {}), ({}, INTERRUPTIBLE)], ids=["never first", "never last"])
def test_a_line_of_200_kw_is_promised_once_not_to_two_programs(rows: tuple[dict[str, str], ...]) -> None:
    made = enrolled(*rows)
    told = "; ".join(made.rows[1].faults)
    assert not made.is_taken
    assert "base-interruptible takes part beside no other" in told
    assert "power_w = '150000': that is more than the resource has" in told
    assert "50000 W: rating 200000, of it 150000 in" in told


def test_a_line_stands_at_one_site(rows=(INTERRUPTIBLE, {**INTERRUPTIBLE, "location": "site-2"})) -> None:
    made = enrolled(*rows)
    assert "location = 'site-2': a resource is at one location" in "; ".join(made.rows[1].faults)


def test_every_fault_of_a_row_is_told() -> None:
    made = enrolled({"kind": "toaster", "power_w": "0", "location": "site-9"})
    assert len(made.rows[0].faults) >= 3


def test_the_longer_notice_of_contract_and_program_is_kept() -> None:
    """The emergency program gives none (0 s), the contract asks for 900 s."""
    who = standing("emergency-load-reduction")
    ledger, start = Ledger(), ns("2026-07-01T23:00:00")
    ledger.set_capacity("line-1", Capacity(200_000.0, 0.0))
    call = Call(start, start + HOUR_NS)
    assert reservation_refusal(who, call, 1e5, ledger, start - 900 * SECOND_NS) is None
    assert reservation_refusal(who, call, 1e5, ledger, start - 899 * SECOND_NS).field == "notice_s"


def test_a_row_twice_is_told_by_the_row_that_was_first() -> None:
    row = {"program": "peak-rebate", "kind": "battery"}
    made = enrolled(row, row)
    assert made.rows[0].outcome == "added"
    assert "is in row 2, too" in made.rows[1].faults[0]


def test_what_is_enrolled_with_other_values_is_not_overwritten() -> None:
    row = {"program": "peak-rebate", "kind": "battery"}
    first = enrolled(row)
    changed = enrolled({**row, "power_w": "100"}, book=first.book)
    assert "is enrolled with other values" in changed.rows[0].faults[0] and changed.book is first.book


def test_a_second_program_of_the_same_market_names_who_holds_the_location() -> None:
    first = enrolled({"program": "peak-rebate", "kind": "battery"})
    made = enrolled({"program": "base-interruptible", "aggregation": "agg-1"}, book=first.book)
    assert "held by peak-rebate" in "; ".join(made.rows[0].faults)


def promised(up_w: float) -> Ledger:
    ledger, start = Ledger(), ns("2026-07-01T20:00:00")
    ledger.set_capacity("line-1", Capacity(200_000.0, 0.0))
    ledger.reserve("award-1", "line-1", "caiso-energy", start, start + HOUR_NS, up_w, 0.0)
    return ledger


def test_what_the_book_has_promised_to_another_is_not_enrolled_a_second_time() -> None:
    row = {"program": "peak-rebate", "kind": "battery"}
    made = enrolled(row, ledger=promised(10.0))
    assert "held by caiso-energy" in made.rows[0].faults[0] and "2026-07-01T20:00:00Z" in made.rows[0].faults[0]
    assert enrolled({**row, "starts": "2026-07-01T21:00:00Z"}, ledger=promised(10.0)).is_taken
    assert enrolled({**row, "ends": "2026-07-01T20:00:00Z"}, ledger=promised(10.0)).is_taken


@given(st.integers(1, 200_000), st.integers(1, 200_000))
@settings(max_examples=30, deadline=None)
def test_an_increment_fits_beside_what_is_promised_or_is_refused(sold: int, asked: int) -> None:
    """Dual enrolment only for increments beside existing commitments (ELRP): together within the rating."""
    gives = structs.replace(BY_ID["emergency-load-reduction"], notice_s=900)
    table = [TableRow(2, {**GOOD, "power_w": str(asked)})]
    made = enrol_rows(table, AGREED, [gives], EnrolmentBook(), Promises(promised(sold), NOW), NOW, "clerk")
    assert made.is_taken == (sold + asked <= 200_000)


REVIEWED = {"program": "base-interruptible", "aggregation": "agg-1"}


def test_a_reviewed_program_waits_for_the_utility_and_is_reviewed_anew_when_a_member_joins() -> None:
    first = enrolled(REVIEWED).book
    assert [one.state for one in first.enrolments.values()] == [State.UNDER_REVIEW]
    case = first.reviews[0]
    assert (case.utility, case.due_ns - case.opened_ns) == ("utility-1", 30 * DAY_NS)
    yes = answer_review(first, case.id, "approved", "utility clerk", NOW + DAY_NS)
    assert answer_review(yes, case.id, "approved", "utility clerk", NOW + 2 * DAY_NS) == yes
    begun = pass_time(yes, AGREED, ns("2026-06-02T00:00:00"))
    assert [one.state for one in begun.enrolments.values()] == [State.ACTIVE]
    more = enrolled({**REVIEWED, "location": "site-2", "resource": "line-2"}, book=begun).book
    assert [one.state for one in more.enrolments.values()] == [State.ACTIVE, State.UNDER_REVIEW]
    assert len(more.reviews) == 2 and not more.reviews[1].answer
    no = answer_review(more, more.reviews[1].id, "rejected", "c", ns("2026-06-03T00:00:00"), ground="capacity")
    assert [one.state for one in no.enrolments.values()] == [State.ACTIVE, State.ENDED]
    later = ns("2026-06-09T00:00:00")
    assert answer_review(no, more.reviews[1].id, "rejected", "c", later, ground="capacity") == no, "one effect"
    member = next(iter(more.enrolments))
    named = answer_review(
        more, more.reviews[1].id, "rejected", "c", ns("2026-06-03T00:00:00"), ground="safety", against=[member]
    )
    assert named.enrolments[member].steps[-1].why is Why.REJECTED
    assert named.enrolments[member].state is State.SUSPENDED
    assert isinstance(answer_review(more, "none", "approved", "c", NOW), Refusal)


def test_an_aggregation_is_reviewed_anew_when_a_member_leaves_but_not_when_the_review_itself_took_it() -> None:
    both = enrolled(REVIEWED, {**REVIEWED, "location": "site-2", "resource": "line-2"}).book
    first, second = both.enrolments
    yes = answer_review(both, both.reviews[0].id, "approved", "c", NOW + DAY_NS)
    assert review_memberships(yes, AGREED, PROGRAMS, NOW + 2 * DAY_NS) == yes
    left = step(yes.enrolments[second], State.ENDED, Why.OWNER_LEFT, "owner", NOW + 3 * DAY_NS)
    gone = structs.replace(yes, enrolments={**yes.enrolments, second: left})
    again = review_memberships(gone, AGREED, PROGRAMS, NOW + 3 * DAY_NS)
    assert [case.members for case in again.reviews if not case.answer] == [(first,)]
    assert again.enrolments[first].state is State.CONFIRMED, "the rest goes on"
    no = answer_review(both, both.reviews[0].id, "rejected", "c", NOW + DAY_NS, ground="capacity", against=[second])
    assert no.enrolments[second].state is State.ENDED
    assert review_memberships(no, AGREED, PROGRAMS, NOW + 2 * DAY_NS) == no


def test_time_begins_suspends_resumes_and_ends_and_nothing_twice() -> None:
    row = {"program": "peak-rebate", "kind": "battery", "ends": "2026-09-01T00:00:00Z"}
    book = enrolled(row).book
    name = next(iter(book.enrolments))
    gone = withdraw(AGREED.contracts["contract-1"], ("peak-rebate",), ns("2026-07-01T00:00:00"))
    without = structs.replace(AGREED, contracts={"contract-1": gone})
    seen = []
    for at, held in (("2026-05-20", AGREED), ("2026-06-02", AGREED), ("2026-07-01", without), ("2026-07-02", AGREED),
                     ("2026-09-01", AGREED), ("2026-09-02", AGREED)):  # fmt: skip
        book = pass_time(book, held, ns(f"{at}T00:00:00"))
        assert pass_time(book, held, ns(f"{at}T00:00:00")) == book
        seen.append(book.enrolments[name].state.value)
    assert seen == ["confirmed", "active", "suspended", "active", "ended", "ended"]


def standing(program: str, **row: str) -> Standing:
    book = enrolled({"program": program, **row}).book
    for case in book.reviews:
        book = answer_review(book, case.id, "approved", "c", NOW)
    one = next(iter(pass_time(book, AGREED, ns("2026-06-02T00:00:00")).enrolments.values()))
    return Standing(one, BY_ID[program], AGREED.contracts["contract-1"], AGREED.locations["site-1"])


START = ns("2026-07-01T20:00:00")
CALL = Call(START, START + 2 * HOUR_NS)


@pytest.mark.parametrize(
    ("change", "power_w", "field"),
    [
        ({}, 150_000.0, ""),
        ({}, 150_001.0, "power_w"),
        ({"calls": tuple(Call(at, at + HOUR_NS) for at in range(START - 12 * DAY_NS, START, DAY_NS))}, 1e5, "calls"),
        ({"contract": withdraw(AGREED.contracts["contract-1"], ("base-interruptible",), START + 1)}, 1e5, "product"),
        ({"location": structs.replace(AGREED.locations["site-1"], jurisdiction="US-XX")}, 1e5, "fuel"),
    ],
    ids=["may", "more than enrolled", "contract's calls a season", "withdrawn in the call", "eligibility"],
)
def test_a_call_is_reserved_only_where_everything_agreed_stands(change: dict, power_w: float, field: str) -> None:
    """The contract allows 12 calls a season where the program allows 10 a month and has no bound of calls a season."""
    who = structs.replace(standing("base-interruptible", aggregation="agg-1"), **change)
    if "calls" in change:
        budget = structs.replace(who.program.budget, calls_a_month=None)
        who = structs.replace(who, program=structs.replace(who.program, budget=budget))
    ledger = Ledger()
    ledger.set_capacity("line-1", Capacity(200_000.0, 0.0))
    why = reservation_refusal(who, CALL, power_w, ledger, START - HOUR_NS)
    assert (why is None) if not field else field in why.field, why


def test_a_reservation_asks_book_size_state_and_hour_meter() -> None:
    who = standing("base-interruptible", aggregation="agg-1")
    now = START - HOUR_NS
    sold = reservation_refusal(who, CALL, 150_000.0, promised(100_000.0), now)
    assert sold.holder == "caiso-energy (award-1)" or "caiso-energy" in str(sold)
    ledger = Ledger()
    ledger.set_capacity("line-1", Capacity(200_000.0, 0.0))
    before = Call(ns("2026-05-20T20:00:00"), ns("2026-05-20T21:00:00"))
    assert reservation_refusal(who, before, 1e5, ledger, NOW).field == "state"
    small = structs.replace(who, program=structs.replace(who.program, minimum="caiso-rdrr"))
    alone = [Member("line-1", 150_000.0, who.location)]
    assert reservation_refusal(small, CALL, 1e5, ledger, now, aggregation=alone).field == "total_w"
    engine = structs.replace(
        who,
        enrolment=structs.replace(who.enrolment, kind="backup_generator", fuel="diesel"),
        program=structs.replace(who.program, eligibility="emergency_load_reduction"),
    )
    asked = {"event": "emergency", "order": "permits"}
    assert reservation_refusal(engine, CALL, 1e5, ledger, now, **asked).field == "meter"
    assert reservation_refusal(engine, CALL, 1e5, ledger, now).field == "fuel", "deny by default"
    from zoneinfo import ZoneInfo

    meter = HourMeter(hour_rules()["us-rice-emergency"], ZoneInfo("America/Los_Angeles"))
    assert reservation_refusal(engine, CALL, 1e5, ledger, now, meter=meter, **asked) is None


def test_contracts_of_the_tests_are_those_that_people_write() -> None:
    assert "[[contract.consents]]" in CONTRACTS and len(AGREED.parties) == 3


def test_an_enrolment_that_ends_in_a_call_is_not_reserved() -> None:
    who = standing("base-interruptible", aggregation="agg-1", ends="2026-07-01T21:00:00Z")
    ledger = Ledger()
    ledger.set_capacity("line-1", Capacity(200_000.0, 0.0))
    short = Call(START, START + HOUR_NS)
    assert reservation_refusal(who, short, 1e5, ledger, START - HOUR_NS) is None
    assert reservation_refusal(who, CALL, 1e5, ledger, START - HOUR_NS).field == "state"
