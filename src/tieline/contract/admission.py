"""What a contract says at the two places where capacity is promised: in the reservation book, and at arbitration.

`reservation_refusal` asks all that stands between an enrolment and one call: its state, consent and terms, the
program's and the contract's budgets, the hours of an engine, the size of the aggregation, the reservation book itself.
`without_consent` takes from an arbitration the claims that an owner no longer agrees to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from msgspec import Struct, structs

from tieline.contract.budget import Call, call_refusal
from tieline.contract.eligibility import Case, EventKind, Order, judge
from tieline.contract.engine_hours import HourMeter, Run, Use
from tieline.contract.enrolment import ProgramEnrolment
from tieline.contract.minimum import Member, size_refusals, size_rules
from tieline.contract.party import Contract, Location, Terms
from tieline.contract.program import AnyProgram
from tieline.contract.strict import Span, overlaps
from tieline.fleet.booking import SLOT_NS
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import Claim, Refusal
from tieline.resource.identity import Kind
from tieline.resource.level import Level
from tieline.times import FOREVER_NS, iso

NEEDS_CONSENT = frozenset({Level.RELIABILITY, Level.UTILITY, Level.MARKET, Level.PROGRAM, Level.PRICE})
"""Levels that rest on the owner's word; protection, envelopes and the owner's own claims do not."""
ENGINES = frozenset({Kind.BACKUP_GENERATOR})


class Standing(Struct, frozen=True):
    """All that is known of one participant when it is to be called."""

    enrolment: ProgramEnrolment
    program: AnyProgram
    contract: Contract
    location: Location
    calls: tuple[Call, ...] = ()


def bounded_by(program: AnyProgram, terms: Terms) -> AnyProgram:
    """Return the program as this contract lets it be called: the tighter of both budgets, the longer notice."""
    budget = program.budget
    if budget is not None:
        budget = structs.replace(
            budget,
            calls_a_season=_least(budget.calls_a_season, terms.calls_a_season),
            hours_a_season=_least(budget.hours_a_season, terms.hours_a_season),
            hours_a_call=budget.hours_a_call if terms.hours_a_call is None
            else min(budget.hours_a_call, terms.hours_a_call),
        )  # fmt: skip
    return structs.replace(program, budget=budget, notice_s=max(program.notice_s, terms.notice_s))


def _least(one: float | int | None, other: float | int | None) -> float | int | None:
    given = [value for value in (one, other) if value is not None]
    return min(given) if given else None


def reservation_refusal(
    who: Standing,
    call: Call,
    power_w: float,
    ledger: Ledger,
    now_ns: int,
    *,
    event: EventKind = "market",
    order: Order = "",
    meter: HourMeter | None = None,
    aggregation: Sequence[Member] = (),
    holidays: Iterable[date] = (),
) -> Refusal | None:
    """Return why a participant can't be promised for a call, or None where `ledger.reserve` may book it.

    `meter` has to be given for engines; `aggregation` are those who are promised together, by the program's minimum.
    """
    one, program = who.enrolment, who.program
    if call.end_ns <= call.start_ns:
        return Refusal("a call ends after its start", "end", iso(call.end_ns), f"after {iso(call.start_ns)}")
    if not 0 < power_w <= one.power_w:
        return Refusal("so much was not enrolled", "power_w", f"{power_w:g}", f"<= {one.power_w:g}", rule=one.id)
    for at_ns in (call.start_ns, call.end_ns - 1):
        if not one.serves(at_ns):
            state = one.state_at(at_ns)
            return Refusal("the enrolment does not serve then", "state", state, f"active at {iso(at_ns)}", rule=one.id)
    case = Case(one.kind, one.fuel, who.location.jurisdiction, program.eligibility, who.location.place, event, order)
    verdict = judge(case)
    if why := verdict.refusal(case) or who.contract.refusal_over(program.id, call.start_ns, call.end_ns):
        return why
    terms = who.contract.terms_at(call.start_ns)
    assert terms is not None, "refusal_over has asked"
    if why := call_refusal(bounded_by(program, terms), who.calls, call, now_ns, holidays):
        return why
    if one.kind in ENGINES:
        if meter is None:
            return Refusal("an engine is not promised without its hour meter", "meter", "none", "a meter", rule=one.id)
        use = Use.EMERGENCY if event == "emergency" else Use.DEMAND_RESPONSE
        if why := meter.refusal(Run(one.resource, call.start_ns, call.end_ns, use)):
            return why
    if program.minimum is not None and (small := size_refusals(size_rules()[program.minimum], aggregation)):
        return small[0]
    return ledger.check(one.resource, program.id, call.start_ns, call.end_ns, power_w, 0.0, 0.0, now_ns)


class Promises:
    """The reservation book, asked about long stretches: only slots in which something is promised can differ."""

    def __init__(self, ledger: Ledger, now_ns: int) -> None:
        self._ledger, self._now_ns = ledger, now_ns
        self._of: dict[str, list[tuple[int, int, str, str]]] = {}
        for booking in ledger.bookings.values():
            if booking.counts(now_ns):
                row = (booking.first * SLOT_NS, booking.last * SLOT_NS, booking.product, booking.id)
                self._of.setdefault(booking.resource, []).append(row)

    def dual_refusal(self, asked: ProgramEnrolment, program: AnyProgram) -> Refusal | None:
        """Return what is promised already that an enrolment would sell a second time, or None.

        A program that takes part beside nothing is refused by any other product's promise in its time; one that gives
        increments has to fit beside it in every slot. A resource that the book does not know has promised nothing.
        """
        span = Span(asked.starts_ns, None if asked.ends_ns == FOREVER_NS else asked.ends_ns)
        for start_ns, end_ns, product, name in sorted(self._of.get(asked.resource, [])):
            if product == program.id or not overlaps(span, Span(start_ns, end_ns)):
                continue
            if program.dual == "never":
                limit = f"nothing promised from {iso(start_ns)} to {iso(end_ns)}"
                return Refusal("it is promised to another product", "resource", asked.resource, limit, product, name)
            first, last = max(start_ns, asked.starts_ns), min(end_ns, asked.ends_ns)
            if why := self._ledger.check(
                asked.resource, program.id, first, last, asked.power_w, 0.0, 0.0, self._now_ns
            ):
                return why
        return None


def without_consent(
    claims: Iterable[Claim], contract_of: Mapping[str, Contract], now_ns: int
) -> tuple[list[Claim], dict[str, Refusal]]:
    """Return the claims that an arbitration at an instant may take, and why each other may not.

    A claim on a resource under contract that rests on its owner's word counts while terms hold that have its program
    and the consent to it stands. So a withdrawal takes effect at the next arbitration and the next valid claim is
    restored there; nothing that was arbitrated before is touched. Resources without contract are not judged here.
    """
    kept: list[Claim] = []
    barred: dict[str, Refusal] = {}
    for claim in claims:
        contract = contract_of.get(claim.resource)
        why = None
        if contract is not None and claim.level in NEEDS_CONSENT:
            why = contract.refusal(claim.program, now_ns)
        if why is None:
            kept.append(claim)
        else:
            barred[claim.id] = why
    return kept, barred
