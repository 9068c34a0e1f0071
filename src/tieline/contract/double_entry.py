"""The double-entry ledger: every booking takes as much as it gives, so that the sum of all accounts is nothing, always.

Amounts are whole cents; a debit is positive, a credit negative. Accounts are `kind:name`. What the market owes is
`receivable`, what owners have to get `payable`, what was earned while nobody delivered `undistributed`, what the
operator earns `income`, money under way to owners `clearing`, money at hand `bank`. A booking is known by its id: the
same one twice is one, another one of the same id is refused. Nothing is changed; what was wrong is booked back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from tieline.resource.claim import Refusal

Kind = Literal["receivable", "bank", "clearing", "payable", "undistributed", "income"]
KINDS: tuple[Kind, ...] = ("receivable", "bank", "clearing", "payable", "undistributed", "income")
CREDIT_KINDS = frozenset({"clearing", "payable", "undistributed", "income"})
"""Accounts whose balance is read the other way round: what is owed, under way, or earned."""
MOST_CENTS = 2**53
"""Every balance stays a whole number in any reader's arithmetic, a spreadsheet's too."""


class Posting(Struct, frozen=True, forbid_unknown_fields=True):
    """One side of a booking: an account and its cents, a debit positive."""

    account: str
    cents: int

    @property
    def kind(self) -> str:
        """Which kind of account it is."""
        return self.account.partition(":")[0]


class Booking(Struct, frozen=True, forbid_unknown_fields=True):
    """One booking; `because` names the statement, adjustment, receipt or payment that it follows from."""

    id: str
    at_ns: int
    currency: str
    says: str
    because: str
    postings: tuple[Posting, ...]


def booking(id_: str, at_ns: int, currency: str, says: str, because: str, sides: Mapping[str, int]) -> Booking | None:
    """Return a booking of what each account gets (cents, a debit positive); None where nothing moves."""
    postings = tuple(Posting(account, cents) for account, cents in sides.items() if cents)
    return Booking(id_, at_ns, currency, says, because, postings) if postings else None


class Ledger:
    """Bookings of one currency, in order, and each account's balance."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self._bookings: dict[str, Booking] = {}
        self._balances: dict[str, int] = {}

    @property
    def bookings(self) -> tuple[Booking, ...]:
        """All bookings, oldest first."""
        return tuple(self._bookings.values())

    def post(self, made: Booking) -> Refusal | None:
        """Book it; the same one again has no effect. Returns why not, and then nothing was booked."""
        if (known := self._bookings.get(made.id)) is not None:
            return None if known == made else Refusal("another booking has this id", "id", made.id, known.says)
        if why := self._refusal(made):
            return why
        for posting in made.postings:
            self._balances[posting.account] = self._balances.get(posting.account, 0) + posting.cents
        self._bookings[made.id] = made
        return None

    def _refusal(self, made: Booking) -> Refusal | None:
        if made.currency != self.currency:
            return Refusal("another currency", "currency", made.currency, f"give {self.currency}")
        if len(made.postings) < 2:
            return Refusal("one side alone", "postings", str(len(made.postings)), "give two or more")
        for posting in made.postings:
            if posting.kind not in KINDS:
                limit = f"give one of {', '.join(KINDS)}, a colon and a name"
                return Refusal("no such kind of account", "account", posting.account, limit)
            if posting.cents == 0 or abs(posting.cents) > MOST_CENTS:
                limit = f"give 1 to {MOST_CENTS} cents either way"
                return Refusal("not an amount", "cents", str(posting.cents), limit)
        off = sum(posting.cents for posting in made.postings)
        return Refusal("debits are not credits", "postings", str(off), "give a sum of 0") if off else None

    def balance(self, account: str) -> int:
        """Return an account's balance (cents, a debit positive)."""
        return self._balances.get(account, 0)

    def balances(self, kind: Kind) -> dict[str, int]:
        """Return the balances of a kind by name, each the way it is read: what is owed or earned is positive."""
        sign = -1 if kind in CREDIT_KINDS else 1
        return {name.partition(":")[2]: sign * cents for name, cents in sorted(self._balances.items())
                 if name.startswith(f"{kind}:")}  # fmt: skip

    @property
    def off_cents(self) -> int:
        """Sum of all accounts: 0, or this program is wrong."""
        return sum(self._balances.values())


def ledger_of(currency: str, bookings: Iterable[Booking]) -> Ledger:
    """Return the ledger of bookings. Raises ValueError naming the first that can't be booked."""
    made = Ledger(currency)
    for each in bookings:
        if why := made.post(each):
            raise ValueError(f"{each.id}: {why}")
    return made
