"""Prices of a zone: taken as columns, once, and what they let expect of the hours to come, on days of any length."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from desk_stage import fleet_of
from hypothesis import given
from hypothesis import strategies as st

from tieline.desk.apply import apply
from tieline.desk.prices import DAY_AHEAD, REAL_TIME, SendPrices, TakenPrices, decide_prices, forecast, lacking
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.resource.claim import Refusal
from tieline.resource.identity import Kind
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, from_ns, market_day

ZONE = ZoneInfo("America/Chicago")
ZONES = {"HB_NORTH": [ZONE], "HB_SOUTH": [ZONE]}
T0 = 1_660_712_400 * 10**9 // HOUR_NS * HOUR_NS


def empty() -> DeskState:
    fleet = fleet_of([Kind.BATTERY])
    return DeskState.empty(fleet, ClaimBook(fleet), Ledger())


def send(state: DeskState, sent: SendPrices) -> tuple[list, TakenPrices | Refusal]:
    entries, answer = decide_prices(state, sent, ZONES, "ann", T0)
    for entry in entries:
        apply(state, entry.id, entry.fact, T0)
    return entries, answer


hours = st.dictionaries(st.integers(0, 47), st.floats(-50, 5_000), min_size=1)


@given(parts=st.lists(hours, min_size=1, max_size=6))
def test_prices_hold_as_they_were_last_sent_and_what_says_nothing_new_is_no_fact(parts: list[dict[int, float]]) -> None:
    state, expected, facts = empty(), {}, []
    for part in parts:
        sent = SendPrices("HB_NORTH", DAY_AHEAD, [T0 + k * HOUR_NS for k in part], list(part.values()))
        entries, answer = send(state, sent)
        new = sum(expected.get(k) != price for k, price in part.items())
        assert answer == TakenPrices(len(part), new)
        assert bool(entries) == bool(new)
        expected |= part
        facts += entries
        assert send(state, sent) == ([], TakenPrices(len(part), 0))
    assert state.prices.get(("HB_NORTH", DAY_AHEAD), {}) == {T0 + k * HOUR_NS: price for k, price in expected.items()}
    assert len({entry.id for entry in facts}) == len(facts), "a price that goes back and forth is a fact each time"
    again = empty()
    for entry in facts:
        apply(again, entry.id, entry.fact, T0)
    assert again.digest() == state.digest()


def test_a_real_time_price_of_an_hour_stands_for_its_twelve_intervals_and_gaps_are_named() -> None:
    state = empty()
    send(state, SendPrices("HB_NORTH", REAL_TIME, [T0], [40.0]))
    five = [T0 + k * 5 * MINUTE_NS for k in range(14)]
    assert lacking(state, "HB_NORTH", five[:12]) == ""
    assert (
        lacking(state, "HB_NORTH", five)
        == f"real-time prices of HB_NORTH: 2 intervals from {from_ns(five[12]):%Y-%m-%dT%H:%M:%SZ} on"
    )
    send(state, SendPrices("HB_NORTH", REAL_TIME, [five[3]], [90.0], 300))
    assert [state.prices["HB_NORTH", REAL_TIME][at] for at in five[2:5]] == [40.0, 90.0, 40.0]


@pytest.mark.parametrize(
    ("change", "field", "limit"),
    [
        ({"zone": "MARS"}, "zone", "one of HB_NORTH, HB_SOUTH"),
        ({"market": "later"}, "market", "one of day_ahead, real_time"),
        ({"step_s": 300}, "step_s", "3600"),
        ({"price_per_mwh": [1.0]}, "start_ns", "1 to 20000 of each"),
        ({"start_ns": [T0, T0]}, "start_ns", "one price for each step"),
        ({"start_ns": [T0, T0 + 1]}, "start_ns[1]", f"a multiple of {HOUR_NS} ns at step_s 3600"),
        ({"start_ns": [T0, -HOUR_NS]}, "start_ns[1]", f"a multiple of {HOUR_NS} ns at step_s 3600"),
        (
            {"start_ns": [T0, T0 % (24 * HOUR_NS)]},
            "start_ns[1]",
            "at most 1098 days ago, from 2019-08-15T05:00:00Z on",
        ),
        (
            {"start_ns": [T0 + 370 * DAY_NS, T0 + 371 * DAY_NS]},
            "start_ns[1]",
            "at most 370 days ahead, up to 2023-08-22T05:00:00Z",
        ),
        ({"price_per_mwh": [1.0, 1e6]}, "price_per_mwh[1]", "-20000 to 20000 $/MWh"),
        ({"price_per_mwh": [float("nan"), 1.0]}, "price_per_mwh[0]", "-20000 to 20000 $/MWh"),
    ],
)
def test_wrong_prices_are_refused_whole_with_field_value_and_limit(change: dict, field: str, limit: str) -> None:
    body = {"zone": "HB_NORTH", "market": DAY_AHEAD, "start_ns": [T0, T0 + HOUR_NS], "price_per_mwh": [1.0, 2.0]}
    state = empty()
    entries, answer = send(state, SendPrices(**{**body, **change}))
    assert (entries, state.prices) == ([], {})
    assert isinstance(answer, Refusal)
    assert (answer.field, answer.limit) == (field, limit)
    assert answer.value
    if "up to 20" in limit:
        assert answer.value == "2023-08-23T05:00:00Z", "as people read it"


@pytest.mark.parametrize("day", [date(2022, 3, 13), date(2022, 11, 6), date(2022, 8, 17)])
def test_each_hour_is_expected_to_cost_what_its_time_of_day_did_also_where_clocks_change(day: date) -> None:
    """A price that follows the wall clock is expected exactly, on a day of 23, 25 or 24 hours, and the day after."""
    state = empty()
    over = market_day(day, ZONE)
    first = market_day(day - timedelta(days=6), ZONE).start_ns
    starts = list(range(first, over.start_ns, HOUR_NS))
    wall = {at: 10.0 * from_ns(at).astimezone(ZONE).hour for at in range(first, over.end_ns + 25 * HOUR_NS, HOUR_NS)}
    send(state, SendPrices("HB_NORTH", DAY_AHEAD, starts, [wall[at] for at in starts]))
    expected = forecast(state, "HB_NORTH", ZONE, over.start_ns + HOUR_NS)
    tomorrow = market_day(day + timedelta(days=1), ZONE)
    assert list(expected) == list(range(over.start_ns, tomorrow.end_ns, HOUR_NS))
    assert all(price == pytest.approx(wall[at]) for at, price in expected.items())
    send(state, SendPrices("HB_NORTH", DAY_AHEAD, [over.start_ns + 5 * HOUR_NS], [777.0]))
    known = forecast(state, "HB_NORTH", ZONE, over.start_ns + HOUR_NS)
    assert known[over.start_ns + 5 * HOUR_NS] == 777.0, "what the market has said needs no forecast"
    assert forecast(state, "HB_SOUTH", ZONE, over.start_ns) == {}
