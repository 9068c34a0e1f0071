"""What time, consent and a utility's answer do to enrolments: each a step of the table, for all of a book at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import structs

from tieline.contract.enrolment import ProgramEnrolment, State, Why, step
from tieline.contract.membership import EnrolmentBook, must
from tieline.contract.party import Contract, Contracts
from tieline.contract.review import ReviewCase, decide
from tieline.resource.claim import Refusal
from tieline.times import to_ns

CLOCK = "clock"
"""Who takes a step that time takes."""


def pass_time(book: EnrolmentBook, contracts: Contracts, now_ns: int) -> EnrolmentBook:
    """Return the book at an instant: what begins is active, what is over has ended, what lost consent is suspended.

    Run again at the same instant it changes nothing. Ends come before all else: what is over is not begun.
    """
    after = {name: _passed(one, contracts.contracts.get(one.contract), now_ns) for name, one in book.enrolments.items()}
    return structs.replace(book, enrolments=after)


def _passed(one: ProgramEnrolment, contract: Contract | None, now_ns: int) -> ProgramEnrolment:
    if one.state is State.ENDED or (one.steps and now_ns < one.steps[-1].at_ns):
        return one
    if now_ns >= one.ends_ns:
        return must(step(one, State.ENDED, Why.TERM_OVER, CLOCK, now_ns))
    ended = None if contract is None else contract.termination.ends_at
    if contract is None or (ended is not None and now_ns >= to_ns(ended)):
        return must(step(one, State.ENDED, Why.CONTRACT_ENDED, CLOCK, now_ns))
    why = contract.refusal(one.program, now_ns)
    if one.state is State.CONFIRMED and one.starts_ns <= now_ns and why is None:
        return must(step(one, State.ACTIVE, Why.STARTED, CLOCK, now_ns))
    if one.state is State.ACTIVE and why is not None:
        return must(step(one, State.SUSPENDED, Why.CONSENT_WITHDRAWN, CLOCK, now_ns, str(why)))
    if one.state is State.SUSPENDED and why is None and one.steps[-1].why is Why.CONSENT_WITHDRAWN:
        return must(step(one, State.ACTIVE, Why.CONSENT_RENEWED, CLOCK, now_ns))
    return one


def answer_review(
    book: EnrolmentBook,
    case_id: str,
    answer: Literal["approved", "approved_with_conditions", "rejected"],
    by: str,
    now_ns: int,
    *,
    ground: str = "",
    against: Iterable[str] = (),
    conditions: Iterable[str] = (),
    says: str = "",
) -> EnrolmentBook | Refusal:
    """Return the book after a utility's answer; the same answer twice has one effect.

    A yes confirms those who wait, and lets those go on that its former no had suspended. A no ends those who wait and
    suspends those who serve; one that names members is about those, one that names none about all who wait.
    """
    named = tuple(against)
    if answer == "rejected" and not named:
        named = _waiting(book, case_id)
    reviews = decide(book.reviews, case_id, answer, by, now_ns, ground=ground, against=named, conditions=conditions,
                     says=says)  # fmt: skip
    if isinstance(reviews, Refusal):
        return reviews
    if reviews == book.reviews:
        return book
    case = next(one for one in reviews if one.id == case_id)
    after = {
        name: _answered(one, case, by, now_ns) if name in case.members else one for name, one in book.enrolments.items()
    }
    return structs.replace(book, enrolments=after, reviews=reviews)


def _waiting(book: EnrolmentBook, case_id: str) -> tuple[str, ...]:
    """Return whom a no without names is about: what was new. Who serves by a former yes goes on (Order 2222)."""
    case = next((one for one in book.reviews if one.id == case_id), None)
    if case is None or case.answer:
        return () if case is None else case.against
    members = (book.enrolments.get(name) for name in case.members)
    return tuple(one.id for one in members if one is not None and one.state is State.UNDER_REVIEW)


def _answered(one: ProgramEnrolment, case: ReviewCase, by: str, now_ns: int) -> ProgramEnrolment:
    says = "; ".join(part for part in (case.ground, case.says, *case.conditions) if part)
    is_waiting = one.state is State.UNDER_REVIEW
    if case.answer in ("approved", "approved_with_conditions"):
        why = Why.APPROVED if case.answer == "approved" else Why.APPROVED_WITH_CONDITIONS
        if is_waiting:
            return must(step(one, State.CONFIRMED, why, by, now_ns, says))
        if one.state is State.SUSPENDED and one.steps[-1].why is Why.REJECTED and now_ns < one.ends_ns:
            return must(step(one, State.ACTIVE, Why.APPROVED, by, now_ns, says))
        return one
    if one.id not in case.against:
        return one
    if one.state is State.CONFIRMED:
        one = must(step(one, State.UNDER_REVIEW, Why.MEMBERSHIP_CHANGED, by, now_ns))
        is_waiting = True
    if is_waiting:
        return must(step(one, State.ENDED, Why.REJECTED, by, now_ns, says))
    if one.state is State.ACTIVE:
        return must(step(one, State.SUSPENDED, Why.REJECTED, by, now_ns, says))
    return one
