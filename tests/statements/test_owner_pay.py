"""Contracts on statements: an owner's share, pay and charges by the terms that hold, exact to the cent."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from settled_made import issued_in, settled_event

from tieline.pool import money
from tieline.pool.owner_lines import owner_lines
from tieline.pool.owner_pay import OwnerTerms
from tieline.pool.statement import market_statement, owner_statement, program_statement
from tieline.pool.statement_book import StatementBook

Tieline = Callable[..., dict[str, Any]]
CENTS = st.integers(0, 500).map(lambda n: Decimal(n) / 100)
TERMS = st.builds(
    OwnerTerms, contract=st.just("c"), version=st.just(1), share_frac=st.integers(0, 100).map(lambda n: Decimal(n) / 100),
    per_kwh=CENTS, per_call=CENTS, penalty_per_kwh=CENTS, penalty_per_call=CENTS,
)  # fmt: skip
LACKS = st.dictionaries(st.sampled_from(["opt_out", "dno_limit"]), st.floats(0, 9).map(lambda x: round(x, 6)))
KWH = st.floats(-3, 20).map(lambda x: round(x, 6))


@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(KWH, LACKS, st.none() | TERMS), min_size=1),
    st.lists(st.tuples(st.floats(-1, 6), st.floats(-300, 3_000)), min_size=1, max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_whatever_contracts_say_lines_are_the_statement_and_all_shares_the_same_money(owners, intervals) -> None:
    mw, prices = [list(column) for column in zip(*intervals, strict=True)]
    plain = settled_event(mw, prices, {owner: kwh for owner, (kwh, _, _) in owners.items()})
    parts = tuple(replace(part, lacks_kwh=owners[part.owner][1]) for part in plain.parts)
    book = StatementBook()
    terms = {owner: one for owner, (_, _, one) in owners.items() if one is not None}
    made = issued_in(book, replace(plain, parts=parts, terms=terms))
    series = book.series[made.series]
    assert made.due.is_even and money.ledger(book).off_cents == 0
    assert market_statement(series, made).tables[0].money() == made.settled.total
    program = program_statement(series, made)
    assert program.tables[1].money() == made.settled.total
    for owner, lines in owner_lines(made).items():
        assert sum((line.amount for line in lines), Decimal(0)) == made.due.owners.get(owner, Decimal("0.00"))
        assert owner_statement(series, made, owner).tables[0].total == series.owner_total(owner)
        for line in lines:
            if line.kind == "shortfall":  # what is excused is never charged, nor is anything without a contract
                assert line.amount <= 0 and (line.amount == 0 or (owner in terms and not line.excused))


def test_one_owners_statement_by_hand() -> None:
    """0.7 of 310.75, 12 kWh at 0.10, 2.50 a call, 3 kWh lacking at 0.40 charged and 2 excused, 1.00 for the miss."""
    plain = settled_event([5.0] * 12, [62.15] * 12, {"a": 12.0})  # 4 MWh sold and 1 more, all at 62.15
    part = replace(plain.parts[0], lacks_kwh={"opt_out": 3.0, "dno_limit": 2.0})
    terms = OwnerTerms(
        contract="c-1", version=2, share_frac=Decimal("0.7"), per_kwh=Decimal("0.10"), per_call=Decimal("2.50"),
        penalty_per_kwh=Decimal("0.40"), penalty_per_call=Decimal("1.00"),
    )  # fmt: skip
    made = issued_in(StatementBook(), replace(plain, parts=(part,), terms={"a": terms}))
    amounts = {(line.kind, line.cause): line.amount for line in owner_lines(made)["a"]}
    total = made.settled.total
    assert abs(total - Decimal("310.75")) <= Decimal("0.06")  # twelve lines are rounded by themselves
    assert amounts == {
        ("share", ""): round(total * Decimal("0.7"), 2), ("pay_per_kwh", ""): Decimal("1.20"),
        ("pay_per_call", ""): Decimal("2.50"), ("shortfall", "opt_out"): Decimal("-1.20"),
        ("shortfall", "dno_limit"): Decimal("0.00"), ("penalty_per_call", ""): Decimal("-1.00"),
    }  # fmt: skip
    assert made.due.operator == total - sum(amounts.values())


CONTRACTS = """
[[party]]
id = "utility"
roles = ["utility", "aggregator", "retailer"]
[[party]]
id = "north"
roles = ["owner", "customer"]

[[location]]
id = "site"
customer = "north"
utility = "utility"
retailer = "utility"
account = "1"
meter = "a"
jurisdiction = "US-CA"

[[contract]]
id = "c-north"
owner = "north"
manager = "utility"
locations = ["site"]
[[contract.terms]]
version = 1
effective_from = 2024-01-01T00:00:00Z
effective_to = 2025-01-01T00:00:00Z
products = ["peak"]
currency = "USD"
owner_share_frac = 0.5
pay = [{per = "call", amount = "2.00"}, {per = "month", amount = "5.00"}]
penalties = [{per = "kwh", amount = "0.25"}]
[contract.termination]
notice_days = 30
"""


def test_a_contracts_terms_are_on_the_statement_and_are_kept_with_it(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    (folder / "contracts.toml").write_text(CONTRACTS)
    told = opened(*issue, "--contracts", "contracts.toml", "--at", "2024-08-02T00:00:00Z")
    assert any("money per month" in flag for flag in told["flags"])
    owners = {owner: Decimal(amount) for owner, amount in told["due"]["owners"].items()}
    # North gained 44.05 of 92.13 kWh; c lacked 4.0 kWh for want of a reading: half of his part, 2.00, less 1.00.
    part = Decimal("4.04") * Decimal("44.0533") / Decimal("92.1301")
    assert abs(owners["north"] - (part / 2 + 2 - 1)) <= Decimal("0.02")
    assert sum(owners.values()) + Decimal(told["due"]["operator"]) == Decimal("4.04")
    opened("statements", "write", "newest", "--book", "book", "--for", "owner", "--owner", "north", "--out", "n.html")
    assert (
        "What contracts say" in (folder / "n.html").read_text()
        and "c-north, version 1" in (folder / "n.html").read_text()
    )
    (folder / "contracts.toml").unlink()
    assert opened("statements", "again", "--book", "book")["all_same"]


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("effective_to = 2025-01-01T00:00:00Z", "effective_to = 2024-08-01T01:00:00Z", "ends within the event"),
        ('currency = "USD"', 'currency = "EUR"', "give USD, the book's"),
        ("version = 1", "version = 0", "$.contract[0].terms[0].version"),
    ],
)
def test_a_contract_that_does_not_fit_the_event_is_refused_by_name(
    opened: Tieline, issue: tuple[str, ...], folder: Path, was: str, now: str, says: str
) -> None:
    (folder / "contracts.toml").write_text(CONTRACTS.replace(was, now))
    assert says in opened(*issue, "--contracts", "contracts.toml", "--at", "2024-08-02T00:00:00Z", code=2)["error"]


CONSENT = """
[[contract.consents]]
products = ["peak"]
granted_at = {since}
{until}
evidence_sha256 = "{evidence}"
"""
AT = ("--contracts", "contracts.toml", "--at", "2024-08-02T00:00:00Z")


def consented(since: str, until: str = "", evidence: str = "a" * 64) -> str:
    return CONSENT.format(since=since, until=until, evidence=evidence)


def contracts_with(*consents: str) -> str:
    head, _, tail = CONTRACTS.partition("[contract.termination]")
    return head + "".join(consents) + "[contract.termination]" + tail


@pytest.mark.parametrize(
    "consents",
    [
        (consented("2024-01-01T00:00:00Z", "withdrawn_at = 2024-08-01T01:00:00Z"),),
        (consented("2024-01-01T00:00:00Z", "expires_at = 2024-08-01T02:59:59Z"),),
        (consented("2024-08-01T00:00:00Z"),),
        (  # a new one, an hour after the first was taken back
            consented("2024-01-01T00:00:00Z", "withdrawn_at = 2024-08-01T00:00:00Z"),
            consented("2024-08-01T01:00:00Z", evidence="b" * 64),
        ),
    ],
)
def test_a_consent_that_begins_or_ends_within_the_event_is_refused(
    opened: Tieline, issue: tuple[str, ...], folder: Path, consents: tuple[str, ...]
) -> None:
    """The event is from 23:00 to 03:00 UTC."""
    (folder / "contracts.toml").write_text(contracts_with(*consents))
    error = opened(*issue, *AT, code=2)["error"]
    assert "c-north" in error and "consent to peak begins or ends within the event" in error


def test_a_consent_that_goes_over_into_another_is_one_and_who_gave_none_is_named(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    whole = (
        consented("2024-01-01T00:00:00Z", "withdrawn_at = 2024-08-01T01:00:00Z"),
        consented("2024-08-01T01:00:00Z", evidence="b" * 64),
    )
    (folder / "contracts.toml").write_text(contracts_with(*whole))
    assert not [flag for flag in opened(*issue, *AT)["flags"] if "consent" in flag]
    over = consented("2024-01-01T00:00:00Z", "withdrawn_at = 2024-07-01T00:00:00Z")
    for text in (contracts_with(over), CONTRACTS):
        (folder / "contracts.toml").write_text(text)
        flags = opened(*issue, *AT)["flags"]
        assert [flag for flag in flags if "north: c-north holds no consent to peak" in flag], flags


def test_owners_whom_no_contract_covers_are_named_with_the_share_that_they_get(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    (folder / "contracts.toml").write_text(CONTRACTS)
    assert [flag for flag in opened(*issue, *AT)["flags"] if "no contract covers" in flag] == [
        "south: no contract covers peak: shared by --operator-share 0.2"
    ]
    (folder / "contracts.toml").write_text(CONTRACTS.replace('["peak"]', '["energy"]'))
    named = [flag.split(":")[0] for flag in opened(*issue, *AT)["flags"] if "no contract covers" in flag]
    assert named == ["north", "south"]


def test_terms_that_hold_only_in_the_midst_of_an_event_are_refused(
    opened: Tieline, issue: tuple[str, ...], folder: Path
) -> None:
    text = CONTRACTS.replace("2024-01-01T00:00:00Z", "2024-08-01T00:00:00Z")
    (folder / "contracts.toml").write_text(text.replace("2025-01-01T00:00:00Z", "2024-08-01T01:00:00Z"))
    assert "within the event" in opened(*issue, *AT, code=2)["error"]
