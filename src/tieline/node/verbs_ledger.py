"""`tieline ledger`: the double-entry ledger of a book of statements, what the market paid, and payments to owners."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tieline.errors import ConfigError
from tieline.node.cli import main, show
from tieline.node.verb_words import AT, BOOK, BY, FILE, JSON, decimal_of, granted, instant

if TYPE_CHECKING:
    from tieline.contract.double_entry import Ledger


@main.group()
def ledger() -> None:
    """Double entry over a book of statements: who owes whom, what was paid, and payments for a bank."""


@ledger.command(name="show")
@BOOK
@click.option("--out", type=FILE, help="Write every booking, a row a posting, to this CSV file.")
@JSON
@click.pass_context
def show_ledger(ctx: click.Context, book: Path, out: Path | None, as_json: bool) -> None:
    """Show every account's balance and that they come to nothing together; code 1 where they don't."""
    from tieline.contract.double_entry import KINDS
    from tieline.pool.money import ledger as ledger_of
    from tieline.store.statement_files import read_statements

    held = read_statements(book)
    made = ledger_of(held)
    if out is not None:
        _write_bookings(made, out)
    accounts = [
        {"account": f"{kind}:{name}", "balance": _money(cents)}
        for kind in KINDS for name, cents in made.balances(kind).items()
    ]  # fmt: skip
    told = {"currency": made.currency, "accounts": accounts, "bookings": len(made.bookings),
            "sum": _money(made.off_cents), "balanced": made.off_cents == 0}  # fmt: skip
    if as_json:
        show(told, True)
    else:
        for row in accounts:
            click.echo(f"{row['account']:48} {row['balance']:>16}")
        click.echo(f"{len(made.bookings)} bookings in {made.currency}; all accounts together {_money(made.off_cents)}")
    if made.off_cents:
        ctx.exit(1)


def _money(cents: int) -> str:
    return f"{Decimal(cents) / 100:.2f}"


def _write_bookings(made: Ledger, path: Path) -> None:
    from tieline.store.whole_file import whole
    from tieline.times import iso

    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["booking", "at", "account", "debit", "credit", "currency", "says", "because"])
        for one in made.bookings:
            for side in one.postings:
                debit, credit = (_money(side.cents), "") if side.cents > 0 else ("", _money(-side.cents))
                writer.writerow(
                    [one.id, iso(one.at_ns), side.account, debit, credit, one.currency, one.says, one.because]
                )


@ledger.command()
@click.argument("market")
@click.argument("amount")
@click.option("--says", required=True, help="The bank's reference: by it a receipt counts once.")
@BOOK
@BY
@AT
@JSON
def receive(market: str, amount: str, says: str, book: Path, by: str, at: str | None, as_json: bool) -> None:
    """Record that MARKET paid AMOUNT (negative: that it was paid)."""
    from tieline.pool import money
    from tieline.store.statement_files import changing_statements

    wanted = decimal_of("AMOUNT", amount)
    with changing_statements(book, instant(at), by) as (held, append):
        made = granted(money.receive(held, market, wanted, says))
        if made is not None:
            append(made)
    show({"receipt": made.receipt if made else "", "is_new": made is not None}, as_json)


@ledger.command()
@click.option("--payees", "payees_file", type=FILE, required=True, help="owner,name and iban,bic or account,routing.")
@click.option("--out", type=FILE, multiple=True, required=True, help="Payments: .xml is pain.001.001.09, or .csv.")
@click.option("--least", default="0.01", show_default=True, help="Less than so much waits.")
@click.option("--on", "on", help="The day of payment (2024-08-15); left out: the day of --at.")
@BOOK
@BY
@AT
@JSON
def pay(
    payees_file: Path,
    out: tuple[Path, ...],
    least: str,
    on: str | None,
    book: Path,
    by: str,
    at: str | None,
    as_json: bool,
) -> None:
    """Pay every owner what he has to get, and write it for the bank; who isn't paid is named with the reason.

    The table of payees has a row for the book's operator: from that account the money goes. What is sent is under way
    until `tieline ledger ended` says what became of it; a second run pays only what came since.
    """
    from tieline.node.analysis_payments import pay_now

    show(pay_now(book, payees_file, out, decimal_of("--least", least), on, instant(at), by), as_json)


@ledger.command()
@click.argument("run")
@click.option("--out", type=FILE, multiple=True, required=True, help="Payments: .xml is pain.001.001.09, or .csv.")
@BOOK
@JSON
def export(run: str, out: tuple[Path, ...], book: Path, as_json: bool) -> None:
    """Write the payments of RUN once more, byte by byte as they were."""
    from tieline.pool.statement_facts import PaymentsSent
    from tieline.store.payment_files import require_form, write_payments
    from tieline.store.statement_files import read_statements

    for path in out:
        require_form(path)
    for entry in read_statements(book).entries:
        if isinstance(entry.fact, PaymentsSent) and entry.fact.run == run:
            for path in out:
                write_payments(entry.fact, entry.at_ns, path)
            show({"run": run, "payments": len(entry.fact.payments), "out": [str(path) for path in out]}, as_json)
            return
    raise ConfigError(f"run = {run!r}: give the id of one in the book")


@ledger.command()
@click.argument("payment")
@click.argument("outcome", type=click.Choice(["booked", "returned"]))
@click.option("--says", default="", help="In the bank's words.")
@BOOK
@BY
@AT
@JSON
def ended(
    payment: str, outcome: Literal["booked", "returned"], says: str, book: Path, by: str, at: str | None, as_json: bool
) -> None:
    """Record what the bank did with PAYMENT: booked, or returned, so that it is owed again."""
    from tieline.pool import money
    from tieline.store.statement_files import changing_statements

    with changing_statements(book, instant(at), by) as (held, append):
        made = granted(money.end_payment(held, payment, outcome, says))
        if made is not None:
            append(made)
    show({"payment": payment, "outcome": outcome, "is_new": made is not None}, as_json)
