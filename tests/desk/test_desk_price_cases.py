"""The days of late are the cases of a day: the newest the likeliest, their mean the forecast, what is known in each."""

from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from desk_stage import fleet_of

from tieline.desk.price_cases import day_cases
from tieline.desk.prices import DAY_AHEAD, REAL_TIME
from tieline.desk.state import DeskState
from tieline.fleet.claims import ClaimBook
from tieline.fleet.ledger import Ledger
from tieline.resource.identity import Kind
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, market_day

UTC = ZoneInfo("UTC")
TODAY = date(2022, 8, 17)
NOW_NS = market_day(TODAY, UTC).start_ns + 9 * HOUR_NS


def state_of(days: int, known_today: bool = False) -> DeskState:
    """Prices of day d back and hour h: 100 d + h."""
    fleet = fleet_of([Kind.BATTERY])
    state = DeskState.empty(fleet, ClaimBook(fleet), Ledger())
    first_ns = market_day(TODAY, UTC).start_ns
    for back in range(0 if known_today else 1, days + 1):
        for hour in range(24):
            state.prices.setdefault(("z", DAY_AHEAD), {})[first_ns - back * DAY_NS + hour * HOUR_NS] = (
                100.0 * back + hour
            )
    return state


def test_five_days_are_cases_the_newest_the_likeliest_and_their_mean_is_what_is_expected() -> None:
    cases = day_cases(state_of(7), "z", UTC, NOW_NS, TODAY)
    assert cases.price[:, 0].tolist() == [500.0, 400.0, 300.0, 200.0, 100.0]
    assert (np.diff(cases.frac) > 0).all() and cases.frac.sum() == pytest.approx(1.0)
    assert cases.frac @ cases.price == pytest.approx(cases.expected)
    assert np.array_equal(cases.buy_back, cases.price), "no price of real time is known"


def test_a_day_ahead_price_that_is_known_stands_in_each_case() -> None:
    cases = day_cases(state_of(7, known_today=True), "z", UTC, NOW_NS, TODAY)
    assert np.array_equal(cases.price, np.tile(np.arange(24.0), (5, 1)))


def test_what_real_time_was_beyond_the_day_ahead_price_is_laid_on_what_buying_back_costs() -> None:
    state = state_of(7, known_today=True)
    yesterday_ns = market_day(TODAY, UTC).start_ns - DAY_NS
    state.prices["z", REAL_TIME] = {yesterday_ns + k * 5 * MINUTE_NS: 160.0 for k in range(12)}
    cases = day_cases(state, "z", UTC, NOW_NS, TODAY)
    assert cases.buy_back[-1, 0] - cases.price[-1, 0] == 60.0, "real time was 160, the day ahead 100"
    assert np.array_equal(cases.buy_back[:, 1:], cases.price[:, 1:])


def test_without_a_day_of_prices_what_is_known_is_the_one_case() -> None:
    cases = day_cases(state_of(0, known_today=True), "z", UTC, NOW_NS, TODAY)
    assert cases.frac.tolist() == [1.0] and cases.price[0].tolist() == list(range(24))
