"""What an event, or a report on it, means by its program alone stays as it was taken until that event is over."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from openadr_calls import program
from openadr_room import Room, play

from tieline.links.endpoint.openadr.payloads import W_OF
from tieline.times import SECOND_NS, iso

NOW = {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT2H"}}
ASKS = ("DISPATCH_SETPOINT", "IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT")


def described(name: str, **said: str | None) -> list[dict[str, Any]]:
    """Return the one descriptor of a payload, without what is None in it; none at all where all of it is."""
    known = {field: word for field, word in said.items() if word is not None}
    return [{"payloadType": name, **known}] if known else []


async def asked(room: Room, of: str, name: str, value: float, **more: Any) -> str:
    intervals = [{"id": 0, "payloads": [{"type": name, "values": [value]}]}]
    body = {"programID": of, "intervals": intervals, **NOW, **more}
    status, made = await room.call("bl", "POST", "/events", body)
    assert status == 201, made
    return str(made["id"])


async def change(room: Room, of: str, name: str, descriptors: list[dict[str, Any]], **more: Any) -> tuple[int, Any]:
    body = {"programName": name, "payloadDescriptors": descriptors, **more}
    return await room.call("bl", "PUT", f"/programs/{of}", body)


@pytest.mark.parametrize("name", ASKS)
def test_no_change_of_a_program_moves_by_a_factor_what_a_standing_event_asks(name: str) -> None:
    """Whatever units event, program and changed program say: it is refused just where the event's power would change."""
    rng, wrong = np.random.default_rng(ASKS.index(name)), []

    async def scene(room: Room) -> None:
        every = np.array([None, *W_OF, "kw", "w"], object)
        for n in range(60):
            own, before, after = (rng.choice(every) for _ in range(3))
            of = await program(room, f"p{n}", payloadDescriptors=described(name, units=before))
            event = await asked(room, of, name, 1.0, payloadDescriptors=described(name, units=own))
            status, said = await change(room, of, f"p{n}", described(name, units=after))
            moves = own is None and W_OF[(before or "KW").upper()] != W_OF[(after or "KW").upper()]
            kept = room.vtn.book.things["programs"][of]["payloadDescriptors"]
            if status != (409 if moves else 200) or kept != described(name, units=before if moves else after):
                wrong.append((own, before, after, status, kept))
            if moves:
                assert event in said["limit"] and said["field"].startswith("$.payloadDescriptors"), said

    play(scene, keep_ven=False, is_bound=False)
    assert wrong == []


def test_the_refusal_names_the_field_the_value_and_the_event_and_the_ven_goes_on_as_it_was_asked() -> None:
    async def scene(room: Room) -> None:
        of = await program(room, payloadDescriptors=described("DISPATCH_SETPOINT", units="W"))
        event = await asked(room, of, "DISPATCH_SETPOINT", 2_000.0)
        await asyncio.sleep(3)
        assert room.site.power_w == -2_000.0
        refused = room.vtn.refused
        headers = await room.token("bl")
        body = {"programName": "p", "payloadDescriptors": described("DISPATCH_SETPOINT", units="MW")}
        answer = await room.http.request("PUT", f"{room.url}/programs/{of}", json=body, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
        assert answer.json() == {
            "type": "/openapi.json#/components/schemas/WrongValue", "title": "conflict", "status": 409,
            "detail": f'$.payloadDescriptors[0].units = "MW": {answer.json()["limit"]}',
            "field": "$.payloadDescriptors[0].units", "value": '"MW"',
            "limit": f"give the units W, as event {event} was taken with a DISPATCH_SETPOINT in these, or give that event "
            "units of its own, or end it, first",
        }  # fmt: skip
        status, said = await change(room, of, "p", [])
        assert (status, said["field"], said["value"]) == (409, "$.payloadDescriptors", "[]")
        await asyncio.sleep(130)
        assert room.site.power_w == -2_000.0 and room.vtn.refused == refused
        # Once the event says its units itself, the program is free to say others.
        own = {**room.vtn.book.things["events"][event], "payloadDescriptors": described("DISPATCH_SETPOINT", units="W")}
        assert (await room.call("bl", "PUT", f"/events/{event}", own))[0] == 200
        assert (await change(room, of, "p", described("DISPATCH_SETPOINT", units="MW")))[0] == 200
        await asyncio.sleep(130)
        assert room.site.power_w == -2_000.0

    play(scene, is_bound=False)


@pytest.mark.parametrize("starts_s", [-1_800.0, 1_800.0])
def test_a_program_is_free_again_once_its_event_is_over_or_gone(starts_s: float) -> None:
    async def scene(room: Room) -> None:
        of = await program(room, payloadDescriptors=described("DISPATCH_SETPOINT", units="W"))
        start = iso(room.clock.now_ns() + round(starts_s) * SECOND_NS)
        spans = {"intervalPeriod": {"start": start, "duration": "PT1H"}}
        first, second = [await asked(room, of, "DISPATCH_SETPOINT", 1.0, **spans) for _ in range(2)]
        to = described("DISPATCH_SETPOINT", units="KW")
        assert (await change(room, of, "p", to))[0] == 409
        assert (await room.call("bl", "DELETE", f"/events/{first}"))[0] == 200
        status, said = await change(room, of, "p", to)
        assert status == 409 and second in said["limit"]
        await asyncio.sleep(starts_s + 3_601.0)
        assert (await change(room, of, "p", to))[0] == 200

    play(scene, keep_ven=False, is_bound=False)


def test_a_price_keeps_the_currency_and_the_unit_that_it_was_taken_with() -> None:
    async def scene(room: Room) -> None:
        of = await program(room, payloadDescriptors=described("PRICE", units="KWH", currency="USD"))
        event = await asked(room, of, "PRICE", 0.2, payloadDescriptors=described("PRICE", units="MWH"))
        status, said = await change(room, of, "p", described("PRICE", units="KWH", currency="EUR"))
        assert (status, said["field"], said["value"]) == (409, "$.payloadDescriptors[0].currency", '"EUR"')
        assert event in said["limit"] and "USD" in said["limit"]
        # Its unit is its own; what it doesn't say at all may be changed.
        both = [*described("PRICE", units="GWH", currency="USD"), *described("GHG", units="G")]
        assert (await change(room, of, "p", both))[0] == 200
        assert (await change(room, of, "p", both[:1]))[0] == 200

    play(scene, keep_ven=False, is_bound=False)


def test_what_is_reported_on_a_standing_event_keeps_its_units_too() -> None:
    """A report without units of its own is read in those of its event's wish, else in its program's."""

    async def scene(room: Room) -> None:
        kind = "REPORT_PAYLOAD_DESCRIPTOR"
        of = await program(room, payloadDescriptors=described("DEMAND", objectType=kind, units="W"))
        to = described("DEMAND", objectType=kind, units="KW")
        wish: dict[str, Any] = {"programID": of, "reportDescriptors": [{"payloadType": "DEMAND"}]}
        status, made = await room.call("bl", "POST", "/events", wish)
        assert status == 201
        status, said = await change(room, of, "p", to)
        assert (status, said["field"]) == (409, "$.payloadDescriptors[0].units") and made["id"] in said["limit"]
        wish["reportDescriptors"][0]["units"] = "W"
        assert (await room.call("bl", "PUT", f"/events/{made['id']}", wish))[0] == 200
        assert (await change(room, of, "p", to))[0] == 200
        # One that asked for nothing stands by what was reported on it all the same.
        status, made = await room.call("bl", "POST", "/events", {"programID": of})
        assert (await change(room, of, "p", described("DEMAND", objectType=kind, units="W")))[0] == 200
        period = {"start": iso(room.clock.now_ns()), "duration": "PT0S"}
        payloads = [{"type": "DEMAND", "values": [1_500.0]}]
        told = [{"resourceName": "site-5", "intervalPeriod": period, "intervals": [{"id": 0, "payloads": payloads}]}]
        report = {"eventID": made["id"], "clientName": "x", "resources": told}
        assert (await room.call("site-5", "POST", "/reports", report))[0] == 201
        assert (await change(room, of, "p", to))[0] == 409

    play(scene, keep_ven=False, is_bound=False)
