"""Pays what owners have to get: a run is recorded first, then written for the bank, so that none goes unrecorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tieline.errors import ConfigError
from tieline.pool.money import pay_owners
from tieline.pool.statement_facts import PaymentsSent
from tieline.store.payment_files import read_payees, require_form, write_payments
from tieline.store.statement_files import changing_statements, read_statements
from tieline.times import from_ns

MOST_LEAST = Decimal(1_000_000_000)


def pay_now(
    book: Path, payees_file: Path, out: Sequence[Path], least: Decimal, on: str | None, now_ns: int, by: str
) -> dict[str, Any]:
    """Return what was paid and who was not and why, as `tieline ledger pay` prints it.

    Args:
        book: The book of statements.
        payees_file: Who is paid where, and a row for the book's operator: from that account the money goes.
        out: Files to write, `.xml` or `.csv`.
        least: Less than so much waits.
        on: The day of payment; None: the day of `now_ns`.
        now_ns: When this is.
        by: Who does it.

    Raises:
        ConfigError: A file, row or option is not what it should be.
    """
    for path in out:
        require_form(path)
    if not least.is_finite() or not Decimal("0.01") <= least <= MOST_LEAST or least != round(least, 2):
        raise ConfigError(f"--least {least}: give 0.01 to {MOST_LEAST}, whole cents")
    day = from_ns(now_ns).date() if on is None else _day(on)
    if day < from_ns(now_ns).date():
        raise ConfigError(f"--on {day}: give {from_ns(now_ns).date()} or later: no bank pays in the past")
    payees, opened = read_payees(payees_file), read_statements(book).opened
    if opened is None or opened.operator not in payees:
        who = opened.operator if opened else ""
        raise ConfigError(f"{payees_file}: owner = {who!r}: stands nowhere in it: give the operator's own account")
    with changing_statements(book, now_ns, by) as (held, append):
        run = pay_owners(held, payees, int(least * 100))
        sent = PaymentsSent(run=run.id, payer=payees[opened.operator], on=day.isoformat(), payments=run.payments)
        if run.payments:
            append(sent)
    for path in out if run.payments else ():
        write_payments(sent, now_ns, path)
    return {
        "run": run.id if run.payments else "", "payments": len(run.payments),
        "total": f"{Decimal(run.cents) / 100:.2f}", "currency": opened.currency, "on": day.isoformat(),
        "held": {owner: str(why) for owner, why in run.held.items()},
        "out": [str(path) for path in out] if run.payments else [],
    }  # fmt: skip


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--on {text!r}: give a day such as 2024-08-15") from None
