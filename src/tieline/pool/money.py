"""What a book's facts are in the double-entry ledger, what owners have to get, and what may be said of money.

A version or an adjustment: the market owes, operator and owners earn. Money received: from the market to the bank. A
payment that is sent: what an owner had to get is under way; booked, it left the bank; returned, it is owed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Literal

from tieline.contract.double_entry import Booking, Ledger, Posting, booking, ledger_of
from tieline.contract.pay import CENT
from tieline.contract.payment import Payee, Payment, Run, payment_run
from tieline.ids import derive
from tieline.pool.statement_book import MOST_AMOUNT, StatementBook
from tieline.pool.statement_facts import (
    Adjusted,
    Due,
    Entry,
    Issued,
    PaymentEnded,
    PaymentsSent,
    Received,
)
from tieline.resource.claim import Refusal


def bookings_of(book: StatementBook) -> Iterator[Booking]:
    """Yield the bookings of a book, oldest first."""
    sent: dict[str, Payment] = {}
    currency = book.opened.currency if book.opened else ""
    for entry in book.entries:
        made: Booking | None = None
        match entry.fact:
            case Issued() as fact:
                settled = fact.settled
                says = f"{settled.program} version {fact.version}"
                sides = _sides(fact.due, settled.market, settled.operator, settled.program)
                made = booking(derive("booking", fact.statement), entry.at_ns, currency, says, fact.statement, sides)
            case Adjusted() as fact:
                settled = book.of[fact.statement][1].settled
                sides = _sides(fact.due, settled.market, settled.operator, settled.program)
                name = derive("booking", fact.adjustment)
                made = booking(name, entry.at_ns, currency, fact.says or "agreed", fact.adjustment, sides)
            case Received() as fact:
                made = _received(entry, fact, currency)
            case PaymentsSent() as fact:
                sent |= {each.id: each for each in fact.payments}
                for each in fact.payments:
                    name, owner = derive("booking", each.id, "sent"), each.payee.owner
                    sides = {f"payable:{owner}": each.cents, f"clearing:{owner}": -each.cents}
                    postings = tuple(Posting(account, cents) for account, cents in sides.items())
                    yield Booking(name, entry.at_ns, currency, "sent to the bank", each.id, postings)
            case PaymentEnded() as fact:
                payment = sent[fact.payment]
                owner = payment.payee.owner
                other = "bank:main" if fact.outcome == "booked" else f"payable:{owner}"
                sides = {f"clearing:{owner}": payment.cents, other: -payment.cents}
                name = derive("booking", fact.payment, fact.outcome)
                made = booking(name, entry.at_ns, currency, fact.says or fact.outcome, fact.payment, sides)
            case _:
                pass
        if made is not None:
            yield made


def _sides(due: Due, market: str, operator: str, program: str) -> dict[str, int]:
    """Return a due as sides of a booking; what the market gives is what the others get."""
    sides = {f"receivable:{market}": _cents(due.market), f"income:{operator}": -_cents(due.operator)}
    sides |= {f"payable:{owner}": -_cents(amount) for owner, amount in due.owners.items()}
    return sides | {f"undistributed:{program}": -_cents(due.undistributed)}


def _received(entry: Entry, fact: Received, currency: str) -> Booking | None:
    cents = _cents(fact.amount)
    sides = {"bank:main": cents, f"receivable:{fact.market}": -cents}
    name = derive("booking", fact.receipt)
    return booking(name, entry.at_ns, currency, fact.says or "received", fact.receipt, sides)


def _cents(amount: Decimal) -> int:
    return int(amount / CENT)


def ledger(book: StatementBook) -> Ledger:
    """Return the ledger of a book. Raises ValueError where a fact can't be booked: then this program is wrong."""
    return ledger_of(book.opened.currency if book.opened else "", bookings_of(book))


def receive(book: StatementBook, market: str, amount: Decimal, says: str) -> Received | Refusal | None:
    """Return that the market paid; None where a receipt of these words is in the book already."""
    known = {series.newest.settled.market for series in book.series.values()}
    if market not in known:
        return Refusal("no such market", "market", market, f"give one of {', '.join(sorted(known)) or 'none yet'}")
    if not amount.is_finite() or amount == 0 or abs(amount) > MOST_AMOUNT or amount != amount.quantize(CENT):
        return Refusal("not an amount of money", "amount", str(amount), "give whole cents other than 0")
    if not says.strip():
        return Refusal("no reference", "says", repr(says), "give the bank's reference: by it a receipt counts once")
    name = derive("receipt", market, says)
    if (before := book.receipts.get(name)) is not None:
        same = before.amount == amount
        return None if same else Refusal("received already", "amount", str(amount), str(before.amount), name)
    return Received(receipt=name, market=market, amount=amount, says=says)


def pay_owners(book: StatementBook, payees: Mapping[str, Payee], least_cents: int) -> Run:
    """Return the payments of all that owners have to get now, and who is not paid and why."""
    currency = book.opened.currency if book.opened else ""
    return payment_run(ledger(book).balances("payable"), payees, currency, least_cents, book.last_seq)


def end_payment(
    book: StatementBook, payment: str, outcome: Literal["booked", "returned"], says: str
) -> PaymentEnded | Refusal | None:
    """Return what the bank said of a payment; None where it was said before."""
    if not any(each.id == payment for run in book.runs.values() for each in run.payments):
        return Refusal("no such payment", "payment", payment, "give the id of one that was sent")
    made = PaymentEnded(payment=payment, outcome=outcome, says=says)
    if (before := book.ended.get(payment)) is not None:
        same = before.outcome == outcome
        return None if same else Refusal("ended already", "outcome", outcome, before.outcome, payment)
    return made
