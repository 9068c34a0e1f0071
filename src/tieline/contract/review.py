"""The distribution utility's review of an aggregation: a queue with a clock, reasons, and again on every change.

What is reviewed is a membership, by its hash: an approval counts for those members alone. When one joins or leaves, the
aggregation is reviewed anew with a clock of its own, while members that were approved go on (18 CFR 35.28(g)(12)(ii)(G)
and FERC Order 2222: at most 60 days). Silence is no approval: a review past its clock is overdue and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, structs

from tieline.contract.program import Review
from tieline.ids import derive
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, iso

Answer = Literal["", "approved", "approved_with_conditions", "rejected", "superseded"]


class ReviewCase(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One review: of which members, since when, by when; and how it ended."""

    id: str
    aggregation: str
    utility: str
    members: tuple[str, ...]
    opened_ns: int
    due_ns: int
    grounds: tuple[str, ...]
    answer: Answer = ""
    ground: str = ""
    against: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    by: str = ""
    decided_ns: int = 0
    says: str = ""

    def is_overdue(self, now_ns: int) -> bool:
        """Return whether its clock ran out without an answer."""
        return not self.answer and now_ns >= self.due_ns

    def days_left(self, now_ns: int) -> float:
        """Return how many days the utility has left, below 0 when overdue."""
        return (self.due_ns - now_ns) / DAY_NS


def open_review(
    queue: Iterable[ReviewCase], aggregation: str, utility: str, members: Iterable[str], terms: Review, now_ns: int
) -> tuple[ReviewCase, ...]:
    """Return the queue with a review of this membership; the same membership is not reviewed twice.

    A review of another membership of the aggregation that still waits is superseded: its answer would be of no use.
    A membership that was rejected is reviewed again only when it is asked for later than that answer.
    """
    kept, there = tuple(queue), tuple(sorted(set(members)))
    mine = [one for one in kept if (one.aggregation, one.utility) == (aggregation, utility)]
    last = next((one for one in reversed(mine) if one.answer != "superseded"), None)
    if last is not None and last.members == there and last.answer != "rejected":
        return kept
    if last is not None and last.members == there and last.decided_ns >= now_ns:
        return kept
    closed = tuple(
        structs.replace(one, answer="superseded", decided_ns=now_ns, says="the membership changed")
        if one in mine and not one.answer
        else one
        for one in kept
    )
    if not there:
        return closed
    name = derive("review", aggregation, utility, now_ns, *there)
    due_ns = now_ns + terms.days * DAY_NS
    case = ReviewCase(id=name, aggregation=aggregation, utility=utility, members=there, opened_ns=now_ns,
                      due_ns=due_ns, grounds=terms.grounds)  # fmt: skip
    return (*closed, case)


def is_judged(queue: Iterable[ReviewCase], aggregation: str, utility: str, members: Iterable[str]) -> bool:
    """Return whether a utility was asked about a membership: the last one, less those whom its no was about."""
    mine = [one for one in queue if (one.aggregation, one.utility) == (aggregation, utility)]
    last = next((one for one in reversed(mine) if one.answer != "superseded"), None)
    there = set(members)
    if last is None:
        return not there
    return there == set(last.members) - (set(last.against) - there)


def decide(
    queue: Iterable[ReviewCase],
    case_id: str,
    answer: Literal["approved", "approved_with_conditions", "rejected"],
    by: str,
    now_ns: int,
    *,
    ground: str = "",
    against: Iterable[str] = (),
    conditions: Iterable[str] = (),
    says: str = "",
) -> tuple[ReviewCase, ...] | Refusal:
    """Return the queue with an answer. A no needs a listed ground; `against` names the members that it is about."""
    kept, told, asked = tuple(queue), tuple(sorted(set(against))), tuple(conditions)
    case = next((one for one in kept if one.id == case_id), None)
    if case is None:
        return Refusal("there is no such review", "review", case_id, ", ".join(one.id for one in kept) or "none")
    after = structs.replace(case, answer=answer, by=by, decided_ns=now_ns, ground=ground, against=told,
                            conditions=asked, says=says)  # fmt: skip
    if case.answer:
        if structs.replace(after, decided_ns=case.decided_ns) == case:
            return kept
        return Refusal("the review was answered", "answer", answer, f"{case.answer} at {iso(case.decided_ns)}")
    if now_ns < case.opened_ns:
        return Refusal("an answer comes after its question", "at", iso(now_ns), f">= {iso(case.opened_ns)}")
    if not by:
        return Refusal("somebody answers", "by", "nobody", "a name")
    if answer == "rejected" and ground not in case.grounds:
        return Refusal("a no needs a ground", "ground", ground or "none", ", ".join(case.grounds))
    if answer == "approved_with_conditions" and not asked:
        return Refusal("conditions are named", "conditions", "none", "one at least")
    if strangers := [one for one in told if one not in case.members]:
        return Refusal("they are not under review", "against", ", ".join(strangers), ", ".join(case.members))
    return tuple(after if one.id == case_id else one for one in kept)
