"""Market days by clocks that are not whole hours from UTC: hours are the zone's, for prices, offers, awards and money."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from test_settled_days import SETTINGS, Hands, Served, play

from tieline.desk.charging import _of_hour
from tieline.desk.desk_views import DayView
from tieline.desk.prices import SendPrices, TakenPrices
from tieline.node.read_hours import Hours
from tieline.resource.claim import Refusal
from tieline.times import HOUR_NS, MINUTE_NS, from_ns, hour_start_ns, market_day

DAY = date(2026, 6, 17)
ZONES = ["Asia/Kolkata", pytest.param("Asia/Kathmandu", marks=pytest.mark.long)]


@pytest.mark.parametrize("name", ZONES)
def test_a_day_is_priced_forecast_offered_and_settled_by_the_hours_of_its_clock(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = ZoneInfo(name)
    monkeypatch.setattr("test_settled_days.SETTINGS", SETTINGS.replace("America/Chicago", name))
    over = market_day(DAY, zone)
    start_ns, first_ns = over.start_ns + 17 * HOUR_NS, market_day(DAY - timedelta(days=15), zone).start_ns

    def draws(at_ns: int) -> float:
        called = start_ns <= at_ns < start_ns + HOUR_NS
        return -100_000.0 * (1 + from_ns(at_ns).astimezone(zone).hour) + (40_000.0 if called else 0.0)

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = over.start_ns - HOUR_NS
        hours = list(range(over.start_ns, over.end_ns, HOUR_NS))
        prices = [10.0 + from_ns(at).astimezone(zone).hour for at in hours]
        ahead = SendPrices("system", "day_ahead", hours, prices)
        assert await served.trader.prices(ahead, "ann") == TakenPrices(24, 24)
        assert {at: served.trader.forecast()[at] for at in hours} == dict(zip(hours, prices, strict=True))
        wrong = await served.trader.prices(SendPrices("system", "day_ahead", [hours[0] + 30 * MINUTE_NS], [1.0]), "ann")
        assert isinstance(wrong, Refusal) and name in wrong.limit
        await served.awarded(start_ns, 80_000.0)
        assert await served.trader.prices(SendPrices("system", "real_time", [start_ns], [1_000.0]), "ann") == (
            TakenPrices(1, 1)
        )
        for row in (0, 1):
            served.read(row, first_ns, over.end_ns, draws)
        clock.at_ns = over.end_ns
        settled: DayView = await served.day()
        assert (settled.day, settled.state) == (DAY.isoformat(), "settled"), settled.missing
        assert settled.statements[0].total == "4.00"  # 0.08 MWh at 50 $/MWh: not a watt more or less than was awarded
        pool = served.node.cycle.pools["pool-1"]
        served.node.state.fleet.power_w[:] = -1.0
        seen = Hours(name)
        seen.sample(served.node.state, pool, start_ns + 50 * MINUTE_NS)
        assert set(seen.means) == {start_ns}

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("name", "minute"),
    [("Asia/Kolkata", 30), ("Asia/Kathmandu", 15), ("Australia/Adelaide", 30), ("America/Chicago", 0), ("UTC", 0)],
)
def test_an_hour_begins_where_the_clock_of_its_zone_says_so(name: str, minute: int) -> None:
    zone = ZoneInfo(name)
    for hour in range(0, 24 * 366, 5):
        at = 1_767_225_600 * 10**9 + hour * HOUR_NS + 7 * MINUTE_NS
        begins = hour_start_ns(at, zone)
        assert begins <= at < begins + HOUR_NS and from_ns(begins).minute == minute
        assert from_ns(begins).astimezone(zone).minute == 0


@pytest.mark.parametrize("minute", [0, 15, 30])
def test_stores_are_filled_by_the_price_of_the_hour_that_a_step_lies_in(minute: int) -> None:
    first = 1_767_225_600 * 10**9 + minute * MINUTE_NS
    price = {first: 10.0, first + HOUR_NS: 20.0, first + 3 * HOUR_NS: 40.0}
    starts = first + np.array([-1, 0, 59, 60, 119, 120, 180, 239, 240], np.int64) * MINUTE_NS
    found = _of_hour(price, starts)
    assert np.array_equal(found, [np.nan, 10, 10, 20, 20, np.nan, 40, 40, np.nan], equal_nan=True)
    assert np.isnan(_of_hour({}, starts)).all()
