"""Who belongs to an aggregation, when that has to be reviewed, and whether it is big enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from zoneinfo import ZoneInfo

from msgspec import Struct, structs

from tieline.contract.enrolment import ProgramEnrolment, State
from tieline.contract.minimum import Member, size_refusals, size_rules
from tieline.contract.party import Contracts
from tieline.contract.program import AnyProgram, Review
from tieline.contract.review import ReviewCase, is_judged, open_review
from tieline.errors import InvariantError
from tieline.resource.claim import Refusal
from tieline.times import from_ns


class EnrolmentBook(Struct, frozen=True, forbid_unknown_fields=True):
    """All enrolments by id, and the reviews of their aggregations, oldest first."""

    enrolments: dict[str, ProgramEnrolment] = {}
    reviews: tuple[ReviewCase, ...] = ()


def must(one: ProgramEnrolment | Refusal) -> ProgramEnrolment:
    """Return the enrolment after a step that the table must allow; else it is our bug."""
    if isinstance(one, Refusal):
        raise InvariantError(str(one))
    return one


def version_at(programs: Sequence[AnyProgram], name: str, at_ns: int) -> AnyProgram | None:
    """Return the version of a program that holds at an instant, or None."""
    return next(
        (one for one in programs
         if one.id == name and one.holds_on(from_ns(at_ns).astimezone(ZoneInfo(one.zone)).date())),
        None,
    )  # fmt: skip


def _memberships(book: EnrolmentBook) -> dict[str, list[ProgramEnrolment]]:
    """Return who is alive in each aggregation; one that lost everybody has nobody."""
    found: dict[str, list[ProgramEnrolment]] = {}
    for one in book.enrolments.values():
        if one.aggregation:
            alive = found.setdefault(one.aggregation, [])
            if one.state is not State.ENDED:
                alive.append(one)
    return found


def review_memberships(
    book: EnrolmentBook, contracts: Contracts, programs: Sequence[AnyProgram], now_ns: int
) -> EnrolmentBook:
    """Return the book with a review for each aggregation in which somebody joined or left since the last one.

    Each utility reviews those of its own locations. Run again without a change it adds nothing.
    """
    reviews = book.reviews
    reviewed_by: dict[str, set[str]] = {}
    for case in reviews:
        reviewed_by.setdefault(case.aggregation, set()).add(case.utility)
    for name, alive in _memberships(book).items():
        of: dict[str, list[str]] = {utility: [] for utility in reviewed_by.get(name, ())}
        terms = None
        for one in alive:
            program, location = version_at(programs, one.program, one.starts_ns), contracts.locations.get(one.location)
            if program is not None and program.review is not None and location is not None:
                of.setdefault(location.utility, []).append(one.id)
                terms = program.review
        for utility, members in sorted(of.items()):
            mine = tuple(case for case in reviews if case.aggregation == name)
            if is_judged(mine, name, utility, members):
                continue
            if terms is None:  # nobody is left: what waits is of no use any more
                terms = Review(days=1)
            after = open_review(mine, name, utility, members, terms, now_ns)
            kept = {case.id: case for case in after}
            fresh = tuple(case for case in after if case.id not in {one.id for one in mine})
            reviews = (*(kept.get(case.id, case) for case in reviews), *fresh)
    return structs.replace(book, reviews=reviews)


def too_small(
    book: EnrolmentBook, contracts: Contracts, programs: Sequence[AnyProgram], names: Iterable[str]
) -> Iterator[str]:
    """Yield in words how aggregations break the size rule of their program: it bars their offers, not enrolment."""
    members_of = _memberships(book)
    for name in sorted(names):
        alive = members_of.get(name, [])
        program = version_at(programs, alive[0].program, alive[0].starts_ns) if alive else None
        if program is not None and program.minimum is not None:
            members = [Member(one.resource, one.power_w, contracts.locations[one.location]) for one in alive]
            yield from (f"{name}: {why}" for why in size_refusals(size_rules()[program.minimum], members))
