"""What VENs say, and may not say: reports, readings, opt-outs, and what holds while either side is not there."""

import asyncio
import math
from typing import Any

import pytest
from openadr_room import Room, play

from tieline.desk.ports import Session
from tieline.resource.command import Stage
from tieline.resource.quality import Quality
from tieline.resource.setpoint import Bounds
from tieline.rim.http import Answer, CutOff
from tieline.site.plan import FailSafe, Owner
from tieline.times import SECOND_NS, iso


def test_an_opt_out_travels_up_at_once_ends_the_command_and_takes_the_offer_away() -> None:
    at: dict[str, Any] = {}

    async def scene(room: Room) -> None:
        room.site.obeys = False  # so that the command is still on its way
        await room.command(-3_000.0)
        room.ven.owner = Owner(Bounds(-5_000.0, 5_000.0), takes_part=False)
        await asyncio.sleep(5)
        at["out"] = (
            room.log.last("is_local")[0],
            room.log.last("available_up_w")[0],
            math.isnan(room.ven.hold.target_w),
        )
        room.ven.owner = Owner(Bounds(-5_000.0, 5_000.0))
        await asyncio.sleep(65)
        at["in"] = (room.log.last("is_local")[0], room.log.last("available_up_w")[0])

    room = play(scene)
    assert room.log.stages == [Stage.SENT, Stage.ACCEPTED, Stage.REJECTED]
    assert room.log.natives[-1] == "IDLE_OPTED_OUT"
    assert at == {"out": (1.0, 0.0, True), "in": (0.0, 1_000.0)}


def report(event: str, client_name: str, resource: str, at: str = "", **values: Any) -> dict[str, Any]:
    payloads = [{"type": kind, "values": [value]} for kind, value in values.items()]
    interval: dict[str, Any] = {"id": 0, "payloads": payloads}
    if at:
        interval["intervalPeriod"] = {"start": at, "duration": "PT0S"}
    return {
        "eventID": event,
        "clientName": client_name,
        "resources": [{"resourceName": resource, "intervals": [interval]}],
    }


def test_who_reports_is_read_from_the_token_and_never_from_the_body() -> None:
    found = {}

    async def scene(room: Room) -> None:
        await room.command(-3_000.0)
        telemetry = next(e["id"] for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")
        before = len(room.log.seen)
        forged = report(telemetry, "site-5", "site-5", DEMAND=-99.0, OPERATING_STATE="IDLE_OPTED_OUT")
        found["status"], made = await room.call("site-6", "POST", "/reports", forged)
        found["client"] = made["clientID"]
        found["forged clientID"] = (await room.call("site-6", "POST", "/reports", {**forged, "clientID": "site-5"}))[1]
        found["readings"] = len(room.log.seen) - before

    play(scene)
    assert (found["status"], found["client"], found["readings"]) == (201, "site-6", 0)
    assert found["forged clientID"]["clientID"] == "site-6"


def test_another_ven_can_t_acknowledge_a_command() -> None:
    async def scene(room: Room) -> None:
        await room.command(-3_000.0)
        forged = report(room.events()[0]["id"], "site-5", "site-5", DEMAND=3.0, OPERATING_STATE="RUNNING_HEIGHTENED")
        await room.call("site-6", "POST", "/reports", forged)

    assert play(scene, keep_ven=False).log.stages == []


def test_readings_keep_their_own_time_quality_unit_and_sign_and_a_late_one_overwrites_nothing() -> None:
    async def scene(room: Room) -> None:
        telemetry = next(e["id"] for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")
        now = room.clock.now_ns()

        async def say(seconds: float, **values: Any) -> None:
            body = report(telemetry, "x", "site-5", iso(now + int(seconds * SECOND_NS)), **values)
            units = {"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": "DEMAND", "units": "W"}
            await room.call("site-5", "POST", "/reports", {**body, "payloadDescriptors": [units]})

        await say(-60, DEMAND=1_500, DATA_QUALITY="ESTIMATED", STORAGE_CHARGE_LEVEL=40.0)
        assert room.log.last("power_w") == (-1_500.0, Quality.ESTIMATED, now - 60 * SECOND_NS)
        assert room.log.last("soc_frac")[0] == 0.4
        await say(-90, DEMAND=9_999)
        assert room.log.last("power_w")[0] == -1_500.0
        await say(3_600, DEMAND=2, DATA_QUALITY="BAD")
        assert room.log.last("power_w")[:2] == (-2.0, Quality.INVALID | Quality.QUESTIONABLE)
        assert room.log.last("power_w")[2] <= room.clock.now_ns()  # never from the future
        await say(0, DEMAND="much")  # refused
        assert room.log.last("power_w")[0] == -2.0

    play(scene, keep_ven=False)


@pytest.mark.parametrize(
    ("word", "state"),
    [("RUNNING_CURTAILED", 2.0), ("IDLE_NORMAL", 1.0), ("ERROR", 5.0), ("NORMAL", None)],
)
def test_an_operating_state_becomes_the_point_of_the_catalogue(word: str, state: float | None) -> None:
    async def scene(room: Room) -> None:
        telemetry = next(e["id"] for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")
        await room.call(
            "site-5", "POST", "/reports", report(telemetry, "x", "site-5", DEMAND=1.0, OPERATING_STATE=word)
        )

    seen = [value for key, value, *_ in play(scene, keep_ven=False).log.seen if key == "operating_state"]
    assert seen == ([] if state is None else [state])


def test_a_unit_that_is_no_power_is_refused_and_counted() -> None:
    async def scene(room: Room) -> None:
        telemetry = next(e["id"] for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")
        units = {"payloadType": "DEMAND", "units": "HORSES"}
        body = {**report(telemetry, "x", "site-5", DEMAND=1.0), "payloadDescriptors": [units]}
        assert (await room.call("site-5", "POST", "/reports", body))[0] == 400

    room = play(scene, keep_ven=False)
    assert room.log.seen == [] and room.link.counts.unread == 1 and "HORSES" in room.link.counts.last_error


@pytest.mark.parametrize("value", [1e300, -2e9])
def test_a_power_beyond_all_meters_is_refused_and_counted(value: float) -> None:
    async def scene(room: Room) -> None:
        telemetry = next(e["id"] for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")
        assert (await room.call("site-5", "POST", "/reports", report(telemetry, "x", "site-5", DEMAND=value)))[0] == 400

    room = play(scene, keep_ven=False)
    assert (
        room.log.seen == []
        and room.link.counts.unread == 1
        and "-1000000000 to 1000000000 KW" in room.link.counts.last_error
    )


def test_it_comes_up_by_steps_and_a_silent_end_point_s_points_are_lost_with_their_last_time() -> None:
    async def scene(room: Room) -> None:
        assert room.log.sessions == [0, 1, 2, 3, 4]
        value, _, at = room.log.last("power_w")
        room.ven_task.cancel()
        room.ven.stop()
        await asyncio.sleep(190)
        assert room.log.sessions[-1] == int(Session.DOWN)
        assert room.log.last("power_w") == (value, Quality.COMM_LOST, at)

    play(scene)


def test_the_end_point_falls_back_while_the_vtn_is_lost_and_settles_when_it_is_back() -> None:
    trail: dict[str, Any] = {}
    safe = FailSafe(power_w=-100.0, trip_s=120.0, stay_s=120.0, hold_s=7_200.0)

    async def scene(room: Room) -> None:
        await room.command(1_000.0, seconds=300.0)
        wire = room.ven._vtn._client
        real = wire.call

        async def dead(*call: Any, **how: Any) -> Any:
            raise CutOff("gone")

        wire.call = dead
        await asyncio.sleep(200)
        trail["the plan stands though nobody is heard"] = room.site.power_w
        await asyncio.sleep(110)
        trail["then the fallback"] = room.site.power_w
        wire.call = real
        await asyncio.sleep(40)
        trail["back, and settling"] = (room.site.power_w, room.ven.hold.why)
        await asyncio.sleep(140)
        trail["settled"] = (room.site.power_w, room.ven.hold.why)

    play(scene, fail_safe=safe)
    assert trail == {
        "the plan stands though nobody is heard": 1_000.0,
        "then the fallback": -100.0,
        "back, and settling": (-100.0, "contact came back just now"),
        "settled": (0.0, "nothing is asked"),
    }


async def said_of(room: Room, event: str) -> list[str]:
    """Return the states that the VTN shows of an event to who may read all reports."""
    _, listed = await room.call("bl", "GET", f"/reports?eventID={event}")
    payloads = [p for r in listed for p in r["resources"][0]["intervals"][0]["payloads"]]
    return [p["values"][0] for p in payloads if p["type"] == "OPERATING_STATE"]


def test_an_opt_out_is_shown_in_the_running_event_also_where_the_vtn_was_away_when_the_owner_said_so() -> None:
    found: dict[str, Any] = {}
    inside, outside = Owner(Bounds(-5_000.0, 5_000.0)), Owner(Bounds(-5_000.0, 5_000.0), takes_part=False)

    async def scene(room: Room) -> None:
        await room.command(-3_000.0, seconds=3_600.0)
        event = room.events()[0]["id"]
        found["running"] = await said_of(room, event)
        wire = room.ven._vtn._client
        real = wire.call

        async def dead(*call: Any, **how: Any) -> Any:
            raise CutOff("gone")

        for name, owner in (("out", outside), ("in again", inside)):
            wire.call = dead
            room.ven.owner = owner
            await asyncio.sleep(20)
            wire.call = real
            await asyncio.sleep(40)
            found[name] = await said_of(room, event)

    play(scene)
    assert found == {"running": ["RUNNING_HEIGHTENED"], "out": ["IDLE_OPTED_OUT"], "in again": ["RUNNING_HEIGHTENED"]}


def test_an_event_that_came_just_before_the_vtn_was_lost_is_acknowledged_when_it_is_back() -> None:
    async def scene(room: Room) -> None:
        wire = room.ven._vtn._client
        real = wire.call

        async def deaf(method: str, url: str, **how: Any) -> Answer:
            if method == "POST" and url.endswith("/reports"):
                raise CutOff("gone")
            return await real(method, url, **how)

        wire.call = deaf
        await room.command(-3_000.0, wait_s=5.0)
        assert await said_of(room, room.events()[0]["id"]) == []
        wire.call = real
        await asyncio.sleep(30)
        assert await said_of(room, room.events()[0]["id"]) == ["RUNNING_HEIGHTENED"]

    assert play(scene).log.stages == [Stage.SENT, Stage.ACCEPTED, Stage.DONE]
