"""What owners said since their contracts were written: a consent taken back, or a new one, each with its instant.

Both are words in a journal, never an edit of the file: what was agreed at an instant follows from the file and from the
words until then, so that a replay finds the same. A consent that the file gets later counts by its own date and hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct, structs

from tieline.contract.party import Consent, Contract, withdraw
from tieline.resource.claim import Refusal
from tieline.times import from_ns, iso

HASH = re.compile("[0-9a-f]{64}")


class Word(Struct, frozen=True):
    """That an owner took consent back for some products, or gave it.

    `evidence`: the hashes of the consents that were taken back, or of what proves the new one.
    """

    products: tuple[str, ...]
    is_given: bool
    at_ns: int
    evidence: tuple[str, ...]
    by: str
    because: str
    record: str


def heard(contract: Contract, words: Iterable[Word]) -> Contract:
    """Return the contract as it stands after what was said of it, oldest word first."""
    for word in words:
        contract = _given(contract, word) if word.is_given else _taken_back(contract, word)
    return contract


def _given(contract: Contract, word: Word) -> Contract:
    fresh = Consent(products=word.products, granted_at=from_ns(word.at_ns), evidence_sha256=word.evidence[0])
    return structs.replace(contract, consents=(*contract.consents, fresh))


def _taken_back(contract: Contract, word: Word) -> Contract:
    meant = tuple(one for one in contract.consents if one.evidence_sha256 in word.evidence)
    others = tuple(one for one in contract.consents if one.evidence_sha256 not in word.evidence)
    products = tuple(one for one in word.products if any(one in consent.products for consent in meant))
    after = withdraw(structs.replace(contract, consents=meant), products, word.at_ns)
    if isinstance(after, Refusal):  # the file no longer holds any of them
        return contract
    return structs.replace(contract, consents=(*others, *after.consents))


def taking_back(contract: Contract, products: tuple[str, ...], at_ns: int) -> tuple[str, ...] | Refusal:
    """Return the hashes of the consents that are taken back for some products, or why there are none."""
    after = withdraw(contract, products, at_ns)
    if isinstance(after, Refusal):
        return after
    standing = [
        one for one in contract.consents
        if set(one.products) & set(products) and one.withdrawn_at is None
        and (one.expires_at is None or one.expires_at > from_ns(at_ns))
    ]  # fmt: skip
    if not standing:
        told = ", ".join(products)
        return Refusal("there is no consent left to take back", "products", told, "one that stands", rule=contract.id)
    return tuple(dict.fromkeys(one.evidence_sha256 for one in standing))


def giving(contract: Contract, products: tuple[str, ...], evidence: str, at_ns: int) -> Refusal | None:
    """Return why a new consent to some products can't be taken, or None; it may be given before the terms begin."""
    terms = contract.terms_to_consent(at_ns)
    if terms is None:
        return Refusal("no terms hold then or begin later", "at", iso(at_ns), "terms to agree to", rule=contract.id)
    unknown = [one for one in products if one not in terms.products]
    if unknown or not products:
        rule, told = f"{contract.id} terms {terms.version}", ", ".join(unknown) or "none"
        return Refusal(
            "the contract does not have this product", "products", told, ", ".join(terms.products), rule=rule
        )
    if HASH.fullmatch(evidence) is None:
        return Refusal("a consent is proved", "evidence_sha256", evidence[:80], "64 hex digits", rule=contract.id)
    if any(one.evidence_sha256 == evidence for one in contract.consents):
        return Refusal(
            "a new consent has evidence of its own", "evidence_sha256", evidence, "another", rule=contract.id
        )
    return None
