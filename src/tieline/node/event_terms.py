"""What contracts say of one event: each owner's share, pay and charges, from the version of the terms that holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from tieline.contract.party import Amount, Contract, Contracts, Terms, parse_contracts
from tieline.errors import ConfigError
from tieline.pool.owner_pay import NOTHING, OwnerTerms
from tieline.rim.texts import text_in
from tieline.store.meter_files import EventFile

OF_AN_EVENT = ("kwh", "call")


def owner_terms(
    path: Path | None, owners: set[str], program: str, currency: str, event: EventFile
) -> tuple[dict[str, OwnerTerms], list[str]]:
    """Return what contracts say of an event's owners, and what of it is not of one event, as flags.

    Without a file contracts say nothing.

    Raises:
        ConfigError: An owner has two contracts for the program, or one that changes or ends within the event, with its
            consent or without, or is in another currency.
    """
    if path is None:
        return {}, []
    book = _contracts(path)
    found: dict[str, OwnerTerms] = {}
    notes: list[str] = []
    for contract in book.contracts.values():
        held = [contract.terms_at(at_ns) for at_ns in _instants(contract, event)]
        terms = next((each for each in held if each is not None and program in each.products), None)
        if contract.owner not in owners or terms is None:
            continue
        where = f"{path}: contract = {contract.id!r}"
        if any(each != terms for each in held):
            raise ConfigError(f"{where}: begins, changes or ends within the event: give an event of one version")
        if len({_is_agreed(contract, program, at_ns) for at_ns in _instants(contract, event)}) > 1:
            raise ConfigError(
                f"{where}: its consent to {program} begins or ends within the event: give an event beside that"
            )
        if contract.owner in found:
            other = found[contract.owner].contract
            raise ConfigError(f"{where}: {contract.owner} has {other} for {program}, too: give one of them")
        if terms.currency != currency:
            raise ConfigError(f"{where}: currency {terms.currency}: give {currency}, the book's")
        found[contract.owner] = _of(contract.id, terms)
        later = sorted({one.per for one in (*terms.pay, *terms.penalties)} - set(OF_AN_EVENT))
        notes += [f"{contract.owner}: money per {per} is of no single event: not on this statement" for per in later]
    return found, notes


def left_open(
    path: Path | None,
    terms: Mapping[str, OwnerTerms],
    owners: Collection[str],
    program: str,
    start_ns: int,
    frac: Decimal,
) -> list[str]:
    """Return what contracts leave open of an event that was settled by them, for whoever issues its statement.

    An owner with none is paid by the operator's share, one without consent by his terms all the same: both are for a
    person to know. It is told with the answer and is no part of the statement, whose bytes follow from its files.

    Args:
        path: The contracts; None: there are none, and nothing to say.
        terms: What was found of them, by owner.
        owners: Whose event it was.
        program: Under which it was called.
        start_ns: When it began.
        frac: The operator's share of the others, 0 to 1.
    """
    if path is None:
        return []
    book = _contracts(path)
    found = [
        f"{owner}: no contract covers {program}: shared by --operator-share {frac}"
        for owner in sorted(owners) if owner not in terms
    ]  # fmt: skip
    for owner, one in sorted(terms.items()):
        if not _is_agreed(book.contracts[one.contract], program, start_ns):
            found.append(f"{owner}: {one.contract} holds no consent to {program} then: paid by its terms all the same")
    return found


def _contracts(path: Path) -> Contracts:
    try:
        return parse_contracts(text_in(path), str(path))
    except OSError as error:
        raise ConfigError(f"--contracts {path}: {error}: give contracts (TOML)") from None


def _instants(contract: Contract, event: EventFile) -> Iterator[int]:
    """Yield the event's start, and every instant within it at which what is agreed may be other."""
    at_ns = event.start_ns
    while at_ns < event.end_ns:
        yield at_ns
        at_ns = contract.next_change_ns(at_ns)


def _is_agreed(contract: Contract, program: str, at_ns: int) -> bool:
    return any(consent.counts(program, at_ns) for consent in contract.consents)


def _of(contract: str, terms: Terms) -> OwnerTerms:
    return OwnerTerms(
        contract=contract, version=terms.version, share_frac=Decimal(str(terms.owner_share_frac)),
        per_kwh=_sum(terms.pay, "kwh"), per_call=_sum(terms.pay, "call"),
        penalty_per_kwh=_sum(terms.penalties, "kwh"), penalty_per_call=_sum(terms.penalties, "call"),
    )  # fmt: skip


def _sum(amounts: Sequence[Amount], per: str) -> Decimal:
    return sum((one.amount for one in amounts if one.per == per), NOTHING)
