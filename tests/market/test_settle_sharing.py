"""By what a pool's energy is shared out: what was seen of its devices, their own meters, or neither; exact always."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_market_settlement import BASE, START, STEP, award, owners

from tieline.desk.facts import IntervalTracked, StatementMade
from tieline.desk.packed import Packed
from tieline.desk.paid import ByMeters, Metered
from tieline.desk.settle import Settlement, entries_of, settle_day
from tieline.desk.sharing import METERS, REST_OF_DAY, REST_OF_INTERVAL, SEEN

ROWS, STEPS = 4, 12
watts = st.floats(-2e6, 4e6)
row_watts = st.lists(watts | st.just(float("nan")), min_size=ROWS, max_size=ROWS)


def fact(at: int, row_w: list[float], blind_s: tuple[int, int] = (0, 0)) -> IntervalTracked:
    """Return a record of an interval, of which some seconds were not counted."""
    start_ns = START + at * STEP
    gaps = ((start_ns + blind_s[0] * 10**9, start_ns + blind_s[1] * 10**9),) if blind_s[0] < blind_s[1] else ()
    return IntervalTracked(
        "p", start_ns, start_ns + STEP, 4e6, sum(row_w), {}, Packed.of(np.arange(ROWS, dtype=np.int32)),
        Packed.of(np.array(row_w)), 1, uncounted=gaps,
    )  # fmt: skip


def settled(
    pool_w: list[float], facts: dict[int, IntervalTracked], gave_w: dict[int, list[float]], unmetered: frozenset[int]
) -> Settlement:
    when = [START + at * STEP for at in range(STEPS)]
    meters = ByMeters(np.arange(ROWS), {START + at * STEP: np.array(values) for at, values in gave_w.items()})
    seen = Metered(
        dict(zip(when, pool_w, strict=True)), dict.fromkeys(when, 80.0), (BASE,), unmetered=unmetered, by_meters=meters
    )  # fmt: skip
    tracked = {START + at * STEP: one for at, one in facts.items()}
    return settle_day("p", [award()], tracked, seen, owners(ROWS, 2))


@st.composite
def days(draw: st.DrawFn) -> tuple:
    """Draw a day: what the pool gave, what was counted of which intervals, what devices' meters say, who lacks them."""
    facts = {}
    for at in draw(st.sets(st.integers(0, STEPS - 1))):
        blind = draw(st.tuples(st.integers(0, 300), st.integers(0, 300)))
        facts[at] = fact(at, draw(st.lists(watts, min_size=ROWS, max_size=ROWS)), blind)
    gave_w = {at: draw(row_watts) for at in draw(st.sets(st.integers(0, STEPS - 1)))}
    pool_w = draw(st.lists(watts, min_size=STEPS, max_size=STEPS))
    return pool_w, facts, gave_w, frozenset(draw(st.sets(st.integers(0, ROWS - 1), max_size=2)))


@given(days())
@settings(max_examples=150, deadline=None)
def test_whatever_was_counted_and_metered_all_sums_are_exact_and_a_second_run_is_the_same(day: tuple) -> None:
    made, again = settled(*day), settled(*day)
    assert entries_of("p", made, [award()]) == entries_of("p", again, [award()])
    assert made.adds_up
    pool_milli = sum(round(line.energy_wh * 1e3) for line in made.lines)
    assert int(made.row_milli_wh.sum()) + made.loose_milli_wh == pool_milli
    (body,) = [e.fact.body for e in entries_of("p", made, [award()]) if isinstance(e.fact, StatementMade)]
    by, money = body["shared_by"], sum(map(Decimal, body["shares"].values())) + Decimal(body["undistributed"])
    assert sum(one["milli_wh"] for one in by.values()) == pool_milli
    assert sum(Decimal(one["amount"]) for one in by.values()) == money
    for row in day[3]:
        assert made.row_milli_wh[row] == 0, "who has no readings has no part"
    assert len(body["flags"]) == sum(word in made.shared.by and bool(made.shared.by[word])
                                     for word in (REST_OF_INTERVAL, REST_OF_DAY))  # fmt: skip


@given(
    st.lists(st.floats(0.0, 4e6), min_size=ROWS, max_size=ROWS),
    st.lists(st.floats(1e3, 4e6), min_size=ROWS, max_size=ROWS),
    st.integers(0, 300),
    st.integers(1, STEPS),
)
@settings(max_examples=100, deadline=None)
def test_what_was_not_counted_goes_by_the_meters_second_by_second(
    seen_w: list[float], gave_w: list[float], blind_s: int, counted: int
) -> None:
    """Some intervals are counted but for their last seconds, and no server ran in all the others."""
    pool_w = sum(gave_w)
    facts = {at: fact(at, seen_w, (300 - blind_s, 300)) for at in range(counted)}
    made = settled([pool_w] * STEPS, facts, dict.fromkeys(range(STEPS), gave_w), frozenset())
    seen_s = counted * (300 - blind_s) if sum(seen_w) > 0 else 0
    by_meters_s = STEPS * 300 - seen_s
    for row in range(ROWS):
        expected_ws = gave_w[row] * by_meters_s
        if seen_s:
            expected_ws += pool_w * seen_w[row] / sum(seen_w) * seen_s
        # A milliwatt-hour for each rounding: of the pool's part in an interval, and of the row's in each of two.
        assert int(made.row_milli_wh[row]) == pytest.approx(expected_ws / 3.6, abs=4.0 * STEPS)
    assert made.loose_milli_wh == 0
    assert made.flags == list(BASE.flags)


def test_the_shares_of_a_day_with_one_counted_interval_are_not_those_of_that_interval() -> None:
    gave_w = [3.5e6, 5e4, 0.0, 0.0]
    made = settled(
        [3.55e6] * STEPS, {0: fact(0, [1e5, 9e5, 0.0, 0.0])}, dict.fromkeys(range(1, STEPS), gave_w), frozenset()
    )
    first, rest = 3.55e9 / 12, 3.55e9 / 12 * 11
    assert int(made.row_milli_wh[0]) == pytest.approx(0.1 * first + rest * 3.5 / 3.55, abs=20)
    assert (made.shared.milli_wh(SEEN) + made.shared.milli_wh(METERS)) == int(made.row_milli_wh.sum())


def test_where_neither_is_known_the_statement_says_how_much_was_shared_by_what() -> None:
    one = {0: fact(0, [3e6, 1e6, 0.0, 0.0], (150, 300))}
    made = settled([4e6] * STEPS, one, {}, frozenset())
    assert made.flags == [
        *BASE.flags,
        "166.667 kWh (8.29 of 198.88 for owners) was neither counted nor metered by device, and is shared as the rest "
        "of its interval is: 1 interval from 2022-08-08T23:00:00Z on",
        "3666.667 kWh (182.30 of 198.88 for owners) was neither counted nor metered by device, and is shared as the rest "
        "of the day is: 11 intervals from 2022-08-08T23:05:00Z on",
    ]


def test_what_was_taken_beyond_the_baseline_is_theirs_who_took_it() -> None:
    made = settled([4e6] * 11 + [-2e6], {}, {at: [1e6, 3e6, 0.0, 0.0] for at in range(12)} | {11: [1e6, -3e6, 0.0, 0.0]},
                   frozenset())  # fmt: skip
    assert int(made.row_milli_wh[0]) == pytest.approx(11e9 / 12, abs=20)
    assert int(made.row_milli_wh[1]) == pytest.approx((33e9 - 2e9) / 12, abs=20)


def test_readings_of_devices_that_come_late_make_another_statement_where_nothing_was_counted_and_nowhere_else() -> None:
    facts = {at: fact(at, [1e6] * ROWS) for at in range(1, STEPS)}
    gave_w = {at: [1e6, 2e6, 0.0, 1e6] for at in range(STEPS)}
    made = settled([4e6] * STEPS, facts, gave_w, frozenset())
    counted = settled([4e6] * STEPS, facts, gave_w | {3: [9e6, 0.0, 0.0, 0.0]}, frozenset())
    blind = settled([4e6] * STEPS, facts, gave_w | {0: [2e6, 1e6, 0.0, 1e6]}, frozenset())
    assert counted.statement == made.statement
    assert blind.statement != made.statement
    assert (
        settled([4e6] * STEPS, facts | {0: fact(0, [1e6] * ROWS)}, {}, frozenset()).basis.input_hash
        == settled([4e6] * STEPS, facts | {0: fact(0, [1e6] * ROWS)}, gave_w, frozenset()).basis.input_hash
    ), "a day that was counted whole has the statement that it had"
