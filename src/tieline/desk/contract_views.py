"""What can be seen of contracts, and what can be said of them."""

from __future__ import annotations

from msgspec import Struct

from tieline.desk.views import View


class ProductView(View, frozen=True):
    """A product of a contract, whether it may be called for now, and if not why."""

    product: str
    may_call: bool
    why: str


class WordView(View, frozen=True):
    """What somebody said of a contract since it was written: consent given (or taken back) for products."""

    at_ns: int
    is_given: bool
    products: tuple[str, ...]
    by: str
    because: str
    record: str


class ContractView(View, frozen=True):
    """A contract as it stands: its parties, terms and budgets; `calls` and `hours` are those of this season.

    `devices` counts all of its devices, `resources` names the first of them. A budget of none is no bound.
    `out_because` says why nothing at all may be called; empty: something may.
    """

    id: str
    owner: str
    manager: str
    devices: int
    resources: tuple[str, ...]
    terms_version: int | None
    from_ns: int | None
    to_ns: int | None
    products: tuple[ProductView, ...]
    notice_s: int
    calls: int
    most_calls: int | None
    hours: float
    most_hours: float | None
    most_hours_a_call: float | None
    least_reserve_frac: float
    owner_share_frac: float | None
    currency: str
    words: tuple[WordView, ...]
    out_because: str


class TakeBack(Struct, frozen=True, forbid_unknown_fields=True):
    """Consent is taken back for these products (none named: for all), and why."""

    products: tuple[str, ...] = ()
    because: str = ""


class GiveConsent(Struct, frozen=True, forbid_unknown_fields=True):
    """New consent to these products (none named: to all of the terms); the hash is of what proves it."""

    evidence_sha256: str
    products: tuple[str, ...] = ()
    because: str = ""
