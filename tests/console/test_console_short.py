"""The alarm of an award that is not delivered, at any speed of the clock."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline.desk.facts import IntervalTracked
from tieline.desk.packed import Packed
from tieline.desk.ports import Award
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.node.read_alarms import AlarmBook
from tieline.node.read_short import under_delivery
from tieline.store.importing import read_nothing

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
STEP = 5 * MINUTE
ROWS = 40


def _state(hours: int = 2, power_w: float = 1e6) -> DeskState:
    """Return a desk with an award an hour."""
    fleet = read_nothing()
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    for hour in range(hours):
        name = f"award-{hour}"
        state.awards[name] = Award(name, name, "pool-1", "ENERGY", hour * HOUR, (hour + 1) * HOUR, power_w, 50.0)
    return state


def _interval(at: int, share: float, asked_w: float = 1e6, beats: int = 5, **causes: float) -> IntervalTracked:
    none = Packed.of(np.zeros(0, np.int32))
    gave_w = asked_w * share
    return IntervalTracked(
        "pool-1", at * STEP, (at + 1) * STEP, asked_w, gave_w, causes, none, none, beats * ROWS, {}
    )  # fmt: skip


def _told(shares: list[float], asked_w: float = 1e6, beats: int = 5, **causes: float):
    """Return the alarm after each interval, as an operator sees it, and the book that remembered them."""
    state, book, told, seen = _state(), AlarmBook(), [], []
    for at, share in enumerate(shares):
        seen.append(_interval(at, share, asked_w, beats, **causes))
        found = under_delivery(seen, state, "pool-1", ROWS, book.since, (at + 1) * STEP)
        told.append(book.keep([(alarm, 0) for alarm in found], (at + 1) * STEP))
    return told, book


@given(st.floats(0.0, 1.2), st.sampled_from([1.0, -1.0]), st.integers(1, 5))
def test_an_award_that_lacks_a_tenth_is_told_after_a_quarter_of_an_hour(share: float, sign: float, beats: int) -> None:
    told, book = _told([share] * 11, sign * 1e6, beats)
    is_short = share < 0.9
    assert [bool(found) for found in told] == [False, False] + [is_short] * 9 or abs(share - 0.9) < 1e-6
    assert len(book.raised) == is_short or abs(share - 0.9) < 1e-6


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.89))
def test_a_ramp_and_one_lean_interval_need_nobody(ramp: float, lean: float) -> None:
    told, _ = _told([ramp, lean, 1.0, ramp, lean, 1.0, 1.0])
    assert not any(told)


def test_it_ends_by_itself_once_the_award_is_delivered() -> None:
    told, book = _told([0.5, 0.6, 0.6, 0.6, 1.0, 1.0])
    assert [bool(found) for found in told] == [False, False, True, True, False, False]
    assert len(book.raised) == 1


def test_each_award_has_one_alarm_and_it_ends_with_its_award() -> None:
    state, book, seen = _state(), AlarmBook(), []
    for at in range(24):
        seen.append(_interval(at, 0.5))
        found = under_delivery(seen, state, "pool-1", ROWS, book.since, (at + 1) * STEP)
        book.keep([(alarm, 0) for alarm in found], (at + 1) * STEP)
        assert bool(found) is (at % 12 in range(2, 11)), at
    assert len(book.raised) == 2
    assert under_delivery(seen, state, "pool-1", ROWS, book.since, 30 * STEP) == []


def test_a_gap_in_what_was_tracked_begins_anew() -> None:
    seen = [_interval(at, 0.5) for at in (0, 1, 3, 4)]
    assert under_delivery(seen, _state(), "pool-1", ROWS, {}, 5 * STEP) == []
    seen.append(_interval(5, 0.5))
    assert under_delivery(seen, _state(), "pool-1", ROWS, {}, 6 * STEP)
    assert under_delivery([replace(each, pool="p") for each in seen], _state(), "pool-1", ROWS, {}, 6 * STEP) == []


def test_it_sways_about_nine_tenths_without_chattering() -> None:
    rng = np.random.default_rng(2)
    _, book = _told([0.885 + 0.018 * float(rng.standard_normal()) for _ in range(11)])
    assert len(book.raised) <= 1


def test_it_names_what_most_of_the_lack_is_put_to_and_a_clock_that_is_too_fast_first() -> None:
    lacks = {"opt_out": 300e3, "unconfirmed": 60e3, "underperformed": 40e3, "dno_limit": 1e3}
    told, _ = _told([0.6] * 3, **lacks)
    assert told[-1][0].title == (
        "Delivered 60 % of the award over 15 min: opt-outs 75%, devices not responding 25%"
    )  # fmt: skip
    told, _ = _told([0.6] * 3, beats=2, **lacks)
    assert told[-1][0].title.partition(": ")[2].startswith("the desk decides too rarely, 2.0 times in 5 min")
