"""Double entry: always balanced, whatever comes in which order; payments by ISO 20022 and CSV; refusals by name."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from lxml import etree
from settled_made import OPENED, START_NS, issued_in, put, settled_event

from tieline.contract.double_entry import KINDS, Booking, Ledger, Posting
from tieline.contract.payment import Payee, is_iban, is_routing, refusal_of
from tieline.pool import money
from tieline.pool import statement_book as books
from tieline.pool.owner_lines import owner_lines
from tieline.pool.statement_book import StatementBook
from tieline.pool.statement_facts import PaymentsSent
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS

Tieline = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[2]
PEER = Path(os.environ.get("TIELINE_PEERS_PAY", ROOT / ".venv-peers-pay"))
OWNERS = "abc"
PAYEES = {owner: Payee(owner, f"Owner {owner}", iban="DE75512108001245126199") for owner in OWNERS}


class Bookkeeping(RuleBasedStateMachine):
    """Statements, agreements, receipts, payments and what banks say of them, in any order; debits stay credits."""

    def __init__(self) -> None:
        super().__init__()
        self.book = StatementBook()
        put(self.book, OPENED)
        self.under_way: list[str] = []
        self.references = 0

    @rule(
        day=st.integers(0, 3),
        mw=st.floats(-3, 9),
        price=st.floats(-500, 5_000),
        kwh=st.floats(-2, 9),
        more=st.booleans(),
    )
    def settle(self, day: int, mw: float, price: float, kwh: float, more: bool) -> None:
        owners = {"a": round(kwh, 6), "b": 2.0, **({"c": 1.0} if more else {})}
        made = books.issue(
            self.book, settled_event([mw] * 3, [price] * 3, owners, start_ns=START_NS + day * DAY_NS), START_NS
        )
        if made is not None and not isinstance(made, Refusal):
            put(self.book, made)

    @rule(cents=st.integers(-10_000, 10_000), owner=st.sampled_from(["", "a", "b"]), says=st.text(max_size=3))
    def agree(self, cents: int, owner: str, says: str) -> None:
        for series in self.book.series.values():
            newest = series.newest
            line = owner_lines(newest)[owner][0].id if owner else newest.settled.lines[0].id
            made = books.adjust(self.book, newest.statement, line, Decimal(cents) / 100, owner, says, "")
            if made is not None and not isinstance(made, Refusal):
                put(self.book, made)
            break

    @rule(cents=st.integers(-(10**6), 10**6))
    def receive(self, cents: int) -> None:
        self.references += 1
        made = money.receive(self.book, "iso", Decimal(cents) / 100, f"ref {self.references}")
        if made is not None and not isinstance(made, Refusal):
            put(self.book, made)

    @rule(least=st.integers(1, 500))
    def pay(self, least: int) -> None:
        run = money.pay_owners(self.book, PAYEES, least)
        owed = money.ledger(self.book).balances("payable")
        assert {each.payee.owner: each.cents for each in run.payments} == {o: c for o, c in owed.items() if c >= least}
        if run.payments:
            put(self.book, PaymentsSent(run=run.id, payer=PAYEES["a"], on="2024-08-02", payments=run.payments))
            self.under_way += [each.id for each in run.payments]
        assert not money.pay_owners(self.book, PAYEES, least).payments  # nobody is paid twice

    @rule(is_booked=st.booleans())
    def bank_says(self, is_booked: bool) -> None:
        if self.under_way:
            made = money.end_payment(self.book, self.under_way.pop(), "booked" if is_booked else "returned", "")
            assert made is not None and not isinstance(made, Refusal)
            put(self.book, made)

    @invariant()
    def debits_are_credits(self) -> None:
        ledger = money.ledger(self.book)
        assert ledger.off_cents == 0
        for one in ledger.bookings:
            assert sum(side.cents for side in one.postings) == 0
        # What the market owes is what statements and agreements say less what it paid: found without the ledger.
        said = sum((series.shared().market for series in self.book.series.values()), Decimal(0))
        paid = sum((one.amount for one in self.book.receipts.values()), Decimal(0))
        assert ledger.balance("receivable:iso") == (said - paid) * 100
        for owner in OWNERS:
            given_ = sum((series.owner_total(owner) for series in self.book.series.values()), Decimal(0)) * 100
            held = ledger.balances("payable").get(owner, 0) + ledger.balances("clearing").get(owner, 0)
            booked = sum(
                each.cents for run in self.book.runs.values() for each in run.payments
                if each.payee.owner == owner and (end := self.book.ended.get(each.id)) and end.outcome == "booked"
            )  # fmt: skip
            assert held + booked == given_


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(-(10**9), 10**9)), max_size=6))
def test_a_booking_is_taken_where_it_adds_up_to_nothing_and_leaves_no_trace_where_it_does_not(sides) -> None:
    ledger = Ledger("USD")
    why = ledger.post(Booking("b", 0, "USD", "", "", tuple(Posting(f"{kind}:x", cents) for kind, cents in sides)))
    is_right = len(sides) >= 2 and all(cents for _, cents in sides) and sum(cents for _, cents in sides) == 0
    assert (why is None) == is_right
    assert ledger.off_cents == 0
    assert is_right or not any(ledger.balance(f"{kind}:x") for kind in KINDS)


BAD_BOOKINGS = [
    (Booking("b", 0, "EUR", "", "", (Posting("bank:x", 1), Posting("payable:x", -1))), "currency"),
    (Booking("b", 0, "USD", "", "", (Posting("bank:x", 1), Posting("cupboard:x", -1))), "account"),
    (Booking("b", 0, "USD", "", "", (Posting("bank:x", 2), Posting("payable:x", -1))), "postings"),
    (Booking("b", 0, "USD", "", "", (Posting("bank:x", 0), Posting("payable:x", 0))), "cents"),
    (Booking("b", 0, "USD", "", "", (Posting("bank:x", 2**60), Posting("payable:x", -(2**60)))), "cents"),
    (Booking("a", 0, "USD", "other", "", (Posting("bank:x", 2), Posting("payable:x", -2))), "id"),
]


@pytest.mark.parametrize(("made", "field"), BAD_BOOKINGS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_booking_that_is_wrong_is_refused_by_its_field(made: Booking, field: str) -> None:
    ledger = Ledger("USD")
    first = Booking("a", 0, "USD", "", "", (Posting("bank:x", 1), Posting("payable:x", -1)))
    assert ledger.post(first) is None and ledger.post(first) is None
    why = ledger.post(made)
    assert why is not None and why.field == field
    assert ledger.bookings == (first,)


# Published examples: ECBS and SWIFT registry (IBAN), the ABA's own check-digit example and Federal Reserve numbers.
@pytest.mark.parametrize(
    "number", ["GB29NWBK60161331926819", "DE89370400440532013000", "FR1420041010050500013M02606", "NO9386011117947"]
)
def test_published_ibans_hold_and_one_digit_off_does_not(number: str) -> None:
    assert is_iban(number)
    assert not is_iban(number[:-1] + str((int(number[-1]) + 1) % 10))


def test_published_routing_numbers_hold_and_one_digit_off_does_not() -> None:
    assert all(is_routing(number) for number in ("111000025", "021000021", "011401533"))
    assert not any(is_routing(number) for number in ("111000026", "11100002", "1110000250", ""))


BAD_PAYEES = [
    (Payee("a", "", iban="GB29NWBK60161331926819"), "name"),
    (Payee("a", "Zoë", iban="GB29NWBK60161331926819"), "name"),
    (Payee("a", "A", iban="GB29NWBK60161331926818"), "iban"),
    (Payee("a", "A", iban="GB29NWBK60161331926819", account="1"), "account"),
    (Payee("a", "A", iban="GB29NWBK60161331926819", bic="X"), "bic"),
    (Payee("a", "A", account="12 34", routing="111000025"), "account"),
    (Payee("a", "A", account="1234", routing="111000026"), "routing"),
    (Payee("a", "A"), "account"),
]


@pytest.mark.parametrize(("payee", "field"), BAD_PAYEES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_payee_that_no_bank_would_take_is_refused_by_its_field(payee: Payee, field: str) -> None:
    why = refusal_of(payee)
    assert why is not None and (why.field, bool(why.limit)) == (field, True)


@pytest.fixture
def paid(opened: Tieline, issue: tuple[str, ...], folder: Path) -> Tieline:
    (folder / "payees.csv").write_text(
        "owner,name,iban,bic,account,routing\nmanager,Manager of the pool,,,99887766,111000025\n"
        "north,North,DE89370400440532013000,COBADEFFXXX,,\nsouth,South & Co,,,,\n".replace(
            "South & Co,,,,", "South,,,123,021000021"
        )
    )
    opened(*issue, "--at", "2024-08-02T00:00:00Z")
    return opened


def test_owners_are_paid_once_and_what_comes_back_is_owed_again(paid: Tieline, folder: Path) -> None:
    pay = ("ledger", "pay", "--book", "book", "--payees", "payees.csv", "--out", "pay.xml", "--out", "pay.csv")
    first = paid(*pay, "--at", "2024-08-05T00:00:00Z")
    assert (first["payments"], first["total"]) == (2, "3.23")  # 1.54 and 1.69: what their statements say
    assert paid(*pay, "--at", "2024-08-06T00:00:00Z")["payments"] == 0
    with (folder / "pay.csv").open() as file:
        rows = {row["owner"]: row for row in csv.DictReader(file)}
    assert {owner: row["amount"] for owner, row in rows.items()} == {"north": "1.54", "south": "1.69"}
    paid("ledger", "ended", rows["north"]["payment"], "booked", "--book", "book", "--at", "2024-08-07T00:00:00Z")
    paid("ledger", "ended", rows["south"]["payment"], "returned", "--book", "book", "--at", "2024-08-07T00:00:00Z")
    paid("ledger", "receive", "iso", "4.04", "--says", "wire 1", "--book", "book", "--at", "2024-08-08T00:00:00Z")
    told = paid("ledger", "show", "--book", "book", "--out", "bookings.csv")
    accounts = {row["account"]: row["balance"] for row in told["accounts"]}
    assert told["balanced"] and told["sum"] == "0.00"
    assert accounts["bank:main"] == "2.50"  # 4.04 received less 1.54 paid
    assert (accounts["payable:north"], accounts["payable:south"], accounts["receivable:iso"]) == (
        "0.00",
        "1.69",
        "0.00",
    )
    assert accounts["income:manager"] == "0.81"
    with (folder / "bookings.csv").open() as file:
        sides = list(csv.DictReader(file))
    debit, credit = (sum(Decimal(row[side] or 0) for row in sides) for side in ("debit", "credit"))
    assert debit == credit > 0
    again = paid(*pay, "--at", "2024-08-09T00:00:00Z")
    assert (again["payments"], again["total"]) == (1, "1.69")


def test_a_run_is_written_again_byte_by_byte_and_its_sums_are_the_banks_to_check(paid: Tieline, folder: Path) -> None:
    run = paid(
        "ledger", "pay", "--book", "book", "--payees", "payees.csv", "--out", "one.xml", "--at", "2024-08-05T00:00:00Z"
    )
    paid("ledger", "export", run["run"], "--book", "book", "--out", "two.xml")
    assert (folder / "one.xml").read_bytes() == (folder / "two.xml").read_bytes()
    space = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}
    message = etree.parse(folder / "one.xml")
    amounts = [Decimal(each.text) for each in message.findall(".//p:InstdAmt", space)]
    assert (
        {Decimal(each.text) for each in message.findall(".//p:CtrlSum", space)} == {sum(amounts)} == {Decimal("3.23")}
    )
    assert {each.text for each in message.findall(".//p:NbOfTxs", space)} == {"2"}
    assert message.findtext(".//p:ReqdExctnDt/p:Dt", namespaces=space) == "2024-08-05"
    assert message.findtext(".//p:DbtrAgt//p:MmbId", namespaces=space) == "111000025"


SCHEMAS = list(PEER.glob("lib/*/site-packages/sepaxml/schemas/pain.001.001.09.xsd"))


@pytest.mark.skipif(not SCHEMAS, reason="no schema of ISO 20022: run `make peers-pay`")
@pytest.mark.parametrize("currency", ["USD", "EUR"])
def test_payments_hold_to_the_published_schema(currency: str) -> None:
    from tieline.contract.payment import payment_run
    from tieline.store.payment_files import as_pain001

    payees = {**PAYEES, "b": Payee("b", "Owner b", account="123", routing="021000021")}
    run = payment_run({"a": 154, "b": 10**9, "c": 1}, payees, currency, 1, 7)
    assert len(run.payments) == 3
    sent = PaymentsSent(run=run.id, payer=PAYEES["a"], on="2024-08-05", payments=run.payments)
    schema = etree.XMLSchema(etree.parse(SCHEMAS[0]))
    schema.assertValid(etree.fromstring(as_pain001(sent, START_NS)))


BAD = [
    (("ledger", "receive", "nobody", "1.00", "--says", "x"), "market = 'nobody'"),
    (("ledger", "receive", "iso", "1.001", "--says", "x"), "amount = '1.001'"),
    (("ledger", "receive", "iso", "lots", "--says", "x"), "AMOUNT"),
    (("ledger", "receive", "iso", "1.00", "--says", " "), "bank's reference"),
    (("ledger", "ended", "payment:x", "booked"), "payment = 'payment:x'"),
    (("ledger", "export", "run:x", "--out", "x.xml"), "run = 'run:x'"),
    (("ledger", "pay", "--payees", "payees.csv", "--out", "x.pdf"), "give .xml or .csv"),
    (("ledger", "pay", "--payees", "payees.csv", "--out", "x.xml", "--least", "0"), "--least 0"),
    (("ledger", "pay", "--payees", "payees.csv", "--out", "x.xml", "--on", "2020-01-01"), "--on 2020-01-01"),
    (("ledger", "pay", "--payees", "payees.csv", "--out", "x.xml", "--on", "soon"), "--on 'soon'"),
    (("ledger", "pay", "--payees", "sites.csv", "--out", "x.xml"), "no column name"),
]


@pytest.mark.parametrize(("words", "says"), BAD)
def test_what_may_not_be_booked_is_refused_and_nothing_is_recorded(
    paid: Tieline, folder: Path, words: tuple[str, ...], says: str
) -> None:
    before = (folder / "book" / "book.jsonl").read_bytes()
    assert says in paid(*words, "--book", "book", code=2)["error"]
    assert (folder / "book" / "book.jsonl").read_bytes() == before


def test_a_receipt_counts_once_and_another_amount_of_the_same_reference_is_refused(paid: Tieline) -> None:
    receive = ("ledger", "receive", "iso", "4.04", "--says", "wire 1", "--book", "book")
    assert paid(*receive, "--at", "2024-08-08T00:00:00Z")["is_new"]
    assert not paid(*receive, "--at", "2024-08-09T00:00:00Z")["is_new"]
    other = ("ledger", "receive", "iso", "5.00", "--says", "wire 1", "--book", "book", "--at", "2024-08-09T00:00:00Z")
    assert "received already" in paid(*other, code=2)["error"]


def test_who_is_not_paid_is_named_with_the_reason(paid: Tieline, folder: Path) -> None:
    text = (folder / "payees.csv").read_text().splitlines()
    (folder / "payees.csv").write_text("\n".join(line for line in text if not line.startswith("south")) + "\n")
    pay = (
        "ledger",
        "pay",
        "--book",
        "book",
        "--payees",
        "payees.csv",
        "--out",
        "x.csv",
        "--at",
        "2024-08-05T00:00:00Z",
    )
    told = paid(*pay, "--least", "1.60")
    assert told["payments"] == 0 and "too little" in told["held"]["north"] and "nobody to pay" in told["held"]["south"]
    assert not (folder / "x.csv").exists()
    (folder / "payees.csv").write_text("owner,name,iban\nnorth,North,DE89370400440532013000\n")
    assert "give the operator's own account" in paid(*pay, code=2)["error"]


def test_issued_statements_alone_balance() -> None:
    book = StatementBook()
    issued_in(book, settled_event([0.0] * 3, [9_000.0] * 3, {"a": 1.0}))  # a loss stays with the operator
    ledger = money.ledger(book)
    assert ledger.off_cents == 0 and ledger.balance("receivable:iso") < 0
    assert ledger.balances("payable") == {} and ledger.balances("income")["manager"] < 0
