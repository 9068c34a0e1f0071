"""Facts of a book of statements: versions, disputes, adjustments, what the market paid and what owners were paid.

A fact is never changed. Whatever moves money carries its `Due`, which the double-entry ledger posts as it stands.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from tieline.contract.pay import NOTHING
from tieline.contract.payment import Payee, Payment
from tieline.market.settlement import Line
from tieline.pool.settled import Settled

Answer = Literal["upheld", "rejected", "withdrawn"]


class Due(Struct, frozen=True, forbid_unknown_fields=True):
    """Money that changes hands: from the market (negative: to it), and to whom; the two sides are the same money."""

    market: Decimal
    operator: Decimal
    owners: dict[str, Decimal]
    undistributed: Decimal

    @property
    def is_even(self) -> bool:
        """Whether what comes from the market is what the others get, to the cent."""
        return self.market == self.operator + sum(self.owners.values(), NOTHING) + self.undistributed


class _Fact(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Opened(_Fact, frozen=True, tag_field="fact", tag="opened"):
    """A book: whose it is, in which currency, and how many days disputes and resettlements are open."""

    operator: str
    currency: str
    dispute_days: int
    resettle_days: int


class Issued(_Fact, frozen=True, tag_field="fact", tag="issued"):
    """A version of an event's statement; `adjusting` are its differences to what was settled before."""

    statement: str
    series: str
    version: int
    former: str
    settled: Settled
    adjusting: tuple[Line, ...]
    due: Due
    service: str = "energy"
    """What is paid for; by it kWh are claimed (`pool.paid_claims`)."""
    meters: tuple[str, ...] = ()
    """All meters of its file: those of a registration as one, too."""


class Disputed(_Fact, frozen=True, tag_field="fact", tag="disputed"):
    """Somebody says that a line should be another amount."""

    dispute: str
    statement: str
    line: str
    party: str
    says: str
    wanted: Decimal


class Answered(_Fact, frozen=True, tag_field="fact", tag="answered"):
    """What became of a dispute."""

    dispute: str
    answer: Answer
    says: str


class Adjusted(_Fact, frozen=True, tag_field="fact", tag="adjusted"):
    """Money that is moved by agreement, beside the rules: between market and pool, or between operator and an owner.

    A resettlement never takes it back.
    """

    adjustment: str
    statement: str
    line: str
    amount: Decimal
    owner: str
    says: str
    dispute: str
    due: Due


class Finalised(_Fact, frozen=True, tag_field="fact", tag="finalised"):
    """A series of versions is closed; only an upheld dispute opens it again."""

    series: str
    statement: str


class Received(_Fact, frozen=True, tag_field="fact", tag="received"):
    """The market paid (negative: was paid)."""

    receipt: str
    market: str
    amount: Decimal
    says: str


class PaymentsSent(_Fact, frozen=True, tag_field="fact", tag="payments_sent"):
    """A run of payments: from which account, on which day (ISO 8601), and to whom."""

    run: str
    payer: Payee
    on: str
    payments: tuple[Payment, ...]


class PaymentEnded(_Fact, frozen=True, tag_field="fact", tag="payment_ended"):
    """The bank carried a payment out, or gave it back."""

    payment: str
    outcome: Literal["booked", "returned"]
    says: str


Fact = (
    Opened | Issued | Disputed | Answered | Adjusted | Finalised | Received | PaymentsSent | PaymentEnded
)  # fmt: skip


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A fact with when it was recorded and by whom; `seq` counts from 1 without a gap."""

    seq: int
    at_ns: int
    by: str
    fact: Fact
