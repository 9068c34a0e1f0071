"""Who has to do with a resource, where it stands, and what its owner and the DER Manager agreed, as dated data.

Terms and consents are half-open in time. Terms of one contract never overlap: a new version ends an open one where it
begins, and nothing is amended backwards, because what was settled by it would change. A consent that is withdrawn
stays as a record; it stops counting at the next arbitration, the first one at or after the withdrawal.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from tieline.contract.program import MOST_MONEY
from tieline.contract.strict import Count, Faulty, Frac, Hours, Instant, Name, Seconds, Span, document, overlaps, take
from tieline.resource.claim import Refusal
from tieline.times import FOREVER_NS, from_ns, iso, to_ns

Role = Literal["customer", "owner", "retailer", "utility", "aggregator", "scheduling_coordinator"]
MANAGERS: tuple[Role, ...] = ("utility", "retailer", "aggregator")
"""Who can be a DER Manager (tier 2)."""


class Party(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody; one party can have several roles."""

    id: Name
    roles: Annotated[tuple[Role, ...], Meta(min_length=1)]
    name: str = ""


class Location(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A place behind one utility meter: who serves it, who wires it, and where in the market it lies."""

    id: Name
    customer: Name
    utility: Name
    retailer: Name
    account: Annotated[str, Meta(min_length=1, max_length=128)]
    meter: Annotated[str, Meta(min_length=1, max_length=128)]
    jurisdiction: Annotated[str, Meta(min_length=2)]
    load_zone: str = ""
    node: str = ""
    scheduling_coordinator: Name | None = None
    is_disadvantaged: bool = False
    resources: tuple[Name, ...] = ()

    @property
    def stands(self) -> tuple[str, ...]:
        """Which devices or groups of the registry stand here; none named: the site of the same id."""
        return self.resources or (self.id,)

    @property
    def place(self) -> str:
        """What eligibility calls its location."""
        return "disadvantaged_community" if self.is_disadvantaged else ""


class Comfort(Struct, frozen=True, forbid_unknown_fields=True):
    """What no voluntary call may cross, in degrees Celsius."""

    least_c: Annotated[float, Meta(ge=-30, le=60)]
    most_c: Annotated[float, Meta(ge=-30, le=60)]


class Amount(Struct, frozen=True, forbid_unknown_fields=True):
    """Money for something: what the owner is paid, or charged."""

    per: Literal["month", "season", "call", "kwh", "kw_month", "kw_season"]
    amount: Decimal


class Terms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version of what was agreed, [effective_from, effective_to)."""

    version: Annotated[int, Meta(ge=1)]
    effective_from: Instant
    effective_to: Instant | None = None
    products: Annotated[tuple[Name, ...], Meta(min_length=1)]
    notice_s: Seconds = 0
    calls_a_season: Count | None = None
    hours_a_season: Hours | None = None
    hours_a_call: Hours | None = None
    comfort: Comfort | None = None
    least_reserve_frac: Frac = 0.0
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    pay: tuple[Amount, ...] = ()
    penalties: tuple[Amount, ...] = ()
    owner_share_frac: Frac


class Consent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That the owner agreed to be called for these products; `evidence_sha256` is the hash of what proves it."""

    products: Annotated[tuple[Name, ...], Meta(min_length=1)]
    granted_at: Instant
    expires_at: Instant | None = None
    withdrawn_at: Instant | None = None
    evidence_sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]

    def counts(self, product: str, at_ns: int) -> bool:
        """Return whether an arbitration at an instant may rely on it."""
        ends = [to_ns(one) for one in (self.expires_at, self.withdrawn_at) if one is not None]
        return product in self.products and to_ns(self.granted_at) <= at_ns < min(ends, default=FOREVER_NS)


class Termination(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How either side ends it: days of notice, the fee of ending early, and when and why it was ended."""

    notice_days: Annotated[int, Meta(ge=0, le=3_650)]
    fee: Decimal = Decimal(0)
    ends_at: Instant | None = None
    why: str = ""


class Contract(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an owner and a DER Manager agreed about what stands at some locations."""

    id: Name
    owner: Name
    manager: Name
    locations: Annotated[tuple[Name, ...], Meta(min_length=1)]
    terms: Annotated[tuple[Terms, ...], Meta(min_length=1)]
    consents: tuple[Consent, ...] = ()
    termination: Termination

    def terms_at(self, at_ns: int) -> Terms | None:
        """Return the one version that holds at an instant, or None."""
        ended = self.termination.ends_at
        if ended is not None and at_ns >= to_ns(ended):
            return None
        for terms in self.terms:
            end_ns = FOREVER_NS if terms.effective_to is None else to_ns(terms.effective_to)
            if to_ns(terms.effective_from) <= at_ns < end_ns:
                return terms
        return None

    def terms_to_consent(self, at_ns: int) -> Terms | None:
        """Return the terms that an owner may agree to at an instant: those that hold, else the next to come."""
        ends_ns = FOREVER_NS if self.termination.ends_at is None else to_ns(self.termination.ends_at)
        coming = (one for one in self.terms if at_ns < to_ns(one.effective_from) < ends_ns)
        return self.terms_at(at_ns) or min(coming, key=lambda one: one.effective_from, default=None)

    def refusal(self, product: str, at_ns: int) -> Refusal | None:
        """Return why an arbitration at an instant may not call for a product, or None."""
        terms = self.terms_at(at_ns)
        if terms is None:
            return Refusal("no terms hold then", "at", iso(at_ns), "terms in force", rule=self.id)
        if product not in terms.products:
            had, rule = ", ".join(terms.products), f"{self.id} terms {terms.version}"
            return Refusal("the contract does not have this product", "product", product, had, rule=rule)
        if not any(consent.counts(product, at_ns) for consent in self.consents):
            return Refusal("the owner's consent is missing, over or withdrawn", "product", product, iso(at_ns),
                           rule=self.id)  # fmt: skip
        return None

    def refusal_over(self, product: str, start_ns: int, end_ns: int) -> Refusal | None:
        """Return why it can't be relied on through all of [start, end): it may end in the midst of a call."""
        for at_ns in sorted({start_ns, *(one for one in self._joints() if start_ns < one < end_ns)}):
            if why := self.refusal(product, at_ns):
                return why
        return None

    def next_change_ns(self, after_ns: int) -> int:
        """Return the first instant after one at which what is agreed may be other; `FOREVER_NS`: there is none."""
        return min((one for one in self._joints() if one > after_ns), default=FOREVER_NS)

    def agreed(self, at_ns: int) -> tuple[str, ...]:
        """Return the products for which an arbitration at an instant may call."""
        terms = self.terms_at(at_ns)
        return () if terms is None else tuple(one for one in terms.products if self.refusal(one, at_ns) is None)

    def _joints(self) -> Iterator[int]:
        """Yield every instant at which something of it begins or ends."""
        for terms in self.terms:
            yield from (to_ns(one) for one in (terms.effective_from, terms.effective_to) if one is not None)
        for consent in self.consents:
            ends = (consent.granted_at, consent.expires_at, consent.withdrawn_at)
            yield from (to_ns(one) for one in ends if one is not None)
        if self.termination.ends_at is not None:
            yield to_ns(self.termination.ends_at)


def amend(contract: Contract, terms: Terms, now_ns: int) -> Contract | Refusal:
    """Return the contract with a new version of its terms; an open one ends where the new one begins."""
    start_ns, last = to_ns(terms.effective_from), contract.terms[-1]
    if terms in contract.terms:
        return contract
    if start_ns < now_ns:
        return Refusal("nothing is amended backwards", "effective_from", iso(start_ns), f">= {iso(now_ns)}")
    if terms.version != last.version + 1:
        return Refusal("versions follow each other", "version", str(terms.version), str(last.version + 1))
    if terms.effective_to is not None and terms.effective_to <= terms.effective_from:
        limit = f"after {iso(start_ns)}"
        return Refusal("terms end after their start", "effective_to", str(terms.effective_to), limit)
    if start_ns <= to_ns(last.effective_from):
        limit = f"after {iso(to_ns(last.effective_from))}"
        return Refusal("it would hide terms that are agreed", "effective_from", iso(start_ns), limit)
    if last.effective_to is not None and start_ns < to_ns(last.effective_to):
        limit = f">= {iso(to_ns(last.effective_to))}"
        return Refusal("terms would overlap", "effective_from", iso(start_ns), limit, holder=f"terms {last.version}")
    cut = last if last.effective_to is not None else structs.replace(last, effective_to=terms.effective_from)
    return structs.replace(contract, terms=(*contract.terms[:-1], cut, terms))


def withdraw(contract: Contract, products: tuple[str, ...], now_ns: int) -> Contract | Refusal:
    """Return the contract without the owner's consent to some products from now on; what was, stays as it was.

    A consent that covers more products goes on for the others, under the same evidence.
    """
    unknown = [one for one in products if not any(one in consent.products for consent in contract.consents)]
    if unknown or not products:
        had = ", ".join(sorted({one for consent in contract.consents for one in consent.products})) or "none"
        return Refusal("there is no such consent", "products", ", ".join(unknown) or "none", had, rule=contract.id)
    consents: list[Consent] = []
    for consent in contract.consents:
        hit = [one for one in consent.products if one in products]
        at = max(from_ns(now_ns), consent.granted_at)  # one that is granted for later never begins
        is_over = consent.expires_at is not None and consent.expires_at <= at
        if not hit or consent.withdrawn_at is not None or is_over:
            consents.append(consent)
            continue
        consents.append(structs.replace(consent, withdrawn_at=at))
        rest = tuple(one for one in consent.products if one not in products)
        if rest:
            consents.append(structs.replace(consent, products=rest, granted_at=at))
    return structs.replace(contract, consents=tuple(consents))


class Contracts(Struct, frozen=True):
    """Parties, locations and contracts that fit together."""

    parties: dict[str, Party]
    locations: dict[str, Location]
    contracts: dict[str, Contract]


def parse_contracts(text: str, name: str) -> Contracts:
    """Return what a TOML text says, or every fault in it.

    Raises:
        ConfigError: Rows that are none, that name what isn't there, or whose times clash; each with its path.
    """
    tables = {"party": Party, "location": Location, "contract": Contract}
    rows, found = document(text, name, tables), list[str]()
    taken = {key: take(rows.get(key, []), form, f"{name}: $.{key}", found) for key, form in tables.items()}
    held: dict[str, dict[str, Struct]] = {}
    for key, items in taken.items():
        held[key] = {}
        for at, item in enumerate(items):
            if item is None:
                continue
            if item.id in held[key]:
                found.append(f"{name}: $.{key}[{at}].id = {item.id!r}: give each {key} an id of its own")
            held[key][item.id] = item
    if not found:  # what rows say of each other is judged when all of them are there
        book = Contracts(held["party"], held["location"], held["contract"])  # type: ignore[arg-type]
        found += [f"{name}: {fault}" for fault in _faults(book, taken)]
        if not found:
            return book
    raise Faulty(name, found)


def _faults(book: Contracts, taken: dict[str, list[Party | Location | Contract]]) -> Iterator[str]:
    meters: dict[tuple[str, str], str] = {}
    for at, location in enumerate(taken["location"]):
        assert isinstance(location, Location)
        yield from _who(book, f"$.location[{at}]", location.customer, "customer", ("customer",))
        yield from _who(book, f"$.location[{at}]", location.utility, "utility", ("utility",))
        yield from _who(book, f"$.location[{at}]", location.retailer, "retailer", ("retailer", "utility"))
        if location.scheduling_coordinator is not None:
            name, role = "scheduling_coordinator", location.scheduling_coordinator
            yield from _who(book, f"$.location[{at}]", role, name, ("scheduling_coordinator",))
        key = (location.utility, location.meter)
        if key in meters:
            yield f"$.location[{at}].meter = {location.meter!r}: is the meter of {meters[key]}: give each its own"
        meters[key] = location.id
    for at, contract in enumerate(taken["contract"]):
        assert isinstance(contract, Contract)
        path = f"$.contract[{at}]"
        yield from _who(book, path, contract.owner, "owner", ("owner",))
        yield from _who(book, path, contract.manager, "manager", MANAGERS)
        for place in contract.locations:
            if place not in book.locations:
                yield f"{path}.locations = {place!r}: give one of {_few(book.locations)}"
        yield from contract_faults(contract, path)
    yield from _sold_twice(taken["contract"])


def _who(book: Contracts, path: str, party: str, field: str, roles: tuple[Role, ...]) -> Iterator[str]:
    if party not in book.parties:
        yield f"{path}.{field} = {party!r}: give one of {_few(book.parties)}"
    elif not set(roles) & set(book.parties[party].roles):
        yield f"{path}.{field} = {party!r}: give a party with the role {' or '.join(roles)}"


def _few(names: dict[str, Party] | dict[str, Location]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "") or "those that you add"


def contract_faults(contract: Contract, path: str) -> Iterator[str]:
    """Yield what is wrong with one contract by itself."""
    for at, terms in enumerate(contract.terms):
        here = f"{path}.terms[{at}]"
        if terms.effective_to is not None and terms.effective_to <= terms.effective_from:
            yield f"{here}.effective_to = {_instant(terms.effective_to)}: give one after effective_from"
        if terms.comfort is not None and terms.comfort.most_c <= terms.comfort.least_c:
            yield f"{here}.comfort.most_c = {terms.comfort.most_c:g}: give more than least_c {terms.comfort.least_c:g}"
        for name in ("pay", "penalties"):
            for place, one in enumerate(getattr(terms, name)):
                if not one.amount.is_finite() or not 0 <= one.amount <= MOST_MONEY:
                    yield f"{here}.{name}[{place}].amount = {one.amount}: give 0 to {MOST_MONEY}"
    for (first, one), (second, other) in combinations(enumerate(contract.terms), 2):
        if other.version <= one.version:
            yield f"{path}.terms[{second}].version = {other.version}: give more than {one.version}, oldest first"
        if overlaps(Span(one.effective_from, one.effective_to), Span(other.effective_from, other.effective_to)):
            yield (f"{path}.terms[{second}].effective_from = {_instant(other.effective_from)}: "
                   f"overlaps terms[{first}]: end that one first, half-open")  # fmt: skip
    for at, consent in enumerate(contract.consents):
        for name in ("expires_at", "withdrawn_at"):
            end = getattr(consent, name)
            if end is not None and end < consent.granted_at:
                yield f"{path}.consents[{at}].{name} = {_instant(end)}: give one after granted_at"
    fee = contract.termination.fee
    if not fee.is_finite() or not 0 <= fee <= MOST_MONEY:
        yield f"{path}.termination.fee = {fee}: give 0 to {MOST_MONEY}"


def _instant(at: Instant) -> str:
    return iso(to_ns(at))


def _sold_twice(contracts: list[Party | Location | Contract]) -> Iterator[str]:
    """Yield where two managers have one location for one product at one time (no double counting, FERC Order 2222)."""
    at_place: dict[tuple[str, str], list[tuple[int, Contract, Terms]]] = {}
    for number, contract in enumerate(contracts):
        assert isinstance(contract, Contract)
        for terms in contract.terms:
            for key in ((place, product) for place in contract.locations for product in terms.products):
                for _, other, its in at_place.get(key, []):
                    if other.id != contract.id and overlaps(_span(contract, terms), _span(other, its)):
                        yield (f"$.contract[{number}].locations = {key[0]!r}: {other.id} has it for {key[1]} "
                               "at that time: end that one first")  # fmt: skip
                at_place.setdefault(key, []).append((number, contract, terms))


def _span(contract: Contract, terms: Terms) -> Span:
    ends = [one for one in (terms.effective_to, contract.termination.ends_at) if one is not None]
    return Span(terms.effective_from, min(ends, default=None))
