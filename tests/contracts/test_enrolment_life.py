"""The life of an enrolment never leaves its table; a location is enrolled once in a market; reviews have a clock."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tieline.contract.enrolment import (
    CURES,
    NEXT,
    ProgramEnrolment,
    State,
    Why,
    exclusion_refusal,
    overlap_refusal,
    resource_refusal,
    step,
)
from tieline.contract.program import Review
from tieline.contract.programs import sample_programs
from tieline.contract.review import decide, is_judged, open_review
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, FOREVER_NS

PATH = [
    (State.AUTHORISED, Why.CONSENT_GIVEN), (State.SUBMITTED, Why.SENT), (State.UNDER_REVIEW, Why.REVIEW_OPENED),
    (State.CONFIRMED, Why.APPROVED), (State.ACTIVE, Why.STARTED), (State.SUSPENDED, Why.DEVICE_LOST),
    (State.ENDED, Why.OWNER_LEFT),
]  # fmt: skip


def draft(name: str = "e", starts: int = 0, ends: int = FOREVER_NS, **more: object) -> ProgramEnrolment:
    base = ProgramEnrolment(
        id=name, program="p", contract="c", location="l", resource="r", kind="battery", fuel="none", market="m",
        power_w=1.0, rating_w=1.0, starts_ns=starts, ends_ns=ends, made_ns=0,
    )  # fmt: skip
    return structs.replace(base, **more)


STEPS = st.lists(st.tuples(st.sampled_from(State), st.sampled_from(Why), st.integers(-5, 50)), max_size=25)


@given(STEPS)
def test_no_sequence_of_steps_leaves_the_table(asked: list[tuple[State, Why, int]]) -> None:
    one, last = draft(ends=40), -5
    for to, why, at in asked:
        before = one
        after = step(one, to, why, "somebody", at)
        if isinstance(after, Refusal):
            continue
        if after is not before:
            assert why in NEXT[before.state][to]
            assert at >= last
            assert to is not State.ACTIVE or 0 <= at < 40
            last = at
        one = after
    assert len(one.steps) <= len(asked)
    walked = [State.DRAFT, *(each.to for each in one.steps)]
    assert all(to in NEXT[at] for at, to in itertools.pairwise(walked))


@given(STEPS)
def test_a_step_taken_twice_is_taken_once(asked: list[tuple[State, Why, int]]) -> None:
    once = twice = draft(ends=40)
    for to, why, at in asked:
        for _ in range(2):
            after = step(twice, to, why, "somebody", at)
            twice = twice if isinstance(after, Refusal) else after
        after = step(once, to, why, "somebody", at)
        once = once if isinstance(after, Refusal) else after
    assert once == twice


def test_the_table_has_the_states_of_the_design_in_their_order() -> None:
    assert [one.value for one in State] == [
        "draft", "authorised", "submitted", "under_review", "confirmed", "active", "suspended", "ended",
    ]  # fmt: skip
    one = draft()
    for at, (to, why) in enumerate(PATH):
        made = step(one, to, why, "somebody", at)
        assert isinstance(made, ProgramEnrolment), made
        one = made
    assert one.state is State.ENDED and not NEXT[State.ENDED]


def test_every_state_can_be_reached_and_every_state_but_the_last_can_end() -> None:
    reached = {State.DRAFT}
    for _ in State:
        reached |= {to for at in reached for to in NEXT[at]}
    assert reached == set(State)
    assert all(State.ENDED in NEXT[one] for one in State if one is not State.ENDED)


def test_only_the_cure_of_a_suspension_ends_it() -> None:
    for cause, cure in CURES.items():
        one = draft()
        for at, (to, why) in enumerate(PATH[:5]):
            one = step(one, to, why, "u", at)
        one = step(one, State.SUSPENDED, cause, "u", 9)
        for other in set(CURES.values()) - {cure}:
            refused = step(one, State.ACTIVE, other, "u", 10)
            assert isinstance(refused, Refusal) and refused.limit == cure
        assert step(one, State.ACTIVE, cure, "u", 10).state is State.ACTIVE


def test_what_was_known_at_an_instant_stays_known() -> None:
    one = draft()
    for at, (to, why) in enumerate(PATH):
        one = step(one, to, why, "u", at * 10)
    assert [one.state_at(at) for at in (-1, 0, 45, 50, 60)] == [
        State.DRAFT, State.AUTHORISED, State.ACTIVE, State.SUSPENDED, State.ENDED,
    ]  # fmt: skip
    assert one.serves(45) and not one.serves(50)


SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), min_size=1, max_size=12)


@given(SPANS)
def test_a_location_is_never_enrolled_twice_in_one_market_at_one_time(spans: list[tuple[int, int]]) -> None:
    taken: list[ProgramEnrolment] = []
    for at, (start, length) in enumerate(spans):
        asked = draft(f"e{at}", start, start + length, program=f"p{at}")
        if overlap_refusal(asked, taken) is None:
            taken.append(asked)
    for instant in range(31):
        assert sum(one.starts_ns <= instant < one.ends_ns for one in taken) <= 1


def test_an_enrolment_may_begin_where_another_ends_and_an_ended_one_binds_no_longer() -> None:
    first = draft("a", 0, 10)
    assert overlap_refusal(draft("b", 10, 20, program="q"), [first]) is None
    assert overlap_refusal(draft("b", 9, 20, program="q"), [first]).holder == "p (a)"
    left = step(first, State.ENDED, Why.OWNER_LEFT, "u", 5)
    assert overlap_refusal(draft("b", 5, 20, program="q"), [left]) is None
    assert overlap_refusal(draft("b", 4, 20, program="q"), [left]) is not None
    assert overlap_refusal(draft("b", 4, 20, program="q", market="other"), [first]) is None


def test_programs_that_take_part_beside_nothing_refuse_each_other() -> None:
    by_id = {one.id: one for one in sample_programs()}
    never, other, gives = by_id["peak-rebate"], by_id["base-interruptible"], by_id["emergency-load-reduction"]
    there = draft("a", program=other.id)
    asked = draft("b", program=never.id, market="else")
    assert exclusion_refusal(asked, never, [(there, other)]).holder == "a"
    bars = structs.replace(gives, excludes=("base-interruptible",))
    assert "exclude" in exclusion_refusal(draft("b", program=gives.id), bars, [(there, other)]).reason


def test_never_is_never_whichever_of_two_programs_says_it_and_increments_go_together() -> None:
    """150 kW of a plant of 200 were promised in base-interruptible and 150 more for emergencies; both became active."""
    by_id = {one.id: one for one in sample_programs()}
    never, gives = by_id["base-interruptible"], by_id["emergency-load-reduction"]
    also = structs.replace(gives, id="another")
    for one, other in ((never, gives), (gives, never)):
        there = draft("a", program=other.id)
        refused = exclusion_refusal(draft("b", program=one.id, market="else"), one, [(there, other)])
        assert (refused.reason, refused.holder) == ("base-interruptible takes part beside no other", "a")
    assert exclusion_refusal(draft("b", program=also.id), also, [(draft("a", program=gives.id), gives)]) is None
    elsewhere = structs.replace(draft("a", program=gives.id), location="far")
    assert exclusion_refusal(draft("b", program=never.id), never, [(elsewhere, gives)]) is not None


def test_a_resource_is_at_one_location_at_a_time() -> None:
    there = draft("a", 0, 10)
    assert resource_refusal(structs.replace(draft("b", 5, 20), location="far"), [there]).limit.startswith("l, where")
    assert resource_refusal(structs.replace(draft("b", 10, 20), location="far"), [there]) is None
    assert resource_refusal(structs.replace(draft("b", 5, 20), location="far", resource="s"), [there]) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10), st.integers(1, 200)), max_size=10))
def test_at_no_instant_more_of_a_resource_is_promised_than_its_rating(asked) -> None:
    taken: list[ProgramEnrolment] = []
    for at, (start, length, watts) in enumerate(asked):
        one = draft(f"e{at}", start, start + length, program=f"p{at}", market=f"m{at}")
        one = structs.replace(one, power_w=float(watts), rating_w=200.0)
        why = resource_refusal(one, taken)
        if why is None:
            taken.append(one)
        else:
            assert (why.field, why.value) == ("power_w", f"{watts}")
    for instant in range(31):
        assert sum(one.power_w for one in taken if one.starts_ns <= instant < one.ends_ns) <= 200


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=8))
def test_at_most_one_review_of_an_aggregation_waits_and_it_is_of_the_last_membership(asked: list[set[str]]) -> None:
    queue: tuple = ()
    for at, members in enumerate(asked):
        queue = open_review(queue, "agg", "utility", members, Review(days=60), at)
        again = open_review(queue, "agg", "utility", members, Review(days=60), at)
        assert again == queue
        waiting = [one for one in queue if not one.answer]
        assert [set(one.members) for one in waiting] == [members]


def test_a_changed_membership_is_reviewed_anew_with_a_clock_of_its_own_and_the_rest_goes_on() -> None:
    queue = open_review((), "agg", "u", {"a", "b"}, Review(days=60), 0)
    queue = decide(queue, queue[0].id, "approved", "clerk", 10 * DAY_NS)
    queue = open_review(queue, "agg", "u", {"a", "b", "c"}, Review(days=60), 20 * DAY_NS)
    fresh = queue[-1]
    assert fresh.due_ns == 80 * DAY_NS
    assert fresh.days_left(50 * DAY_NS) == 30 and not fresh.is_overdue(80 * DAY_NS - 1)
    assert fresh.is_overdue(80 * DAY_NS), "silence is no approval"
    queue = decide(queue, fresh.id, "rejected", "clerk", 30 * DAY_NS, ground="capacity", against=["c"])
    assert is_judged(queue, "agg", "u", {"a", "b"}) and is_judged(queue, "agg", "u", {"a", "b", "c"})
    assert not is_judged(queue, "agg", "u", {"a", "c"}), "b left, which nobody reviewed"
    assert [one.answer for one in open_review(queue, "agg", "u", (), Review(days=60), 40 * DAY_NS)] == [
        "approved", "rejected",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "more", "field"),
    [
        ("rejected", {}, "ground"),
        ("rejected", {"ground": "bad mood"}, "ground"),
        ("rejected", {"ground": "capacity", "against": ["z"]}, "against"),
        ("approved_with_conditions", {}, "conditions"),
    ],
)
def test_an_answer_without_what_it_needs_is_refused(answer: str, more: dict, field: str) -> None:
    queue = open_review((), "agg", "u", {"a"}, Review(days=60), 0)
    refused = decide(queue, queue[0].id, answer, "clerk", 1, **more)
    assert isinstance(refused, Refusal) and refused.field == field


def test_an_answer_is_given_once() -> None:
    queue = open_review((), "agg", "u", {"a"}, Review(days=60), 5)
    assert decide(queue, queue[0].id, "approved", "clerk", 4).field == "at"
    done = decide(queue, queue[0].id, "approved", "clerk", 6)
    assert decide(done, queue[0].id, "approved", "clerk", 9) == done
    assert decide(done, queue[0].id, "rejected", "clerk", 9, ground="capacity").field == "answer"
    assert decide(done, "none", "approved", "clerk", 9).field == "review"
