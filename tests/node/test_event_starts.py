"""What can be composed at the console begins now or later: the past is refused by field, value and limit."""

import pytest

from tieline.desk.screens import ComposeEvent
from tieline.node.event_starts import refusal_of_start
from tieline.resource.claim import Refusal
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, iso

NOW_NS = 1_700_000_000 * SECOND_NS


@pytest.mark.parametrize(("late_ns", "is_late"), [(-HOUR_NS, False), (MINUTE_NS, False), (61 * SECOND_NS, True)])
def test_an_event_may_not_begin_more_than_a_minute_ago(late_ns: int, is_late: bool) -> None:
    wish = ComposeEvent("summer", "pool-1", NOW_NS - late_ns, NOW_NS + HOUR_NS, 1e3)
    said = Refusal(
        "the event's start lies in the past", "start_ns", "2023-11-14T22:12:19Z", "2023-11-14T22:13:20Z or later"
    )
    assert refusal_of_start(wish, NOW_NS) == (said if is_late else None)


@pytest.mark.parametrize(("ahead_days", "is_far"), [(399, False), (400, False), (401, True), (36_500, True)])
def test_an_event_may_not_begin_more_than_a_year_and_a_bit_ahead(ahead_days: int, is_far: bool) -> None:
    start_ns = NOW_NS + ahead_days * DAY_NS
    said = refusal_of_start(ComposeEvent("summer", "pool-1", start_ns, start_ns + HOUR_NS, 1e3), NOW_NS)
    assert (said is not None) == is_far
    if said is not None:
        assert (said.field, said.value, said.limit) == ("start_ns", iso(start_ns), "2024-12-18T22:13:20Z or earlier")
