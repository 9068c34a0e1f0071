"""A power is what its event or report says, else what its program says, before and after the program is changed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from openadr_calls import program
from openadr_room import Room, play

from tieline.links.endpoint.openadr.payloads import W_OF
from tieline.times import iso

NOW = {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT2H"}}
ASKS = {"DISPATCH_SETPOINT": -1.0, "IMPORT_CAPACITY_LIMIT": -1.0, "EXPORT_CAPACITY_LIMIT": 1.0}
"""What turns each payload's sign to ours."""
UNSAID = ("", None)


def described(units: str | None, name: str, kind: str = "EVENT_PAYLOAD_DESCRIPTOR") -> list[dict[str, Any]]:
    """Return descriptors: none for the empty unit, one without a unit for None."""
    if units == "":
        return []
    said = {"objectType": kind, "payloadType": name}
    return [said if units is None else said | {"units": units}]


async def ask(room: Room, of: str, name: str, value: float, **more: Any) -> dict[str, Any]:
    intervals = [{"id": 0, "payloads": [{"type": name, "values": [value]}]}]
    status, made = await room.call("bl", "POST", "/events", {"programID": of, "intervals": intervals, **NOW, **more})
    assert status == 201, made
    return dict(made)


async def change(room: Room, of: str, name: str, descriptors: list[dict[str, Any]], **more: Any) -> tuple[int, Any]:
    body = {"programName": name, "payloadDescriptors": descriptors, **more}
    return await room.call("bl", "PUT", f"/programs/{of}", body)


async def change_elsewhere(room: Room, of: str, descriptors: list[dict[str, Any]]) -> None:
    """Change a program as another's VTN takes it: ours refuses what gives a standing event another meaning."""
    body = {"programName": "p", "payloadDescriptors": descriptors}
    await room.vtn.replace("programs", of, json.dumps(body).encode())


def held_w(room: Room, name: str) -> float:
    hold = room.ven.hold
    assert hold is not None
    return {
        "DISPATCH_SETPOINT": hold.target_w,
        "IMPORT_CAPACITY_LIMIT": hold.bounds.low_w,
        "EXPORT_CAPACITY_LIMIT": hold.bounds.high_w,
    }[name]


@pytest.mark.parametrize("name", list(ASKS))
def test_a_ven_follows_a_power_in_the_units_that_stand_nearest_to_it(name: str) -> None:
    rng, wrong = np.random.default_rng(list(ASKS).index(name)), []

    async def scene(room: Room) -> None:
        every = ["", None, *W_OF, "kw", "w"]
        for n in range(24):
            of_event, of_program = (rng.choice(np.array(every, object)) for _ in range(2))
            units = next((each for each in (of_event, of_program) if each not in UNSAID), "KW")
            asked_w = float(rng.integers(1, 4_000))
            at = await program(room, f"p{n}", payloadDescriptors=described(of_program, name))
            made = await ask(
                room, at, name, asked_w / W_OF[units.upper()], payloadDescriptors=described(of_event, name)
            )
            await asyncio.sleep(3)
            found_w = held_w(room, name)
            if abs(found_w - ASKS[name] * asked_w) > 0.001:
                wrong.append((of_event, of_program, asked_w, found_w))
            await room.call("bl", "DELETE", f"/events/{made['id']}")
            await asyncio.sleep(3)

    play(scene, is_bound=False)
    assert wrong == []


def test_an_event_that_describes_another_payload_leaves_its_setpoint_to_its_program() -> None:
    async def scene(room: Room) -> None:
        of = await program(room, payloadDescriptors=described("W", "DISPATCH_SETPOINT"))
        await ask(room, of, "DISPATCH_SETPOINT", 1_500.0, payloadDescriptors=described("KWH", "PRICE"))
        await asyncio.sleep(3)
        assert room.site.power_w == -1_500.0

    play(scene, is_bound=False)


@pytest.mark.parametrize(("is_told", "within_s"), [(True, 5.0), (False, 125.0)])
def test_a_program_whose_unit_is_changed_moves_those_who_follow_its_events(is_told: bool, within_s: float) -> None:
    trail: list[float] = []

    async def scene(room: Room) -> None:
        of = await program(room, payloadDescriptors=described("W", "DISPATCH_SETPOINT"))
        made = await ask(room, of, "DISPATCH_SETPOINT", 2.0)
        await asyncio.sleep(3)
        trail.append(room.site.power_w)
        if not is_told:
            mine = room.vtn.book.owned("subscriptions", "site-5")
            assert (await room.call("site-5", "DELETE", f"/subscriptions/{mine[0]['id']}"))[0] == 200
        await change_elsewhere(room, of, described("KW", "DISPATCH_SETPOINT"))
        await asyncio.sleep(within_s)
        trail.append(room.site.power_w)
        # What was answered to the VTN before is another power now.
        _, said = await room.call("bl", "GET", f"/reports?eventID={made['id']}")
        powers = [p["values"] for p in said[0]["resources"][0]["intervals"][0]["payloads"] if p["type"] == "SETPOINT"]
        assert powers == [[2.0]]

    room = play(scene, is_bound=False)
    assert trail == [-2.0, -2_000.0]
    assert room.ven.taken == 1


def test_an_event_that_could_not_be_followed_is_once_its_program_says_a_power() -> None:
    async def scene(room: Room) -> None:
        of = await program(room)
        made = await ask(room, of, "DISPATCH_SETPOINT", 1_500.0)
        thing = room.vtn.book.things["programs"][of]
        thing["payloadDescriptors"] = described("AMPS", "DISPATCH_SETPOINT")  # as another's VTN might take it
        await asyncio.sleep(130)
        assert room.ven.unread == 1 and room.ven.hold is not None and room.ven.hold.by == ""
        _, said = await room.call("bl", "GET", f"/reports?eventID={made['id']}")
        assert "ERROR" in str(said[0]["resources"])
        await change_elsewhere(room, of, described("W", "DISPATCH_SETPOINT"))
        await asyncio.sleep(5)
        assert room.site.power_w == -1_500.0

    play(scene, is_bound=False)


def test_a_power_whose_program_is_not_shown_is_not_guessed() -> None:
    async def scene(room: Room) -> None:
        of = await program(room, targets=["others"], payloadDescriptors=described("W", "DISPATCH_SETPOINT"))
        made = await ask(room, of, "DISPATCH_SETPOINT", 1.5)
        await asyncio.sleep(5)
        assert room.site.power_w == 0.0
        _, said = await room.call("bl", "GET", f"/reports?eventID={made['id']}")
        assert "ERROR" in str(said[0]["resources"])
        # Shown from now on, or said in the event itself, it is followed.
        assert (await change(room, of, "p", described("W", "DISPATCH_SETPOINT"), targets=None))[0] == 200
        await asyncio.sleep(130)
        assert room.site.power_w == -1.5
        assert (await change(room, of, "p", described("W", "DISPATCH_SETPOINT"), targets=["others"]))[0] == 200
        body = {**made, "payloadDescriptors": described("KW", "DISPATCH_SETPOINT")}
        assert (await room.call("bl", "PUT", f"/events/{made['id']}", body))[0] == 200
        await asyncio.sleep(130)
        assert room.site.power_w == -1_500.0

    play(scene, is_bound=False)


def test_a_value_is_held_to_its_program_s_units_and_a_program_to_what_its_events_ask() -> None:
    async def scene(room: Room) -> None:
        of = await program(room, payloadDescriptors=described("MW", "DISPATCH_SETPOINT"))
        intervals = [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [5e6]}]}]
        status, said = await room.call("bl", "POST", "/events", {"programID": of, "intervals": intervals})
        assert (status, said["field"]) == (400, "$.intervals[0].payloads[0].values[0]")
        assert said["limit"] == "give a number, -1000000 to 1000000 MW"
        assert (await change(room, of, "p", described("KW", "DISPATCH_SETPOINT")))[0] == 200
        made = await ask(room, of, "DISPATCH_SETPOINT", 5e6)
        status, said = await change(room, of, "p", described("MW", "DISPATCH_SETPOINT"))
        assert (status, said["field"]) == (400, "$.payloadDescriptors")
        assert made["id"] in said["limit"]
        assert room.vtn.book.things["programs"][of]["payloadDescriptors"][0]["units"] == "KW"
        assert (await room.call("bl", "DELETE", f"/events/{made['id']}"))[0] == 200
        assert (await change(room, of, "p", described("MW", "DISPATCH_SETPOINT")))[0] == 200

    play(scene, keep_ven=False, is_bound=False)


@pytest.mark.parametrize("how", ["POST", "PUT"])
def test_a_program_that_gives_a_power_another_unit_or_two_is_refused(how: str) -> None:
    async def scene(room: Room) -> None:
        path = "/programs" if how == "POST" else f"/programs/{await program(room)}"
        wrong = {"programName": "p", "payloadDescriptors": described("AMPS", "IMPORT_CAPACITY_LIMIT")}
        status, said = await room.call("bl", how, path, wrong)
        assert (status, said["field"]) == (400, "$.payloadDescriptors[0].units")
        assert (said["value"], said["limit"]) == ('"AMPS"', "give one of W, KW, MW, GW")
        wrong["payloadDescriptors"] = [*described("KW", "DISPATCH_SETPOINT"), *described("W", "DISPATCH_SETPOINT")]
        status, said = await room.call("bl", how, path, wrong)
        assert (status, said["field"]) == (400, "$.payloadDescriptors[1].units")
        # What no VEN of ours follows is between those who use it.
        right = {"programName": "p", "payloadDescriptors": described("AMPS", "MOOD")}
        assert (await room.call("bl", how, path, right))[0] in (200, 201)

    play(scene, keep_ven=False)


async def tell(room: Room, event: str, units: str | None, **more: Any) -> tuple[int, Any]:
    period = {"start": iso(room.clock.now_ns()), "duration": "PT0S"}
    payloads = [{"type": "DEMAND", "values": [more.pop("value", 1_500.0)]}]
    resources = [{"resourceName": "site-5", "intervalPeriod": period, "intervals": [{"id": 0, "payloads": payloads}]}]
    body = {"eventID": event, "clientName": "x", "resources": resources}
    descriptors = described(units, "DEMAND", "REPORT_PAYLOAD_DESCRIPTOR")
    return await room.call("site-5", "POST", "/reports", {**body, "payloadDescriptors": descriptors, **more})


def test_a_report_is_read_in_its_own_units_else_in_those_asked_for_else_in_its_program_s() -> None:
    rng, wrong = np.random.default_rng(7), []

    async def scene(room: Room) -> None:
        every = np.array(["", None, *W_OF], object)
        for n in range(30):
            own, asked, above = (rng.choice(every) for _ in range(3))
            units = next((each for each in (own, asked, above) if each not in UNSAID), "KW")
            power_w = float(rng.integers(1, 9_000))
            kind = "REPORT_PAYLOAD_DESCRIPTOR"
            of = await program(room, f"p{n}", payloadDescriptors=described(above, "DEMAND", kind))
            wish = [{k: v for k, v in each.items() if k != "objectType"} for each in described(asked, "DEMAND")]
            _, made = await room.call("bl", "POST", "/events", {"programID": of, "reportDescriptors": wish})
            await asyncio.sleep(1)
            status, said = await tell(room, made["id"], own, value=power_w / W_OF[units])
            await asyncio.sleep(1)
            found_w = room.log.last("power_w")[0] if status == 201 else said
            if status != 201 or abs(found_w + power_w) > 0.001:
                wrong.append((own, asked, above, power_w, found_w))

    play(scene, keep_ven=False)
    assert wrong == []


def test_a_report_is_held_to_the_units_that_it_stands_under() -> None:
    async def scene(room: Room) -> None:
        room.link.rated_w = lambda row: 5_000.0
        of = await program(room, payloadDescriptors=described("MW", "DEMAND", "REPORT_PAYLOAD_DESCRIPTOR"))
        _, made = await room.call("bl", "POST", "/events", {"programID": of})
        status, said = await tell(room, made["id"], "", value=1.5)
        assert (status, said["field"]) == (400, "$.resources[0].intervals[0].payloads[0].values[0]")
        assert "-0.05 to 0.05 MW" in said["limit"]
        two = [{"payloadType": "DEMAND", "units": units} for units in ("KW", "W")]
        _, made = await room.call("bl", "POST", "/events", {"programID": of, "reportDescriptors": two})
        status, said = await tell(room, made["id"], "", value=1.5)
        assert (status, said["field"], said["value"]) == (400, "$.payloadDescriptors", '"KW or W"')
        assert (await tell(room, made["id"], "KW", value=1.5))[0] == 201

    play(scene, keep_ven=False)


def test_what_was_asked_for_as_a_forecast_is_no_reading() -> None:
    async def scene(room: Room) -> None:
        asked = [{"payloadType": "DEMAND", "units": "W", "readingType": "FORECAST"}]
        _, made = await room.call(
            "bl", "POST", "/events", {"programID": await program(room), "reportDescriptors": asked}
        )
        assert (await tell(room, made["id"], ""))[0] == 201
        await asyncio.sleep(1)
        assert [seen for seen in room.log.seen if seen[0] == "power_w"] == []

    play(scene, keep_ven=False)
