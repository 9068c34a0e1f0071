"""What each hour of a day may cost, by case: a day of late that was like it is a case, the newest the likeliest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tieline.desk.prices import DAY_AHEAD, LOOK_BACK, Series, forecast, hourly, real_time
from tieline.desk.state import DeskState
from tieline.market.calendar import on_the_clock_of
from tieline.market.offer_value import PriceCases
from tieline.times import DAY_NS, HOUR_NS, from_ns, market_day

Floats = NDArray[np.float64]
DAYS, DECAY = 5, 0.75
"""How many days are looked at, and how likely one is over the day after it: as `plan.forecast.like_days` weighs."""


@dataclass(frozen=True, slots=True, eq=False)
class DayCases:
    """The cases of a day: its hours' prices, and what power costs that is bought back in them ($/MWh).

    A day-ahead price that is known stands in each case. What buying back costs is real time's price of that day and
    hour where it is known, laid upon the day-ahead price of the case by what it was beyond it; else that price.

    Attributes:
        expected: Price of each hour as `prices.forecast` has it; NaN: none; shape (hours,).
        price: shape (cases, hours).
        buy_back: shape (cases, hours).
        frac: How likely each case is, 1 together; shape (cases,).
    """

    expected: Floats
    price: Floats
    buy_back: Floats
    frac: Floats

    def hour(self, at: int) -> PriceCases:
        """Return the cases of one hour of the day."""
        return PriceCases(self.price[:, at], self.buy_back[:, at], self.frac)


def day_cases(state: DeskState, zone: str, clock: ZoneInfo, now_ns: int, day: date) -> DayCases:
    """Return the cases of a day (today or tomorrow) in a price zone, from what is known now."""
    over, told = market_day(day, clock), forecast(state, zone, clock, now_ns)
    starts = range(over.start_ns, over.end_ns, HOUR_NS)
    expected = np.array([told.get(at, np.nan) for at in starts])
    ahead = state.prices.get((zone, DAY_AHEAD), {})
    sure = np.array([ahead.get(at, np.nan) for at in starts])
    today, since_ns = from_ns(now_ns).astimezone(clock).date(), now_ns - LOOK_BACK * DAY_NS
    were = _by_day(hourly(state, zone, clock, since_ns), day, clock)
    real = _by_day(real_time(state, zone, clock, since_ns), day, clock)
    past = sorted(when for when in were if when < today)[-DAYS:]
    if not past:
        return DayCases(expected, expected[None, :], expected[None, :], np.ones(1))
    nothing = np.full(len(expected), np.nan)
    price = np.where(np.isfinite(sure), sure, np.array([were[when] for when in past]))
    price = np.where(np.isfinite(price), price, expected)
    beyond = np.array([real.get(when, nothing) - were[when] for when in past])
    weight = DECAY ** np.arange(len(past))[::-1]
    return DayCases(expected, price, price + np.nan_to_num(beyond), weight / weight.sum())


def _by_day(series: Series, day: date, clock: ZoneInfo) -> dict[date, Floats]:
    starts = np.array(sorted(series), np.int64)
    return on_the_clock_of(day, clock, starts, np.array([series[at] for at in starts.tolist()]), HOUR_NS)
