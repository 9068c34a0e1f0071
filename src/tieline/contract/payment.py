"""Who is paid, to which account, and how much: account numbers are checked before a bank sees them.

IBAN: ISO 13616, check digits by ISO 7064 MOD 97-10. US accounts: an ABA routing number, whose nine digits weigh
3, 7, 1 in turn to a multiple of ten. Names and identifiers keep to the characters that all banks take.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from msgspec import Struct

from tieline.ids import derive
from tieline.resource.claim import Refusal

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?", re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9]{1,34}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9/\-?:().,'+ ]{1,70}", re.ASCII)
"""The basic Latin set of ISO 20022 that every clearing takes (EPC217-08)."""
MOST_CENTS = 99_999_999_999
"""999,999,999.99, the most that a SEPA transfer takes."""


class Payee(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom an owner's money goes to: an IBAN (`bic` as the bank wants it), or an account at a US routing number."""

    owner: str
    name: str
    iban: str = ""
    bic: str = ""
    account: str = ""
    routing: str = ""


class Payment(Struct, frozen=True, forbid_unknown_fields=True):
    """One transfer: how much to whom, where from its number follows the run and the owner."""

    id: str
    payee: Payee
    cents: int
    currency: str


@dataclass(frozen=True, slots=True)
class Run:
    """What is paid now, and who is not, each with the reason."""

    id: str
    payments: tuple[Payment, ...]
    held: Mapping[str, Refusal]

    @property
    def cents(self) -> int:
        """All of it."""
        return sum(each.cents for each in self.payments)


def is_iban(text: str) -> bool:
    """Return whether a text is an IBAN whose check digits hold (without blanks).

    >>> is_iban("GB82WEST12345698765432"), is_iban("GB82WEST12345698765431")
    (True, False)
    """
    if not _IBAN.fullmatch(text):
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def is_routing(text: str) -> bool:
    """Return whether a text is an ABA routing number whose check digit holds.

    >>> is_routing("011000015"), is_routing("011000016")
    (True, False)
    """
    if not re.fullmatch("[0-9]{9}", text, re.ASCII):
        return False
    return sum(int(digit) * weight for digit, weight in zip(text, (3, 7, 1) * 3, strict=True)) % 10 == 0


def refusal_of(payee: Payee) -> Refusal | None:
    """Return what is wrong with a payee, or None."""
    if not _PLAIN.fullmatch(payee.name):
        limit = "give 1 to 70 of A-Z a-z 0-9 / - ? : ( ) . , ' + and blanks"
        return Refusal("not a name that all banks take", "name", repr(payee.name), limit)
    if payee.iban:
        if not is_iban(payee.iban):
            return Refusal("not an IBAN", "iban", payee.iban, "give one without blanks whose check digits hold")
        if payee.account or payee.routing:
            return Refusal(
                "two accounts", "account", payee.account, "give an IBAN, or an account with a routing number"
            )
        if payee.bic and not _BIC.fullmatch(payee.bic):
            return Refusal("not a BIC", "bic", payee.bic, "give 8 or 11 characters (ISO 9362)")
        return None
    if not _ACCOUNT.fullmatch(payee.account):
        return Refusal("not an account", "account", repr(payee.account), "give 1 to 34 letters and digits, or an IBAN")
    if not is_routing(payee.routing):
        return Refusal(
            "not a routing number", "routing", repr(payee.routing), "give nine digits whose check digit holds"
        )
    return None


def payment_run(
    balances: Mapping[str, int], payees: Mapping[str, Payee], currency: str, least_cents: int, after_seq: int
) -> Run:
    """Return the payments of what owners have to get.

    Args:
        balances: What each owner has to get (cents; below 0: owes, which is carried to the next statement).
        payees: By owner.
        currency: Of all of them (ISO 4217).
        least_cents: Less than so much waits.
        after_seq: The book's last number: with the balances it names the run, so that one state makes one run.
    """
    run = derive("run", after_seq, currency, *(f"{owner}={cents}" for owner, cents in sorted(balances.items())))
    found: list[Payment] = []
    held: dict[str, Refusal] = {}
    for owner, cents in sorted(balances.items()):
        payee = payees.get(owner)
        if cents == 0:
            continue
        if cents < max(least_cents, 1):
            why = "owes" if cents < 0 else "too little to pay now"
            held[owner] = Refusal(why, "balance", str(Decimal(cents) / 100), f"pay from {Decimal(least_cents) / 100}")
        elif payee is None:
            held[owner] = Refusal("nobody to pay", "payee", owner, "give a row for this owner")
        elif cents > MOST_CENTS:
            held[owner] = Refusal("too much for one payment", "balance", str(cents), f"{MOST_CENTS} cents")
        elif why_not := refusal_of(payee):
            held[owner] = why_not
        else:
            found.append(Payment(derive("payment", run, owner), payee, cents, currency))
    return Run(run, tuple(found), held)


def total_cents(payments: Sequence[Payment]) -> int:
    """Return what payments come to."""
    return sum(each.cents for each in payments)
