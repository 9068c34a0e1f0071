"""What no report can be: it is refused as a whole, by its field, its value and what it could be."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from openadr_room import Room, play

from tieline.times import SECOND_NS, iso

RATED_W = 5_000.0
INF, NAN = float("inf"), float("nan")
# A resource of 5 kW could at most be ten times that, 50 kW: what is beyond is a slip of units.
POWERS = ("DEMAND", "SETPOINT")
ROOMS = ("UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE")
NO_NUMBER: tuple[Any, ...] = (
    "x",
    "",
    "1.5",
    True,
    False,
    {"x": 1.0, "y": 2.0},
    NAN,
    INF,
    -INF,
    10**17,
    -(10**30),
    None,
    [],
)
BEYOND = (1e300, -1e300, 50.5, -50.5, 1_500.0, 1e9)
OTHERS = ("USAGE", "BASELINE", "DELTA_USAGE", "STORAGE_USABLE_CAPACITY", "STORAGE_MAX_CHARGE_POWER", "SIMPLE_LEVEL")
ONE_VALUE = ("STORAGE_CHARGE_LEVEL", "OPERATING_STATE", "DATA_QUALITY")
SIZES = ("STORAGE_USABLE_CAPACITY", "STORAGE_MAX_CHARGE_POWER", "STORAGE_MAX_DISCHARGE_POWER")
STARTS = (
    "noon",
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00",
    "1969-12-31T00:00:00Z",
    "9999-01-01T00:00:00Z",
    "0000-00-00",
    "0001-01-01T00:00:01Z",
    5,
    True,
)
DURATIONS = ("15m", "-PT5M", "P", "", "PT1.5M", 900)


@dataclass
class Fault:
    """A report that can't be: where, what stands there, and a word of what it could be."""

    field: str
    value: Any
    limit: str


def good(room: Room, event: str, rng: np.random.Generator) -> dict[str, Any]:
    """Return a report of our resource, and of one that only its owner knows, with a private payload."""
    now_ns, count = room.clock.now_ns(), int(rng.integers(1, 4))
    intervals = [
        {
            "id": at, "intervalPeriod": {"start": iso(now_ns - (count - at) * SECOND_NS), "duration": "PT1S"},
            "payloads": [
                {"type": "DEMAND", "values": [round(float(rng.uniform(-5.0, 5.0)), 3)]},
                {"type": "UP_REGULATION_AVAILABLE", "values": [1.5]},
                {"type": "STORAGE_CHARGE_LEVEL", "values": [float(rng.uniform(0.0, 100.0))]},
                {"type": "OPERATING_STATE", "values": ["IDLE_OPTED_OUT"]},
                {"type": "DATA_QUALITY", "values": ["OK"]},
                {"type": "USAGE", "values": [3]},
            ],
        }
        for at in range(count)
    ]  # fmt: skip
    return {
        "eventID": event, "clientName": "x", "reportName": f"r{rng.integers(1_000_000)}",
        "payloadDescriptors": [{"payloadType": "DEMAND", "units": "KW"}, {"payloadType": "USAGE", "units": "KWH"}],
        "resources": [{"resourceName": "site-5", "intervals": intervals}],
    }  # fmt: skip


def _one(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def values_of(rng: np.random.Generator) -> tuple[str, Any, str]:
    """Return a standard payload, a value that it can't have, and a word of what it could be."""
    match int(rng.integers(7)):
        case 6:
            words = {"OPERATING_STATE": "RUNNING_CURTAILED", "DATA_QUALITY": "ESTIMATED"}
            kind = _one(rng, tuple(words))
            return kind, _one(rng, ("BANANA", "", "normal", "ok", "X" * 200)), words[kind]
        case 0:
            kind, value = _one(rng, (*POWERS, *ROOMS, *OTHERS, "READING", "STORAGE_CHARGE_LEVEL")), _one(rng, NO_NUMBER)
            return kind, value, "float" if value is None or value == [] else "number"
        case 1:
            return _one(rng, POWERS), _one(rng, BEYOND), "-50 to 50"
        case 2:
            return _one(rng, ROOMS), _one(rng, (*BEYOND, -0.5)), "0 to 50"
        case 3:
            return "STORAGE_CHARGE_LEVEL", _one(rng, (-0.5, 100.5, 250, 1e300, -1e300)), "0 to 100"
        case 4:
            return _one(rng, OTHERS), _one(rng, (1e300, -1e300)), " to "
        case _:
            return _one(rng, SIZES), -1.0, "0 to "


def broken(report: dict[str, Any], rng: np.random.Generator) -> Fault:
    """Break one thing in a report."""
    intervals = report["resources"][0]["intervals"]
    at = int(rng.integers(len(intervals)))
    path = f"$.resources[0].intervals[{at}]"
    payloads, period = intervals[at]["payloads"], intervals[at]["intervalPeriod"]
    match int(rng.integers(8)):
        case 0:
            period["start"] = _one(rng, STARTS)
            return Fault(f"{path}.intervalPeriod.start", period["start"], "")
        case 1:
            period["duration"] = _one(rng, DURATIONS)
            return Fault(f"{path}.intervalPeriod.duration", period["duration"], "")
        case 2:
            payloads[3]["values"] = [_one(rng, (5, True, 1.5, {"x": 1.0, "y": 1.0}))]
            return Fault(f"{path}.payloads[3].values[0]", payloads[3]["values"][0], "word")
        case 3:
            report["payloadDescriptors"][0]["units"] = "HORSES"
            return Fault("$.payloadDescriptors[0].units", "HORSES", "KW")
        case 4:
            payloads[0]["values"] = []
            return Fault(f"{path}.payloads[0].values", [], "number")
        case _:
            kind, value, limit = values_of(rng)
            before = [1.0] * int(rng.integers(2)) if kind not in ONE_VALUE else []
            payloads.append({"type": kind, "values": [*before, value]})
            return Fault(f"{path}.payloads[{len(payloads) - 1}].values[{len(before)}]", value, limit)


def faults(room: Room, event: str, seed: int) -> Iterator[tuple[dict[str, Any], Fault]]:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        report = good(room, event, rng)
        yield report, broken(report, rng)


async def post(room: Room, report: dict[str, Any], method: str = "POST", path: str = "/reports") -> Any:
    body = json.dumps(report).encode()  # NaN and Infinity stand as Python writes them
    headers = await room.token("site-5") | {"content-type": "application/json"}
    return await room.http.request(method, room.url + path, content=body, headers=headers)


def telemetry_of(room: Room) -> str:
    return next(str(e["id"]) for e in room.vtn.book.all("events") if e["eventName"] == "telemetry")


def rated(scene: Callable[[Room], Any]) -> Room:
    """Play a scene in which the link knows what our resource is rated."""

    async def with_rating(room: Room) -> None:
        room.link.rated_w = lambda row: RATED_W
        await scene(room)

    return play(with_rating, keep_ven=False)


@pytest.mark.parametrize("seed", range(6))
def test_a_report_that_can_t_be_is_refused_by_name_and_nothing_of_it_is_taken(seed: int) -> None:
    async def scene(room: Room) -> None:
        event = telemetry_of(room)
        kept = (await post(room, good(room, event, np.random.default_rng(seed)))).json()
        owners: list[bool] = []
        room.link.on_owner = lambda row, is_out: owners.append(is_out)
        seen, said = len(room.log.seen), room.vtn.book.things["reports"].copy()
        for n, (report, fault) in enumerate(faults(room, event, seed)):
            how = ("PUT", f"/reports/{kept['id']}") if n % 3 == 0 else ("POST", "/reports")
            answer = await post(room, report, *how)
            found, about = answer.json(), f"{fault}: {answer.text}"
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), about
            assert found["type"] != "about:blank" and found["status"] == 400, about
            assert found["field"] == fault.field and fault.limit in found["limit"] and found["limit"], about
            assert found["value"] and fault.field in found["detail"], about
            assert room.vtn.book.things["reports"] == said, about
            assert len(room.log.seen) == seen and not owners, about
            assert room.link.counts.unread == n + 1 and fault.field in room.link.counts.last_error, about

    rated(scene)


def test_one_interval_that_can_t_be_takes_the_others_and_the_opt_out_in_the_report_with_it() -> None:
    async def scene(room: Room) -> None:
        report = good(room, telemetry_of(room), np.random.default_rng(3))
        report["resources"].append({"resourceName": "fridge", "intervals": [
            {"id": 0, "payloads": [{"type": "DEMAND", "values": [1e300]}]}]})  # fmt: skip
        answer = await post(room, report)
        assert (
            answer.status_code == 400 and answer.json()["field"] == "$.resources[1].intervals[0].payloads[0].values[0]"
        )
        assert room.log.seen == []
        del report["resources"][1]
        assert (await post(room, report)).status_code == 201
        assert room.log.last("is_local")[0] == 1.0

    rated(scene)


def test_what_is_within_its_ends_is_taken_also_at_them() -> None:
    async def scene(room: Room) -> None:
        event = telemetry_of(room)
        for at, (kind, value, key, si) in enumerate(
            [("DEMAND", 50.0, "power_w", -50_000.0), ("DEMAND", -50, "power_w", 50_000.0),
             ("UP_REGULATION_AVAILABLE", 0, "available_up_w", 0.0), ("STORAGE_CHARGE_LEVEL", 0, "soc_frac", 0.0),
             ("STORAGE_CHARGE_LEVEL", 100, "soc_frac", 1.0), ("STORAGE_CHARGE_LEVEL", 100.00001, "soc_frac", 1.0)]
        ):  # fmt: skip
            body = {
                "eventID": event, "clientName": "x", "reportName": f"r{at}",
                "resources": [{"resourceName": "site-5", "intervals": [{"id": 0, "payloads": [{"type": kind, "values": [value]}]}]}],
            }  # fmt: skip
            assert (await post(room, body)).status_code == 201
            assert room.log.last(key)[0] == si, (kind, value)

    rated(scene)


def test_a_private_payload_and_a_resource_that_nobody_bound_are_kept_and_the_answer_says_so() -> None:
    async def scene(room: Room) -> None:
        event = telemetry_of(room)
        payloads = [{"type": "DEMAND", "values": [1]}, {"type": "MOOD", "values": ["fine", 1e300, True]}]
        said = [{"resourceName": name, "intervals": [{"id": 0, "payloads": payloads}]} for name in ("site-5", "fridge")]
        answer = await post(room, {"eventID": event, "clientName": "x", "resources": said})
        assert answer.status_code == 201
        note = answer.headers["tieline-note"]
        assert "'MOOD' is private" in note and "'fridge' is bound to no device" in note and "DEMAND" not in note
        assert room.vtn.book.things["reports"][answer.json()["id"]]["resources"] == said
        assert [one[:2] for one in room.log.seen] == [("power_w", -1_000.0)]
        plain = await post(room, {"eventID": event, "clientName": "x", "resources": [{**said[0], "intervals": [
            {"id": 0, "payloads": payloads[:1]}]}]})  # fmt: skip
        assert plain.status_code == 201 and "tieline-note" not in plain.headers

    rated(scene)


def test_a_state_that_sender_and_link_agreed_on_is_taken_and_others_are_not() -> None:
    async def scene(room: Room) -> None:
        event, path = telemetry_of(room), "$.resources[0].intervals[0].payloads[1].values[0]"

        async def say(word: str, resource: str = "site-5") -> Any:
            payloads = [{"type": "DEMAND", "values": [1]}, {"type": "OPERATING_STATE", "values": [word]}]
            said = [{"resourceName": resource, "intervals": [{"id": 0, "payloads": payloads}]}]
            return await post(room, {"eventID": event, "clientName": "x", "resources": said})

        answer = (await say("ON_HOLIDAY")).json()
        assert (answer["field"], answer["status"]) == (path, 400) and "IDLE_OPTED_OUT" in answer["limit"]
        room.vtn.private_states = ("ON_HOLIDAY",)
        assert (await say("ON_HOLIDAY")).status_code == 201
        assert [one[:2] for one in room.log.seen] == [("power_w", -1_000.0)]
        answer = (await say("BANANA")).json()
        assert answer["field"] == path and '"BANANA"' in answer["detail"] and "ON_HOLIDAY" in answer["limit"]
        assert (await say("BANANA", "fridge")).status_code == 201  # its sender's own business, as all of it

    rated(scene)


def test_intervals_without_a_start_of_their_own_follow_each_other() -> None:
    found: dict[str, Any] = {}

    async def scene(room: Room) -> None:
        start_ns = found["start"] = room.clock.now_ns() - 100 * SECOND_NS
        intervals = [{"id": at, "payloads": [{"type": "DEMAND", "values": [at]}]} for at in range(3)]
        intervals[1]["intervalPeriod"] = {"duration": "PT20S"}
        period = {"start": iso(start_ns), "duration": "PT30S"}
        said = {"resourceName": "site-5", "intervals": intervals, "intervalPeriod": period}
        body = {"eventID": telemetry_of(room), "clientName": "x", "resources": [said]}
        assert (await post(room, body)).status_code == 201

    room = rated(scene)
    at_s = [(value, (at - found["start"]) // SECOND_NS) for key, value, _, at in room.log.seen if key == "power_w"]
    assert at_s == [(0.0, 0), (-1_000.0, 30), (-2_000.0, 50)]


def test_a_power_that_is_foretold_is_kept_and_no_reading() -> None:
    async def scene(room: Room) -> None:
        body = good(room, telemetry_of(room), np.random.default_rng(0))
        body["payloadDescriptors"][0]["readingType"] = "FORECAST"
        assert (await post(room, body)).status_code == 201
        keys = {one[0] for one in room.log.seen}
        assert "power_w" not in keys and "soc_frac" in keys

    rated(scene)
