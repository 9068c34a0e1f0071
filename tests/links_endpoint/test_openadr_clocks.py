"""A VEN whose clock is wrong: its readings are marked as those of any other link, and the newest is never hidden."""

import asyncio
import json
from typing import Any

import pytest
from openadr_room import Room, play
from test_openadr_reports import report

from tieline.fleet.columns import Fleet
from tieline.resource.batch import AHEAD_NS, BEHIND_NS, Readings
from tieline.resource.quality import Quality
from tieline.simulate.loop import VirtualClock
from tieline.store.importing import read_fleet
from tieline.store.ingest import Ingest
from tieline.times import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, iso

YEAR_NS = 366 * DAY_NS
NEAR = [-9 * YEAR_NS, -400 * DAY_NS, -MINUTE_NS, -SECOND_NS, 0, 10 * SECOND_NS, 30 * SECOND_NS, 31 * SECOND_NS,
        10 * MINUTE_NS, HOUR_NS, DAY_NS, 4 * YEAR_NS, 9 * YEAR_NS]  # fmt: skip
FAR = [-12 * YEAR_NS, -40 * YEAR_NS, 20 * YEAR_NS, 150 * YEAR_NS]
"""As over HTTP, and beyond what HTTP takes: ten years either way."""


def fleet_of(tmp_path: Any) -> Fleet:
    (tmp_path / "devices.csv").write_text("id,kind,max_inject_w,max_absorb_w\nsite-5,battery,50000,50000\n")
    return read_fleet(tmp_path / "devices.csv")


def over_openadr(off_ns: int, more: str = "") -> tuple[float, int, int]:
    """Return value, quality and age (whole s) at which the desk takes a reading that a VEN says to be so far off."""
    found: list[Any] = []

    async def scene(room: Room) -> None:
        telemetry = next(e["id"] for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")
        now_ns = room.clock.now_ns()
        status, _ = await room.call(
            "site-5", "POST", "/reports", report(telemetry, "x", "site-5", more or iso(now_ns + off_ns), DEMAND=4)
        )
        assert status == 201
        value, quality, at_ns = room.log.last("power_w")
        found.extend([value, int(quality), round((room.clock.now_ns() - at_ns) / SECOND_NS)])

    play(scene, keep_ven=False)
    return found[0], found[1], found[2]


def over_http(fleet: Fleet, off_ns: int) -> tuple[float, int, int]:
    """Return the same of a reading that was posted to the readings API."""
    kept: list[Readings] = []

    async def keep(readings: list[Readings]) -> int:
        kept.extend(readings)
        return 1

    async def send() -> int:
        clock = VirtualClock(asyncio.get_running_loop(), 1_700_000_000 * SECOND_NS)  # type: ignore[arg-type]
        now_ns = clock.now_ns()
        columns = {"point": "power_w", "resource": ["site-5"], "value": [-4e3], "taken_at_ns": [now_ns + off_ns]}
        await Ingest(fleet, fleet.take_readings, keep, clock).accept(json.dumps(columns).encode())
        return now_ns

    now_ns = asyncio.run(send())
    (one,) = kept
    return float(one.values[0]), int(one.quality[0]), round((now_ns - int(one.taken_at_ns[0])) / SECOND_NS)


@pytest.mark.parametrize("off_ns", NEAR)
def test_a_ven_that_is_so_far_off_is_judged_as_who_sends_the_same_over_http(off_ns: int, tmp_path: Any) -> None:
    assert over_openadr(off_ns) == over_http(fleet_of(tmp_path), off_ns)
    assert bool(over_openadr(off_ns)[1] & Quality.QUESTIONABLE) == (off_ns > AHEAD_NS)


@pytest.mark.parametrize("off_ns", FAR)
def test_a_clock_that_is_off_by_more_than_any_meter_keeps_is_questionable_and_the_reading_is_as_of_now(
    off_ns: int,
) -> None:
    assert abs(off_ns) > BEHIND_NS
    assert over_openadr(off_ns) == (-4e3, int(Quality.QUESTIONABLE), 0)


@pytest.mark.parametrize("start", ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z", "2030-01-01T00:00:00Z"])
def test_a_clock_that_lost_its_battery_or_stands_in_a_year_to_come_is_no_good_clock(start: str) -> None:
    assert over_openadr(0, start) == (-4e3, int(Quality.QUESTIONABLE), 0)


def test_the_standards_now_and_no_start_at_all_are_good() -> None:
    assert over_openadr(0, "0001-01-01T00:00:00Z") == (-4e3, int(Quality.GOOD), 0)


@pytest.mark.parametrize("off_ns", [-12 * YEAR_NS, DAY_NS])
def test_a_wrong_clock_that_comes_between_right_ones_is_kept_and_hides_nothing_that_comes_later(off_ns: int) -> None:
    async def scene(room: Room) -> None:
        telemetry = next(e["id"] for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")

        async def say(at_ns: int, kw: float) -> None:
            status, _ = await room.call(
                "site-5", "POST", "/reports", report(telemetry, "x", "site-5", iso(at_ns), DEMAND=kw)
            )
            assert status == 201
            await asyncio.sleep(1)

        await say(room.clock.now_ns(), 1)
        await say(room.clock.now_ns() + off_ns, 2)
        assert room.log.last("power_w")[:2] == (-2e3, Quality.QUESTIONABLE)
        await say(room.clock.now_ns(), 3)
        assert room.log.last("power_w")[:2] == (-3e3, Quality.GOOD)

    play(scene, keep_ven=False)
