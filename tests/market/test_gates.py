"""Gates of market days: the next closings, by the market's own clock on days of 23, 24 and 25 hours."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tieline.market.gates import closes_ns, upcoming
from tieline.market.participation import market_of, markets, versions_of
from tieline.times import HOUR_NS, SECOND_NS, iso, parse_iso, to_ns

CHANGES = [date(2025, 3, 9), date(2025, 3, 30), date(2025, 10, 5), date(2025, 10, 26), date(2025, 11, 2)]
instants = st.one_of(
    st.builds(
        lambda day, minutes: to_ns(datetime(day.year, day.month, day.day, tzinfo=UTC)) + minutes * 60 * SECOND_NS,
        st.sampled_from(CHANGES), st.integers(-2_880, 2_880),
    ),
    st.integers(parse_iso("2024-08-01T00:00:00Z"), parse_iso("2026-05-01T00:00:00Z")),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(markets())), now_ns=instants)
def test_the_next_closing_of_a_gate_is_the_first_of_all_after_now(name: str, now_ns: int) -> None:
    """Against a search of every interval of nine days, which knows nothing of how the calendar walks them."""
    market = market_of(name)
    for closing in upcoming(market, now_ns):
        gate = market.gate_of(closing.gate)
        model = versions_of(closing.models[0])[1][0]
        today = market.day_of(model, now_ns)
        starts = [
            slot.start_ns for ahead in range(-1, 9) for slot in market.intervals(model, today + timedelta(days=ahead))
        ]
        after = [at for at in (closes_ns(market, model, gate, start) for start in starts) if at > now_ns]
        assert closing.closes_ns == min(after)
        assert closing.left_s == pytest.approx((closing.closes_ns - now_ns) / SECOND_NS) and closing.left_s > 0


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(markets())), now_ns=instants, ahead=st.integers(1, 6))
def test_closings_come_in_order_none_twice_and_more_of_them_begin_with_the_same(name, now_ns, ahead) -> None:
    market = market_of(name)
    few, more = upcoming(market, now_ns, ahead), upcoming(market, now_ns, ahead + 1)
    assert [one.closes_ns for one in more] == sorted(one.closes_ns for one in more)
    keys = [(one.gate, one.models, one.closes_ns) for one in more]
    assert len(set(keys)) == len(keys)
    assert set(map(repr, few)) <= set(map(repr, more))
    assert len(more) == sum(len(rows) for rows in grouped(more).values())
    assert all(len(rows) == ahead + 1 for rows in grouped(more).values())


def grouped(closings) -> dict:
    found: dict = {}
    for one in closings:
        found.setdefault((one.gate, one.models), []).append(one)
    return found


def test_a_day_ahead_gate_is_at_the_same_local_time_before_a_day_of_23_and_of_25_hours() -> None:
    """ERCOT 2021-03-14 has 23 hours, 2021-11-07 has 25: ten in the morning of the day before, whatever the offset."""
    market, (model,) = versions_of("ercot-ader")
    gate = market.gate_of("day-ahead")
    told = []
    for day in (date(2021, 3, 14), date(2021, 3, 15), date(2021, 11, 7), date(2021, 11, 8)):
        whole = market.day(model, day)
        told.append((whole.seconds / 3600, iso(closes_ns(market, model, gate, whole.start_ns))))
    assert told == [
        (23.0, "2021-03-13T16:00:00Z"), (24.0, "2021-03-14T15:00:00Z"),
        (25.0, "2021-11-06T15:00:00Z"), (24.0, "2021-11-07T16:00:00Z"),
    ]  # fmt: skip


def test_the_repeated_hour_has_a_gate_of_its_own_and_the_skipped_one_has_none() -> None:
    market, (model,) = versions_of("ercot-ader")
    gate = market.gate_of("real-time")
    day = market.day(model, date(2021, 11, 7))
    closes = [closes_ns(market, model, gate, at) for at in range(day.start_ns, day.end_ns, HOUR_NS)]
    assert len(set(closes)) == 25
    assert len(market.intervals(model, date(2021, 3, 14))) == 23


def test_a_gate_that_counts_by_hours_is_one_for_all_quarters_of_its_hour() -> None:
    """PJM: offers until 65 minutes before the operating hour (PJM Inside Lines, 2017)."""
    market, (model,) = versions_of("pjm-economic")
    gate = market.gate_of("intraday")
    closes = {closes_ns(market, model, gate, parse_iso(f"2025-07-02T15:{at:02d}:00-04:00")) for at in (0, 5, 30, 55)}
    assert [iso(at) for at in closes] == ["2025-07-02T17:55:00Z"]


def test_the_local_time_of_a_closing_has_its_offset() -> None:
    (day_ahead,) = [
        one for one in upcoming(market_of("ercot"), parse_iso("2021-03-13T12:00:00-06:00")) if one.gate == "day-ahead"
    ]
    assert (day_ahead.closes_local, day_ahead.day, day_ahead.left_s) == (
        "2021-03-14T10:00:00-05:00", "2021-03-15", 21 * 3600.0,
    )  # fmt: skip


def test_a_market_without_daylight_saving_keeps_its_gate_when_its_neighbours_clocks_change() -> None:
    """MISO runs on Eastern Standard Time all year, AEMO on NEM time."""
    for name, gate_id in (("miso", "day-ahead"), ("aemo", "day-ahead")):
        market = market_of(name)
        times = {
            one.closes_local[11:]
            for month in range(1, 13)
            for one in upcoming(market, parse_iso(f"2025-{month:02d}-15T00:00:00Z"))
            if one.gate == gate_id
        }
        assert len(times) == 1
