"""No budget is ever exceeded, turns are even, and every type of program refuses what can't be kept."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from agreed import ns
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tieline.contract.budget import Call, call_refusal, gini, season_of, take_turns
from tieline.contract.program import Budget
from tieline.contract.programs import sample_programs
from tieline.times import HOUR_NS, from_ns

BY_ID = {one.id: one for one in sample_programs()}
LA = ZoneInfo("America/Los_Angeles")
BUDGETS = st.builds(
    Budget,
    hours_a_call=st.integers(1, 6).map(float),
    calls_a_day=st.none() | st.integers(0, 2),
    calls_a_month=st.none() | st.integers(0, 4),
    calls_a_season=st.integers(0, 8),
    hours_a_month=st.none() | st.integers(6, 15).map(float),
    hours_a_season=st.none() | st.integers(6, 30).map(float),
    days_in_a_row=st.none() | st.integers(1, 3),
    season_from_month=st.integers(1, 12),
)
FIRST = datetime(2026, 4, 20, tzinfo=UTC)
CALLS = st.lists(
    st.tuples(st.integers(0, 24 * 25), st.integers(1, 7)).map(
        lambda t: Call(ns(str(FIRST)) + t[0] * HOUR_NS, ns(str(FIRST)) + (t[0] + t[1]) * HOUR_NS)
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(BUDGETS, CALLS)
def test_no_budget_is_ever_exceeded(budget: Budget, asked: list[Call]) -> None:
    """What was admitted is counted anew, by day, month and season, in another way than the rule counts."""
    program = structs.replace(BY_ID["base-interruptible"], budget=budget, notice_s=0)
    made: list[Call] = []
    for call in asked:
        if call_refusal(program, made, call, 0) is None and call not in made:
            made.append(call)
    days = [from_ns(call.start_ns).astimezone(LA).date() for call in made]
    hours = [(call.end_ns - call.start_ns) / HOUR_NS for call in made]
    spans = {
        "day": [day.toordinal() for day in days],
        "month": [day.year * 12 + day.month for day in days],
        "season": [(day.year * 12 + day.month - budget.season_from_month) // 12 for day in days],
    }
    assert all(one <= budget.hours_a_call for one in hours)
    for name, keys in spans.items():
        calls, spent = Counter(keys), Counter[int]()
        for key, length in zip(keys, hours, strict=True):
            spent[key] += length
        most, most_h = getattr(budget, f"calls_a_{name}"), getattr(budget, f"hours_a_{name}", None)
        assert most is None or max(calls.values(), default=0) <= most
        assert most_h is None or max(spent.values(), default=0) <= most_h
    if budget.days_in_a_row is not None:
        for day in set(days):
            row = [day + timedelta(days=at) for at in range(budget.days_in_a_row + 1)]
            assert not set(row) <= set(days)
    ordered = sorted(made)
    assert all(one.end_ns <= other.start_ns for one, other in itertools.pairwise(ordered))


@given(CALLS, CALLS)
def test_the_same_call_again_is_no_second_one(made: list[Call], others: list[Call]) -> None:
    program = structs.replace(BY_ID["base-interruptible"], notice_s=0)
    for call in others:
        first = call_refusal(program, made, call, 0)
        assert call_refusal(program, [*made, call], call, 0) == first


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 12), st.integers(1, 14))
def test_turns_keep_calls_even(people: int, wanted: int, days: int) -> None:
    """After any number of equal calls nobody was called more than once more often than anyone else."""
    program = BY_ID["base-interruptible"]
    budget = structs.replace(program.budget, calls_a_month=None)
    program = structs.replace(program, budget=budget)
    made: dict[str, list[Call]] = {f"p{at}": [] for at in range(people)}
    start = ns("2026-06-01T20:00:00+00:00")
    for day in range(days):
        call = Call(start + day * 24 * HOUR_NS, start + day * 24 * HOUR_NS + 2 * HOUR_NS)
        turn = take_turns(program, made, call, wanted, start - 24 * HOUR_NS)
        assert take_turns(program, made, call, wanted, start - 24 * HOUR_NS) == turn
        assert len(turn.called) == min(wanted, people)
        for name in turn.called:
            made[name].append(call)
        counts = [len(calls) for calls in made.values()]
        assert max(counts) - min(counts) <= 1
        assert turn.gini == pytest.approx(gini([2.0 * count for count in counts]))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.floats(0.1, 10))
def test_gini_is_that_of_the_mean_difference_and_has_no_unit(amounts: list[float], scale: float) -> None:
    """Oracle: half the mean absolute difference over the mean (Gini 1912), summed over all pairs."""
    total = sum(amounts)
    pairs = sum(abs(one - other) for one in amounts for other in amounts)
    expected = pairs / (2 * len(amounts) * total) if total > 0 else 0.0
    assert gini(amounts) == pytest.approx(expected, abs=1e-9)
    assert gini([one * scale for one in amounts]) == pytest.approx(gini(amounts), abs=1e-9)


NOW = ns("2026-01-02T00:00:00")
# program, start, end, calls before, field that is refused ("" where it may be called). Local times have an offset.
RULES = [
    ("base-interruptible", "2026-07-01T10:00:00-07:00", "2026-07-01T16:00:00-07:00", [], ""),
    ("base-interruptible", "2026-07-01T10:00:00-07:00", "2026-07-01T16:00:01-07:00", [], "hours"),
    ("base-interruptible", "2026-07-01T18:00:00-07:00", "2026-07-01T20:00:00-07:00", ["2026-07-01T08"], "calls_a_day"),
    ("base-interruptible", "2026-07-02T18:00:00-07:00", "2026-07-02T20:00:00-07:00", ["2026-07-01T08"], ""),
    ("base-interruptible", "2026-07-20T18:00:00-07:00", "2026-07-20T20:00:00-07:00",
     [f"2026-07-{day:02}T08" for day in range(1, 11)], "calls_a_month"),
    ("base-interruptible", "2026-08-01T18:00:00-07:00", "2026-08-01T20:00:00-07:00",
     [f"2026-07-{day:02}T08" for day in range(1, 11)], ""),
    ("base-interruptible", "2015-07-01T10:00:00-07:00", "2015-07-01T12:00:00-07:00", [], "start"),
    ("base-interruptible", "2026-07-01T12:00:00-07:00", "2026-07-01T12:00:00-07:00", [], "end"),
    ("base-interruptible", "2026-07-01T08:30:00-07:00", "2026-07-01T09:30:00-07:00", ["2026-07-01T08"], "start"),
    ("critical-peak", "2026-07-01T16:00:00-07:00", "2026-07-01T21:00:00-07:00", [], ""),
    ("critical-peak", "2026-07-01T15:00:00-07:00", "2026-07-01T20:00:00-07:00", [], "start"),
    ("critical-peak", "2026-07-01T16:00:00-07:00", "2026-07-01T19:00:00-07:00", [], "hours"),
    ("critical-peak", "2026-08-01T16:00:00-07:00", "2026-08-01T21:00:00-07:00",
     [f"2026-07-{day:02}T16" for day in range(1, 16)], "calls_a_season"),
    ("emergency-load-reduction", "2026-07-04T16:00:00-07:00", "2026-07-04T21:00:00-07:00", [], ""),
    ("emergency-load-reduction", "2026-04-30T16:00:00-07:00", "2026-04-30T21:00:00-07:00", [], "start"),
    ("emergency-load-reduction", "2026-07-04T20:00:00-07:00", "2026-07-04T20:30:00-07:00", [], "hours"),
    ("peak-rebate", "2026-07-03T14:00:00-07:00", "2026-07-03T18:00:00-07:00", [], "start"),  # a holiday of that rule
    ("peak-rebate", "2026-07-06T14:00:00-07:00", "2026-07-06T18:00:00-07:00", [], ""),
    ("peak-rebate", "2026-07-11T14:00:00-07:00", "2026-07-11T18:00:00-07:00", [], "start"),  # a Saturday
    ("cycling-half", "2026-07-09T14:00:00-05:00", "2026-07-09T18:00:00-05:00",
     ["2026-07-06T15", "2026-07-07T15", "2026-07-08T15"], "days_in_a_row"),
    ("cycling-half", "2026-07-10T14:00:00-05:00", "2026-07-10T18:00:00-05:00",
     ["2026-07-06T15", "2026-07-07T15", "2026-07-08T15"], ""),
    ("battery-export", "2026-05-31T15:00:00-04:00", "2026-05-31T18:00:00-04:00", [], "start"),
    ("battery-export", "2026-06-01T15:00:00-04:00", "2026-06-01T18:00:00-04:00", [], ""),
    ("battery-export", "2026-06-01T17:30:00-04:00", "2026-06-01T20:30:00-04:00", [], "start"),
    ("hourly-price", "2026-06-01T17:30:00-05:00", "2026-06-01T20:30:00-05:00", [], "program"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "start", "end", "before", "field"), RULES)
def test_a_program_is_called_as_its_rule_says(name: str, start: str, end: str, before: list[str], field: str) -> None:
    program = BY_ID[name]
    made = [ns(str(datetime.fromisoformat(f"{one}:00:00").replace(tzinfo=ZoneInfo(program.zone)))) for one in before]
    calls = [Call(at, at + HOUR_NS) for at in made]
    now = min(NOW, ns(start) - 30 * 24 * HOUR_NS)
    why = call_refusal(program, calls, Call(ns(start), ns(end)), now, [date(2026, 7, 3)])
    assert ("" if why is None else why.field) == field, why
    assert why is None or field == "end" or why.rule == f"{name} {program.version}" or name == "hourly-price"


def test_notice_is_counted_to_the_second() -> None:
    program, start = BY_ID["base-interruptible"], ns("2026-07-01T20:00:00")
    call = Call(start, start + HOUR_NS)
    assert call_refusal(program, [], call, start - 1_800_000_000_000) is None
    assert call_refusal(program, [], call, start - 1_799_000_000_000).limit == ">= 1800"


def test_a_window_has_its_hours_on_the_days_on_which_clocks_change() -> None:
    """2026-03-08 has 23 hours in Los Angeles, 2026-11-01 has 25: 16 to 21 on the wall is five hours on both."""
    program = BY_ID["critical-peak"]
    for start, end in (("2026-03-08T23:00:00", "2026-03-09T04:00:00"), ("2026-11-02T00:00:00", "2026-11-02T05:00:00")):
        assert call_refusal(program, [], Call(ns(start), ns(end)), NOW) is None


def test_a_season_begins_in_its_month() -> None:
    assert [season_of(date(2026, month, 1), 5) for month in (4, 5, 12)] == [2025, 2026, 2026]


def test_hours_of_a_season_are_spent_to_the_last_and_not_beyond() -> None:
    """180 hours a year: thirty calls of six hours in three months, and not one hour more in the fourth."""
    program = BY_ID["base-interruptible"]
    starts = [ns(f"2026-{month:02}-{day:02}T18:00:00") for month in (6, 7, 8) for day in range(1, 11)]
    made = [Call(at, at + 6 * HOUR_NS) for at in starts]
    assert call_refusal(program, made[:-1], made[-1], NOW) is None
    more = ns("2026-09-01T18:00:00")
    assert call_refusal(program, made, Call(more, more + HOUR_NS), NOW).field == "hours_a_season"
