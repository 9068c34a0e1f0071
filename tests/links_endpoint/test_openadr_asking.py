"""What no event can ask is refused by its field, its value and what would do; what is taken is followed, or shown."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from openadr_calls import program
from openadr_room import Room, play

from tieline.wire.openadr3.times import timeline

FOLLOWED = ("DISPATCH_SETPOINT", "IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT", "SIMPLE")
OTHERS = ("PRICE", "GHG", "CURVE", "OLS", "CONTROL_LEVEL_OFFSET", "ALERT_FIRE", "CONTROL_SETPOINT", "MOOD")
POINT = {"x": 1.0, "y": 2.0}
VALUES: tuple[Any, ...] = (
    0, 1, 2, 3, 2.5, 1.0, -1.0, 5, 0.5, 1e9, 1e13, -1e300, "x", "", "1.5", True, False, POINT, None, [], 10**17,
    float("nan"), float("inf"), "\ud800", "\x00", "é" * 100,
)  # fmt: skip
PERIODS: tuple[Any, ...] = (
    None, {}, {"start": "0001-01-01", "duration": "PT15M"}, {"duration": "P9999Y"}, {"start": "2200-01-01T00:00:00Z"},
    {"duration": "PT0S"}, {"duration": "PT5M", "randomizeStart": "PT1M"}, {"start": "noon"}, {"duration": -5},
    {"start": "2150-01-01T00:00:00Z", "duration": "PT1S"}, {"start": "2023-01-01T00:00:00Z", "duration": "P9999Y"},
)  # fmt: skip


async def post(room: Room, event: dict[str, Any], method: str = "POST", path: str = "/events") -> Any:
    body = json.dumps(event).encode()  # NaN and Infinity stand as Python writes them
    headers = await room.token("bl") | {"content-type": "application/json"}
    return await room.http.request(method, room.url + path, content=body, headers=headers)


def asking(of: str, *payloads: tuple[str, list[Any]], units: str = "", **more: Any) -> dict[str, Any]:
    said = [{"type": kind, "values": values} for kind, values in payloads]
    descriptors = [{"payloadType": kind, "units": units} for kind, _ in payloads] if units else None
    return {"programID": of, "intervals": [{"id": 0, "payloads": said}], "payloadDescriptors": descriptors, **more}


@pytest.mark.parametrize(
    ("payloads", "units", "field", "value", "limit"),
    [
        ([("DISPATCH_SETPOINT", ["x"])], "", "payloads[0].values[0]", '"x"', "a number, -1000000000 to 1000000000 KW"),
        ([("DISPATCH_SETPOINT", [True])], "", "payloads[0].values[0]", "true", "a number"),
        ([("DISPATCH_SETPOINT", [1, POINT])], "", "payloads[0].values[1]", '{"x": 1.0, "y": 2.0}', "a number"),
        ([("DISPATCH_SETPOINT", [])], "", "payloads[0].values", "[]", "a number"),
        ([("DISPATCH_SETPOINT", [1e10])], "", "payloads[0].values[0]", "10000000000.0", "to 1000000000 KW"),
        ([("DISPATCH_SETPOINT", [1e10])], "mw", "payloads[0].values[0]", "10000000000.0", "to 1000000 mw"),
        ([("IMPORT_CAPACITY_LIMIT", [-1])], "", "payloads[0].values[0]", "-1", "a number, 0 to"),
        ([("MOOD", [1]), ("SIMPLE", [4])], "", "payloads[1].values[0]", "4", "a whole number, 0 to 3"),
        ([("SIMPLE", [1.5])], "", "payloads[0].values[0]", "1.5", "a whole number, 0 to 3"),
        ([("PRICE", ["cheap"])], "", "payloads[0].values[0]", '"cheap"', "a number"),
        ([("GHG", [-1.0])], "", "payloads[0].values[0]", "-1.0", "a number, 0 or more"),
        ([("CURVE", [1.0])], "", "payloads[0].values[0]", "1.0", "a point, with x and y"),
        ([("ALERT_FIRE", [""])], "", "payloads[0].values[0]", '""', "a word"),
        ([("DISPATCH_SETPOINT", [1, 2]), ("SIMPLE", [1, 2, 3])], "", "payloads[0].values", "[1, 2]", "divides"),
        ([("SIMPLE", [1]), ("SIMPLE", [2])], "", "payloads[1].type", '"SIMPLE"', "SIMPLE once in an interval"),
        ([("SIMPLE", [1] * 30_000)], "", "", "1 intervals", "at most 20000 steps"),
    ],
)
def test_an_event_that_can_t_be_is_refused_by_name_new_or_changed(
    payloads: list[tuple[str, list[Any]]], units: str, field: str, value: str, limit: str
) -> None:
    async def scene(room: Room) -> None:
        of = await program(room)
        kept = (await post(room, asking(of, ("SIMPLE", [1])))).json()
        said = room.vtn.book.things["events"].copy()
        for how in (("POST", "/events"), ("PUT", f"/events/{kept['id']}")):
            answer = await post(room, asking(of, *payloads, units=units), *how)
            found = answer.json()
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), found
            assert found["field"] == (f"$.intervals[0].{field}" if field else "$.intervals"), found
            assert found["value"] == value and limit in found["limit"] and found["field"] in found["detail"], found
        assert room.vtn.book.things["events"] == said

    play(scene, keep_ven=False, is_bound=False)


def test_a_power_in_units_of_something_else_or_in_two_is_refused() -> None:
    async def scene(room: Room) -> None:
        of = await program(room)
        answer = (await post(room, asking(of, ("IMPORT_CAPACITY_LIMIT", [1]), units="AMPS"))).json()
        assert (answer["field"], answer["value"]) == ("$.payloadDescriptors[0].units", '"AMPS"')
        assert answer["limit"] == "give one of W, KW, MW, GW"
        two = [{"payloadType": "DISPATCH_SETPOINT", "units": units} for units in ("KW", "W")]
        answer = (await post(room, asking(of, ("DISPATCH_SETPOINT", [1])) | {"payloadDescriptors": two})).json()
        assert (answer["status"], answer["field"]) == (400, "$.payloadDescriptors[1].units")
        assert (await post(room, asking(of, ("MOOD", [1]), units="AMPS"))).status_code == 201

    play(scene, keep_ven=False, is_bound=False)


def test_an_event_without_intervals_asks_for_reports_and_one_that_asks_nothing_is_told_so() -> None:
    async def scene(room: Room) -> None:
        of = await program(room)
        bare: tuple[dict[str, Any], ...] = ({}, {"intervals": []}, {"intervals": None})
        for more in bare:
            answer = await post(room, {"programID": of, **more})
            assert answer.status_code == 201
            assert answer.headers["tieline-note"] == "it has no interval and asks for no report"
            answer = await post(room, {"programID": of, "reportDescriptors": [{"payloadType": "USAGE"}], **more})
            assert answer.status_code == 201 and "tieline-note" not in answer.headers

    play(scene, keep_ven=False)


def random_event(of: str, rng: np.random.Generator) -> dict[str, Any]:
    def one(values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    # Few events would be taken if most of what is in them were not: half of them hold numbers alone.
    values = VALUES if rng.random() < 0.5 else VALUES[:4]

    def payload() -> dict[str, Any]:
        count = int(rng.choice([0, 1, 1, 1, 1, 2, 3]))
        return {"type": one((*FOLLOWED, *FOLLOWED, *OTHERS)), "values": [one(values) for _ in range(count)]}

    def interval(at: int) -> dict[str, Any]:
        found = {"id": at, "payloads": [payload() for _ in range(int(rng.integers(3)))]}
        period = one(PERIODS) if rng.random() < 0.3 else None
        return found if period is None else {**found, "intervalPeriod": period}

    event: dict[str, Any] = {"programID": of, "intervals": [interval(at) for at in range(int(rng.integers(1, 4)))]}
    if rng.random() < 0.3:
        units = [{"payloadType": one(FOLLOWED), "units": one(("KW", "w", "MW", "AMPS", None))} for _ in range(2)]
        event["payloadDescriptors"] = units
    if rng.random() < 0.4 and (period := one(PERIODS)) is not None:
        event["intervalPeriod"] = period
    if rng.random() < 0.2:
        event["duration"] = one(("PT1H", "P9999Y", "PT0S", "x"))
    if rng.random() < 0.2:
        event["eventName"] = one(("a", "dispatch x", "\ud800", "\x00", 5))
    return event


@pytest.mark.parametrize("seed", range(6))
def test_what_is_taken_of_random_events_is_followed_or_shown_and_the_rest_is_a_problem(seed: int) -> None:
    rng, statuses = np.random.default_rng(seed), list[int]()

    async def scene(room: Room) -> None:
        of, taken = await program(room), dict[str, dict[str, Any]]()
        for _ in range(80):
            event = random_event(of, rng)
            answer = await post(room, event)
            statuses.append(answer.status_code)
            assert answer.status_code in (201, 400), (event, answer.text)
            if answer.status_code == 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["status"] == 400 and answer.json()["detail"]
            else:
                taken[answer.json()["id"]] = event
        await asyncio.sleep(150)
        assert room.ven.unread == 0
        shown: dict[str, Any] = {}
        for skip in range(0, 200, 50):
            status, things = await room.call("bl", "GET", f"/events?skip={skip}")
            assert status == 200
            shown |= {each["id"]: each for each in things}
        for made, event in taken.items():
            assert shown[made]["intervals"] == event["intervals"]
            _, reports = await room.call("site-5", "GET", f"/reports?eventID={made}")
            says = [p["values"] for r in reports for p in r["resources"][0]["intervals"][0]["payloads"]]
            assert ["ERROR"] not in says, event
            # An interval that asks for nothing lets its device run, which is an answer, too.
            spans = timeline(shown[made], room.clock.now_ns())
            is_asked = any(not s.payloads or {p["type"] for p in s.payloads} & {*FOLLOWED} for s in spans)
            assert not is_asked or reports, event

    play(scene, is_bound=False)
    assert statuses.count(201) >= 10 and statuses.count(400) >= 10
