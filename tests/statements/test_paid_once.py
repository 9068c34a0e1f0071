"""No kWh of a meter is paid twice for a service: the book refuses it and names the statement that holds it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from settled_made import OPENED, START_NS, STEP_NS, settled_event

from tieline.market.services import may_be_paid_beside, services
from tieline.node.cli import main
from tieline.pool.paid_claims import Paid, held_by
from tieline.pool.statement_book import StatementBook, add
from tieline.pool.statement_book import issue as issued
from tieline.pool.statement_facts import Entry, Issued
from tieline.resource.claim import Refusal
from tieline.store.statement_files import read_statements
from tieline.times import DAY_NS

AT = ("--at", "2024-08-02T00:00:00Z")


@pytest.fixture
def words(issue):
    """The words that issue the event's statement for a program and a market."""

    def said(program: str, market: str, *more: str) -> tuple[str, ...]:
        held = list(issue)
        held[held.index("--program") + 1], held[held.index("--market") + 1] = program, market
        return (*held, *AT, *more)

    return said


def test_the_same_event_is_paid_by_one_program_and_one_market_alone(opened, words) -> None:
    """Three were issued, each with no flag, and the ledger owed the owners three times what was delivered."""
    first = opened(*words("peak", "iso"))
    owed = opened("ledger", "show", "--book", "book")
    for program, market in (("other", "iso"), ("peak", "utility")):
        refused = opened(*words(program, market), code=2)["error"]
        assert "were paid to peak by iso for energy" in refused
        assert f"held by {first['statement']}" in refused
        assert "rule claims-ledger" in refused
    assert opened("ledger", "show", "--book", "book") == owed


def test_a_service_that_may_be_paid_beside_energy_is_and_others_are_told(opened, words) -> None:
    opened(*words("peak", "iso"))
    assert opened(*words("peak", "utility", "--service", "capacity"))["is_new"] is True
    assert "for energy" in opened(*words("held", "iso", "--service", "reserve"), code=2)["error"]
    assert (
        "--service 'nothing': give one of energy, capacity"
        in opened(*words("peak", "x", "--service", "nothing"), code=2)["error"]
    )


def test_a_registration_as_one_claims_the_kwh_of_each_of_its_meters(opened, words) -> None:
    as_one = [word if word != "meter" else "registration" for word in words("peak", "iso")]
    first = opened(*as_one[: as_one.index("--sites")], *as_one[as_one.index("--sites") + 2 :])
    refused = opened(*words("other", "iso"), code=2)["error"]
    assert "kWh of meter a were paid to peak by iso" in refused
    assert first["statement"] in refused


def test_part_of_the_hours_under_another_program_is_refused_and_the_hours_after_are_not(
    opened, words, folder: Path
) -> None:
    opened(*words("peak", "iso"))
    event, awards = (folder / "event.toml").read_text(), (folder / "awards.csv").read_text().splitlines()
    (folder / "causes.csv").write_text("start,cause,kw\n2024-07-31T20:00:00-07:00,opt_out,1\n")
    (folder / "event.toml").write_text(event.replace("T16:00", "T19:00").replace("T20:00", "T22:00"))
    (folder / "awards.csv").write_text(f"{awards[0]}\n{awards[4]}\n2024-07-31T20:00:00-07:00,0.01,60\n")
    with (folder / "prices.csv").open("a") as prices:
        prices.write("2024-07-31T20:00:00-07:00,60\n")
    refused = opened(*words("late", "iso"), code=2)["error"]
    assert "start = '2024-08-01T02:00:00Z'" in refused
    (folder / "event.toml").write_text(
        event.replace("T16:00", "T20:00").replace("T20:00:00-07:00\no", "T22:00:00-07:00\no")
    )
    (folder / "awards.csv").write_text("start,mw,price\n2024-07-31T20:00:00-07:00,0.01,60\n")
    (folder / "prices.csv").write_text("start,price\n2024-07-31T20:00:00-07:00,60\n")
    assert opened(*words("late", "iso"))["is_new"] is True


def test_a_later_version_replaces_its_own_claims_and_money_taken_back_frees_them(opened, words, folder: Path) -> None:
    first = opened(*words("peak", "iso"))
    prices = (folder / "prices.csv").read_text()
    (folder / "prices.csv").write_text(prices.replace(",310", ",290"))
    second = opened(*words("peak", "iso"))
    assert (second["version"], second["former"]) == (2, first["statement"])
    assert second["statement"] in opened(*words("other", "iso"), code=2)["error"]
    line = read_statements(folder / "book").of[second["statement"]][1].settled.lines[0].id
    back = str(-Decimal(second["total"]))
    taken = ("statements", "adjust", "--says", "paid by another", "--book", "book", *AT, "--", "newest", line, back)
    assert CliRunner().invoke(main, taken).exit_code == 0
    other = opened(*words("other", "iso"))
    assert (other["is_new"], other["total"]) == (True, second["total"])
    (folder / "prices.csv").write_text(prices)
    assert other["statement"] in opened(*words("peak", "iso"), code=2)["error"]


def put(book: StatementBook, made: Issued, seq: int) -> None:
    add(book, Entry(seq, START_NS + DAY_NS, "test", made))


OWNERS = st.dictionaries(st.sampled_from("abc"), st.floats(-5, 5, width=16), min_size=1)
ASKED = st.tuples(st.sampled_from(["peak", "other", "third"]), st.integers(0, 3), OWNERS)


@given(st.lists(ASKED, max_size=12))
def test_whatever_is_asked_no_interval_of_a_meter_is_paid_by_two_statements_that_stand(asked) -> None:
    book = StatementBook()
    add(book, Entry(1, START_NS, "test", OPENED))
    for program, later, owners in asked:
        event = settled_event(
            [4.0, 4.1, 4.0], [60.0] * 3, owners, start_ns=START_NS + later * STEP_NS, program=program
        )  # fmt: skip
        made = issued(book, event, START_NS + DAY_NS, "", Paid("energy", tuple(owners)))
        if isinstance(made, Issued):
            put(book, made, book.last_seq + 1)
        else:
            assert made is None or (isinstance(made, Refusal) and made.holder)
    paid = [(one.meter, one.start_ns) for series in book.series.values() for one in held_by(series.newest.settled, ())]
    assert len(paid) == len(set(paid))


def test_what_may_be_paid_beside_what_goes_both_ways_and_never_beside_itself() -> None:
    for one in services():
        assert not may_be_paid_beside(one, one)
        assert all(may_be_paid_beside(other, one) for other in services()[one].beside)
