"""What contracts say of one event: each owner's share, pay and charges, from the version of the terms that holds."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from tieline.contract.party import Amount, Terms, parse_contracts
from tieline.errors import ConfigError
from tieline.pool.owner_pay import NOTHING, OwnerTerms
from tieline.store.meter_files import EventFile

OF_AN_EVENT = ("kwh", "call")


def owner_terms(
    path: Path | None, owners: set[str], program: str, currency: str, event: EventFile
) -> tuple[dict[str, OwnerTerms], list[str]]:
    """Return what contracts say of an event's owners, and what of it is not of one event, as flags.

    Without a file contracts say nothing.

    Raises:
        ConfigError: An owner has two contracts for the program, or one that changes or ends within the event, or is in
            another currency.
    """
    if path is None:
        return {}, []
    try:
        book = parse_contracts(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--contracts {path}: {error}: give contracts (TOML)") from None
    found: dict[str, OwnerTerms] = {}
    notes: list[str] = []
    for contract in book.contracts.values():
        first, last = contract.terms_at(event.start_ns), contract.terms_at(event.end_ns - 1)
        terms = next((each for each in (first, last) if each is not None and program in each.products), None)
        if contract.owner not in owners or terms is None:
            continue
        where = f"{path}: contract = {contract.id!r}"
        if first != last:
            raise ConfigError(f"{where}: begins, changes or ends within the event: give an event of one version")
        if contract.owner in found:
            other = found[contract.owner].contract
            raise ConfigError(f"{where}: {contract.owner} has {other} for {program}, too: give one of them")
        if terms.currency != currency:
            raise ConfigError(f"{where}: currency {terms.currency}: give {currency}, the book's")
        found[contract.owner] = _of(contract.id, terms)
        later = sorted({one.per for one in (*terms.pay, *terms.penalties)} - set(OF_AN_EVENT))
        notes += [f"{contract.owner}: money per {per} is of no single event: not on this statement" for per in later]
    return found, notes


def _of(contract: str, terms: Terms) -> OwnerTerms:
    return OwnerTerms(
        contract=contract, version=terms.version, share_frac=Decimal(str(terms.owner_share_frac)),
        per_kwh=_sum(terms.pay, "kwh"), per_call=_sum(terms.pay, "call"),
        penalty_per_kwh=_sum(terms.penalties, "kwh"), penalty_per_call=_sum(terms.penalties, "call"),
    )  # fmt: skip


def _sum(amounts: Sequence[Amount], per: str) -> Decimal:
    return sum((one.amount for one in amounts if one.per == per), NOTHING)
