"""The life of an enrolment: a table of states, and for each step the reasons for which it may be taken.

draft -> authorised -> submitted -> under review -> confirmed -> active <-> suspended -> ended. What the table does not
hold is refused. Enrolments are effective-dated, [starts, ends), and of one location in one market only one is alive at
any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct, structs

from tieline.contract.program import AnyProgram
from tieline.contract.strict import Span, overlaps
from tieline.ids import derive
from tieline.resource.claim import Refusal
from tieline.times import FOREVER_NS, iso


class State(StrEnum):
    """Where an enrolment stands."""

    DRAFT = "draft"
    AUTHORISED = "authorised"
    SUBMITTED = "submitted"
    UNDER_REVIEW = "under_review"
    CONFIRMED = "confirmed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"


class Why(StrEnum):
    """Why a step was taken."""

    CONSENT_GIVEN = "consent_given"
    SENT = "sent"
    REVIEW_OPENED = "review_opened"
    NO_REVIEW_ASKED = "no_review_asked"
    APPROVED = "approved"
    APPROVED_WITH_CONDITIONS = "approved_with_conditions"
    SENT_BACK = "sent_back"
    REJECTED = "rejected"
    STARTED = "started"
    MEMBERSHIP_CHANGED = "membership_changed"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    CONSENT_RENEWED = "consent_renewed"
    DEVICE_LOST = "device_lost"
    DEVICE_BACK = "device_back"
    SAFETY = "safety"
    SAFETY_CLEARED = "safety_cleared"
    OWNER_LEFT = "owner_left"
    CONTRACT_ENDED = "contract_ended"
    PROGRAM_ENDED = "program_ended"
    TERM_OVER = "term_over"
    REPLACED = "replaced"


_LEAVES = frozenset({Why.OWNER_LEFT, Why.CONTRACT_ENDED, Why.PROGRAM_ENDED, Why.TERM_OVER, Why.REPLACED})
NEXT: dict[State, dict[State, frozenset[Why]]] = {
    State.DRAFT: {State.AUTHORISED: frozenset({Why.CONSENT_GIVEN}), State.ENDED: _LEAVES},
    State.AUTHORISED: {State.SUBMITTED: frozenset({Why.SENT}), State.ENDED: _LEAVES | {Why.CONSENT_WITHDRAWN}},
    State.SUBMITTED: {
        State.UNDER_REVIEW: frozenset({Why.REVIEW_OPENED}),
        State.CONFIRMED: frozenset({Why.NO_REVIEW_ASKED}),
        State.ENDED: _LEAVES | {Why.CONSENT_WITHDRAWN},
    },
    State.UNDER_REVIEW: {
        State.CONFIRMED: frozenset({Why.APPROVED, Why.APPROVED_WITH_CONDITIONS}),
        State.SUBMITTED: frozenset({Why.SENT_BACK}),
        State.ENDED: _LEAVES | {Why.REJECTED, Why.CONSENT_WITHDRAWN},
    },
    State.CONFIRMED: {
        State.ACTIVE: frozenset({Why.STARTED}),
        State.UNDER_REVIEW: frozenset({Why.MEMBERSHIP_CHANGED}),
        State.ENDED: _LEAVES | {Why.CONSENT_WITHDRAWN},
    },
    State.ACTIVE: {
        State.SUSPENDED: frozenset({Why.CONSENT_WITHDRAWN, Why.DEVICE_LOST, Why.SAFETY, Why.REJECTED}),
        State.ENDED: _LEAVES,
    },
    State.SUSPENDED: {
        State.ACTIVE: frozenset({Why.CONSENT_RENEWED, Why.DEVICE_BACK, Why.SAFETY_CLEARED, Why.APPROVED}),
        State.ENDED: _LEAVES | {Why.CONSENT_WITHDRAWN, Why.REJECTED},
    },
    State.ENDED: {},
}
CURES = {
    Why.CONSENT_WITHDRAWN: Why.CONSENT_RENEWED,
    Why.DEVICE_LOST: Why.DEVICE_BACK,
    Why.SAFETY: Why.SAFETY_CLEARED,
    Why.REJECTED: Why.APPROVED,
}
"""What ends a suspension: the cure of what began it, and nothing else."""


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """That an enrolment came into a state: when, why, by whom, and in what words."""

    to: State
    why: Why
    by: str
    at_ns: int
    says: str = ""


class ProgramEnrolment(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That a device at a location serves a program over [starts, ends), with so much power (W)."""

    id: str
    program: str
    contract: str
    location: str
    resource: str
    kind: str
    fuel: str
    market: str
    power_w: float
    rating_w: float
    starts_ns: int
    ends_ns: int = FOREVER_NS
    aggregation: str = ""
    made_ns: int
    steps: tuple[Step, ...] = ()

    @property
    def state(self) -> State:
        """Where it stands now."""
        return self.steps[-1].to if self.steps else State.DRAFT

    @property
    def alive_to_ns(self) -> int:
        """When it stops to bind its location: its end, or the instant at which it was ended before."""
        return min(self.ends_ns, self.steps[-1].at_ns) if self.state is State.ENDED else self.ends_ns

    def state_at(self, at_ns: int) -> State:
        """Return where it stood at an instant: what was known of it then."""
        told = [step.to for step in self.steps if step.at_ns <= at_ns]
        return told[-1] if told else State.DRAFT

    def serves(self, at_ns: int) -> bool:
        """Return whether it may be called at an instant."""
        return self.starts_ns <= at_ns < self.ends_ns and self.state_at(at_ns) is State.ACTIVE

    def same_asked(self, other: ProgramEnrolment) -> bool:
        """Return whether both ask for the same; when it was asked and what came of it aside."""
        return structs.replace(self, made_ns=0, steps=()) == structs.replace(other, made_ns=0, steps=())


def enrolment_id(location: str, resource: str, program: str, starts_ns: int) -> str:
    """Return the id of an enrolment, made of what it is, so that asking twice makes one."""
    return derive("enrolment", location, resource, program, starts_ns)


def step(one: ProgramEnrolment, to: State, why: Why, by: str, at_ns: int, says: str = "") -> ProgramEnrolment | Refusal:
    """Return the enrolment after a step, or why it can't take it; the step that it took last is no second one."""
    if one.steps and (one.steps[-1].to, one.steps[-1].why, one.steps[-1].by) == (to, why, by):
        return one
    reasons = NEXT[one.state].get(to)
    if reasons is None:
        allowed = ", ".join(NEXT[one.state]) or "nothing: it has ended"
        return Refusal("the enrolment can't take that step", "state", f"{one.state} -> {to}", allowed, rule=one.id)
    if why not in reasons:
        return Refusal("that is no reason for this step", "why", why, ", ".join(sorted(reasons)), rule=one.id)
    if one.state is State.SUSPENDED and to is State.ACTIVE and why is not CURES[one.steps[-1].why]:
        cure = CURES[one.steps[-1].why]
        return Refusal("that does not mend why it was suspended", "why", why, cure, rule=one.id)
    if one.steps and at_ns < one.steps[-1].at_ns:
        return Refusal("a step is not taken backwards", "at", iso(at_ns), f">= {iso(one.steps[-1].at_ns)}", rule=one.id)
    if to is State.ACTIVE and not one.starts_ns <= at_ns < one.ends_ns:
        until = "later" if one.ends_ns == FOREVER_NS else f"before {iso(one.ends_ns)}"
        return Refusal("it does not run then", "at", iso(at_ns), f"{iso(one.starts_ns)} or {until}", rule=one.id)
    if not by:
        return Refusal("somebody takes a step", "by", "nobody", "a name", rule=one.id)
    return structs.replace(one, steps=(*one.steps, Step(to, why, by, at_ns, says)))


def overlap_refusal(asked: ProgramEnrolment, others: Iterable[ProgramEnrolment]) -> Refusal | None:
    """Return who has the location in that market at that time, as a refusal, or None.

    Devices of one location may serve one program together: they are one participant behind one meter.
    """
    mine = Span(asked.starts_ns, asked.ends_ns)
    for other in others:
        if other.id == asked.id or other.location != asked.location or other.market != asked.market:
            continue
        if other.program == asked.program and other.resource != asked.resource:
            continue
        if other.alive_to_ns > other.starts_ns and overlaps(mine, Span(other.starts_ns, other.alive_to_ns)):
            until = "open" if other.alive_to_ns == FOREVER_NS else iso(other.alive_to_ns)
            return Refusal("the location is enrolled in that market at that time", "location", asked.location,
                           f"not {iso(other.starts_ns)} to {until}", f"{other.program} ({other.id})")  # fmt: skip
    return None


def exclusion_refusal(
    asked: ProgramEnrolment, program: AnyProgram, others: Iterable[tuple[ProgramEnrolment, AnyProgram]]
) -> Refusal | None:
    """Return which program at the location, or of the resource, forbids this one, or is forbidden by it, or None.

    A program that takes part beside nothing (`dual = "never"`) does so whichever of the two it is: one that gives
    increments gives them beside others that do.
    """
    for other, its in _beside(asked, others):
        if other.program == asked.program:
            continue
        if its.id in program.excludes or program.id in its.excludes:
            return Refusal("these programs exclude each other", "program", program.id, f"not beside {its.id}", other.id)
        alone = next((one.id for one in (program, its) if one.dual == "never"), None)
        if alone is not None:
            limit = f"a program that gives increments, beside {its.id}" if alone != its.id else f"not beside {its.id}"
            return Refusal(f"{alone} takes part beside no other", "program", program.id, limit, other.id)
    return None


def resource_refusal(asked: ProgramEnrolment, others: Iterable[ProgramEnrolment]) -> Refusal | None:
    """Return why a resource can't serve so much more, or there, or None: it stands at one place, and has one rating.

    The rating is the least that an enrolment gives beyond its own power; where none does, the most that one promises.
    """
    mine = [one for one in others if one.id != asked.id and one.resource == asked.resource and _meets(asked, one)]
    for other in mine:
        if other.location != asked.location:
            limit = f"{other.location}, where it stands then"
            return Refusal("a resource is at one location", "location", asked.location, limit, other.id)
    every = [asked, *mine]
    given = [one.rating_w for one in every if one.rating_w > one.power_w]
    rating_w = min(given) if given else max(one.rating_w for one in every)
    for at_ns in sorted({max(one.starts_ns, asked.starts_ns) for one in every}):
        there = [one for one in every if one.starts_ns <= at_ns < one.alive_to_ns]
        total_w = sum(one.power_w for one in there)
        if total_w > rating_w * (1 + 1e-9):
            held = ", ".join(f"{one.power_w:g} in {one.program}" for one in there if one is not asked)
            limit = f"{max(rating_w - (total_w - asked.power_w), 0):g} W: rating {rating_w:g}, of it {held}"
            return Refusal("that is more than the resource has", "power_w", f"{asked.power_w:g}", limit, mine[0].id)
    return None


def _meets(asked: ProgramEnrolment, other: ProgramEnrolment) -> bool:
    """Return whether two enrolments are alive at some instant together."""
    is_alive = other.alive_to_ns > other.starts_ns
    return is_alive and overlaps(Span(asked.starts_ns, asked.ends_ns), Span(other.starts_ns, other.alive_to_ns))


def _beside(
    asked: ProgramEnrolment, others: Iterable[tuple[ProgramEnrolment, AnyProgram]]
) -> Iterable[tuple[ProgramEnrolment, AnyProgram]]:
    """Yield who is there at the time, of the same location or the same resource, with the program."""
    for other, its in others:
        is_near = other.location == asked.location or other.resource == asked.resource
        if other.id != asked.id and is_near and _meets(asked, other):
            yield other, its
