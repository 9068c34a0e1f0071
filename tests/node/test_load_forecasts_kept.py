"""Forecasts of loads on days of any length, with readings that come late, and of each what was known when."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from test_settled_days import QUARTER_NS, ZONE, Hands, Served, by_the_wall, play

from patience import until
from sampled import some
from tieline.node.load_forecasts import LoadForecasts
from tieline.resource.batch import Readings
from tieline.resource.identity import Kind
from tieline.resource.point import code
from tieline.times import HOUR_NS, MINUTE_NS, market_day

LOAD = Kind.INTERRUPTIBLE_LOAD
DAYS = 20


def send(served: Served, row: int, first: date, last: date, times: float = 1.0) -> None:
    """Keep what a load drew on these days, as a gateway that sends it would have it kept."""
    begins, ends = market_day(first, ZONE).start_ns, market_day(last, ZONE).end_ns
    taken = np.arange(begins, ends, QUARTER_NS, dtype=np.int64)
    count, values = len(taken), np.array([times * by_the_wall(at) for at in taken.tolist()])
    points, quality = np.full(count, code("power_w"), np.uint16), np.zeros(count, np.uint32)
    received = np.full(count, served.node.clock.now_ns(), np.int64)
    readings = Readings(np.full(count, row, np.int32), points, values, quality, taken, received, "test")
    served.wal.append([readings])
    for hear in served.node.on_kept:
        hear(readings)


async def foretold(served: Served, folder: Path, day: date) -> LoadForecasts:
    loads = LoadForecasts(served.node, served.kept, served.trader.terms, folder / "forecasts")
    await loads.look()

    async def made() -> dict:
        return loads.drawn_w("pool-1", day)

    await until(made, "nothing is foretold")
    return loads


@pytest.mark.long
@pytest.mark.parametrize(
    ("day", "hours"), some([(date(2022, 11, 6), 25), (date(2023, 3, 12), 23), (date(2022, 8, 17), 24)], 2)
)
def test_a_day_of_any_length_is_foretold_by_the_wall(tmp_path: Path, day: date, hours: int) -> None:
    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = market_day(day, ZONE).start_ns + 2 * HOUR_NS
        for row in (0, 1):
            send(served, row, day - timedelta(days=DAYS), day - timedelta(days=1))
        loads = await foretold(served, tmp_path, day)
        over = market_day(day, ZONE)
        expected = [-2.0 * by_the_wall(at) for at in range(over.start_ns, over.end_ns, HOUR_NS)]
        assert len(expected) == hours and loads.drawn_w("pool-1", day)[LOAD] == pytest.approx(expected, rel=0.03)
        assert loads.drawn_w("pool-1", day - timedelta(days=1)) == {}

    play(tmp_path, scene)


def test_readings_that_come_late_are_foretold_from_within_the_hour_and_what_was_known_before_stays(
    tmp_path: Path,
) -> None:
    day = date(2022, 8, 17)
    yesterday = day - timedelta(days=1)

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = first_ns = market_day(day, ZONE).start_ns + 2 * HOUR_NS
        for row in (0, 1):
            send(served, row, day - timedelta(days=DAYS), yesterday)
        loads = await foretold(served, tmp_path, day)
        (before, _) = await loads.known("pool-1", None)
        clock.at_ns += 10 * MINUTE_NS
        send(served, 1, yesterday - timedelta(days=13), yesterday, times=2.0)  # its meter was off by half
        await loads.look()
        assert not loads._busy  # not before an hour is over
        clock.at_ns = first_ns + HOUR_NS
        await loads.look()

        async def anew() -> list:
            views = await loads.known("pool-1", None)
            return views if views[0].known_at_ns == clock.at_ns else []

        (after, ahead) = await until(anew, "it is not foretold anew")
        assert (after.day, ahead.day) == (str(day), str(day + timedelta(days=1)))
        assert sum(before.mean_w) == pytest.approx(-2.0 * sum(by_the_wall(at) for at in after.starts_ns), rel=0.03)
        assert sum(after.mean_w) > 1.3 * sum(before.mean_w)
        assert (await loads.known("pool-1", first_ns + HOUR_NS // 2))[0].mean_w == before.mean_w
        assert await loads.known("pool-1", first_ns - 1) == [] == await loads.known("pool-9", None)

    play(tmp_path, scene)


def test_two_weeks_are_needed_and_until_then_nothing_is_foretold(tmp_path: Path) -> None:
    day = date(2022, 8, 17)

    async def scene(served: Served, clock: Hands) -> None:
        clock.at_ns = market_day(day, ZONE).start_ns + 2 * HOUR_NS
        send(served, 0, day - timedelta(days=12), day - timedelta(days=1))
        loads = LoadForecasts(served.node, served.kept, served.trader.terms, tmp_path / "forecasts")
        await loads.look()

        async def done() -> bool:
            return not loads._busy

        await until(done, "it never ends")
        assert loads.drawn_w("pool-1", day) == {} and await loads.known("", None) == []

    play(tmp_path, scene)
