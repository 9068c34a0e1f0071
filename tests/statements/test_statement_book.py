"""A book of statements: versions, disputes, adjustments, their refusals by name, and files that were tampered with."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from event_readings import meter_rows
from msgspec.structs import replace
from settled_made import OPENED, START_NS, STEP_NS, issued_in, put, settled_event

from tieline.market.settlement import shortfall_causes
from tieline.pool import statement_book as books
from tieline.pool.owner_lines import owner_lines
from tieline.pool.statement_book import StatementBook
from tieline.resource.claim import Refusal
from tieline.store.statement_files import read_statements
from tieline.times import DAY_NS

Tieline = Callable[..., dict[str, Any]]
NOW = START_NS + DAY_NS
OWNERS = {"a": 3.0, "b": 1.0}


def one_issued(**how: Any) -> tuple[StatementBook, Any]:
    book = StatementBook()
    return book, issued_in(book, settled_event([3.6] * 12, [60.0] * 12, OWNERS, **how))


def test_the_same_files_give_no_new_version_and_a_corrected_reading_adjusts_its_interval_alone(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    first = opened(*issue, "--at", "2024-08-02T00:00:00Z")
    again = opened(*issue, "--at", "2024-08-03T00:00:00Z")
    assert (first["version"], again["is_new"], again["statement"]) == (1, False, first["statement"])
    (folder / "meter.csv").write_text(meter_rows(unread="20.0"))
    second = opened(*issue, "--at", "2024-08-04T00:00:00Z")
    assert (second["version"], second["former"]) == (2, first["statement"])
    opened("statements", "write", second["statement"], "--book", "book", "--out", "v2.csv")
    text = (folder / "v2.csv").read_text().splitlines()
    changed = [line for line in text if line.startswith("change,")]
    assert len(changed) == second["changed_lines"] == 2
    assert all("2024-07-31T17:00:00-07:00" in line for line in changed)
    due = second["due"]
    assert Decimal(second["total"]) - Decimal(first["total"]) == Decimal(due["market"])
    assert Decimal(due["market"]) == Decimal(due["operator"]) + sum(map(Decimal, due["owners"].values()))


def test_every_version_is_made_again_to_the_byte_from_the_book_alone(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    (folder / "meter.csv").write_text(meter_rows(unread="20.0"))
    opened(*issue, "--at", "2024-08-04T00:00:00Z")
    for path in folder.glob("*.csv"):
        path.unlink()  # what lies beside the book is not needed
    (folder / "event.toml").unlink()
    told = opened("statements", "again", "--book", "book")
    assert told["all_same"] and len(told["statements"]) == 2


def test_inputs_that_return_to_what_they_were_are_a_version_of_their_own() -> None:
    book, first = one_issued()
    second = issued_in(book, settled_event([4.0] * 12, [60.0] * 12, OWNERS))
    third = issued_in(book, settled_event([3.6] * 12, [60.0] * 12, OWNERS))
    assert len({first.statement, second.statement, third.statement}) == 3
    assert third.due.market == -second.due.market
    assert book.series[first.series].shared().market == first.settled.total


def test_a_dispute_that_is_upheld_adjusts_its_line_and_a_later_resettlement_leaves_that() -> None:
    book, first = one_issued()
    line = owner_lines(first)["b"][0]
    raised = books.raise_dispute(book, first.statement, line.id, "b", "my meter", line.amount + 2, NOW)
    assert not isinstance(raised, Refusal) and raised is not None
    put(book, raised)
    asked = (book, first.statement, line.id, Decimal("2.00"), "b", "agreed", raised.dispute)
    assert isinstance(books.adjust(*asked), Refusal)  # nobody upheld it yet
    put(book, books.answer(book, raised.dispute, "upheld", "manager", "right"))
    made = books.adjust(*asked)
    assert made is not None and not isinstance(made, Refusal)
    put(book, made)
    assert books.adjust(*asked) is None  # the same again has no effect
    assert (made.due.market, made.due.operator, made.due.owners) == (0, Decimal("-2.00"), {"b": Decimal("2.00")})
    series = book.series[first.series]
    issued_in(book, settled_event([4.0] * 12, [60.0] * 12, OWNERS))
    right = series.newest.settled.shares_of(series.newest.settled.total)
    assert series.owner_total("b") == right.owners["b"] + 2


def refusals() -> list[tuple[str, Refusal | None, str, str]]:
    """Return what is refused, with the field and a word of the limit."""
    book, one = one_issued()
    line = one.settled.lines[0]
    late = NOW + 31 * DAY_NS
    other = settled_event([1.0] * 12, [60.0] * 12, OWNERS, start_ns=START_NS + STEP_NS)
    changed = settled_event([1.0] * 12, [60.0] * 12, OWNERS)
    yen = settled_event([1.0] * 12, [60.0] * 12, OWNERS, start_ns=START_NS + DAY_NS)

    dispute = lambda *args: books.raise_dispute(book, *args)  # noqa: E731
    final, closed = StatementBook(), None
    closed = issued_in(final, settled_event([3.6] * 12, [60.0] * 12, OWNERS))
    put(final, books.finalise(final, closed.statement))
    waiting, held = one_issued()
    raised = books.raise_dispute(waiting, held.statement, held.settled.lines[0].id, "iso", "w", Decimal(1), NOW)
    put(waiting, raised)
    twice = books.raise_dispute(waiting, held.statement, held.settled.lines[0].id, "iso", "w", Decimal(2), NOW)
    cent = Decimal("0.01")
    return [
        ("hours of another event", books.issue(book, other, NOW), "start", "give hours beside"),
        ("another currency", books.issue(book, replace(yen, currency="JPY"), NOW), "currency", "USD"),
        ("too late", books.issue(book, changed, NOW + 400 * DAY_NS), "at", "until"),
        ("final", books.issue(final, changed, NOW), "statement", "upheld dispute"),
        ("unknown dispute", books.issue(final, changed, NOW, "dispute:x"), "dispute", "one of its disputes"),
        ("unknown statement", dispute("statement:x", line.id, "iso", "w", Decimal(1), NOW), "statement", "in the book"),
        ("unknown line", dispute(one.statement, "line:x", "iso", "w", Decimal(1), NOW), "line", "give a line"),
        ("as it is", dispute(one.statement, line.id, "iso", "w", line.amount, NOW), "wanted", "another amount"),
        ("parts of cents", dispute(one.statement, line.id, "iso", "w", Decimal("0.001"), NOW), "wanted", "whole cents"),
        ("no number", dispute(one.statement, line.id, "iso", "w", Decimal("NaN"), NOW), "wanted", "whole cents"),
        ("dispute too late", dispute(one.statement, line.id, "iso", "w", Decimal(1), late), "at", "until"),
        ("disputed already", twice, "line", "wait for its answer"),
        ("finalise with open disputes", books.finalise(waiting, held.statement), "statement", "answer them first"),
        ("not theirs", books.answer(waiting, raised.dispute, "upheld", "iso", ""), "answer", "by another"),
        ("withdrawn by another", books.answer(waiting, raised.dispute, "withdrawn", "x", ""), "answer", "who raised it"),
        ("no dispute", books.answer(book, "dispute:x", "upheld", "x", ""), "dispute", "in the book"),
        ("no owner", books.adjust(book, one.statement, line.id, cent, "z", "", ""), "owner", "one of its owners"),
        ("market's line to an owner", books.adjust(book, one.statement, line.id, cent, "a", "", ""), "line", "of a's"),
        ("nothing", books.adjust(book, one.statement, line.id, Decimal(0), "", "", ""), "amount", "other than 0"),
        ("final adjusts", books.adjust(final, closed.statement, line.id, cent, "", "", ""), "dispute", "its disputes"),
    ]  # fmt: skip


@pytest.mark.parametrize("row", refusals(), ids=lambda row: row[0])
def test_what_may_not_be_is_refused_with_field_value_and_limit(row: tuple[str, Any, str, str]) -> None:
    _, why, field, limit = row
    assert isinstance(why, Refusal), why
    assert why.field == field and why.value and limit in why.limit


def test_a_superseded_version_takes_no_dispute_and_names_the_one_that_stands() -> None:
    book, first = one_issued()
    second = issued_in(book, settled_event([4.0] * 12, [60.0] * 12, OWNERS))
    why = books.raise_dispute(book, first.statement, first.settled.lines[0].id, "iso", "w", Decimal(1), NOW)
    assert isinstance(why, Refusal) and second.statement in why.limit


def test_a_closed_event_is_settled_again_by_an_upheld_dispute_alone() -> None:
    book, first = one_issued()
    raised = books.raise_dispute(book, first.statement, first.settled.lines[0].id, "iso", "w", Decimal(1), NOW)
    assert raised is not None and not isinstance(raised, Refusal)
    put(book, raised)
    put(book, books.answer(book, raised.dispute, "upheld", "manager", ""))
    put(book, books.finalise(book, first.statement))
    later = settled_event([4.0] * 12, [60.0] * 12, OWNERS)
    assert isinstance(books.issue(book, later, NOW), Refusal)
    made = books.issue(book, later, NOW, raised.dispute)
    assert made is not None and not isinstance(made, Refusal) and made.version == 2


def test_an_opened_book_is_not_opened_twice_and_one_that_is_not_there_is_named(opened: Tieline) -> None:
    assert (
        "is a book already"
        in opened("statements", "open", "book", "--operator", "m", "--currency", "USD", code=2)["error"]
    )
    assert "tieline statements open" in opened("statements", "list", "--book", "nowhere", code=2)["error"]
    assert OPENED.currency == "USD"


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda raw: raw.replace(b'"4.04"', b'"9.04"'), "line 2: was changed"),
        (lambda raw: raw.split(b"\n")[0] + b"\n", "ends at entry 1"),
        (lambda raw: b"\n".join(raw.split(b"\n")[1:]), "line 1: was changed or moved"),
        (lambda raw: raw[:40] + b"\n" + raw[40:], "line 1: is no entry"),
    ],
)
def test_a_book_that_was_changed_is_not_read(
    opened: Tieline, issue: tuple[str, ...], folder: Path, harm: Callable[[bytes], bytes], says: str
) -> None:
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    path = folder / "book" / "book.jsonl"
    raw = path.read_bytes()
    assert harm(raw) != raw
    path.write_bytes(harm(raw))
    assert says in opened("statements", "list", "--book", "book", code=2)["error"]


def test_half_a_line_that_a_power_cut_left_is_passed_over_and_gone_with_the_next(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    path = folder / "book" / "book.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"prev":"12')
    assert opened("statements", "list", "--book", "book")["statements"] == []
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    assert len(opened("statements", "list", "--book", "book")["statements"]) == 1
    assert path.read_bytes().startswith(whole)


def test_an_input_that_was_changed_in_the_book_is_named(opened: Tieline, issue: tuple[str, ...], folder: Path) -> None:
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    kept = next((folder / "book" / "inputs").glob("*.toml"))
    kept.write_text(kept.read_text().replace("20:00", "19:00"))
    assert f"{kept.name}: was changed" in opened("statements", "again", "--book", "book", code=2)["error"]


BAD = [
    ("causes.csv", "start,cause,kw\n2024-07-31T18:00:00-07:00,laziness,1\n", "cause = 'laziness'"),
    ("causes.csv", "start,cause,kw\n2024-07-31T15:00:00-07:00,offline,1\n", "give intervals of the event"),
    ("causes.csv", "start,cause,kw\n2024-07-31T18:30:00-07:00,offline,1\n", "whole intervals"),
    ("causes.csv", "start,cause,kw,resource\n2024-07-31T18:00:00-07:00,offline,1,x\n", "resource = 'x'"),
    ("causes.csv", "start,cause,kw\n2024-07-31T18:00:00-07:00,offline,-1\n", "kw = -1"),
    ("sites.csv", "meter,owner\na,x\nb,x\n", "meter = 'c'"),
    ("sites.csv", "meter,owner\na,x\na,y\nb,x\nc,x\n", "stands twice"),
    ("sites.csv", "meter,committed_kw\na,1\nb,2\nc,\n", "committed_kw"),
    ("sites.csv", "meter,committed_kw\na,-1\nb,2\nc,1\n", "committed_kw = '-1'"),
    ("sites.csv", "meter,colour\na,red\n", "unknown column colour"),
]


@pytest.mark.parametrize(("name", "text", "says"), BAD)
def test_bad_rows_are_named_and_nothing_is_issued(
    opened: Tieline, issue: tuple[str, ...], folder: Path, name: str, text: str, says: str
) -> None:
    (folder / name).write_text(text)
    assert says in opened(*issue, "--at", "2024-08-02T00:00:00Z", code=2)["error"]
    assert opened("statements", "list", "--book", "book")["statements"] == []


def test_every_cause_that_a_statement_must_tell_apart_is_in_the_table() -> None:
    """Origin: opt-out, offline, refused, foreign control, and curtailment by the network operator, excused or not."""
    known = shortfall_causes()
    told = {cause: known[cause].excused for cause in ("opt_out", "offline", "refused", "foreign_control", "dno_limit")}
    assert told == {"opt_out": False, "offline": False, "refused": False, "foreign_control": False, "dno_limit": True}


def test_the_table_of_causes_splits_the_lack_and_the_rest_is_underperformed(folder: Path, tieline: Tieline) -> None:
    """20.0 kWh lack at 18:00 less what others gave more: 12 by opt-outs, 1 by a limit, the rest is what nobody knows."""
    words = ("--event", "event.toml", "--awards", "awards.csv", "--prices", "prices.csv", "--causes", "causes.csv")
    told = tieline("settle", "caiso-10-in-10", "meter.csv", *words, "--level", "meter")
    by_cause = told["shortfall_by_cause"]
    assert by_cause["opt_out"] == "-2.40" and by_cause["dno_limit"] == "-0.20"  # 12 and 1 kWh at 200 $/MWh
    assert sum(Decimal(line["amount"]) for line in told["lines"]) == Decimal(told["total"])


def test_a_registration_as_one_has_its_meters_causes_and_no_owners_and_says_so(
    opened: Tieline, issue: tuple[str, ...]
) -> None:
    as_one = tuple("registration" if word == "meter" else word for word in issue)
    told = opened(*as_one, "--at", "2024-08-02T00:00:00Z")
    assert told["due"]["owners"] == {} and any("no owner has a share" in flag for flag in told["flags"])
    # Where one meter lacks a reading the sum has none: no meter data for an hour, and b's causes in another.
    lacks = opened("performance", "--book", "book")["all"]["lacks_kwh"]
    assert lacks["opt_out"] == pytest.approx(12.0) and lacks["dno_limit"] == pytest.approx(1.0)
    assert lacks["no_meter_data"] == pytest.approx(28.0)


@pytest.mark.parametrize("at", ["2024-07-30T00:00:00Z", "2024-07-31T23:30:00Z", "2024-08-01T02:59:59Z"])
def test_an_event_that_is_not_over_yet_has_no_statement(tieline: Tieline, issue: tuple[str, ...], at: str) -> None:
    words = ("--operator", "manager", "--currency", "USD", "--at", "2024-07-01T00:00:00Z")
    tieline("statements", "open", "book", *words)
    told = tieline(*issue, "--at", at, code=2)
    assert (told["field"], told["value"]) == ("at", at)
    assert "the event is not over" in told["error"] and "2024-08-01T03:00:00Z" in told["limit"]
    assert tieline(*issue, "--at", "2024-08-01T03:00:00Z")["is_new"]


def test_an_instant_before_the_books_last_entry_is_refused_in_words_of_a_clock(
    opened: Tieline, issue: tuple[str, ...]
) -> None:
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    words = ("--party", "iso", "--says", "x", "--wanted", "1.00", "--at", "2024-08-01T12:00:00Z")
    line = next(iter(read_statements(Path("book")).of.values()))[1].settled.lines[0].id
    told = opened("statements", "dispute", "newest", line, *words, "--book", "book", code=2)
    assert (told["field"], told["value"]) == ("--at", "2024-08-01T12:00:00Z")
    assert told["limit"] == "the book's last entry is of 2024-08-02T00:00:00Z: give that or later"
